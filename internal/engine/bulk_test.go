package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/jobs"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// TestIngestionTakesPlace stops an ingestion between its place and its tables.
// Commits wait, and a read that pinned the state of that moment sees none of those
// that follow, for it does not see the ingestion either.
func TestIngestionTakesPlace(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { testIngestionTakesPlace(t, n) })
	}
}

func testIngestionTakesPlace(t *testing.T, n int) {
	e := openSmall(t, nil)
	defer e.Close()
	put := func(key string) (base.SeqNum, error) {
		var b batch.Batch
		if err := b.Put(0, []byte(key), []byte("value")); err != nil {
			return 0, err
		}
		return e.Commit(&b, DefaultDurability)
	}
	if _, err := put("before"); err != nil {
		t.Fatal(err)
	}
	var span batch.Batch
	for range n {
		if err := span.DeleteRange(0, []byte("a"), []byte("z")); err != nil {
			t.Fatal(err)
		}
	}
	var s *readstate.State
	var shard int
	var end base.SeqNum
	after := make(chan base.SeqNum)
	_, err := e.jobs.Ingest(t.Context(), &jobs.Ingestion{
		Ingestion: commit.Ingestion{First: e.versions.NewFileNum(), Batch: &span},
		Enter: func(at *jobs.Loading) error {
			end = at.End
			if got := at.End - at.Seq + 1; got != base.SeqNum(n) || e.store.Current().Active.After != at.End {
				t.Errorf("it has %d sequences of %d, up to %d, and what follows in memory is after %d", got, n, at.End, e.store.Current().Active.After)
			}
			s, shard = e.store.Keep()
			go func() {
				seq, _ := put("after")
				after <- seq
			}()
			select {
			case seq := <-after:
				t.Fatalf("a commit got sequence %d while a load takes its place at %d", seq, at.Seq)
			case <-time.After(30 * time.Millisecond):
			}
			if last := e.commit.LastSeq(); last != at.End {
				t.Errorf("the last sequence is %d, the ingestion has up to %d", last, at.End)
			}
			return errors.New("its tables do not come")
		},
	})
	if err == nil {
		t.Error("a load without tables succeeds")
	}
	seq := <-after
	if seq <= end || e.store.Visible() != seq {
		t.Errorf("the commit has sequence %d, the load up to %d, and %d is visible", seq, end, e.store.Visible())
	}
	it, err := e.root.newIterOn(s, shard, dbiter.Options{}, readstate.Newest, nil)
	if err != nil {
		t.Fatal(err)
	}
	if it.SeekGE([]byte("after")) && string(it.Key()) == "after" || s.Visible() > end-base.SeqNum(n) {
		t.Errorf("the state without the load shows what follows it, %s; visible is %d", it.Key(), s.Visible())
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := e.root.Has([]byte("after"), readstate.Newest); !ok || err != nil {
		t.Errorf("the commit after a load that failed is not seen: %v", err)
	}
}

// TestIngestionThatPanics holds nothing back, and leaves its sequences empty.
func TestIngestionThatPanics(t *testing.T) {
	e := openSmall(t, nil)
	defer e.Close()
	left := false
	var x Txn // that depends on what the ingestion would have written
	if err := e.Begin(&x, TxnOptions{}); err != nil {
		t.Fatal(err)
	}
	defer x.Rollback()
	if _, err := x.Has(e.root, []byte("key")); err != nil {
		t.Fatal(err)
	}
	durable := e.DurableSeq()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		var span batch.Batch
		if err := span.DeleteRange(0, nil, nil); err != nil {
			t.Fatal(err)
		}
		_, _ = e.jobs.Ingest(t.Context(), &jobs.Ingestion{
			Ingestion: commit.Ingestion{Batch: &span},
			Enter:     func(*jobs.Loading) error { panic("enter") },
			Leave:     func() { left = true },
		})
	}()
	if !left || e.DurableSeq() != durable {
		t.Errorf("its locks are held: %v; durable up to %d", !left, e.DurableSeq())
	}
	if err := x.Write(e.root, func(b *batch.Batch) error { return b.Put(0, []byte("other"), nil) }); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Commit(t.Context()); err != nil {
		t.Errorf("a transaction conflicts with what was never written: %v", err)
	}
	var b batch.Batch
	if err := b.Put(0, []byte("after"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(&b, DefaultDurability); err != nil {
		t.Fatal(err)
	}
	if ok, err := e.root.Has([]byte("after"), readstate.Newest); !ok || err != nil {
		t.Errorf("the commit behind it is not seen: %v", err)
	}
}
