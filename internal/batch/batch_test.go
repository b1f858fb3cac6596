package batch

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
)

// readAll decodes data to its end.
func readAll(data []byte) (ops []Op, err error) {
	r, err := Decode(data)
	if err != nil {
		return nil, err
	}
	for {
		op, ok, err := r.Next()
		if err != nil || !ok {
			return ops, err
		}
		ops = append(ops, op)
	}
}

func equal(a, b Op) bool {
	return a.Kind == b.Kind && a.Keyspace == b.Keyspace && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
}

func TestEveryKindRoundTrips(t *testing.T) {
	var b Batch
	key, value := []byte("key"), []byte("value")
	steps := []struct {
		add  func() error
		want Op
	}{
		{func() error { return b.Put(0, key, value) }, Op{base.KindPut, 0, key, value}},
		{func() error { return b.Put(0, key, nil) }, Op{base.KindPut, 0, key, nil}},
		{func() error { return b.Put(0, nil, value) }, Op{base.KindPut, 0, nil, value}},
		{func() error { return b.Delete(1<<32-1, key) }, Op{base.KindDelete, 1<<32 - 1, key, nil}},
		{func() error { return b.SingleDelete(300, key) }, Op{base.KindSingleDelete, 300, key, nil}},
		{func() error { return b.Merge(127, key, value) }, Op{base.KindMerge, 127, key, value}},
		{func() error { return b.DeleteRange(128, key, value) }, Op{base.KindRangeDelete, 128, key, value}},
		{func() error { return b.PutTTL(1, key, value, 7) }, Op{base.KindPutTTL, 1, key, []byte("\x07\x00\x00\x00\x00\x00\x00\x00value")}},
		{func() error { return b.Add(base.KindPutPointer, 1, key, value) }, Op{base.KindPutPointer, 1, key, value}},
		{func() error { return b.Add(base.KindDelete, 1, key, value) }, Op{base.KindDelete, 1, key, nil}},
	}
	kv := 0
	for _, s := range steps {
		if err := s.add(); err != nil {
			t.Fatal(err)
		}
		kv += len(s.want.Key) + len(s.want.Value)
	}
	b.SetSeq(42)
	if b.Count() != len(steps) || b.KeyValueBytes() != kv || b.Len() != len(b.Data) || b.Seq() != 42 || b.Empty() {
		t.Fatalf("count %d, bytes %d, len %d, seq %d", b.Count(), b.KeyValueBytes(), b.Len(), b.Seq())
	}
	r := b.Reader()
	for i, s := range steps {
		if r.Seq() != base.SeqNum(42+i) || r.Count() != len(steps)-i {
			t.Fatalf("op %d: seq %d, %d left", i, r.Seq(), r.Count())
		}
		op, ok, err := r.Next()
		if err != nil || !ok || !equal(op, s.want) {
			t.Fatalf("op %d: got %+v %v %v, want %+v", i, op, ok, err, s.want)
		}
		if op.Kind == base.KindPutTTL {
			if e, v := op.Expiry(); e != 7 || string(v) != "value" {
				t.Fatalf("expiry %d value %q", e, v)
			}
		}
	}
	if _, ok, err := r.Next(); ok || err != nil {
		t.Fatalf("after the end: %v %v", ok, err)
	}
	if err := Check(b.Data); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyBatch(t *testing.T) {
	var b Batch
	if b.Count() != 0 || b.Len() != HeaderSize || b.Seq() != 0 || !b.Empty() {
		t.Fatalf("%+v", b)
	}
	r := b.Reader()
	if _, ok, err := r.Next(); ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := b.Delete(0, nil); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if !b.Empty() || b.Len() != HeaderSize || b.KeyValueBytes() != 0 || len(b.Data) != 0 {
		t.Fatalf("after Reset: %+v", b)
	}
}

func TestLimits(t *testing.T) {
	big := make([]byte, base.MaxKeySize+1)
	var b Batch
	if err := b.Put(0, big[:base.MaxKeySize], nil); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(b.Data)
	for _, c := range []struct {
		err  error
		want error
	}{
		{b.Put(0, big, nil), base.ErrKeyTooLarge},
		{b.Delete(0, big), base.ErrKeyTooLarge},
		{b.DeleteRange(0, nil, big), base.ErrKeyTooLarge},
		{b.Add(base.KindRangeDelete, 0, nil, big), base.ErrValueTooLarge},
		{b.Add(base.KindPutTTL, 0, nil, big[:7]), base.ErrValueTooLarge},
	} {
		if !errors.Is(c.err, c.want) {
			t.Fatalf("got %v, want %v", c.err, c.want)
		}
	}
	if !bytes.Equal(before, b.Data) || b.Count() != 1 {
		t.Fatal("a refused operation changed the batch")
	}
	if !errors.Is(b.Err(), base.ErrKeyTooLarge) {
		t.Fatalf("Err is %v", b.Err())
	}
	if err := b.Put(0, nil, nil); !errors.Is(err, base.ErrKeyTooLarge) {
		t.Fatalf("a batch with a refused operation took another: %v", err)
	}
	b.Reset()
	if b.Err() != nil || b.Put(0, nil, nil) != nil {
		t.Fatal("Reset did not clear the error")
	}
}

// TestBatchTooLarge stands on a buffer of almost the limit, whose pages are
// never touched.
func TestBatchTooLarge(t *testing.T) {
	if testing.Short() || strconv.IntSize == 32 {
		t.Skip("needs 2 GiB of address space")
	}
	b := Batch{Data: make([]byte, base.MaxBatchSize-100), count: 1}
	if err := b.Put(0, []byte("key"), make([]byte, 100)); !errors.Is(err, base.ErrBatchTooLarge) {
		t.Fatal(err)
	}
}

func TestResetDropsHugeBuffer(t *testing.T) {
	var b Batch
	_ = b.Put(0, nil, make([]byte, bufferKeep+1))
	b.Reset()
	if cap(b.Data) != 0 {
		t.Fatalf("kept %d bytes", cap(b.Data))
	}
	_ = b.Put(0, []byte("k"), nil)
	n := cap(b.Data)
	b.Reset()
	if cap(b.Data) != n {
		t.Fatalf("dropped a small buffer")
	}
	// What was in the buffer must not show through the new header.
	if _ = b.Put(0, []byte("k"), nil); Check(b.Data) != nil || b.Seq() != 0 {
		t.Fatal("a reused buffer has an old header")
	}
}

// TestModel builds random batches and compares with a plain list.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Batch
		var want []Op
		bytesGen := rapid.SliceOfN(rapid.Byte(), 0, 300)
		for range rapid.IntRange(1, 50).Draw(t, "ops") {
			op := Op{
				Kind:     base.Kind(rapid.IntRange(0, int(base.KindPutTTL)).Draw(t, "kind")),
				Keyspace: rapid.Uint32().Draw(t, "keyspace"),
				Key:      bytesGen.Draw(t, "key"),
				Value:    bytesGen.Draw(t, "value"),
			}
			if op.Kind == base.KindPutTTL {
				op.Value = append(make([]byte, TTLSize), op.Value...)
			}
			if err := b.Add(op.Kind, op.Keyspace, op.Key, op.Value); err != nil {
				t.Fatal(err)
			}
			if !HasValue(op.Kind) {
				op.Value = nil
			}
			want = append(want, op)
		}
		b.SetSeq(base.SeqNumMax - base.SeqNum(len(want)) + 1)
		got, err := readAll(b.Data)
		if err != nil || len(got) != len(want) || b.Count() != len(want) {
			t.Fatalf("got %d of %d operations, %v", len(got), len(want), err)
		}
		for i := range got {
			if !equal(got[i], want[i]) {
				t.Fatalf("operation %d: got %+v, want %+v", i, got[i], want[i])
			}
		}
	})
}

