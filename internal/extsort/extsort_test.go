package extsort

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

func options(fs vfs.FS, memory int64) Options {
	num := base.FileNum(0)
	return Options{
		FS: fs, Dir: "db", Memory: memory, Codec: compress.Default,
		Open: func(path string) (File, error) { return fs.Open(path) },
		NewID: func() (base.Identity, error) {
			num++
			return base.Identity{DB: 7, Type: base.FileTypeTemp, Num: num}, nil
		},
	}
}

func newFS(t testing.TB) *memfs.FS {
	fs := memfs.New()
	if err := fs.MkdirAll("db"); err != nil {
		t.Fatal(err)
	}
	return fs
}

func files(t testing.TB, fs vfs.FS) int {
	names, err := fs.List("db")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// collect yields what the sorter has.
func collect(s *Sorter) (keys []string, m map[string]string, err error) {
	m = map[string]string{}
	for {
		k, v, ok, err := s.Next()
		if err != nil || !ok {
			return keys, m, err
		}
		keys = append(keys, string(k))
		m[string(k)] = string(v)
	}
}

// TestModel compares the sorter with a map, over memories from much too small
// to ample.
func TestModel(t *testing.T) {
	for _, memory := range []int64{1, 300, 3 << 10, 40 << 10, 1 << 20} {
		for _, n := range []int{0, 1, 2, 30, 4000} {
			t.Run(fmt.Sprintf("%d rows in %d bytes", n, memory), func(t *testing.T) {
				if memory == 1 && n > 1000 {
					n = 1000 // each row makes a file
				}
				fs := newFS(t)
				s := New(options(fs, memory))
				r := rand.New(rand.NewPCG(uint64(n), uint64(memory)))
				want := map[string]string{}
				for i := range n {
					k := strings.Repeat("k", r.IntN(12)) + fmt.Sprint(r.IntN(n))
					v := fmt.Sprint(i)
					if r.IntN(100) == 0 {
						v += strings.Repeat("v", r.IntN(5000))
					}
					want[k] = v
					kb, vb := []byte(k), []byte(v)
					if err := s.Add(kb, vb); err != nil {
						t.Fatal(err)
					}
					clear(kb)
					clear(vb)
				}
				if err := s.Sort(); err != nil {
					t.Fatal(err)
				}
				keys, got, err := collect(s)
				if err != nil || !maps.Equal(got, want) {
					t.Fatalf("%d rows of %d (%v), or wrong ones", len(got), len(want), err)
				}
				if !slices.IsSorted(keys) || len(keys) != len(want) {
					t.Fatalf("%d keys in no order, or twice", len(keys))
				}
				st := s.Stats()
				if st.Rows != uint64(n) || st.Rows-st.Duplicates != uint64(len(want)) {
					t.Fatalf("%+v of %d rows, %d keys", st, n, len(want))
				}
				if fits := memory == 1<<20; (fits || n > 30) && fits == (st.Spilled > 0) {
					t.Fatalf("%+v", st)
				}
				if err := s.Add([]byte("late"), nil); err == nil {
					t.Fatal("Add after Sort worked")
				}
				if err := s.Close(); err != nil || files(t, fs) != 0 {
					t.Fatalf("%d files are left (%v)", files(t, fs), err)
				}
			})
		}
	}
}

// TestMergePasses makes more runs than are merged at once.
func TestMergePasses(t *testing.T) {
	fs := newFS(t)
	s := New(options(fs, 4<<10))
	const n = 20000
	for i := range n {
		if err := s.Add(fmt.Appendf(nil, "%05d", i*7919%n), fmt.Appendf(nil, "v%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	runs := s.Stats().Runs
	if err := s.Sort(); err != nil {
		t.Fatal(err)
	}
	if s.Stats().Runs < runs+2 || files(t, fs) > 2 {
		t.Fatalf("%d runs became %d files: nothing was merged in passes", runs, files(t, fs))
	}
	keys, _, err := collect(s)
	if err != nil || len(keys) != n || !slices.IsSorted(keys) {
		t.Fatalf("%d rows, %v", len(keys), err)
	}
	_ = s.Close()
}

// sortAll sorts 600 rows with spills and a merge in passes.
func sortAll(s *Sorter) (map[string]string, error) {
	for i := range 300 {
		if err := s.Add(fmt.Appendf(nil, "%03d", i*7%250), bytes.Repeat([]byte{byte(i)}, i%90)); err != nil {
			return nil, err
		}
	}
	if err := s.Sort(); err != nil {
		return nil, err
	}
	_, m, err := collect(s)
	return m, err
}

// TestFaults makes each operation on the file system fail in turn: the sort returns the
// error, and leaves no file.
func TestFaults(t *testing.T) {
	want, err := sortAll(New(options(newFS(t), 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		op  faultfs.OpKind
		err error
	}{{faultfs.OpWrite, syscall.ENOSPC}, {faultfs.OpCreate, syscall.ENOSPC}, {faultfs.OpRead, syscall.EIO}} {
		failed := 0
		for n := 1; ; n++ {
			mem := newFS(t)
			fault := faultfs.New(mem)
			rule := fault.Inject(faultfs.Rule{Op: f.op, Skip: n - 1, Count: 1, Err: f.err})
			s := New(options(fault, 2<<10))
			got, err := sortAll(s)
			cerr := s.Close()
			if cerr != nil || files(t, mem) != 0 {
				t.Fatalf("%v %d: %d files are left (%v)", f.op, n, files(t, mem), cerr)
			}
			if rule.Count() == 0 {
				if err != nil || !maps.Equal(got, want) {
					t.Fatalf("without a fault: %v", err)
				}
				break
			}
			failed++
			if !errors.Is(err, f.err) || f.err == syscall.ENOSPC && !errors.Is(err, base.ErrNoSpace) {
				t.Fatalf("%v %d: the error is %v", f.op, n, err)
			}
			if _, _, _, again := s.Next(); !errors.Is(again, f.err) {
				t.Fatalf("%v %d: the error is not sticky: %v", f.op, n, again)
			}
		}
		if failed < 5 {
			t.Fatalf("%v: only %d faults", f.op, failed)
		}
	}
}

// TestDamage flips a bit of each read in turn: no row comes out wrong.
func TestDamage(t *testing.T) {
	for n := 0; ; n++ {
		fault := faultfs.New(newFS(t))
		rule := fault.Inject(faultfs.Rule{Op: faultfs.OpRead, Skip: n, Count: 1, Flip: true})
		s := New(options(fault, 2<<10))
		_, err := sortAll(s)
		_ = s.Close()
		if rule.Count() == 0 {
			if n < 10 || err != nil {
				t.Fatalf("%d reads, %v", n, err)
			}
			break
		}
		if !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("read %d was damaged: %v", n, err)
		}
	}
}

// TestPoll ends a sort from outside.
func TestPoll(t *testing.T) {
	stop := errors.New("stop")
	for n := 1; ; n++ {
		fs := newFS(t)
		o, calls := options(fs, 2<<10), 0
		o.Poll = func() error {
			if calls++; calls == n {
				return stop
			}
			return nil
		}
		s := New(o)
		_, err := sortAll(s)
		_ = s.Close()
		if files(t, fs) != 0 {
			t.Fatalf("call %d: %d files are left", n, files(t, fs))
		}
		if calls < n {
			break
		}
		if !errors.Is(err, stop) {
			t.Fatalf("call %d: %v", n, err)
		}
	}
}

// TestMemory watches what the sorter says it holds.
func TestMemory(t *testing.T) {
	s := New(options(newFS(t), 64<<10))
	for i := range 30000 {
		if err := s.Add(fmt.Appendf(nil, "%d", i*7919%30000), []byte("a value of some length")); err != nil {
			t.Fatal(err)
		}
		held := cap(s.es) * 24
		for _, c := range append(slices.Clone(s.chunks), s.spare...) {
			held += cap(c)
		}
		if held > 80<<10 {
			t.Fatalf("%d bytes are held after %d rows", held, i)
		}
	}
	_ = s.Close()
}

func BenchmarkSort(b *testing.B) {
	for _, memory := range []int64{1 << 30, 8 << 20} {
		b.Run(fmt.Sprint(memory>>20, "MiB"), func(b *testing.B) {
			for b.Loop() {
				s := New(options(newFS(b), memory))
				for i := range 1 << 18 {
					_ = s.Add(fmt.Appendf(nil, "key%08d", i*7919%(1<<18)), []byte("a value of a hundred bytes, or so it says, which is to say of somewhat less than a hundred bytes"))
				}
				_ = s.Sort()
				for {
					if _, _, ok, err := s.Next(); !ok || err != nil {
						break
					}
				}
				_ = s.Close()
			}
		})
	}
}

// TestEmptyRowIsOlder: an empty key with an empty value takes no room, which
// must not make it the newest of its key.
func TestEmptyRowIsOlder(t *testing.T) {
	for _, values := range [][]string{{"", "x"}, {"x", ""}, {"", "", "x"}, {"", "x", ""}} {
		s := New(Options{Memory: 1 << 20})
		for _, v := range values {
			if err := s.Add(nil, []byte(v)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Sort(); err != nil {
			t.Fatal(err)
		}
		key, value, ok, err := s.Next()
		if want := values[len(values)-1]; err != nil || !ok || len(key) != 0 || string(value) != want {
			t.Errorf("%q: %q, %v, %v; want %q", values, value, ok, err, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzRun reads blocks of any bytes, with checksums that fit: what comes is rows
// within the limits or a *base.CorruptionError.
func FuzzRun(f *testing.F) {
	rows := []byte("\x01\x02kvv\x00\x00\x03\x00key")
	f.Add(rows, byte(compress.None), uint32(len(rows)))
	for _, codec := range []compress.Codec{compress.S2, compress.LZ4, compress.Zstd} {
		f.Add(compress.Encode(nil, bytes.Repeat(rows, 20), codec), byte(codec), uint32(20*len(rows)))
	}
	f.Fuzz(func(t *testing.T, body []byte, codec byte, raw uint32) {
		fs := newFS(t)
		s := New(options(fs, 1<<20))
		s.maxBlock = 1 << 20
		id, _ := s.o.NewID()
		w, err := fs.Create(s.path(id))
		if err != nil {
			t.Fatal(err)
		}
		block := le.AppendUint32(nil, uint32(len(body)))
		block = append(append(le.AppendUint32(block, raw), codec), body...)
		block = le.AppendUint32(block, id.Checksum(0, block))
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
		r := runReader{run: &run{s: s, id: id, f: w, size: int64(len(block))}}
		for {
			ok, err := r.next()
			var damage *base.CorruptionError
			if err != nil && !errors.As(err, &damage) {
				t.Fatalf("%T: %v", err, err)
			}
			if err != nil || !ok {
				break
			}
			if len(r.key) > base.MaxKeySize || len(r.value) > base.MaxValueSize {
				t.Fatalf("a key of %d bytes and a value of %d", len(r.key), len(r.value))
			}
		}
		_ = r.remove()
	})
}
