package commit

import (
	"errors"
	"math"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// TestBatchTooLargeForMemory commits a batch of more operations than a memtable can hold.
// That is an error before the batch is in the log. Where an int has 32 bits, what the
// operations take together has more: a sum that wraps around would let them pass. Elsewhere
// such a batch would take a gigabyte, and the limit is lowered instead.
func TestBatchTooLargeForMemory(t *testing.T) {
	n := 25_000_000
	if math.MaxInt > math.MaxInt32 {
		n = 25_000
		limit := batchMemoryMax
		batchMemoryMax = 1 << 20
		defer func() { batchMemoryMax = limit }()
	}
	r := newRig(t, nil)
	b := &batch.Batch{Data: make([]byte, 0, batch.HeaderSize+4*n)}
	for range n {
		if err := b.Delete(0, nil); err != nil {
			t.Fatal(err)
		}
	}
	logged := r.gen.Log.Written()
	if _, err := r.Commit(t.Context(), b, DefaultDurability, nil); !errors.Is(err, base.ErrBatchTooLarge) {
		t.Errorf("commit: %v", err)
	}
	if w := r.gen.Log.Written(); w != logged {
		t.Errorf("%d bytes of the refused batch are in the log", w-logged)
	}
	if _, err := r.put("k", ""); err != nil {
		t.Errorf("a small batch after it: %v", err)
	}
}

// TestShareOfLargeBudget: where an int has 32 bits a quarter of 16 GiB must not
// become a limit of nothing.
func TestShareOfLargeBudget(t *testing.T) {
	if n := share(1<<40, TxnShare); n <= 1<<30 {
		t.Errorf("a transaction may take %d bytes of a budget of 1 TiB", n)
	}
}
