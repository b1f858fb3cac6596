package sstable

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compress"
)

// TestOneSeq reads tables that were written with sequence 0 as if all entries
// had another one.
func TestOneSeq(t *testing.T) {
	c := cache.New(cache.Options{Budget: 1 << 20})
	defer c.Close()
	for shape := range keyShapes {
		rnd := rand.New(rand.NewPCG(3, 4))
		rows := makeRows(rnd, shape, 300)
		rows = slices.CompactFunc(rows, func(a, b row) bool { return bytes.Equal(a.key, b.key) })
		want := slices.Clone(rows)
		const seq = 450 // amid those that are probed
		for i := range rows {
			kind := rows[i].t.Kind()
			rows[i].t, want[i].t = base.MakeTrailer(0, kind), base.MakeTrailer(seq, kind)
		}
		for _, pageSize := range []int{80, 4096} {
			data, info := buildTable(t, rows, WriterOptions{PageSize: pageSize, Codec: compress.S2, FilterBits: 10})
			if info.LargestSeq != 0 {
				t.Fatal("the file has sequences")
			}
			open := func(s base.SeqNum) (*Reader, error) {
				return Open(memFile{bytes.NewReader(data)}, int64(len(data)), ReaderOptions{ID: testID, Cache: c, Seq: s})
			}
			r, err := open(seq)
			if err != nil {
				t.Fatal(err)
			}
			checkGets(t, rnd, r, want, shape, 100)
			for _, o := range []IterOptions{{}, {Scan: true}, {Bypass: true}} {
				it := r.NewIter(o)
				checkWalk(t, rnd, it, want, shape, 100)
				checkForward(t, it, want)
				for i, w := range want { // every key, just before and after its sequence
					for _, s := range []base.SeqNum{0, seq - 1, seq, seq + 1} {
						at := i
						if s < seq {
							at++
						}
						kv := it.SeekGE(w.key, base.SeekTrailer(s))
						if at == len(want) && kv != nil || at < len(want) && (kv == nil || !bytes.Equal(kv.Key, want[at].key) || kv.Trailer != want[at].t) {
							t.Fatalf("%s: SeekGE(%q, %d) at row %d", shape, w.key, s, i)
						}
					}
				}
				if err := it.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Verify(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
		}
	}
	for name, rows := range map[string][]row{
		"sequences": {{[]byte("a"), base.MakeTrailer(1, base.KindPut), nil}},
		"versions":  {{[]byte("a"), base.MakeTrailer(0, base.KindPut), nil}, {[]byte("a"), base.MakeTrailer(0, base.KindDelete), nil}},
	} {
		data, _ := buildTable(t, rows, WriterOptions{})
		_, err := Open(memFile{bytes.NewReader(data)}, int64(len(data)), ReaderOptions{ID: testID, Seq: 9})
		if !errors.Is(err, base.ErrCorruption) {
			t.Errorf("a table with %s: %v", name, err)
		}
	}
}
