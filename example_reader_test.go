package seerdb_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/seerdb-go/seerdb"
)

// copyRows copies what begins with a prefix, from whatever can be read to whatever
// can be written.
func copyRows(to seerdb.Writer, from seerdb.Reader, prefix string) error {
	rows := from.Prefix([]byte(prefix))
	for k, v := range rows.All() {
		at, _ := rows.Expiry() // the zero time, where there is none
		if err := to.PutUntil(k, v, at); err != nil {
			return err
		}
	}
	return rows.Err()
}

// From the database to a keyspace, from a snapshot to a batch, and within a
// transaction, with the same function.
func ExampleReader() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	archive, err := db.Keyspace("archive", nil)
	if err != nil {
		log.Fatal(err)
	}

	if err := db.Put([]byte("log/1"), []byte("started")); err != nil {
		log.Fatal(err)
	}
	if err := db.PutTTL([]byte("log/2"), []byte("ready"), time.Hour); err != nil {
		log.Fatal(err)
	}
	if err := copyRows(archive, db, "log/"); err != nil {
		log.Fatal(err)
	}

	before := db.NewSnapshot()
	defer before.Close()
	if err := db.Delete([]byte("log/1")); err != nil {
		log.Fatal(err)
	}
	b := db.NewBatch()
	if err := copyRows(b, before, "log/"); err != nil {
		log.Fatal(err)
	}
	fmt.Println("in the batch:", b.Len())

	err = db.Update(context.Background(), func(t *seerdb.Txn) error {
		return copyRows(t, t.In(archive), "log/")
	})
	if err != nil {
		log.Fatal(err)
	}
	rows := db.Prefix(nil)
	for k, v := range rows.All() {
		_, expires := rows.Expiry()
		fmt.Printf("%s %s %v\n", k, v, expires)
	}
	if err := rows.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// in the batch: 2
	// log/1 started false
	// log/2 ready true
}
