package sequence_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/sequence"
)

func Example() {
	dir, err := os.MkdirTemp("", "seerdb-example-")
	check(err)
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	check(err)
	defer db.Close()

	ids, err := sequence.New(db, []byte("next user"), 100)
	check(err)
	for _, name := range []string{"Ada", "Grace"} {
		id, err := ids.Next()
		check(err)
		check(db.Put(binary.BigEndian.AppendUint64([]byte("user/"), id), []byte(name)))
		fmt.Println(id, name)
	}

	check(errors.Join(ids.Release(), db.Close())) // 3 is the next number again
	// Output:
	// 1 Ada
	// 2 Grace
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
