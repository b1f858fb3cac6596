package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/merger"
)

// exampleDB opens a database in a temporary directory.
func exampleDB(o *seerdb.Options) (db *seerdb.DB, done func()) {
	dir, err := os.MkdirTemp("", "seerdb")
	if err != nil {
		log.Fatal(err)
	}
	if db, err = seerdb.Open(dir, o); err != nil {
		log.Fatal(err)
	}
	return db, func() {
		if err := db.Close(); err != nil {
			log.Print(err)
		}
		_ = os.RemoveAll(dir)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Move an amount from one account to another. Should another client change either of
// them in between, the function runs again.
func ExampleDB_Update() {
	db, done := exampleDB(nil)
	defer done()
	check(db.Put([]byte("alice"), []byte("10")))
	check(db.Put([]byte("bob"), []byte("0")))

	transfer := func(t *seerdb.Txn) error {
		var alice, bob int
		for key, n := range map[string]*int{"alice": &alice, "bob": &bob} {
			v, err := t.Get([]byte(key))
			if err != nil {
				return err
			}
			if _, err := fmt.Sscan(string(v), n); err != nil {
				return err
			}
		}
		if alice < 7 {
			return errors.New("not enough money")
		}
		if err := t.Put([]byte("alice"), fmt.Append(nil, alice-7)); err != nil {
			return err
		}
		return t.Put([]byte("bob"), fmt.Append(nil, bob+7))
	}
	fmt.Println(db.Update(context.Background(), transfer))
	fmt.Println(db.Update(context.Background(), transfer))
	for k, v := range db.Range(nil, nil).All() {
		fmt.Printf("%s has %s\n", k, v)
	}
	// Output:
	// <nil>
	// not enough money
	// alice has 3
	// bob has 7
}

// A snapshot of one moment, closed at the end of the function.
func ExampleDB_View() {
	db, done := exampleDB(nil)
	defer done()
	check(db.Put([]byte("k"), []byte("before")))
	check(db.View(func(s *seerdb.Snapshot) error {
		if err := db.Put([]byte("k"), []byte("after")); err != nil {
			return err
		}
		v, err := s.Get([]byte("k"))
		fmt.Printf("%s\n", v)
		return err
	}))
	// Output: before
}

// Keyspaces are trees of their own; a batch writes to several at once.
func ExampleDB_Keyspace() {
	db, done := exampleDB(nil)
	defer done()
	users, err := db.Keyspace("users", nil)
	check(err)
	byEmail, err := db.Keyspace("users by email", nil)
	check(err)

	b := db.NewBatch()
	check(b.In(users).Put([]byte("17"), []byte("ada@example.org")))
	check(b.In(byEmail).Put([]byte("ada@example.org"), []byte("17")))
	check(db.Apply(b, seerdb.DefaultDurability))

	id, err := byEmail.Get([]byte("ada@example.org"))
	check(err)
	fmt.Printf("user %s\n", id)
	// Output: user 17
}

// Build an index anew and take the old one away, in one step: readers find the one or
// the other, and so does the next opening after a crash.
func ExampleTxn_Keyspace() {
	db, done := exampleDB(nil)
	defer done()
	_, err := db.Keyspace("index 1", nil)
	check(err)
	check(db.Put([]byte("17"), []byte("ada@example.org")))

	check(db.Update(context.Background(), func(t *seerdb.Txn) error {
		index, err := t.Keyspace("index 2", nil)
		if err != nil {
			return err
		}
		users := t.Range(nil, nil)
		for id, email := range users.All() {
			if err := index.Put(email, id); err != nil {
				return err
			}
		}
		if err := users.Err(); err != nil {
			return err
		}
		return t.DropKeyspace("index 1")
	}))
	fmt.Println(db.Keyspaces())
	// Output: [index 2] <nil>
}

// Counters that are added to without being read.
func ExampleDB_Keyspace_merge() {
	db, done := exampleDB(nil)
	defer done()
	hits, err := db.Keyspace("hits", &seerdb.KeyspaceOptions{Merger: merger.Counter{}})
	check(err)
	for range 3 {
		check(hits.Merge([]byte("/index.html"), merger.AppendInt64(nil, 1)))
	}
	v, err := hits.Get([]byte("/index.html"))
	check(err)
	n, err := merger.Int64(v)
	fmt.Println(n, err)
	// Output: 3 <nil>
}

// A session that is gone after an hour, and all sessions of a user gone at
// once.
func ExampleDB_PutTTL() {
	db, done := exampleDB(nil)
	defer done()
	check(db.PutTTL([]byte("session/ada/1"), []byte("..."), time.Hour))
	check(db.PutTTL([]byte("session/ada/2"), []byte("..."), time.Hour))
	check(db.PutTTL([]byte("session/bob/1"), []byte("..."), time.Hour))

	check(db.DeleteRange([]byte("session/ada/"), []byte("session/ada0"))) // '0' follows '/'
	for k := range db.Prefix([]byte("session/")).Keys() {
		fmt.Printf("%s\n", k)
	}
	// Output: session/bob/1
}

// The first caller gets the name.
func ExampleDB_PutIfAbsent() {
	db, done := exampleDB(nil)
	defer done()
	for _, who := range []string{"ada", "bob"} {
		first, err := db.PutIfAbsent([]byte("name/x"), []byte(who))
		check(err)
		fmt.Println(who, first)
	}
	// Output:
	// ada true
	// bob false
}
