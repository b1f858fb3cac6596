package engine

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/merger"
)

// TestOperandsOfAnOlderState: a reader that begins while a memtable is replaced
// reads the older state at a newer sequence. What others remember of a key with the
// newer memtable is not for it: its other keys do not go with that.
func TestOperandsOfAnOlderState(t *testing.T) {
	e := openSmall(t, func(o *Options) { o.Merger, o.ManualOnly, o.FoldFrom = merger.Counter{}, true, 1 })
	defer e.Close()
	key := []byte("n")
	add := func() {
		t.Helper()
		var b batch.Batch
		_ = b.Merge(0, key, merger.AppendInt64(nil, 1))
		if _, err := e.Commit(&b, DefaultDurability); err != nil {
			t.Fatal(err)
		}
	}
	read := func(reader string, it *dbiter.Iter, want int64) {
		t.Helper()
		v, _, err := it.TakeValue(nil, key)
		n, cerr := int64(0), error(nil)
		if err == nil {
			n, cerr = merger.Int64(v)
		}
		if err != nil || cerr != nil || n != want {
			t.Errorf("%s reads %d (%v, %v), expected %d", reader, n, err, cerr, want)
		}
	}
	iter := func(s *readstate.State, shard int) *dbiter.Iter {
		it, err := e.root.newIterOn(s, shard, dbiter.Options{}, readstate.Newest, nil)
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	for range 3 {
		add()
	}
	older, shard := e.store.Keep()
	if err := e.commit.RetireLast(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		add()
	}
	read("a reader of the newer state", iter(e.store.Keep()), 7)
	read("a reader of the older state", iter(older, shard), 3)
	read("another one of the newer state", iter(e.store.Keep()), 7)
}