// TestEveryCutIsDamage holds the decoder to the count in the header: no prefix
// of a batch is a batch.
func TestEveryCutIsDamage(t *testing.T) {
	b := sample()
	for n := range b.Data {
		if _, err := readAll(b.Data[:n]); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := readAll(append(bytes.Clone(b.Data), 0)); !errors.Is(err, base.ErrCorruption) {
		t.Fatalf("a byte too many: %v", err)
	}
}

// TestDamageNeverPanics flips every bit and fills with noise. Without a
// checksum a flip may give other operations; it must not give a panic, an
// operation past the limits, or an error without an offset.
func TestDamageNeverPanics(t *testing.T) {
	good := sample().Data
	for i := range len(good) * 8 {
		p := bytes.Clone(good)
		p[i/8] ^= 1 << (i % 8)
		checkDecode(t, p)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		p := bytes.Clone(good[:rng.IntN(len(good)+1)])
		for range 1 + rng.IntN(8) {
			if len(p) > 0 {
				p[rng.IntN(len(p))] = byte(rng.Uint32())
			}
		}
		checkDecode(t, p)
	}
}

func sample() *Batch {
	var b Batch
	_ = b.Put(0, []byte("key"), bytes.Repeat([]byte("v"), 200))
	_ = b.Delete(70000, []byte("other"))
	_ = b.PutTTL(1, []byte("ttl"), []byte("x"), 99)
	_ = b.DeleteRange(2, []byte("a"), []byte("b"))
	_ = b.Merge(3, nil, nil)
	b.SetSeq(1000)
	return &b
}

// checkDecode decodes bytes that may be anything.
func checkDecode(t *testing.T, p []byte) {
	t.Helper()
	ops, err := readAll(p)
	if err != nil {
		var c *base.CorruptionError
		if !errors.As(err, &c) || c.Offset < 0 || c.Offset > int64(len(p)) {
			t.Fatalf("error %v for %x", err, p)
		}
	}
	for _, op := range ops {
		if len(op.Key) > base.MaxKeySize || op.Kind > base.KindPutTTL || !HasValue(op.Kind) && op.Value != nil {
			t.Fatalf("impossible operation %+v of %x", op, p)
		}
		if op.Kind == base.KindPutTTL {
			_, _ = op.Expiry()
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().Data)
	f.Add([]byte{})
	f.Add(make([]byte, HeaderSize))
	f.Fuzz(func(t *testing.T, p []byte) {
		checkDecode(t, p)
		ops, err := readAll(p)
		if err != nil {
			return
		}
		// What decodes encodes to a batch that decodes to the same.
		var b Batch
		for _, op := range ops {
			if err := b.Add(op.Kind, op.Keyspace, op.Key, op.Value); err != nil {
				t.Fatalf("%+v was decoded and is refused: %v", op, err)
			}
		}
		if len(ops) == 0 {
			return
		}
		again, err := readAll(b.Data)
		if err != nil || len(again) != len(ops) {
			t.Fatalf("%d of %d operations, %v", len(again), len(ops), err)
		}
		for i := range ops {
			if !equal(ops[i], again[i]) {
				t.Fatalf("operation %d: %+v became %+v", i, ops[i], again[i])
			}
		}
	})
}
