package manifest

import (
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// bigEdit adds n tables to one run, each with its own value file.
func bigEdit(n int) *Edit {
	e := &Edit{}
	for i := range n {
		num := base.FileNum(2*i + 1)
		e.AddValues = append(e.AddValues, ValueMeta{Num: num + 1, Size: 100, Bytes: 100, Count: 10})
		e.Add = append(e.Add, NewFile{6, table(num, 1, fmt.Sprintf("key%08da", i), fmt.Sprintf("key%08db", i), 1, 1, ValueRef{num + 1, 100, 10})})
	}
	return e
}

// BenchmarkApply replaces one table of 10000.
func BenchmarkApply(b *testing.B) {
	v := build(b, bigEdit(10000))
	f := *v.Tree(0).Levels[6][0].Files[5000]
	f.Num = 1 << 20
	e := &Edit{Remove: []OldFile{{6, 10001}}, Add: []NewFile{{6, &f}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Apply(e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecover reads a snapshot of 10000 tables and 1000 edits.
func BenchmarkRecover(b *testing.B) {
	fs := memfs.New()
	l := mustCreate(b, fs)
	mustAppend(b, l, bigEdit(10000))
	l.rotateAt = 1 << 40
	for i := range 1000 {
		num := base.FileNum(1<<20 + i)
		mustAppend(b, l, &Edit{Add: []NewFile{{1, table(num, uint64(num), "a", "b", 1, 1)}}})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Recover(fs, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFind looks a key up among 10000 tables of a run.
func BenchmarkFind(b *testing.B) {
	r := build(b, bigEdit(10000)).Tree(0).Levels[6][0]
	keys := make([][]byte, 1024)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key%08da", i*7919%10000)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if r.Find(keys[i%len(keys)]) == nil {
			b.Fatal("not found")
		}
	}
}
