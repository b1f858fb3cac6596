package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/seerdb-go/seerdb"
)

func tempDir() string {
	dir, err := os.MkdirTemp("", "seerdb-example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

func Example() {
	dir := tempDir()
	defer os.RemoveAll(dir)

	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	if err := db.Put([]byte("user/1"), []byte("Ada")); err != nil {
		log.Fatal(err)
	}
	v, err := db.Get([]byte("user/1"))
	fmt.Printf("%s %v\n", v, err)
	_, err = db.Get([]byte("user/2"))
	fmt.Println(errors.Is(err, seerdb.ErrNotFound))
	// Output:
	// Ada <nil>
	// true
}

func ExampleDB_Apply() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, &seerdb.Options{Durability: seerdb.Buffered})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	b := db.NewBatch()
	for _, k := range []string{"a", "b", "c"} {
		if err := b.Put([]byte(k), []byte("1")); err != nil {
			log.Fatal(err)
		}
	}
	if err := b.Delete([]byte("b")); err != nil {
		log.Fatal(err)
	}
	// This one must survive a power cut, though others need not.
	if err := db.Apply(b, seerdb.Sync); err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.Has([]byte("a")))
	fmt.Println(db.Has([]byte("b")))
	// Output:
	// true <nil>
	// false <nil>
}

func ExampleDB_Prefix() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for _, k := range []string{"fruit/apple", "fruit/pear", "tree/oak"} {
		if err := db.Put([]byte(k), []byte("yes")); err != nil {
			log.Fatal(err)
		}
	}

	rows := db.Prefix([]byte("fruit/"))
	for k, v := range rows.All() {
		fmt.Printf("%s %s\n", k, v)
	}
	if err := rows.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// fruit/apple yes
	// fruit/pear yes
}

// Show results page by page: the last key of one page is where the next begins.
func ExampleRows_After() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for _, k := range []string{"user/ada", "user/ben", "user/cleo", "user/dan", "user/eve"} {
		if err := db.Put([]byte(k), nil); err != nil {
			log.Fatal(err)
		}
	}

	var last []byte // nil: from the beginning
	for page := 1; ; page++ {
		rows, n := db.Prefix([]byte("user/")).After(last).Limit(2), 0
		for k := range rows.Keys() {
			fmt.Printf("page %d: %s\n", page, k)
			last = append(last[:0], k...)
			n++
		}
		if err := rows.Err(); err != nil {
			log.Fatal(err)
		}
		if n < 2 {
			break
		}
	}
	// Output:
	// page 1: user/ada
	// page 1: user/ben
	// page 2: user/cleo
	// page 2: user/dan
	// page 3: user/eve
}

func ExampleDB_NewSnapshot() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	put := func(v string) {
		if err := db.Put([]byte("k"), []byte(v)); err != nil {
			log.Fatal(err)
		}
	}
	put("before")
	s := db.NewSnapshot()
	defer s.Close()
	put("after")
	if err := db.Compact(context.Background(), nil, nil); err != nil {
		log.Fatal(err)
	}
	old, _ := s.Get([]byte("k"))
	now, _ := db.Get([]byte("k"))
	fmt.Printf("%s %s\n", old, now)
	// Output:
	// before after
}

func ExampleDB_BulkLoad() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	rows := func(yield func(k, v []byte) bool) {
		for i := range 100_000 {
			if !yield(fmt.Appendf(nil, "user%06d", i), []byte("new")) {
				return
			}
		}
	}
	st, err := db.BulkLoad(context.Background(), rows, nil)
	if err != nil {
		log.Fatal(err)
	}
	v, err := db.Get([]byte("user012345"))
	fmt.Printf("%d rows, %s, %v\n", st.Rows, v, err)
	// Output:
	// 100000 rows, new, <nil>
}

// A copy in which what expires still does, at the same moment. Rows that cannot be
// read end the sequence, and a load of what came before would be visible: so they
// cancel it.
func ExampleDB_BulkLoad_copy() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	kept, err := db.Keyspace("kept", nil)
	if err != nil {
		log.Fatal(err)
	}
	moment := time.Now().Add(time.Hour)
	if err := errors.Join(db.Put([]byte("user/1"), []byte("Ann")), db.PutUntil([]byte("user/2"), []byte("a guest"), moment)); err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	rows := db.Prefix([]byte("user/"))
	_, err = kept.BulkLoad(ctx, func(yield func(k, v []byte) bool) {
		rows.All()(yield)
		if err := rows.Err(); err != nil {
			cancel(err)
		}
	}, &seerdb.BulkOptions{Expires: func(_, _ []byte) time.Time {
		at, _ := rows.Expiry() // of the row that is being taken
		return at
	}})
	if err != nil {
		log.Fatal(err)
	}
	for _, key := range []string{"user/1", "user/2"} {
		at, expires, err := kept.Expiry([]byte(key))
		fmt.Println(key, expires && at.Sub(moment).Abs() < time.Millisecond, err)
	}
	// Output:
	// user/1 false <nil>
	// user/2 true <nil>
}
