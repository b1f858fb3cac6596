package compaction

import "testing"

// TestGuardMin: a table does not end at a guard before it has its least size.
func TestGuardMin(t *testing.T) {
	for least, want := range map[uint64]int{0: 4, 1: 4, 1 << 20: 1} {
		s := newShop(t)
		guards := [][]byte{[]byte("c"), []byte("m"), []byte("p")}
		_, res := s.try(RunOptions{Guards: guards, GuardMin: least}, "a 1 PUT; d 1 PUT; n 1 PUT; q 1 PUT")
		if len(res.Tables) != want {
			t.Errorf("from %d bytes on: %d tables, want %d", least, len(res.Tables), want)
		}
	}
}
