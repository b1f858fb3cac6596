package compaction

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/valuelog"
)

// ValueOptions say what becomes of values.
type ValueOptions struct {
	// Threshold is the length from which a value goes to a value file; 0
	// leaves all values in the tables.
	Threshold int
	// MaxFileSize is where a value file ends.
	MaxFileSize uint64
	// Rewrite reports whether the values of a file shall be copied out of it.
	// nil never does.
	Rewrite func(base.FileNum) bool
	// Fetch appends the value that p points to.
	Fetch func(dst []byte, p valuelog.Pointer) ([]byte, error)
}

// routed is a value on its way into the table.
type routed struct {
	kind base.Kind
	data []byte // what the table stores; valid until the next route
	raw  int    // length of the user's value
}

// valueRouter decides for each value where it lives, and owns the value file
// being written.
type valueRouter struct {
	r    *runner
	out  *ValueOutput  // nil between files
	all  []ValueOutput // all that were made
	ptr  []byte        // scratch: an encoded pointer
	buf  []byte        // scratch: a fetched value
	last struct {      // the file asked about last, as neighbours often share one
		num     base.FileNum
		rewrite bool
	}
}

func (v *valueRouter) init(r *runner) { v.r = r }

func (v *valueRouter) isOpen() bool { return v.out != nil }

// route says what the table stores for kv.
func (v *valueRouter) route(kv *base.KV) (routed, error) {
	switch kv.Trailer.Kind() {
	case base.KindDelete:
		return routed{kind: base.KindDelete, data: kv.Value, raw: len(kv.Value)}, nil
	case base.KindPut:
		if v.r.o.Values.Threshold == 0 || len(kv.Value) < v.r.o.Values.Threshold {
			return routed{kind: base.KindPut, data: kv.Value, raw: len(kv.Value)}, nil
		}
		v.r.res.Stats.Separated++
		return v.separate(kv.Key, kv.Value)
	case base.KindPutPointer:
		return v.follow(kv)
	}
	return routed{}, fmt.Errorf("%w: compaction met an entry of kind %v under key %q, which this version cannot have written",
		base.ErrCorruption, kv.Trailer.Kind(), kv.Key)
}

// follow keeps a pointer as it is, unless its file is to be left.
func (v *valueRouter) follow(kv *base.KV) (routed, error) {
	p, err := valuelog.DecodePointer(kv.Value)
	if err != nil {
		return routed{}, fmt.Errorf("%w: key %q: %w", base.ErrCorruption, kv.Key, err)
	}
	if !v.rewrites(p.File) {
		v.r.table.refs.add(p)
		return routed{kind: base.KindPutPointer, data: kv.Value, raw: int(p.RawLength)}, nil
	}
	v.buf, err = v.r.o.Values.Fetch(v.buf[:0], p)
	if err != nil {
		return routed{}, err
	}
	v.r.polled += len(v.buf)
	if n := v.r.o.Values.Threshold; n == 0 || len(v.buf) < n {
		v.r.res.Stats.Inlined++
		return routed{kind: base.KindPut, data: v.buf, raw: len(v.buf)}, nil
	}
	v.r.res.Stats.Rewritten++
	v.r.res.Stats.RewrittenBytes += uint64(len(v.buf))
	return v.separate(kv.Key, v.buf)
}

func (v *valueRouter) rewrites(num base.FileNum) bool {
	if v.r.o.Values.Rewrite == nil {
		return false
	}
	if v.last.num != num {
		v.last.num, v.last.rewrite = num, v.r.o.Values.Rewrite(num)
	}
	return v.last.rewrite
}

// separate writes a value to the value file.
func (v *valueRouter) separate(key, value []byte) (routed, error) {
	if v.out != nil && v.out.Writer.Size()+valuelog.RecordSize(len(key), len(value)) > v.r.o.Values.MaxFileSize {
		if err := v.r.closeValues(); err != nil {
			return routed{}, err
		}
	}
	if v.out == nil {
		out, err := v.r.o.NewValues()
		if err != nil {
			return routed{}, err
		}
		v.all = append(v.all, out)
		v.out = &out
	}
	p, err := v.out.Writer.Add(key, value)
	if err != nil {
		return routed{}, err
	}
	v.r.table.refs.add(p)
	v.ptr = valuelog.AppendPointer(v.ptr[:0], p)
	return routed{kind: base.KindPutPointer, data: v.ptr, raw: len(value)}, nil
}

// wantsClose reports whether the value file had better end with the table that
// just ended: files that cover few tables are cheap to collect.
func (v *valueRouter) wantsClose() bool { return v.out.Writer.Size() >= v.r.o.Values.MaxFileSize/2 }

// close finishes the value file and makes it durable.
func (v *valueRouter) close() error {
	info, err := v.out.Writer.Finish()
	if err != nil {
		return err
	}
	v.r.res.Values = append(v.r.res.Values, manifest.ValueMeta{
		Num: v.out.Num, Size: info.Size, Bytes: info.Bytes, Count: info.Count,
	})
	v.r.res.Stats.BytesOut += info.Size
	out := v.out
	v.out = nil
	return out.Close()
}

func (v *valueRouter) abort() {
	for _, out := range v.all {
		out.Abort()
	}
}

// refCounts sums up what one table references. Tables refer to few files, and
// neighbours mostly to the same one.
type refCounts struct {
	refs []manifest.ValueRef
	last int
}

func (c *refCounts) add(p valuelog.Pointer) { c.addBytes(p.File, uint64(p.Length)) }

func (c *refCounts) addBytes(num base.FileNum, n uint64) {
	if c.last >= len(c.refs) || c.refs[c.last].File != num {
		c.last = slices.IndexFunc(c.refs, func(r manifest.ValueRef) bool { return r.File == num })
		if c.last < 0 {
			c.last = len(c.refs)
			c.refs = append(c.refs, manifest.ValueRef{File: num})
		}
	}
	c.refs[c.last].Bytes += n
	c.refs[c.last].Count++
}

func (c *refCounts) has(num base.FileNum) bool {
	return slices.ContainsFunc(c.refs, func(r manifest.ValueRef) bool { return r.File == num })
}

// list returns the references, ascending by file.
func (c *refCounts) list() []manifest.ValueRef {
	slices.SortFunc(c.refs, func(a, b manifest.ValueRef) int { return cmp.Compare(a.File, b.File) })
	return c.refs
}
