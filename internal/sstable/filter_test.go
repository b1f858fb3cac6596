package sstable

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/offheap"
)

// ledger is a Memory with room for so many bytes of filters.
type ledger struct{ used, room int64 }

func (l *ledger) Take(n int64) { l.used += n }

func (l *ledger) Admit(n int64) bool {
	if n > l.room {
		return false
	}
	l.used += n
	return true
}

// TestFilterLeftOut: a table is read without its filter, which can be read later,
// and be dropped again, all of it accounted for.
func TestFilterLeftOut(t *testing.T) {
	before := offheap.Mapped()
	rows := makeRows(rand.New(rand.NewPCG(1, 1)), "hex", 20_000)
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 1024, FilterBits: 10, Codec: compress.S2})
	f := &countingFile{memFile: memFile{bytes.NewReader(data)}}
	m := &ledger{}
	r, err := Open(f, int64(len(data)), ReaderOptions{ID: testID, Memory: m})
	if err != nil {
		t.Fatal(err)
	}
	if f.reads != 2 || !r.FilterLeftOut() || r.FilterBytes() < 20_000 || m.used != r.MemBytes() {
		t.Fatalf("%d reads, %v, a filter of %d bytes; %d bytes are accounted for, and %d taken", f.reads, r.FilterLeftOut(), r.FilterBytes(), m.used, r.MemBytes())
	}
	absent := base.Hash([]byte("absent"))
	if !r.MayContain(absent) || r.DropFilter() != nil {
		t.Fatal("there is a filter")
	}
	checkGets(t, rand.New(rand.NewPCG(1, 1)), r, rows, "hex", 300)
	if done, err := r.LoadFilter(); done || err != nil {
		t.Fatal(done, err)
	}
	m.room = r.FilterBytes()
	for range 2 {
		if done, err := r.LoadFilter(); !done || err != nil || r.FilterLeftOut() {
			t.Fatal(done, err)
		}
	}
	if r.MayContain(absent) || m.used != r.MemBytes()+r.FilterBytes() {
		t.Fatal("the filter was not read once")
	}
	checkGets(t, rand.New(rand.NewPCG(1, 1)), r, rows, "hex", 300)
	free := r.DropFilter()
	if free == nil || !r.MayContain(absent) || m.used != r.MemBytes()+r.FilterBytes() {
		t.Fatal("the filter was not dropped, or is not accounted for while it may be in use")
	}
	free()
	if m.used != r.MemBytes() {
		t.Fatalf("%d bytes are accounted for, of %d", m.used, r.MemBytes())
	}
	if !r.Use() || r.Idle() || r.Close() != nil || !r.Idle() || r.Close() != nil || r.Use() {
		t.Fatal("uses are not counted")
	}
	if m.used != 0 || offheap.Mapped() != before {
		t.Fatalf("%d bytes are accounted for after Close, %d are mapped", m.used, offheap.Mapped()-before)
	}
}

// TestFilterReadLaterIsChecked: damage of a filter that is left out is found when
// it is read, and until then does no harm.
func TestFilterReadLaterIsChecked(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(1, 1)), "hex", 20_000)
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 1024, FilterBits: 10, Codec: compress.S2})
	m := &ledger{}
	r, err := Open(memFile{bytes.NewReader(data)}, int64(len(data)), ReaderOptions{ID: testID, Memory: m})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data[r.filterAt.off+1000] ^= 1
	m.room = r.FilterBytes()
	var c *base.CorruptionError
	if done, err := r.LoadFilter(); done || !errors.As(err, &c) || m.used != r.MemBytes() {
		t.Fatal(done, err, m.used)
	}
	checkGets(t, rand.New(rand.NewPCG(1, 1)), r, rows, "hex", 300)
	m = &ledger{room: m.room}
	if _, err := Open(memFile{bytes.NewReader(data)}, int64(len(data)), ReaderOptions{ID: testID, Memory: m}); !errors.As(err, &c) || m.used != 0 {
		t.Fatal(err, m.used)
	}
}
