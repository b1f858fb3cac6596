package typed_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/merger"
	"github.com/seerdb-go/seerdb/typed"
	"github.com/seerdb-go/seerdb/valuecodec"
)

func tempDir() string {
	dir, err := os.MkdirTemp("", "seerdb-example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

func ExampleNew() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	type user struct{ Name string }
	users := typed.New(db, keycodec.Uint64, valuecodec.JSON[user]())
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
func ExampleReader_Prefix() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	type key = keycodec.Pair[string, time.Time]
	byUser := keycodec.PairOf(keycodec.String, keycodec.Desc(keycodec.Time))
	posts := typed.New(db, byUser, valuecodec.String)
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

// A batch and a snapshot, view.
func ExampleStore_Into() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	stock := typed.New(db, keycodec.String, valuecodec.JSON[int]())
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

// Counters: a typed merge adds without reading.
func ExampleWriter_Merge() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	space, err := db.Keyspace("hits", &seerdb.KeyspaceOptions{Merger: merger.Counter{}})
	if err != nil {
		log.Fatal(err)
	}

	hits := typed.New(space, keycodec.String, valuecodec.Int64)
	for _, page := range []string{"/", "/docs", "/"} {
		if err := hits.Merge(page, 1); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(hits.Get("/"))
	// Output:
	// 2 <nil>
}

// Whatever is older than a day goes at once, at the cost of one write.
func ExampleWriter_DeleteRows() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	events := typed.New(db, keycodec.Time, valuecodec.String)
	day := func(d int) time.Time { return time.Date(2026, 5, d, 0, 0, 0, 0, time.UTC) }
	for d, text := range map[int]string{1: "first", 2: "second", 3: "third"} {
		if err := events.Put(day(d), text); err != nil {
			log.Fatal(err)
		}
	}
	if err := events.DeleteRows(events.Rows().Before(day(2))); err != nil {
		log.Fatal(err)
	}
	rows := events.Rows()
	for at, text := range rows.All() {
		fmt.Println(at.Day(), text)
	}
	if err := rows.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 2 second
	// 3 third
}

// Sessions that end by themselves, and when.
func ExampleRows_Expiry() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	sessions := typed.New(db, keycodec.String, valuecodec.String)
	if err := sessions.PutTTL("5f3a", "ada", time.Hour); err != nil {
		log.Fatal(err)
	}
	if err := sessions.Put("c01d", "the system"); err != nil {
		log.Fatal(err)
	}
	rows := sessions.Rows()
	for id, user := range rows.All() {
		at, expires := rows.Expiry()
		fmt.Println(id, user, expires, time.Until(at) > 59*time.Minute)
	}
	if err := rows.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 5f3a ada true true
	// c01d the system false false
}

// A typed transaction: one user pays another, who must be there.
func ExampleStore_In() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	accounts := typed.New(db, keycodec.String, valuecodec.Int64)
	for _, name := range []string{"ada", "grace"} {
		if _, err := accounts.PutIfAbsent(name, 100); err != nil {
			log.Fatal(err)
		}
	}
	err = db.Update(context.Background(), func(t *seerdb.Txn) error {
		accounts := accounts.In(t)
		from, err := accounts.Get("ada")
		if err != nil {
			return err
		}
		to, err := accounts.Get("grace")
		if err != nil {
			return err
		}
		if err := accounts.Put("ada", from-30); err != nil {
			return err
		}
		return accounts.Put("grace", to+30)
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(accounts.Get("ada"))
	fmt.Println(accounts.Get("grace"))
	fmt.Println(accounts.CompareAndSwap("grace", 100, 0))
	// Output:
	// 70 <nil>
	// 130 <nil>
	// false <nil>
}
