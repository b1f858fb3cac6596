package merger_test

import (
	"errors"
	"fmt"
	"math"

	"github.com/seerdb-go/seerdb/merger"
)

func ExampleCounter() {
	var m merger.Counter
	stored := merger.AppendInt64(nil, 40)
	v, err := m.Full(nil, []byte("visits"), stored, true, [][]byte{merger.AppendInt64(nil, 3), merger.AppendInt64(nil, -1)})
	n, _ := merger.Int64(v)
	fmt.Println(n, err)

	_, err = m.Full(nil, []byte("visits"), stored, true, [][]byte{merger.AppendInt64(nil, math.MaxInt64)})
	fmt.Println(errors.Is(err, merger.ErrOverflow))
	// Output:
	// 42 <nil>
	// true
}

func ExampleAppend() {
	m := merger.Append{Sep: ", "}
	v, err := m.Full(nil, []byte("log"), nil, false, [][]byte{[]byte("one"), []byte("two"), []byte("three")})
	fmt.Printf("%s %v\n", v, err)
	fmt.Println(m.Name())
	// Output:
	// one, two, three <nil>
	// seerdb.append/", "
}

func ExampleUnion() {
	var m merger.Union
	tags := merger.AppendSet(nil, []byte("go"), []byte("database"))
	v, err := m.Full(nil, []byte("post/1"), tags, true, [][]byte{merger.AppendSet(nil, []byte("lsm"), []byte("go"))})
	if err != nil {
		fmt.Println(err)
	}
	elements, err := merger.Set(v)
	fmt.Printf("%s %v\n", elements, err)
	// Output:
	// [database go lsm] <nil>
}
