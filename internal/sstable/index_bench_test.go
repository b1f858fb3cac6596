package sstable

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// The ablation: the same keys under the learned index and under its classical
// twin, for page sizes and kinds of keys. Print the table with
//
//	go test ./internal/sstable -run TestIndexAblation -v -ablation -keys 1000000

var ablation = flag.Bool("ablation", false, "run the whole ablation, with as many entries as -keys says")

// keySets are kinds of keys that people have.
var keySets = []struct {
	name string
	gen  func(r *rand.Rand, i int) []byte
}{
	{"uniform 8 B", func(r *rand.Rand, i int) []byte { return binary.BigEndian.AppendUint64(nil, r.Uint64()) }},
	{"hashed hex 16", func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "%016x", r.Uint64()) }},
	{"user%012d", func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "user%012d", i) }},
	{"user%012d sparse", func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "user%012d", r.Uint64N(1e12)) }},
	{"time+id binary", func(r *rand.Rand, i int) []byte {
		// Bursts: the gaps between events span five orders of magnitude.
		burst := uint64(i / 500)
		t := 1_700_000_000_000 + burst*burst*977 + r.Uint64N(1+burst%7*1000)
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, t), r.Uint32())
	}},
	{"tenant/time", func(r *rand.Rand, i int) []byte {
		return fmt.Appendf(nil, "tenant%03d/%013d", int(r.ExpFloat64()*12), 1_700_000_000_000+r.Uint64N(1e10))
	}},
	{"UUIDv4", func(r *rand.Rand, i int) []byte {
		return fmt.Appendf(nil, "%08x-%04x-4%03x-%x%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), 8+r.IntN(4), r.IntN(1<<12), r.Uint64N(1<<48))
	}},
	{"UUIDv7", func(r *rand.Rand, i int) []byte {
		t := 0x18c_0000_0000 + uint64(i)*37 + r.Uint64N(300)
		return fmt.Appendf(nil, "%08x-%04x-7%03x-%x%03x-%012x", t>>16, t&0xffff, r.IntN(1<<12), 8+r.IntN(4), r.IntN(1<<12), r.Uint64N(1<<48))
	}},
	{"URLs", func(r *rand.Rand, i int) []byte {
		host := int(r.ExpFloat64() * 300)
		return fmt.Appendf(nil, "https://www.%s%d.%s/%s/%s-%d.html", words[host%len(words)], host, []string{"com", "org", "net"}[host%3],
			words[r.IntN(len(words))], words[r.IntN(len(words))], r.IntN(10_000))
	}},
	{"packages", func(r *rand.Rand, i int) []byte {
		return fmt.Appendf(nil, "%s-%s-%s%d", words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))], r.IntN(3))
	}},
	{"equal windows", func(r *rand.Rand, i int) []byte {
		// Eight equal bytes, then a few random ones, again and again.
		return fmt.Appendf(nil, "aaaaaaaa%02dbbbbbbbbbbbbbbbb%02dcccccccccccccccc%08d", r.IntN(10), r.IntN(30), r.IntN(1e8))
	}},
}

var words = []string{
	"lib", "python", "go", "node", "rust", "core", "data", "http", "json", "test", "x11", "perl", "ruby", "dev", "doc", "common",
	"client", "server", "image", "audio", "font", "gnome", "kde", "qt", "gtk", "haskell", "java", "emacs", "vim", "kernel", "mod", "utils",
}

func makeKeySet(gen func(*rand.Rand, int) []byte, n int) [][]byte {
	r := rand.New(rand.NewPCG(9, 9))
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = gen(r, i)
	}
	slices.SortFunc(keys, bytes.Compare)
	return slices.CompactFunc(keys, bytes.Equal)
}

// variant is one table of the ablation.
type variant struct {
	r        *Reader
	p        *Properties
	build    float64 // ns a key
	train    float64 // ns a key
	pageLens []int   // before compression
}

