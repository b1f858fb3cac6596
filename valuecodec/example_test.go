package valuecodec_test

import (
	"encoding/binary"
	"fmt"

	"github.com/seerdb-go/seerdb/valuecodec"
)

func ExampleFunc() {
	count := valuecodec.Func(
		func(dst []byte, n uint64) ([]byte, error) { return binary.AppendUvarint(dst, n), nil },
		func(b []byte) (uint64, error) {
			n, size := binary.Uvarint(b)
			if size != len(b) {
				return 0, fmt.Errorf("a count of %d bytes", len(b))
			}
			return n, nil
		},
	)
	b, err := count.Append(nil, 300)
	fmt.Printf("%x %v\n", b, err)
	fmt.Println(count.Decode(b))
	fmt.Println(count.Decode([]byte{1, 2}))
	// Output:
	// ac02 <nil>
	// 300 <nil>
	// 0 a count of 2 bytes
}
