package readstate

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// RunIter walks one sorted run: table after table, through a single table
// iterator.
type RunIter struct {
	tables []*Table
	opts   sstable.IterOptions
	upper  []byte // tables that begin at or after it are not opened; nil for none
	cur    sstable.Iter
	rd     *sstable.Reader // in use while loaded
	at     int             // index of the table of cur; -1 before all, len after all, or unplaced
	loaded bool
	err    error
}

// unplaced is RunIter.at before the first positioning call.
const unplaced = -2

var _ base.Iterator = (*RunIter)(nil)

// Init prepares the iterator to walk tables; it keeps its buffers. First,
// SeekGE and Next do not open tables that begin at or after upper. A walk back
// must begin with SeekLT of upper, or of a key before it. The caller keeps the
// state of the tables.
func (r *RunIter) Init(tables []*Table, o sstable.IterOptions, upper []byte) {
	r.unload()
	r.tables, r.opts, r.upper, r.at, r.err = tables, o, upper, unplaced, nil
}

// load makes table i current. It returns false if there is none or it cannot be
// opened.
func (r *RunIter) load(i int) bool {
	if r.loaded && r.at == i {
		return true
	}
	r.unload()
	r.at = max(-1, min(i, len(r.tables)))
	if i < 0 || i >= len(r.tables) {
		return false
	}
	rd, err := r.tables[i].Use()
	if err != nil {
		r.err = err
		return false
	}
	r.cur.Init(rd, r.opts)
	r.rd, r.loaded = rd, true
	return true
}

func (r *RunIter) unload() {
	if r.loaded {
		_ = r.cur.Close()
		_ = r.rd.Close()
		r.rd, r.loaded = nil, false
	}
}

// settle returns kv, or if that is nil the first entry of the following tables.
func (r *RunIter) settle(kv *base.KV) *base.KV {
	for kv == nil {
		if r.err = r.cur.Err(); r.err != nil {
			return nil
		}
		if i := r.at + 1; i < len(r.tables) && r.upper != nil && bytes.Compare(r.tables[i].Meta.Smallest, r.upper) >= 0 {
			r.load(len(r.tables))
			return nil
		}
		if !r.load(r.at + 1) {
			return nil
		}
		kv = r.cur.First()
	}
	return kv
}

func (r *RunIter) settleBack(kv *base.KV) *base.KV {
	for kv == nil {
		if r.err = r.cur.Err(); r.err != nil {
			return nil
		}
		if !r.load(r.at - 1) {
			return nil
		}
		kv = r.cur.Last()
	}
	return kv
}

func (r *RunIter) SeekGE(key []byte, t base.Trailer) *base.KV {
	r.err = nil
	i := (&Run{Tables: r.tables}).search(key)
	if i < len(r.tables) && r.upper != nil && bytes.Compare(r.tables[i].Meta.Smallest, r.upper) >= 0 {
		i = len(r.tables)
	}
	if !r.load(i) {
		return nil
	}
	return r.settle(r.cur.SeekGE(key, t))
}

func (r *RunIter) SeekLT(key []byte) *base.KV {
	r.err = nil
	i := (&Run{Tables: r.tables}).search(key)
	if i == len(r.tables) || bytes.Compare(r.tables[i].Meta.Smallest, key) >= 0 {
		i--
	}
	if !r.load(i) {
		return nil
	}
	return r.settleBack(r.cur.SeekLT(key))
}

func (r *RunIter) First() *base.KV {
	r.err = nil
	if !r.load(0) {
		return nil
	}
	return r.settle(r.cur.First())
}

func (r *RunIter) Last() *base.KV {
	r.err = nil
	if !r.load(len(r.tables) - 1) {
		return nil
	}
	return r.settleBack(r.cur.Last())
}

func (r *RunIter) Next() *base.KV {
	if r.loaded {
		return r.settle(r.cur.Next())
	}
	if r.err != nil || r.at >= len(r.tables) {
		return nil
	}
	return r.First()
}

func (r *RunIter) Prev() *base.KV {
	if r.loaded {
		return r.settleBack(r.cur.Prev())
	}
	if r.err != nil || r.at == -1 {
		return nil
	}
	return r.Last()
}

func (r *RunIter) Err() error { return r.err }

func (r *RunIter) Close() error {
	r.unload()
	r.tables = nil
	return r.err
}
