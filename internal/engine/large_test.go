package engine

import (
	"errors"
	"math"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// TestReplayOfBatchTooLarge replays a batch of more operations than a memtable can hold.
// Where an int has 32 bits, what the operations take together has more: a sum that wraps
// around would let them pass. Elsewhere such a batch would take a gigabyte, and the limit is
// lowered instead.
func TestReplayOfBatchTooLarge(t *testing.T) {
	n := 25_000_000
	if math.MaxInt > math.MaxInt32 {
		n = 25_000
		limit := replayMemoryMax
		replayMemoryMax = 1 << 20
		defer func() { replayMemoryMax = limit }()
	}
	e := openSmall(t, nil)
	defer e.Close()
	b := &batch.Batch{Data: make([]byte, 0, batch.HeaderSize+4*n)}
	for range n {
		if err := b.Delete(0, nil); err != nil {
			t.Fatal(err)
		}
	}
	b.SetSeq(base.SeqNumStart)
	r := &replay{e: e}
	if err := r.apply(b.Data); !errors.Is(err, base.ErrBatchTooLarge) {
		t.Errorf("replay: %v", err)
	}
	r.free()
	var small batch.Batch
	if err := small.Put(0, []byte("k"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(&small, DefaultDurability); err != nil {
		t.Errorf("a small batch after it: %v", err)
	}
}
