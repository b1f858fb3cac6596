package cost

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestOpenIteratorsStayInTheBudget writes beside iterators that are opened one
// after another and never closed: each keeps what it reads, and together they
// keep no more than the budget. Health names them; closing gives all back.
func TestOpenIteratorsStayInTheBudget(t *testing.T) {
	const budget = 8 << 20
	o := seerdb.Options{MemoryBudget: budget, Durability: seerdb.NoWAL, ValueThreshold: -1}
	db := dbtest.Open(t, "db", dbtest.With(o, dbtest.TestOptions{FS: memfs.New()}))
	iters := 40
	if testing.Short() {
		iters = 25
	}
	const rows = 500
	var open []*seerdb.Iter
	value := make([]byte, 1000)
	most := int64(0)
	for i := range iters {
		for j := range rows {
			dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%03d%03d", i, j), value))
		}
		it, err := db.NewIter(nil)
		dbtest.Must(t, err)
		if !it.Last() || string(it.Key()) != fmt.Sprintf("key%03d%03d", i, rows-1) {
			t.Fatalf("iterator %d stands on %q", i, it.Key())
		}
		open = append(open, it)
		if m := db.Metrics().Memory; m.Used > most {
			most = m.Used
		}
	}
	m := db.Metrics()
	if most > budget*115/100 {
		t.Errorf("%d bytes were used of %d: %+v", most, budget, m.Memory)
	}
	if m.Memory.Pinned < budget/8 || m.Memory.Pinned > m.Memory.Memtables || m.Memory.Iterators < int64(iters)*1000 {
		t.Errorf("memory: %+v", m.Memory)
	}
	if h := db.Health(); !strings.Contains(strings.Join(h.Reasons, " "), "pinned_test.go") {
		t.Errorf("health names no iterator: %+v", h)
	}
	for i, it := range open {
		if want := fmt.Sprintf("key%03d%03d", i, rows-1); string(it.Key()) != want || len(it.Value()) != 1000 || it.Next() {
			t.Errorf("iterator %d stands on %q, %d bytes", i, it.Key(), len(it.Value()))
		}
		dbtest.Must(t, it.Close())
	}
	dbtest.Must(t, db.Flush(context.Background()))
	if m := db.Metrics().Memory; m.Pinned != 0 || m.Iterators != 0 {
		t.Errorf("after all are closed: %+v", m)
	}
}

// TestOnlyOldIteratorsPinMemory: a read that runs for as long as a compaction does, and
// an iterator over what is there now, leave the memtables as large as they are.
func TestOnlyOldIteratorsPinMemory(t *testing.T) {
	o := seerdb.Options{MemoryBudget: 8 << 20, Durability: seerdb.NoWAL, ValueThreshold: -1}
	db := dbtest.Open(t, "db", dbtest.With(o, dbtest.TestOptions{FS: memfs.New(), ManualOnly: true, L0Trigger: 100}))
	dbtest.Must(t, db.Put([]byte("key"), []byte("value")))
	dbtest.Must(t, db.GetFunc([]byte("key"), func([]byte) error { // holds its state, as jobs do
		it, err := db.NewIter(nil)
		dbtest.Must(t, err)
		if m := db.Metrics().Memory; m.Pinned != 0 {
			t.Errorf("an iterator over the current state pins %d bytes", m.Pinned)
		}
		dbtest.Must(t, it.Close())
		dbtest.Must(t, db.Flush(context.Background()))
		if m := db.Metrics().Memory; m.Pinned != 0 || m.Memtables < 2<<20 {
			t.Errorf("a read pins memory: %+v", m)
		}
		return nil
	}))
}
