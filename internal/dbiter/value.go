package dbiter

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// What an Iter shows beside the key.

// Value is the value shown, valid until the next positioning call. A value
// that cannot be read is nil, ends the walk, and Err says why.
func (it *Iter) Value() []byte {
	if !it.valid || it.keysOnly {
		return nil
	}
	kind, v := it.stored()
	if kind == base.KindPut {
		return v
	}
	b, err := it.plain(kind, it.Key(), v)
	if err != nil {
		it.unreadable(err)
		return nil
	}
	return b
}

// AppendValue appends the value shown to dst, and fails as Value does.
func (it *Iter) AppendValue(dst []byte) ([]byte, error) {
	switch {
	case it.err != nil:
		return dst, it.err
	case it.env.Store.Closed():
		return dst, base.ErrClosed
	case !it.valid:
		return dst, base.ErrNotFound
	case it.keysOnly:
		return dst, fmt.Errorf("%w: values of an iterator with KeysOnly are not read", base.ErrInvalidOptions)
	}
	kind, v := it.inline()
	if kind == base.KindPut {
		return append(dst, v...), nil
	}
	b, err := it.s.AppendValue(dst, v, it.Key())
	if err != nil {
		it.unreadable(err)
		return dst, err
	}
	return b, nil
}

// ValueLen is the length of the value shown, without reading one that lies apart; 0
// where Value is nil.
func (it *Iter) ValueLen() int {
	if !it.valid || it.keysOnly {
		return 0
	}
	kind, v := it.inline()
	if kind == base.KindPut {
		return len(v)
	}
	n, err := it.s.ValueLen(v, it.Key())
	if err != nil {
		it.unreadable(err)
	}
	return n
}

// stored is what stands for the value shown.
func (it *Iter) stored() (base.Kind, []byte) {
	if it.isCopy {
		return it.trailer.Kind(), it.value
	}
	return it.cur.Trailer.Kind(), it.cur.Value
}

// inline is stored without the expiry: a value, with base.KindPut, or a pointer.
func (it *Iter) inline() (base.Kind, []byte) {
	return afterExpiry(it.stored())
}

// afterExpiry takes the expiry off what stands for a value.
func afterExpiry(kind base.Kind, v []byte) (base.Kind, []byte) {
	if kind.Expires() {
		return kind.WithoutExpiry(), v[base.ExpirySize:] // classify has seen that it is there
	}
	return kind, v
}

// unreadable ends the walk at a value.
func (it *Iter) unreadable(err error) {
	it.env.Store.Damaged(err)
	it.err, it.valid = err, false
}

// plain is the value that an entry stands for. It is valid until the next call.
func (it *Iter) plain(kind base.Kind, key, v []byte) ([]byte, error) {
	kind, v = afterExpiry(kind, v)
	if kind == base.KindPut {
		return v, nil
	}
	b, err := it.s.AppendValue(it.fetched[:0], v, key)
	if err == nil {
		it.env.Pins.Grown(&it.pin, int64(cap(b)-cap(it.fetched)))
		it.fetched = b
	}
	return b, err
}

// Expiry is the time at which the key shown is gone, or 0 if it has none. One
// that was merged has none: the time only takes away what its operands lie on.
func (it *Iter) Expiry() uint64 {
	if !it.valid {
		return 0
	}
	if kind, v := it.stored(); kind.Expires() {
		return binary.LittleEndian.Uint64(v) // classify has seen it
	}
	return 0
}

// TakeValue appends the value of a key, and closes the iterator, though the
// merge operator may panic. It returns how many operands it was made of.
func (it *Iter) TakeValue(dst, key []byte) (res []byte, operands int, err error) {
	defer func() {
		if cerr := it.Close(); cerr != nil {
			err = cerr
		}
	}()
	if it.SeekGE(key) && bytes.Equal(it.Key(), key) {
		return append(dst, it.Value()...), it.folded, nil
	}
	return dst, 0, base.ErrNotFound
}
