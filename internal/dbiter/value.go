package dbiter

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// This file holds what an Iter shows besides the key.

// Value returns the value shown, valid until the next positioning call. If the value cannot
// be read, Value returns nil and ends the iteration, and Err returns the reason.
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

// ValueLen returns the length of the value shown, 0 where Value returns nil. It does not
// read a value that is in a value file.
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

// stored returns the stored form of the value shown.
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

// afterExpiry strips the expiry from the stored form of a value.
func afterExpiry(kind base.Kind, v []byte) (base.Kind, []byte) {
	if kind.Expires() {
		return kind.WithoutExpiry(), v[base.ExpirySize:] // judge has checked that it is there
	}
	return kind, v
}

// unreadable ends the iteration at a value that cannot be read.
func (it *Iter) unreadable(err error) {
	it.env.Store.Damaged(err)
	it.err, it.valid = err, false
}

// plain returns the value that an entry stands for, valid until the next call.
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

// Expiry returns the time at which the key shown expires, 0 for none. A merged value has
// none: when the value below its operands expires, only that value disappears.
func (it *Iter) Expiry() uint64 {
	if !it.valid {
		return 0
	}
	if kind, v := it.stored(); kind.Expires() {
		return binary.LittleEndian.Uint64(v) // judge has checked it
	}
	return 0
}

// TakeValue appends the value of a key, returns how many operands it was merged from, and
// closes the iterator, even if the merge operator panics.
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
