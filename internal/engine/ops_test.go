package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// get returns what a keyspace has at a key, nil for nothing.
func get(t *testing.T, k *Keyspace, key string) []byte {
	t.Helper()
	v, err := k.AppendGet([]byte{}, []byte(key), readstate.Newest)
	if errors.Is(err, base.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestExpiryOfOps: an expiry is rounded up to the millisecond, never down, the keyspace's TTL
// holds for what says nothing of it, and the zero time is no expiry.
func TestExpiryOfOps(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	e := openSmall(t, func(o *Options) { o.Clock = func() time.Time { return now } })
	defer e.Close()
	k, err := e.Keyspace("k", KeyspaceChoice{TTL: time.Second}, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		put  func(o Ops) error
		want uint64 // 0: none
	}{
		"Put":              {func(o Ops) error { return o.Put([]byte("k"), nil) }, 1_001_000},
		"PutTTL":           {func(o Ops) error { return o.PutTTL([]byte("k"), nil, time.Millisecond+1) }, 1_000_002},
		"PutTTL of none":   {func(o Ops) error { return o.PutTTL([]byte("k"), nil, -1) }, 1_000_000},
		"PutUntil":         {func(o Ops) error { return o.PutUntil([]byte("k"), nil, now.Add(1)) }, 1_000_001},
		"PutUntil of none": {func(o Ops) error { return o.PutUntil([]byte("k"), nil, time.Time{}) }, 0},
		"PutUntil before":  {func(o Ops) error { return o.PutUntil([]byte("k"), nil, time.Unix(-1, 0)) }, 1},
	} {
		var b batch.Batch
		if err := c.put(OpsOn(&b, k, e)); err != nil {
			t.Fatal(err)
		}
		r := b.Reader()
		op, ok, err := r.Next()
		if err != nil || !ok || op.Keyspace != k.ID() {
			t.Fatalf("%s: %v, %v, keyspace %d", name, ok, err, op.Keyspace)
		}
		got := uint64(0)
		if op.Kind == base.KindPutTTL {
			got, _ = op.Expiry()
		}
		if got != c.want {
			t.Errorf("%s: expires at %d, not at %d", name, got, c.want)
		}
	}
	if Expiry(time.Time{}) != 0 || Expiry(now.Add(1)) != 1_000_001 || Expiry(time.Unix(math.MaxInt32, 0).AddDate(1<<28, 0, 0)) != 1<<62 {
		t.Error("the expiry of a row of a load is not that of a put")
	}
	if x := k.LoadExpires(); x == nil || x(nil, nil) != 1_001_000 {
		t.Error("rows of a load do not expire by the TTL of the keyspace")
	}
	if e.Root().LoadExpires() != nil {
		t.Error("rows of a load expire in a keyspace without a TTL")
	}
}

// TestWriteIfBesideOthers: of clients that count up beside each other none is lost, and a
// value that is not the one expected stays.
func TestWriteIfBesideOthers(t *testing.T) {
	e := openSmall(t, nil)
	defer e.Close()
	k := e.Root()
	put := func(v []byte) func(Ops) error { return func(o Ops) error { return o.Put([]byte("n"), v) } }
	if did, err := k.WriteIf([]byte("n"), []byte("0"), put([]byte("1"))); did || err != nil {
		t.Errorf("a key that is not there has a value: %v, %v", did, err)
	}
	if did, err := k.WriteIf([]byte("n"), nil, put([]byte("0"))); !did || err != nil {
		t.Errorf("a key that is not there: %v, %v", did, err)
	}
	if did, err := k.WriteIf([]byte("n"), nil, put([]byte("9"))); did || err != nil {
		t.Errorf("a key that is there: %v, %v", did, err)
	}
	if did, err := k.WriteIf([]byte("n"), []byte("1"), put([]byte("9"))); did || err != nil {
		t.Errorf("a key with another value: %v, %v", did, err)
	}
	var wg sync.WaitGroup
	const clients, each = 4, 25
	for range clients {
		wg.Go(func() {
			for range each {
				for did := false; !did; {
					old := get(t, k, "n")
					var n int
					_, err := fmt.Sscan(string(old), &n)
					if err == nil {
						did, err = k.WriteIf([]byte("n"), old, put(fmt.Append(nil, n+1)))
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if v := get(t, k, "n"); !bytes.Equal(v, fmt.Append(nil, clients*each)) {
		t.Errorf("%d clients counted up to %s, each %d times", clients, v, each)
	}
	wrong := errors.New("of the caller")
	if err := e.Write(func(b *batch.Batch) error {
		_ = b.Put(0, []byte("half"), nil)
		return wrong
	}); err != wrong || get(t, k, "half") != nil {
		t.Errorf("half of a write is there, or its error is lost: %v", err)
	}
	if err := e.Write(func(b *batch.Batch) error { return b.Put(0, []byte("whole"), nil) }); err != nil || get(t, k, "whole") == nil {
		t.Errorf("a write: %v", err)
	}
	if _, err := k.WriteIf([]byte("n"), get(t, k, "n"), func(Ops) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("the error of the write is lost: %v", err)
	}
}
