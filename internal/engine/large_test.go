package engine

import (
	"errors"
	"math"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// TestBatchTooLargeForMemory commits and replays a batch of more operations than
// a memtable can hold. That is an error before the batch is in the log. Where an
// int has 32 bits, what the operations take together has more: a sum that wraps
// around would let them pass. Elsewhere such a batch would take a gigabyte, and
// the limits are lowered instead.
func TestBatchTooLargeForMemory(t *testing.T) {
	n := 25_000_000
	if math.MaxInt > math.MaxInt32 {
		n = 25_000
		commit, replay := batchMemoryMax, replayMemoryMax
		batchMemoryMax, replayMemoryMax = 1<<20, 1<<20
		defer func() { batchMemoryMax, replayMemoryMax = commit, replay }()
	}
	e := openSmall(t, nil)
	defer e.Close()
	b := &batch.Batch{Data: make([]byte, 0, batch.HeaderSize+4*n)}
	for range n {
		if err := b.Delete(0, nil); err != nil {
			t.Fatal(err)
		}
	}
	logged := e.commit.gen.Log.Written()
	if _, err := e.Commit(b, DefaultDurability); !errors.Is(err, base.ErrBatchTooLarge) {
		t.Errorf("commit: %v", err)
	}
	if w := e.commit.gen.Log.Written(); w != logged {
		t.Errorf("%d bytes of the refused batch are in the log", w-logged)
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

// TestShareOfLargeBudget: where an int has 32 bits a quarter of 16 GiB must not
// become a limit of nothing.
func TestShareOfLargeBudget(t *testing.T) {
	if n := share(1<<40, txnShare); n <= 1<<30 {
		t.Errorf("a transaction may take %d bytes of a budget of 1 TiB", n)
	}
}
