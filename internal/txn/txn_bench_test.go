package txn

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// BenchmarkRecord notes a commit of four keys: with none open, with one
// transaction open, and with one that is left open.
func BenchmarkRecord(b *testing.B) {
	for _, open := range []string{"none", "short", "long"} {
		b.Run("open="+open, func(b *testing.B) {
			tr := New(4 << 20)
			w := put(0, "key00000000000000", "key10000000000000", "key20000000000000", "key30000000000000")
			r := w.Reader()
			var keys [4][]byte
			for i := range keys {
				op, _ := next(&r)
				keys[i] = op.Key
			}
			var x Txn
			if open != "none" {
				tr.Begin(&x, 0, 1<<20, nil)
			}
			seq := base.SeqNum(1)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if open == "none" {
					tr.Record(w)
					continue
				}
				for _, k := range keys {
					binary.BigEndian.PutUint64(k[5:], uint64(i)*0x9e3779b97f4a7c15)
				}
				w.SetSeq(seq)
				tr.Record(w)
				seq += 4
				if open == "short" && i%16 == 0 {
					tr.End(&x)
					tr.Begin(&x, seq-1, 1<<20, nil)
				}
			}
		})
	}
}

// BenchmarkTxn is all that the tracker adds to a transaction of four reads and
// four writes, with so many others committing during it.
func BenchmarkTxn(b *testing.B) {
	for _, others := range []int{0, 1, 16, 1000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) { benchTxn(b, others, nil) })
	}
	for _, others := range []int{16, 1000} {
		b.Run(fmt.Sprintf("range/others=%d", others), func(b *testing.B) {
			benchTxn(b, others, func(x *Txn) { _ = x.Range(0, []byte("r"), []byte("s")) })
		})
	}
}

func benchTxn(b *testing.B, others int, more func(*Txn)) {
	tr := New(4 << 20)
	var pin Txn
	tr.Begin(&pin, 0, 1<<20, nil)
	seq := base.SeqNum(1)
	for i := range others {
		w := put(0, fmt.Sprintf("key%013d", i))
		w.SetSeq(seq)
		tr.Record(w)
		seq++
	}
	reads := [][]byte{[]byte("read000000000000"), []byte("read000000000001"), []byte("read000000000002"), []byte("read000000000003")}
	var x Txn
	b.ReportAllocs()
	for b.Loop() {
		tr.Begin(&x, 0, 1<<20, nil)
		x.snapshot = 0
		for _, k := range reads {
			_ = x.Key(0, k)
		}
		if more != nil {
			more(&x)
		}
		_ = x.Seal()
		if a := tr.Validate(&x, seq); a.Verdict != Valid {
			b.Fatal(a)
		}
		tr.End(&x)
	}
}

// BenchmarkValidate is validation alone, of four reads and of a thousand.
func BenchmarkValidate(b *testing.B) {
	for _, reads := range []int{4, 1000} {
		for _, others := range []int{1, 16, 1000} {
			b.Run(fmt.Sprintf("reads=%d/others=%d", reads, others), func(b *testing.B) {
				tr := New(4 << 20)
				var x Txn
				tr.Begin(&x, 0, 1<<20, nil)
				for i := range reads {
					_ = x.Key(0, fmt.Appendf(nil, "read%012d", i))
				}
				_ = x.Seal()
				var w *batch.Batch
				for i := range others {
					w = put(0, fmt.Sprintf("key%013d", i))
					w.SetSeq(base.SeqNum(i + 1))
					tr.Record(w)
				}
				b.ReportAllocs()
				for b.Loop() {
					if a := tr.Validate(&x, base.SeqNum(others)); a.Verdict != Valid {
						b.Fatal(a)
					}
				}
			})
		}
	}
}