func makeVariant(t testing.TB, keys [][]byte, pageSize int, mode IndexMode) variant {
	o := WriterOptions{ID: testID, PageSize: pageSize, Index: mode}
	value := make([]byte, 100)
	build := 1e18
	var train int64
	for range 2 {
		w := NewWriter(io.Discard, o)
		begin := time.Now()
		for _, k := range keys {
			if err := w.Add(k, 256, value); err != nil {
				t.Fatal(err)
			}
		}
		info, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if d := float64(time.Since(begin).Nanoseconds()); d < build {
			build, train = d, info.Props.TrainNanos
		}
	}
	r := benchTable(t, keys, o)
	v := variant{r: r, p: r.Properties(), build: build / float64(len(keys)), train: float64(train) / float64(len(keys))}
	var s spans
	for n := range r.index.pages {
		var p block.Page
		if err := s.load(r, n, &p); err != nil {
			t.Fatal(err)
		}
		v.pageLens = append(v.pageLens, int(r.index.offset(n+1)-r.index.offset(n)))
	}
	slices.Sort(v.pageLens)
	return v
}

func (v *variant) bytesPerKey() float64 { return float64(v.p.IndexBytes) / float64(v.p.Entries) }

// TestIndexAblation compares the two indexes, and holds the learned one to
// what it promises: never larger than the twin by more than 2 %, and tiny
// where keys are regular.
func TestIndexAblation(t *testing.T) {
	if AutoMode != IndexAuto {
		t.Skip("one kind of index is forced on every table")
	}
	n, pageSizes := 20_000, []int{8 << 10}
	if testing.Short() {
		n = 5000
	}
	if *ablation {
		n, pageSizes = *benchKeys, []int{4 << 10, 8 << 10, 16 << 10}
	}
	var out bytes.Buffer
	tw := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "keys\tpage\tindex B/key\tfences\tratio\tsegments\tlearned %\tcodes\tpage p1\tp50\tp99\ttrain ns\tbuild\tfences\tGet ns\tfences\t")
	for _, set := range keySets {
		keys := makeKeySet(set.gen, n)
		for _, size := range pageSizes {
			l, f := makeVariant(t, keys, size, IndexAuto), makeVariant(t, keys, size, IndexFences)
			if l.bytesPerKey() > 1.02*f.bytesPerKey() {
				t.Errorf("%s, pages of %d: the learned index takes %.4f bytes a key, the classical one %.4f", set.name, size, l.bytesPerKey(), f.bytesPerKey())
			}
			var gets []*times
			if *ablation {
				gets = versus(1000, getter(t, l.r, keys, 0), getter(t, f.r, keys, 77_777))
			} else {
				gets = versus(1, getter(t, l.r, keys, 0), getter(t, f.r, keys, 77_777))
			}
			at := func(p int) int { return l.pageLens[len(l.pageLens)*p/100] }
			fmt.Fprintf(tw, "%s\t%d\t%.4f\t%.4f\t%.2f\t%d of %d\t%.0f\t%d\t%d\t%d\t%d\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", set.name, size,
				l.bytesPerKey(), f.bytesPerKey(), l.bytesPerKey()/f.bytesPerKey(), l.p.Segments, l.p.Pages,
				100*float64(l.p.LearnedPages)/float64(l.p.Pages), len(l.r.index.codes)-1, at(1), at(50), at(99),
				l.train, l.build, f.build, gets[0].percentile(10), gets[1].percentile(10))
		}
	}
	tw.Flush()
	t.Logf("%d keys of each kind, values of 100 bytes\n%s", n, &out)
}

// getter reads existing keys at random.
func getter(t testing.TB, r *Reader, keys [][]byte, skip int) func(i int) {
	at := order(len(keys))
	var res Result
	return func(i int) {
		k := keys[at[(i+skip)&(1<<16-1)]]
		if ok, err := r.Get(k, base.SeqNumMax, &res); !ok || err != nil {
			t.Fatalf("Get(%q): %v, %v", k, ok, err)
		}
		res.Release()
	}
}

func BenchmarkFind(b *testing.B) {
	for _, set := range keySets {
		keys := makeKeySet(set.gen, *benchKeys)
		for _, mode := range []string{"auto", "fences"} {
			r := benchTable(b, keys, WriterOptions{Index: modes[mode]})
			at := order(len(keys))
			b.Run(set.name+"/"+mode, func(b *testing.B) {
				sum := 0
				quiet(b, func(i int) {
					n, _ := r.index.find(keys[at[i&(1<<16-1)]], base.TrailerMax)
					sum += n
				})
				sinkInt = cmp.Or(sum, 1)
			})
		}
	}
}

var sinkInt int
