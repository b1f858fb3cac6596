package valuecodec_test

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/merger"
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

// The largest of some times, by merger.Max.
func ExampleOrdered() {
	seen := valuecodec.Ordered(keycodec.Time)
	morning, err := seen.Append(nil, time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC))
	if err != nil {
		fmt.Println(err)
	}
	evening, err := seen.Append(nil, time.Date(2026, 5, 1, 20, 0, 0, 0, time.UTC))
	if err != nil {
		fmt.Println(err)
	}
	latest, err := merger.Max{}.Full(nil, nil, evening, true, [][]byte{morning})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(seen.Decode(latest))
	// Output:
	// 2026-05-01 20:00:00 +0000 UTC <nil>
}

func ExampleSet() {
	tags := valuecodec.Set(valuecodec.String)
	b, err := tags.Append(nil, []string{"lsm", "go", "lsm"})
	if err != nil {
		fmt.Println(err)
	}
	b, err = merger.Union{}.Full(nil, nil, b, true, [][]byte{merger.AppendSet(nil, []byte("database"))})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(tags.Decode(b))
	// Output:
	// [database go lsm] <nil>
}
