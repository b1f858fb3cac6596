package seerdb_test

import (
	"context"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// TestPanicPinsNothing: the code of the program that a read calls may panic, and
// the program may go on. What the read held is let go all the same: tables that
// are not needed any more go, and Close has nothing to complain about.
func TestPanicPinsNothing(t *testing.T) {
	for name, read := range map[string]func(db *seerdb.DB){
		"Range": func(db *seerdb.DB) {
			for range db.Range(nil, nil).All() {
				panic("mine")
			}
		},
		"Keys": func(db *seerdb.DB) {
			for range db.Prefix([]byte("k")).Keys() {
				panic("mine")
			}
		},
		"GetFunc": func(db *seerdb.DB) {
			_ = db.GetFunc([]byte("k"), func([]byte) error { panic("mine") })
		},
		"GetFunc of a snapshot": func(db *seerdb.DB) {
			s := db.NewSnapshot()
			defer func() { _ = s.Close() }()
			_ = s.GetFunc([]byte("k"), func([]byte) error { panic("mine") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			db := open(t, "db", smallOn(fs, seerdb.Relaxed))
			must(t, db.Put([]byte("k"), []byte("v")))
			must(t, db.Flush(context.Background()))
			func() {
				defer func() {
					if r := recover(); r != "mine" {
						t.Errorf("recovered %v", r)
					}
				}()
				read(db)
			}()
			must(t, db.Put([]byte("k"), []byte("w")))
			must(t, db.Compact(context.Background(), nil, nil))
			names, err := fs.List("db")
			must(t, err)
			if n := strings.Count(strings.Join(names, " "), ".sst"); n != 1 {
				t.Errorf("%d tables are there, where one is enough: %q", n, names)
			}
			must(t, db.Close())
		})
	}
}
