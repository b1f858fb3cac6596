package compaction

import (
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// filterAndEmit writes a version that every snapshot sees. It first asks the
// filter if it may: about values that nothing newer in the input hides.
func (r *runner) filterAndEmit(kv *base.KV) error {
	kind := kv.Trailer.Kind()
	if !isValue(kind) || r.wrote || r.ranges.newest() > kv.Trailer.Seq() {
		return r.emit(kv, true)
	}
	value, err := r.values.plain(kv)
	if err != nil {
		return err
	}
	verdict, changed, err := r.o.Filter(r.key, value)
	if err != nil {
		return err
	}
	switch verdict {
	case FilterRemove:
		r.res.Stats.Filtered++
		if r.elidable() {
			r.res.Stats.Tombstones++
			return nil
		}
		return r.emitDelete(kv.Trailer.Seq())
	case FilterChange:
		if len(changed) > base.MaxValueSize {
			return fmt.Errorf("compaction filter: the new value of key %q has %d bytes, more than %d: %w", r.key, len(changed), base.MaxValueSize, base.ErrValueTooLarge)
		}
		r.res.Stats.Filtered++
		out := base.KV{Key: r.key, Trailer: base.MakeTrailer(kv.Trailer.Seq(), base.KindPut), Value: changed}
		if kind.Expires() {
			out.Trailer = base.MakeTrailer(kv.Trailer.Seq(), base.KindPutTTL)
			out.Value = slices.Concat(kv.Value[:base.ExpirySize], changed)
		}
		return r.emit(&out, true)
	}
	return r.emit(kv, true)
}
