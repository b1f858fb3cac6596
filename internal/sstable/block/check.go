package block

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Check verifies everything that Open does not: rows are contiguous and well
// formed, padding is zero, and the entries are in strictly ascending order. It
// allocates; it is for verification and tests.
func (p *Page) Check() error {
	if err := p.checkOffsets(); err != nil {
		return err
	}
	var kv base.KV
	var prev []byte
	var prevT base.Trailer
	cur := bytes.Clone(p.Prefix())
	unique := true
	for i := range p.n {
		row := p.row(i)
		n := p.keyLen
		if p.lenWidth != 0 {
			n = int(min(uintAt(row[p.trailWidth:], p.lenWidth), 1<<30))
		}
		if n > int(p.width)+len(row)-int(p.rowHeader) {
			return fmt.Errorf("entry %d: the key is longer than its row", i)
		}
		if n < 8 && p.head(i)<<(8*n) != 0 || n > int(p.width) && p.width < 8 {
			return fmt.Errorf("entry %d: the head is wrong for a key of %d bytes after the prefix", i, n)
		}
		cur = p.Load(i, &kv, cur)
		if i > 0 && base.Compare(prev, prevT, kv.Key, kv.Trailer) >= 0 {
			return fmt.Errorf("entries %d and %d are out of order", i-1, i)
		}
		unique = unique && (i == 0 || !bytes.Equal(prev, kv.Key))
		prev, prevT = append(prev[:0], kv.Key...), kv.Trailer
	}
	if unique != p.unique {
		return errors.New("the flag for distinct user keys is wrong")
	}
	return nil
}

func (p *Page) checkOffsets() error {
	if p.offWidth == 0 {
		return nil
	}
	off := func(i int) int64 {
		if p.offWidth == 4 {
			return int64(le.Uint32(p.data[p.offs+i*4:]))
		}
		return int64(le.Uint16(p.data[p.offs+i*2:]))
	}
	if off(0) != 0 || off(p.n) != int64(len(p.data)-p.rows) {
		return errors.New("the rows do not fill their part of the page")
	}
	for i := range p.n {
		if off(i)+int64(p.rowHeader) > off(i+1) {
			return fmt.Errorf("row %d is too short", i)
		}
	}
	return nil
}
