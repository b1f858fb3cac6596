package block

import (
	"bytes"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Check proves everything that Open leaves to the reader: offsets ascend and
// fill their heaps, padding is zero, head lengths fit, and the entries are in
// strictly ascending order. It allocates, and is for verification and tests.
func (p *Page) Check() error {
	for _, c := range []struct {
		name string
		h    *heap
	}{{"tail", &p.tails}, {"value", &p.values}} {
		if err := c.h.check(c.name, p.n); err != nil {
			return err
		}
	}
	var prev, cur []byte
	for i := range p.n {
		if hl := int(p.headLen); hl == variable && int(p.headLens[i]) > int(p.width) {
			return fmt.Errorf("entry %d: head length %d exceeds %d", i, p.headLens[i], p.width)
		}
		hl := p.headLenAt(i)
		if hl < 8 && p.head(i)<<(8*hl) != 0 {
			return fmt.Errorf("entry %d: bytes after the end of the key", i)
		}
		if hl < 8 && len(p.tails.at(i)) != 0 {
			return fmt.Errorf("entry %d: a tail without a full head", i)
		}
		cur = p.AppendKey(append(cur[:0], p.prefix...), i)
		if i > 0 {
			if base.Compare(prev, p.Trailer(i-1), cur, p.Trailer(i)) >= 0 {
				return fmt.Errorf("entries %d and %d are out of order", i-1, i)
			}
			if p.unique && bytes.Equal(prev, cur) {
				return fmt.Errorf("entries %d and %d have one user key in a page said to have none twice", i-1, i)
			}
		}
		prev, cur = cur, prev
	}
	return nil
}

func (h *heap) check(name string, n int) error {
	if h.offs == nil {
		return nil
	}
	off := func(i int) int64 {
		if h.wide {
			return int64(le.Uint32(h.offs[i*4:]))
		}
		return int64(le.Uint16(h.offs[i*2:]))
	}
	if off(0) != 0 || off(n) != int64(len(h.bytes)) {
		return fmt.Errorf("%s offsets do not span their heap", name)
	}
	for i := range n {
		if off(i) > off(i+1) {
			return fmt.Errorf("%s offset %d descends", name, i+1)
		}
	}
	return nil
}
