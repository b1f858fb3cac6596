package compaction

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/valuelog"
)

// routed is what a table stores for a value.
type routed struct {
	kind base.Kind
	data []byte // what the table stores; valid until the next route
	raw  int    // length of the user's value
}

// valueRouter decides for each value where it is stored, and owns the value
// file being written.
type valueRouter struct {
	r   *runner
	out *ValueOutput  // nil between files
	all []ValueOutput // all value files made
	ptr []byte        // scratch: an encoded pointer, behind its expiry
	buf []byte        // scratch: a value to rewrite, behind its expiry
	// Scratch: a value for the merger or the filter.
	fetched []byte
	last    struct { // the file asked about last, as neighbours often share one
		num     base.FileNum
		rewrite bool
	}
}

func (v *valueRouter) init(r *runner) { v.r = r }

func (v *valueRouter) isOpen() bool { return v.out != nil }

// route returns what the table stores for kv, whose kind effectiveKind
// accepted.
func (v *valueRouter) route(kv *base.KV) (routed, error) {
	kind := kv.Trailer.Kind()
	switch kind {
	case base.KindPut:
		return v.storeValue(kv.Key, nil, kv.Value, kv.Value)
	case base.KindPutTTL:
		return v.storeValue(kv.Key, kv.Value[:base.ExpirySize], kv.Value[base.ExpirySize:], kv.Value)
	case base.KindPutPointer, base.KindPutTTLPointer:
		return v.follow(kv)
	}
	return routed{kind: kind, data: kv.Value, raw: len(kv.Value)}, nil
}

// storeValue leaves a value inline or moves it to a value file. whole is the expiry
// and value as they are stored inline.
func (v *valueRouter) storeValue(key, expiry, value, whole []byte) (routed, error) {
	if n := v.r.o.Values.Threshold; n > 0 && len(value) >= n {
		v.r.res.Stats.Separated++
		return v.separate(key, expiry, value)
	}
	return routed{kind: kindOf(expiry, base.KindPut, base.KindPutTTL), data: whole, raw: len(value)}, nil
}

// kindOf returns never if there is no expiry, else ever.
func kindOf(expiry []byte, never, ever base.Kind) base.Kind {
	if len(expiry) == 0 {
		return never
	}
	return ever
}

// follow keeps a pointer as it is, unless its file is to be rewritten.
func (v *valueRouter) follow(kv *base.KV) (routed, error) {
	expiry, p, err := splitPointer(kv)
	if err != nil {
		return routed{}, err
	}
	if !v.rewrites(p.File) {
		v.r.table.refs.add(p)
		return routed{kind: kv.Trailer.Kind(), data: kv.Value, raw: int(p.RawLength)}, nil
	}
	v.buf, err = v.r.o.Values.Fetch(append(v.buf[:0], expiry...), p)
	if err != nil {
		return routed{}, err
	}
	value := v.buf[len(expiry):]
	v.r.polled += len(value)
	if n := v.r.o.Values.Threshold; n == 0 || len(value) < n {
		v.r.res.Stats.Inlined++
		return routed{kind: kindOf(expiry, base.KindPut, base.KindPutTTL), data: v.buf, raw: len(value)}, nil
	}
	v.r.res.Stats.Rewritten++
	v.r.res.Stats.RewrittenBytes += uint64(len(value))
	return v.separate(kv.Key, expiry, value)
}

// splitPointer splits the value of a pointer entry.
func splitPointer(kv *base.KV) (expiry []byte, p valuelog.Pointer, err error) {
	data := kv.Value
	if kv.Trailer.Kind() == base.KindPutTTLPointer {
		expiry, data = data[:base.ExpirySize], data[base.ExpirySize:]
	}
	if p, err = valuelog.DecodePointer(data); err != nil {
		err = fmt.Errorf("%w: key %q: %w", base.ErrCorruption, kv.Key, err)
	}
	return expiry, p, err
}

// plain returns the value of an entry as users know it, valid until the next
// call.
func (v *valueRouter) plain(kv *base.KV) ([]byte, error) {
	switch kv.Trailer.Kind() {
	case base.KindPut:
		return kv.Value, nil
	case base.KindPutTTL:
		return kv.Value[base.ExpirySize:], nil
	}
	_, p, err := splitPointer(kv)
	if err != nil {
		return nil, err
	}
	v.fetched, err = v.r.o.Values.Fetch(v.fetched[:0], p)
	v.r.polled += len(v.fetched)
	return v.fetched, err
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
func (v *valueRouter) separate(key, expiry, value []byte) (routed, error) {
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
	v.ptr = valuelog.AppendPointer(append(v.ptr[:0], expiry...), p)
	return routed{kind: kindOf(expiry, base.KindPutPointer, base.KindPutTTLPointer), data: v.ptr, raw: len(value)}, nil
}

// wantsClose reports whether the value file should end with the table that just
// ended. Value files that cover few tables are cheap to collect.
func (v *valueRouter) wantsClose() bool { return v.out.Writer.Size() >= v.r.o.Values.MaxFileSize/2 }

// close finishes the value file and makes it durable.
func (v *valueRouter) close() error {
	info, err := v.out.Writer.Finish()
	if err != nil {
		return err
	}
	v.r.res.Values = append(v.r.res.Values, manifest.ValueMeta{
		Num: v.out.ID.Num, Incarnation: v.out.ID.Incarnation, Size: info.Size, Bytes: info.Bytes, Count: info.Count,
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

// refCounts sums up what one table refers to. Tables refer to few files, and
// neighbouring entries mostly to the same one.
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
