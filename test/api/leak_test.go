package api

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/typed"
	"github.com/seerdb-go/seerdb/valuecodec"
)

// TestLeaksAreNamed: Close names the line of the program at which what is still
// open was made, whichever part of the interface it was made by.
func TestLeaksAreNamed(t *testing.T) {
	loop := func(rows func(*seerdb.DB) *seerdb.Rows) func(*seerdb.DB, func()) {
		return func(db *seerdb.DB, end func()) {
			for range rows(db).All() {
				end()
				break
			}
		}
	}
	for name, use := range map[string]func(db *seerdb.DB, end func()){
		"iterator": func(db *seerdb.DB, end func()) {
			it, err := db.NewIter(nil)
			dbtest.Must(t, err)
			end()
			_ = it.Close()
		},
		"snapshot": func(db *seerdb.DB, end func()) { s := db.NewSnapshot(); end(); _ = s.Close() },
		"view": func(db *seerdb.DB, end func()) {
			dbtest.Must(t, db.View(func(*seerdb.Snapshot) error { end(); return nil }))
		},
		"transaction": func(db *seerdb.DB, end func()) {
			x, err := db.Begin(nil)
			dbtest.Must(t, err)
			end()
			x.Rollback()
		},
		"update": func(db *seerdb.DB, end func()) {
			_ = db.Update(context.Background(), func(*seerdb.Txn) error { end(); return nil })
		},
		"rows":   loop(func(db *seerdb.DB) *seerdb.Rows { return db.Range(nil, nil) }),
		"prefix": loop(func(db *seerdb.DB) *seerdb.Rows { return db.Prefix([]byte("k")) }),
		"rows of a snapshot": func(db *seerdb.DB, end func()) {
			s := db.NewSnapshot()
			for range s.Range(nil, nil).All() {
				_ = s.Close()
				end()
				break
			}
		},
		"rows of a transaction": func(db *seerdb.DB, end func()) {
			x, err := db.Begin(nil)
			dbtest.Must(t, err)
			for range x.Range(nil, nil).All() {
				x.Rollback()
				end()
				break
			}
		},
	} {
		checkLeakIsNamed(t, name, use)
	}
}

// checkLeakIsNamed closes a database in the midst of a use of it, which calls end.
func checkLeakIsNamed(t *testing.T, name string, use func(db *seerdb.DB, end func())) {
	t.Helper()
	db, err := seerdb.Open("db", dbtest.SmallOn(memfs.New(), seerdb.Relaxed))
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("key"), nil))
	err = nil
	use(db, func() { err = db.Close() })
	if !errors.Is(err, seerdb.ErrLeaked) || !strings.Contains(err.Error(), "leak_test.go:") {
		t.Errorf("%s: %v", name, err)
	}
}

// TestTypedLeaksAreNamed is TestLeaksAreNamed for loops over typed rows.
func TestTypedLeaksAreNamed(t *testing.T) {
	for name, use := range map[string]func(db *seerdb.DB, end func()){
		"typed rows": func(db *seerdb.DB, end func()) {
			for range typed.New(db, keycodec.String, valuecodec.Empty).Rows().All() {
				end()
				break
			}
		},
		"typed rows backward, of a snapshot": func(db *seerdb.DB, end func()) {
			s := db.NewSnapshot()
			for range typed.New(db, keycodec.String, valuecodec.Empty).At(s).Rows().Before("z").Backward() {
				_ = s.Close()
				end()
				break
			}
		},
		"typed rows, of a transaction": func(db *seerdb.DB, end func()) {
			x, err := db.Begin(nil)
			dbtest.Must(t, err)
			for range typed.New(db, keycodec.String, valuecodec.Empty).In(x).Rows().All() {
				x.Rollback()
				end()
				break
			}
		},
	} {
		checkLeakIsNamed(t, name, use)
	}
}
