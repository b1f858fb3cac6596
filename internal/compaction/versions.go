package compaction

import (
	"encoding/binary"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// pendingSingleDelete is a single delete that waits for the value under it.
type pendingSingleDelete struct {
	held   bool
	under  bool // a newer value of its stripe hides it
	met    bool // the value came and is dropped
	stripe int
	seq    base.SeqNum
	metSeq base.SeqNum // of the value
}

// version takes the next older version of the current key. It decides at once
// about versions that need not wait for older ones.
func (r *runner) version(kv *base.KV) error {
	if !r.keep.enter(kv.Trailer.Seq()) {
		r.res.Stats.Duplicates++
		return nil
	}
	kind := kv.Trailer.Kind()
	if kind > base.KindPutPointer || r.pendingSingle.held || !r.fold.empty() || r.ranges.over() {
		return r.anyVersion(kv, kind)
	}
	return r.settle(kv, kind)
}

// anyVersion is version for all kinds, with pending versions and range
// tombstones.
func (r *runner) anyVersion(kv *base.KV, kind base.Kind) error {
	kind, err := r.effectiveKind(kv, kind)
	if err != nil {
		return err
	}
	covered := r.keep.published() && r.ranges.covers(r.keep.stripe, r.keep.seq)
	if gone, err := r.meetSingle(kind, covered); gone || err != nil {
		return err
	}
	if gone, err := r.meetFold(kv, kind, covered); gone || err != nil {
		return err
	}
	switch {
	case covered:
		r.res.Stats.RangeCovered++
		return nil
	case kind == base.KindSingleDelete && r.keep.published() && r.keep.hides != hideByDelete:
		r.pendingSingle = pendingSingleDelete{held: true, under: r.keep.hides == hideByValue, stripe: r.keep.stripe, seq: r.keep.seq}
		return nil
	case kind == base.KindMerge && r.o.Merger != nil && r.keep.published() && r.keep.hides == hideNothing:
		r.fold.stripe = r.keep.stripe
		r.fold.push(r.key, kv.Value, r.keep.seq)
		return nil
	}
	return r.settle(kv, kind)
}

// effectiveKind checks the kind of an entry, and returns KindDelete for an
// expired one.
func (r *runner) effectiveKind(kv *base.KV, kind base.Kind) (base.Kind, error) {
	switch kind {
	case base.KindDelete, base.KindPut, base.KindPutPointer, base.KindMerge, base.KindSingleDelete:
		return kind, nil
	case base.KindPutTTL, base.KindPutTTLPointer:
		if len(kv.Value) < base.ExpirySize {
			return 0, fmt.Errorf("%w: key %q: the value has %d bytes, too few for its expiry", base.ErrCorruption, kv.Key, len(kv.Value))
		}
		if expiryOf(kv.Value) <= r.o.ExpireAt {
			r.res.Stats.Expired++
			return base.KindDelete, nil
		}
		return kind, nil
	}
	return 0, fmt.Errorf("%w: compaction met an entry of kind %v under key %q, which this version cannot have written",
		base.ErrCorruption, kind, kv.Key)
}

func expiryOf(value []byte) uint64 { return binary.LittleEndian.Uint64(value) }

// settle decides about a version that needs no older one.
func (r *runner) settle(kv *base.KV, kind base.Kind) error {
	switch r.keep.decide(kind, r.elidable) {
	case dropShadowed:
		r.res.Stats.Shadowed++
		return nil
	case dropTombstone:
		r.res.Stats.Tombstones++
		return nil
	}
	if kind == base.KindDelete && kv.Trailer.Kind() != kind {
		return r.emitDelete(kv.Trailer.Seq())
	}
	if r.o.Filter != nil && r.keep.visibleToAll() {
		return r.filterAndEmit(kv)
	}
	return r.emit(kv, r.keep.visibleToAll())
}

func (r *runner) emitDelete(s base.SeqNum) error {
	return r.emit(&base.KV{Key: r.key, Trailer: base.MakeTrailer(s, base.KindDelete)}, false)
}

func isValue(kind base.Kind) bool {
	switch kind {
	case base.KindPut, base.KindPutPointer, base.KindPutTTL, base.KindPutTTLPointer:
		return true
	}
	return false
}

// meetSingle handles the current version under a pending single delete, if
// there is one. It returns true when nothing is left of the version.
func (r *runner) meetSingle(kind base.Kind, covered bool) (gone bool, err error) {
	sd, st := &r.pendingSingle, &r.res.Stats
	if !sd.held {
		return false, nil
	}
	if r.keep.stripe != sd.stripe {
		return false, r.endSingle((isValue(kind) || kind == base.KindMerge) && !r.ranges.between(r.keep.seq, sd.metSeq))
	}
	if covered {
		st.RangeCovered++
		return true, nil
	}
	switch {
	case isValue(kind) && !sd.met:
		sd.met, sd.metSeq = true, r.keep.seq
	case isValue(kind), kind == base.KindMerge:
		st.SingleDeleteMisuse++
		err = r.singleToDelete()
	case sd.met: // a tombstone under the pair hides versions of its own
		return false, r.endSingle(false)
	case kind == base.KindDelete:
		err = r.singleToDelete()
	}
	st.Shadowed++
	return true, err
}

// endSingle decides about the pending single delete at the end of its stripe,
// or when it can meet nothing more. exposes is set if older versions would
// become visible should it vanish with the value that it met.
func (r *runner) endSingle(exposes bool) error {
	sd := r.pendingSingle
	switch {
	case sd.met && exposes:
		r.res.Stats.SingleDeleteMisuse++
		return r.singleToDelete()
	case sd.met && (sd.stripe == 0 || sd.under), sd.stripe == 0 && r.elidable():
		r.res.Stats.Tombstones++
		r.pendingSingle = pendingSingleDelete{}
		return nil
	}
	r.pendingSingle = pendingSingleDelete{}
	return r.emit(&base.KV{Key: r.key, Trailer: base.MakeTrailer(sd.seq, base.KindSingleDelete)}, false)
}

// singleToDelete turns the pending single delete into a tombstone.
func (r *runner) singleToDelete() error {
	sd := r.pendingSingle
	r.pendingSingle = pendingSingleDelete{}
	if sd.under {
		r.res.Stats.Shadowed++
		return nil
	}
	if sd.stripe == r.keep.stripe {
		r.keep.hide(hideByDelete)
	}
	if sd.stripe == 0 && r.elidable() {
		r.res.Stats.Tombstones++
		return nil
	}
	return r.emitDelete(sd.seq)
}

// meetFold handles the current version under pending operands, if there are
// any. It returns true when nothing is left of the version.
func (r *runner) meetFold(kv *base.KV, kind base.Kind, covered bool) (gone bool, err error) {
	f, st := &r.fold, &r.res.Stats
	switch {
	case f.empty():
		return false, nil
	case r.keep.stripe != f.stripe:
		return false, r.endFold()
	case covered:
		_, err = r.foldInto(nil, false)
		return false, err
	}
	switch kind {
	case base.KindMerge:
		f.push(r.key, kv.Value, r.keep.seq)
		if f.overflows() {
			err = r.emitNewestOperands()
		}
		return true, err
	case base.KindDelete:
		if gone, err = r.foldInto(nil, false); gone {
			st.Shadowed++
		}
		return gone, err
	case base.KindSingleDelete:
		_, err = r.foldInto(nil, false)
		return false, err
	case base.KindPut, base.KindPutPointer:
		value, err := r.values.plain(kv)
		if err != nil {
			return false, err
		}
		if gone, err = r.foldInto(value, true); gone {
			st.Merged++
		}
		return gone, err
	}
	return false, r.emitOperands() // a value that will expire
}

// endFold decides about the pending operands at the end of their stripe.
func (r *runner) endFold() error {
	s := r.fold.stripe
	if r.ranges.beneath(s, r.fold.oldest) || s == 0 && r.elidable() {
		_, err := r.foldInto(nil, false)
		return err
	}
	return r.emitOperands()
}

// foldInto merges the pending operands and existing, which is under them, into
// one value. It returns false when the merger failed: then it has written the
// operands unchanged, and existing has to stay.
func (r *runner) foldInto(existing []byte, exists bool) (ok bool, err error) {
	f := &r.fold
	value, err := f.full(r.key, existing, exists)
	if err != nil {
		r.res.Stats.MergeFailures++
		return false, r.writeOperands(len(f.ops))
	}
	newest := f.ops[0].seq
	r.res.Stats.Merged += uint64(f.pushed - 1)
	f.drop(len(f.ops))
	if r.keep.stripe == f.stripe {
		r.keep.hide(hideByValue)
	}
	kv := base.KV{Key: r.key, Trailer: base.MakeTrailer(newest, base.KindPut), Value: value}
	if r.o.Filter != nil && f.stripe == 0 {
		return true, r.filterAndEmit(&kv)
	}
	return true, r.emit(&kv, f.stripe == 0)
}

// emitOperands writes the pending operands, combined as far as possible.
func (r *runner) emitOperands() error {
	r.fold.combineAll(r.key)
	return r.writeOperands(len(r.fold.ops))
}

// emitNewestOperands writes the newest operands to make room for more.
func (r *runner) emitNewestOperands() error {
	n, held := 0, r.fold.held
	for held > maxHeld/2 {
		held -= len(r.fold.ops[n].data) + operandCost
		n++
	}
	return r.writeOperands(n)
}

// writeOperands writes the newest n of the pending operands.
func (r *runner) writeOperands(n int) error {
	for _, o := range r.fold.ops[:n] {
		kv := base.KV{Key: r.key, Trailer: base.MakeTrailer(o.seq, base.KindMerge), Value: o.data}
		if err := r.emit(&kv, false); err != nil {
			return err
		}
		r.res.Stats.Merged += uint64(o.n - 1)
	}
	r.fold.drop(n)
	return nil
}

// endKey decides about the pending versions at the end of a key.
func (r *runner) endKey() error {
	switch {
	case r.pendingSingle.held:
		return r.endSingle(false)
	case !r.fold.empty():
		return r.endFold()
	}
	return nil
}
