package engine

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// oneTable makes a database with one table, which has a filter that can be left
// out, and opens that.
func oneTable(t *testing.T) (*Engine, *table) {
	e := openSmall(t, func(o *Options) {
		o.MemoryBudget, o.MemtableSize, o.TableSize, o.FilterBits, o.ManualOnly = 8<<20, 1<<20, 1<<20, 10, true
	})
	var b batch.Batch
	for i := range 10_000 {
		if err := b.Put(0, fmt.Appendf(nil, "%05d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Commit(&b, DefaultDurability); err != nil {
		t.Fatal(err)
	}
	if err := e.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	var tables []*table
	e.state.Load().v.eachTable(func(_ int, t *table) { tables = append(tables, t) })
	if len(tables) != 1 {
		t.Fatalf("%d tables", len(tables))
	}
	r, err := tables[0].use()
	if err != nil {
		t.Fatal(err)
	}
	if r.FilterBytes() == 0 || r.FilterLeftOut() {
		t.Fatal("there is no filter that could be left out")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return e, tables[0]
}

// lookBesides looks when n bytes of tables are left in the limit by others.
func (m *tableMemory) lookBesides(n int64) (others int64) {
	others = m.limit() - n
	m.e.cache.Charge(cache.Tables, others)
	m.lookNow()
	return others
}

func (m *tableMemory) lookNow() {
	m.looking.Lock()
	defer m.looking.Unlock()
	m.look()
}

// TestFoundMemoryStaysForTheRead: what a point read found is freed when the read
// has ended, and reads that began before it, and not before.
func TestFoundMemoryStaysForTheRead(t *testing.T) {
	for _, closed := range []bool{false, true} { // the filter goes, or the whole table
		e, tab := oneTable(t)
		m := &e.tablesMem
		r := tab.reader.Load()
		all, rest := e.cache.Charged(cache.Tables), int64(0)
		room := r.MemBytes() / 2
		if !closed {
			rest, room = r.MemBytes(), r.MemBytes()+r.FilterBytes()/2
		}
		older, oldShard := e.acquire()
		e.mu.Lock()
		cur := e.state.Load()
		retire := e.setState(&state{active: cur.active, imm: cur.imm, v: cur.v})
		e.mu.Unlock()
		retire()
		s, shard := e.acquire()
		kept, keptShard := e.keep() // as an iterator keeps it that stands nowhere
		others := m.lookBesides(room)
		all, rest = all+others, rest+others
		if s == e.state.Load() || e.cache.Charged(cache.Tables) != all || m.charged() != rest {
			t.Fatalf("%d of %d bytes are charged, want %d", m.charged(), e.cache.Charged(cache.Tables), rest)
		}
		if (tab.reader.Load() == nil) != closed || !closed && !r.FilterLeftOut() {
			t.Fatal("nothing was taken out")
		}
		var res sstable.Result
		if ok, err := r.Get([]byte("00007"), base.SeqNumMax, &res); err != nil || !ok || !r.MayContain(base.Hash([]byte("00007"))) {
			t.Fatal(ok, err)
		}
		res.Release()
		s.release(shard)
		if e.cache.Charged(cache.Tables) != all {
			t.Fatal("memory was freed before an older read ended")
		}
		older.release(oldShard)
		if got := e.cache.Charged(cache.Tables); got != rest || m.dying.Load() != 0 {
			t.Fatalf("%d bytes are charged after the reads, want %d; %d are dying", got, rest, m.dying.Load())
		}
		kept.letGo(keptShard)
		e.cache.Charge(cache.Tables, -others)
		if closed { // a new reader: the pages are still known
			it, err := e.root.NewIter(IterOptions{}, Newest)
			if err != nil {
				t.Fatal(err)
			}
			if !it.SeekGE([]byte("00007")) || !bytes.Equal(it.Key(), []byte("00007")) {
				t.Fatal(it.Err())
			}
			if tab.reader.Load() == nil || tab.reader.Load() == r || tab.reader.Load().FileID() != r.FileID() {
				t.Fatal("the table was not opened again under its name")
			}
			others := m.lookBesides(0)
			if tab.reader.Load() == nil {
				t.Fatal("a table in which an iterator stands was taken out")
			}
			e.cache.Charge(cache.Tables, -others)
			if err := it.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if e.lifetimes.n != 0 || e.quiet.oldest != nil || e.cache.Charged(cache.Tables) != 0 {
			t.Errorf("after Close: %d lifetimes, %d bytes", e.lifetimes.n, e.cache.Charged(cache.Tables))
		}
	}
}

// TestReadsWaitForRoom: a read that needs a table where memory is crowded waits
// until a look has made room, and not when there is none to be made.
func TestReadsWaitForRoom(t *testing.T) {
	e, tab := oneTable(t)
	m := &e.tablesMem
	others := m.lookBesides(-m.slack() - 1)
	if tab.reader.Load() != nil {
		t.Fatal("the table was not taken out")
	}
	m.stuck.Store(false)
	if !m.crowded() {
		t.Fatal("memory is not crowded")
	}
	if _, err := tab.open(false); err != errCrowded {
		t.Fatal(err)
	}
	gets := e.Metrics().Ops.Get.Count
	v, err := e.root.AppendGet(nil, []byte("00007"), Newest)
	if err != nil || len(v) != 0 {
		t.Fatal(v, err)
	}
	if n := e.Metrics().Ops.Get.Count - gets; n != 1 {
		t.Errorf("one read counts as %d", n)
	}
	m.lookNow() // takes the table out, if none did before
	m.lookNow()
	if !m.stuck.Load() || m.crowded() {
		t.Error("reads wait for what cannot be taken out")
	}
	least := patience
	for range 10 {
		m.stuck.Store(false)
		begin := time.Now()
		m.wait()
		least = min(least, time.Since(begin))
	}
	if least > patience/2 {
		t.Errorf("a read waits for %v until it is found that nothing can be taken out", least)
	}
	e.cache.Charge(cache.Tables, -others)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
