package seerdb_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/valuecodec"
)

func ExampleNewTyped() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	type user struct{ Name string }
	users := seerdb.NewTyped(db, keycodec.Uint64, valuecodec.JSON[user]())
	for id, name := range []string{"Ada", "Grace", "Barbara"} {
		if err := users.Put(uint64(id), user{name}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(users.Get(1))

	rows := users.Rows().From(1)
	for id, u := range rows.Backward() {
		fmt.Println(id, u.Name)
	}
	if err := rows.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// {Grace} <nil>
	// 2 Barbara
	// 1 Grace
}

// The posts of each user, the newest first, in one keyspace.
func ExampleTypedReader_Prefix() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	type key = keycodec.Pair[string, time.Time]
	byUser := keycodec.PairOf(keycodec.String, keycodec.Desc(keycodec.Time))
	posts := seerdb.NewTyped(db, byUser, valuecodec.String)
	day := func(d int) time.Time { return time.Date(2026, 5, d, 0, 0, 0, 0, time.UTC) }
	for _, p := range []struct {
		user string
		day  int
		text string
	}{{"ada", 1, "first"}, {"grace", 2, "hello"}, {"ada", 3, "second"}, {"ada", 4, "third"}} {
		if err := posts.Put(key{First: p.user, Second: day(p.day)}, p.text); err != nil {
			log.Fatal(err)
		}
	}

	rows := posts.Prefix(byUser.First("ada"))
	for k, text := range rows.All() {
		fmt.Println(k.Second.Format(time.DateOnly), text)
	}
	older := rows.From(key{First: "ada", Second: day(3)})
	for k := range older.Keys() {
		fmt.Println("until the 3rd:", k.Second.Day())
	}
	// Output:
	// 2026-05-04 third
	// 2026-05-03 second
	// 2026-05-01 first
	// until the 3rd: 3
	// until the 3rd: 1
}

// A batch and a snapshot, typed.
func ExampleTyped_Into() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	stock := seerdb.NewTyped(db, keycodec.String, valuecodec.JSON[int]())
	if err := stock.Put("apples", 5); err != nil {
		log.Fatal(err)
	}

	before := db.NewSnapshot()
	defer before.Close()
	b := db.NewBatch()
	w := stock.Into(b)
	if err := w.Delete("apples"); err != nil {
		log.Fatal(err)
	}
	if err := w.Put("cider", 1); err != nil {
		log.Fatal(err)
	}
	if err := db.Apply(b, seerdb.DefaultDurability); err != nil {
		log.Fatal(err)
	}
	fmt.Println(stock.Get("cider"))
	fmt.Println(stock.Has("apples"))
	fmt.Println(stock.At(before).Get("apples"))
	// Output:
	// 1 <nil>
	// false <nil>
	// 5 <nil>
}
