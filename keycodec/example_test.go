package keycodec_test

import (
	"fmt"
	"log"
	"time"

	"github.com/seerdb-go/seerdb/keycodec"
)

// Keys of a timeline: by user, and for each the newest post first.
func Example() {
	posts := keycodec.PairOf(keycodec.String, keycodec.Desc(keycodec.Time))
	type post = keycodec.Pair[string, time.Time]

	day := func(d int) time.Time { return time.Date(2026, 5, d, 0, 0, 0, 0, time.UTC) }
	early := posts.Append(nil, post{First: "ada", Second: day(1)})
	late := posts.Append(nil, post{First: "ada", Second: day(2)})
	other := posts.Append(nil, post{First: "ada lovelace", Second: day(3)})
	fmt.Println(string(late) < string(early), string(early) < string(other))

	lo, hi := posts.First("ada").Bounds()
	for _, key := range [][]byte{early, late, other} {
		fmt.Print(string(lo) <= string(key) && string(key) < string(hi), " ")
	}
	k, err := posts.Decode(late)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(k.First, k.Second.Format(time.DateOnly))
	// Output:
	// true true
	// true true false ada 2026-05-02
}

// A type of one's own that is an integer beneath needs no conversion.
func ExampleUintOf() {
	type userID uint32
	c := keycodec.UintOf[userID]()
	fmt.Printf("%x\n", c.Append(nil, 258))
	// Output:
	// 00000102
}

func ExampleConvert() {
	type level string
	levels := []level{"low", "middle", "high"}
	c := keycodec.Convert(keycodec.Uint8, func(l level) uint8 {
		for i, known := range levels {
			if l == known {
				return uint8(i)
			}
		}
		return uint8(len(levels))
	}, func(u uint8) (level, error) {
		if int(u) >= len(levels) {
			return "", fmt.Errorf("no level %d", u)
		}
		return levels[u], nil
	})
	fmt.Printf("%x\n", c.Append(nil, "high"))
	fmt.Println(c.Decode([]byte{1}))
	fmt.Println(c.Decode([]byte{9}))
	// Output:
	// 02
	// middle <nil>
	//  keycodec: not an encoding: no level 9
}
