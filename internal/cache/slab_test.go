package cache

import "testing"

func TestClasses(t *testing.T) {
	for slab := minSlab; slab <= maxSlab; slab *= 2 {
		c := New(Options{Budget: int64(slab) * slabsPerBudget})
		if c.slabSize != slab || len(c.classes) > 100 {
			t.Fatalf("slab %d, want %d; %d classes", c.slabSize, slab, len(c.classes))
		}
		lost, last := 0.0, 0
		for size := 1; size <= c.maxSlot(); size++ {
			ci := c.classOf(size)
			cl := &c.classes[ci]
			if cl.slot < size || ci < last || ci == c.largeClass() || ci > 0 && c.classes[ci-1].slot >= size {
				t.Fatalf("%d bytes in a slot of %d", size, cl.slot)
			}
			if cl.slot%slotAlign != 0 || cl.slot*cl.perSlab > slab {
				t.Fatalf("%d slots of %d bytes in %d", cl.perSlab, cl.slot, slab)
			}
			if size >= 4096 && size < 16384 {
				lost += 1 - float64(size)*float64(cl.perSlab)/float64(slab)
			}
			last = ci
		}
		if last != c.largeClass()-1 {
			t.Fatalf("class %d of %d is the last used", last, c.largeClass()-1)
		}
		t.Logf("slabs of %d KiB: %d classes; pages of 4 to 16 KiB lose %.3f", slab>>10, len(c.classes), lost/(16384-4096))
		c.Close()
	}
}
