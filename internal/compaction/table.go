package compaction

import (
	"bytes"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// maxWaiting is how many finished tables may wait for a value file to fill
// before that is closed early: each holds an open file and unsynced bytes.
const maxWaiting = 8

// openTable is the table being written.
type openTable struct {
	out  TableOutput
	meta *manifest.FileMeta
	refs refCounts
}

// emit writes a live version. toAll is set if every snapshot sees it.
func (r *runner) emit(kv *base.KV, toAll bool) error {
	if r.table == nil {
		if err := r.beginTable(); err != nil {
			return err
		}
	}
	r.wrote = true
	t := r.table
	v, err := r.values.route(kv)
	if err != nil {
		return err
	}
	trailer := base.MakeTrailer(kv.Trailer.Seq(), v.kind)
	if r.o.ZeroSeq && toAll && trailer.Seq() != 0 && isValue(v.kind) && !r.ranges.oldest() && r.elidable() {
		trailer = base.MakeTrailer(0, v.kind)
	}
	if err := t.out.Writer.Add(kv.Key, trailer, v.data); err != nil {
		return err
	}
	m := t.meta
	m.Entries++
	m.RawKeyBytes += uint64(len(kv.Key))
	m.RawValueBytes += uint64(v.raw)
	switch v.kind {
	case base.KindDelete, base.KindSingleDelete:
		m.Deletes++
	case base.KindPutTTL, base.KindPutTTLPointer:
		t.expires(expiryOf(v.data))
	}
	r.res.Stats.EntriesOut++
	return nil
}

// expires notes an entry with an expiry.
func (t *openTable) expires(at uint64) {
	m := t.meta
	if m.Expiring == 0 {
		m.MinExpiry = at
	}
	m.Expiring++
	m.MinExpiry, m.MaxExpiry = min(m.MinExpiry, at), max(m.MaxExpiry, at)
}

// addRange adds a piece of a range tombstone to the current table.
func (r *runner) addRange(f rangedel.Fragment) error {
	if r.table == nil {
		if err := r.beginTable(); err != nil {
			return err
		}
	}
	return r.table.out.Writer.AddRange(f)
}

func (r *runner) beginTable() error {
	out, err := r.o.NewTable()
	if err != nil {
		return err
	}
	r.tables = append(r.tables, out)
	r.table = &openTable{out: out, meta: &manifest.FileMeta{Num: out.ID.Num, Format: out.ID.Format(), Incarnation: out.ID.Incarnation}}
	return nil
}

// tableSize is about how large the current table is by now.
func (r *runner) tableSize() uint64 {
	if r.o.Dense {
		return r.table.out.Writer.WrittenSize()
	}
	return r.table.out.Writer.EstimatedSize()
}

// endTable finishes the current table, whose keys and range tombstones end
// before the key end; a nil end is no end. It closes the table, or lets it wait
// for the value file that it refers to. If there is no current table, range
// tombstones before end make one.
func (r *runner) endTable(end []byte) error {
	if r.ranges.any() {
		if err := r.ranges.take(bytes.Clone(end), r.addRange); err != nil {
			return err
		}
	}
	t := r.table
	if t == nil {
		return nil
	}
	info, err := t.out.Writer.Finish()
	if err != nil {
		return err
	}
	r.res.Stats.Training += time.Duration(info.Props.TrainNanos)
	m := t.meta
	m.Size = info.Size
	m.Smallest, m.Largest, m.LargestBound = bytes.Clone(info.Smallest), bytes.Clone(info.Largest), info.LargestBound
	m.Ranges = info.Ranges
	m.SmallestSeq, m.LargestSeq = info.SmallestSeq, info.LargestSeq
	m.ValueRefs = t.refs.list()
	r.res.Tables = append(r.res.Tables, m)
	r.res.Stats.BytesOut += m.Size
	r.table = nil

	if !r.values.isOpen() || !t.refs.has(r.values.out.ID.Num) {
		return t.out.Close()
	}
	r.waiting = append(r.waiting, t.out)
	if r.values.wantsClose() || len(r.waiting) >= maxWaiting {
		return r.closeValues()
	}
	return nil
}

// closeValues makes the value file durable, and after it the tables that waited
// for it.
func (r *runner) closeValues() error {
	if err := r.values.close(); err != nil {
		return err
	}
	for len(r.waiting) > 0 {
		t := r.waiting[0]
		r.waiting = r.waiting[1:]
		if err := t.Close(); err != nil {
			return err
		}
	}
	return nil
}
