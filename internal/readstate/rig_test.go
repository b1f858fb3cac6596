package readstate_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// found is what a read of a key found, with the value that is stored for it.
type found struct {
	out   readstate.Outcome
	value string
}

// read is a point read as a keyspace makes it, but that it merges no operands.
func read(st *readstate.Store, keyspace uint32, key string, at readstate.Point) (f found, err error) {
	for waited := false; ; waited = true {
		var q readstate.Query
		if !q.Begin(st, keyspace, []byte(key), at, waited) {
			return found{}, base.ErrClosed
		}
		f.out, err = q.Get()
		switch f.out {
		case readstate.Plain:
			f.value = string(q.Value)
		case readstate.Pointer:
			var v []byte
			v, err = q.Fetch(nil)
			f.value = string(v)
		}
		q.Done()
		if f.out != readstate.Crowded {
			q.Ended()
			return f, err
		}
		q.Uncounted()
		st.WaitForRoom()
	}
}

// want checks what the default keyspace has for a key.
func want(r *readstatetest.Rig, key string, at readstate.Point, value string) {
	r.Helper()
	f, err := read(r.Store, 0, key, at)
	switch {
	case err != nil:
		r.Errorf("%q: %v", key, err)
	case value == "" && f.out != readstate.Absent, value != "" && f.value != value:
		r.Errorf("%q is %q (outcome %d), want %q", key, f.value, f.out, value)
	}
}

// wantDamage checks that an error is damage of a file, and that the store reported it if
// reported is true.
func wantDamage(r *readstatetest.Rig, err error, file string, reported bool) {
	r.Helper()
	var c *base.CorruptionError
	if !errors.As(err, &c) || c.File != file {
		r.Errorf("the error is %v, want damage of %s", err, file)
	}
	if d := r.Damage(); (len(d) > 0) != reported || reported && !slices.Contains(d, err) {
		r.Errorf("reported is %v, and the error %v", d, err)
	}
}

// onlyTable is the one table of the current state.
func onlyTable(r *readstatetest.Rig) *readstate.Table {
	r.Helper()
	tables := r.Store.Current().Tables()
	if len(tables) != 1 {
		r.Fatalf("%d tables", len(tables))
	}
	return tables[0]
}

// flushed puts keys and values into a table of level 0.
func flushed(r *readstatetest.Rig, keysAndValues ...string) *readstate.Table {
	r.Helper()
	r.Put(keysAndValues...)
	r.Rotate()
	r.Flush()
	return r.Store.Current().Levels(0)[0][0].Tables[0]
}

func newRig(t *testing.T, o readstatetest.Options) *readstatetest.Rig {
	t.Helper()
	return readstatetest.New(t, o)
}

// newIter walks a whole table.
func newIter(rd *sstable.Reader) *sstable.Iter { return rd.NewIter(sstable.IterOptions{Bypass: true}) }

var newest = readstate.Newest
