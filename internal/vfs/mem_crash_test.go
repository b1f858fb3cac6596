package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// dump shows a whole file system as one line: directories with a slash, files
// with their content.
func dump(t tb, fsys FS) string {
	t.Helper()
	var out []string
	var visit func(dir string)
	visit = func(dir string) {
		for _, name := range list(t, fsys, dir) {
			name = fsys.PathJoin(dir, name)
			info, err := fsys.Stat(name)
			check(t, err)
			if info.IsDir() {
				out = append(out, name+"/")
				visit(name)
				continue
			}
			out = append(out, name+"="+read(t, fsys, name))
		}
	}
	visit("")
	return strings.Join(out, " ")
}

// crashes returns everything a crash can leave, by trying each subset of the
// pending pieces.
func crashes(t tb, m *MemFS, o CrashOptions) []string {
	t.Helper()
	n := 0
	counting := o
	counting.Pick = func(int) bool { n++; return false }
	m.CrashClone(counting)
	if n > 12 {
		t.Fatalf("%d pieces are too many to try every subset", n)
	}
	seen := map[string]bool{}
	for mask := range 1 << n {
		o.Pick = func(i int) bool { return mask>>i&1 == 1 }
		seen[dump(t, m.CrashClone(o))] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func wantCrashes(t *testing.T, m *MemFS, o CrashOptions, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := crashes(t, m, o); !slices.Equal(got, want) {
		t.Errorf("a crash can leave\n %q\nwant\n %q", got, want)
	}
}

func TestCrashName(t *testing.T) {
	m := NewMem()
	f, err := m.Create("a")
	check(t, err)
	_, err = f.Write([]byte("abc"))
	check(t, err)
	wantCrashes(t, m, CrashOptions{}, "", "a=", "a=\x00\x00\x00", "a=abc")
	check(t, f.Sync()) // the bytes, not the name
	wantCrashes(t, m, CrashOptions{}, "", "a=abc")
	check(t, SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "a=abc")
	if m.Pending() != 0 {
		t.Errorf("%d pieces are pending after the syncs", m.Pending())
	}
}

func TestCrashDirSyncIsNotFileSync(t *testing.T) {
	m := NewMem()
	write(t, m, "a", "abc", false)
	check(t, SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "a=", "a=\x00\x00\x00", "a=abc")
}

func TestCrashMkdir(t *testing.T) {
	m := NewMem()
	check(t, m.MkdirAll("d"))
	write(t, m, "d/a", "A", true)
	check(t, SyncDir(m, "d"))
	wantCrashes(t, m, CrashOptions{}, "", "d/ d/a=A") // its own name is its parent's
	check(t, SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "d/ d/a=A")

	check(t, MkdirAllDurable(m, "d/e/f"))
	wantCrashes(t, m, CrashOptions{}, "d/ d/a=A d/e/ d/e/f/")
	check(t, m.MkdirAll("d/g")) // and then the process is killed
	check(t, MkdirAllDurable(m, "d/g"))
	wantCrashes(t, m, CrashOptions{}, "d/ d/a=A d/e/ d/e/f/ d/g/")
}

func TestCrashRename(t *testing.T) {
	m := NewMem()
	write(t, m, "CURRENT", "old", true)
	check(t, SyncDir(m, "/"))
	write(t, m, "tmp", "new", true)
	check(t, m.Rename("tmp", "CURRENT"))
	wantCrashes(t, m, CrashOptions{}, "CURRENT=old", "CURRENT=old tmp=new", "CURRENT=new")
	wantCrashes(t, m, CrashOptions{SplitRename: true},
		"CURRENT=old", "CURRENT=old tmp=new", "CURRENT=new", "CURRENT=new tmp=new")
	check(t, SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "CURRENT=new")

	// Without a sync of the new file, its name may come and its bytes not.
	write(t, m, "tmp", "3", false)
	check(t, m.Rename("tmp", "CURRENT"))
	check(t, SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "CURRENT=", "CURRENT=\x00", "CURRENT=3")
}

func TestCrashRenameAcross(t *testing.T) {
	m := NewMem()
	check(t, m.MkdirAll("d"))
	write(t, m, "a", "A", true)
	check(t, SyncDir(m, "/"))
	check(t, m.Rename("a", "d/a"))
	wantCrashes(t, m, CrashOptions{}, "a=A d/", "a=A d/ d/a=A", "d/", "d/ d/a=A")
	// A clone with the file under both names counts its room once.
	both := m.CrashClone(CrashOptions{Pick: func(i int) bool { return i == 1 }})
	if got := dump(t, both); got != "a=A d/ d/a=A" || both.Used() != 1 {
		t.Fatalf("%q, used %d", got, both.Used())
	}
	check(t, both.Remove("a"))
	check(t, both.Remove("d/a"))
	if both.Used() != 0 {
		t.Fatalf("used %d", both.Used())
	}
	check(t, SyncDir(m, "d"))
	check(t, SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "d/ d/a=A")
}

func TestCrashRemove(t *testing.T) {
	m := NewMem()
	write(t, m, "a", "1", true)
	check(t, SyncDir(m, "/"))
	check(t, m.Remove("a"))
	wantCrashes(t, m, CrashOptions{}, "", "a=1") // what was removed comes back
	write(t, m, "a", "2", true)
	wantCrashes(t, m, CrashOptions{}, "", "a=1", "a=2")
	check(t, m.Remove("a"))
	check(t, SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "")
}

func TestCrashTruncate(t *testing.T) {
	m := NewMem()
	f, err := m.Create("a")
	check(t, err)
	_, err = f.Write([]byte("abcdef"))
	check(t, err)
	check(t, f.Sync())
	check(t, SyncDir(m, "/"))
	check(t, f.Truncate(2))
	wantCrashes(t, m, CrashOptions{}, "a=abcdef", "a=ab")
	_, err = f.Write([]byte("X"))
	check(t, err)
	// cut, sector, size: the page cache writes the sector with zeros behind.
	wantCrashes(t, m, CrashOptions{}, "a=abcdef", "a=ab", "a=abX", "a=abX\x00\x00\x00", "a=ab\x00", "a=abc")
	check(t, f.Sync())
	wantCrashes(t, m, CrashOptions{}, "a=abX")
}

// sectors makes n sectors, each of one letter.
func sectors(letters string) []byte {
	var b []byte
	for _, l := range []byte(letters) {
		b = append(b, bytes.Repeat([]byte{l}, SectorSize)...)
	}
	return b
}

// One append of four sectors: any of them may be missing, and the size.
func TestCrashTornSectors(t *testing.T) {
	m := NewMem()
	f, err := m.Create("a")
	check(t, err)
	check(t, SyncDir(m, "/"))
	_, err = f.Write(sectors("abcd")[:3*SectorSize+10])
	check(t, err)
	if m.Pending() != 5 {
		t.Fatalf("%d pieces, want 4 sectors and a size", m.Pending())
	}
	for mask := range 1 << 5 {
		c := m.CrashClone(CrashOptions{Pick: func(i int) bool { return mask>>i&1 == 1 }})
		got := read(t, c, "a")
		if mask>>4 == 0 {
			if got != "" {
				t.Fatalf("%05b: %d bytes, but the size did not survive", mask, len(got))
			}
			continue
		}
		want := sectors("abcd")[:3*SectorSize+10]
		for s := range 4 {
			if mask>>s&1 == 0 {
				clear(want[s*SectorSize : min(len(want), (s+1)*SectorSize)])
			}
		}
		if got != string(want) {
			t.Fatalf("%05b: %.60q... is not %.60q...", mask, got, want)
		}
	}
}

// A sector that survives holds everything written to it before.
func TestCrashSectorIsCumulative(t *testing.T) {
	m := NewMem()
	f, err := m.Create("a")
	check(t, err)
	check(t, SyncDir(m, "/"))
	for _, s := range []string{"ab", "cd"} {
		_, err = f.Write([]byte(s))
		check(t, err)
	}
	wantCrashes(t, m, CrashOptions{}, "a=", "a=\x00\x00", "a=ab", "a=\x00\x00\x00\x00", "a=ab\x00\x00", "a=abcd")
}

func TestCrashFill(t *testing.T) {
	m := NewMem()
	f, err := m.Create("a")
	check(t, err)
	_, err = f.Write([]byte("ab"))
	check(t, err)
	check(t, f.Sync())
	check(t, SyncDir(m, "/"))
	_, err = f.Write(append([]byte("cd"), sectors("xyz")...))
	check(t, err)
	fill := func(p []byte) {
		for i := range p {
			p[i] = '?'
		}
	}
	// Keep the size and the third sector only.
	c := m.CrashClone(CrashOptions{Fill: fill, Pick: func(i int) bool { return i == 2 || i == 4 }})
	got := read(t, c, "a")
	if len(got) != 4+3*SectorSize {
		t.Fatalf("%d bytes", len(got))
	}
	if got[:4] != "ab\x00\x00" || strings.Count(got[:SectorSize], "\x00") != SectorSize-2 {
		t.Errorf("the sector that was written: %q", got[:SectorSize])
	}
	if got[SectorSize:2*SectorSize] != strings.Repeat("?", SectorSize) || got[3*SectorSize:] != "????" {
		t.Error("sectors never written are not filled")
	}
	if s := got[2*SectorSize : 3*SectorSize]; s != "yyyy"+strings.Repeat("z", SectorSize-4) {
		t.Errorf("the sector that survived: %q", s)
	}
}

// What a file held before it was cut does not show through when it grows again:
// the sectors are others.
func TestCrashFillAfterCut(t *testing.T) {
	m := NewMem()
	f, err := m.Create("a")
	check(t, err)
	_, err = f.Write(sectors("ab"))
	check(t, err)
	check(t, f.Sync())
	check(t, SyncDir(m, "/"))
	check(t, f.Truncate(3))
	_, err = f.Write(sectors("xy"))
	check(t, err)
	fill := func(p []byte) { copy(p, "?") }
	// The cut and the last size.
	got := read(t, m.CrashClone(CrashOptions{Fill: fill, Pick: func(i int) bool { return i == 0 || i == 4 }}), "a")
	want := append([]byte("aaa"), make([]byte, 2*SectorSize)...)
	want[SectorSize], want[2*SectorSize] = '?', '?'
	if got != string(want) {
		t.Errorf("%d bytes, beginning %.10q; want %d", len(got), got, len(want))
	}
}

// A removal that survives, of a file whose creation did not, is not the removal
// of the file that had the name before.
func TestCrashRemoveOfAnother(t *testing.T) {
	m := NewMem()
	write(t, m, "a", "1", true)
	check(t, SyncDir(m, "/"))
	check(t, m.Remove("a"))
	write(t, m, "a", "", true)
	check(t, m.Remove("a"))
	if m.Pending() != 3 {
		t.Fatalf("%d pieces", m.Pending())
	}
	c := m.CrashClone(CrashOptions{Pick: func(i int) bool { return i == 2 }})
	if got := dump(t, c); got != "a=1" {
		t.Errorf("%q", got)
	}
}

func TestCrashLyingSync(t *testing.T) {
	m := NewMem()
	m.SetLyingSync(true)
	write(t, m, "a", "abc", true)
	check(t, SyncDir(m, "/"))
	if got := dump(t, m.CrashClone(CrashOptions{})); got != "" {
		t.Fatalf("the sync did something: %q", got)
	}
	if got := dump(t, m.CrashClone(CrashOptions{Keep: 1})); got != "a=abc" {
		t.Fatalf("%q", got)
	}
	m.SetLyingSync(false)
	check(t, SyncDir(m, "/"))
	if got := dump(t, m.CrashClone(CrashOptions{})); got != "a=" {
		t.Fatalf("%q", got)
	}
}

func TestFailSync(t *testing.T) {
	fail := errors.New("EIO")
	cases := []struct {
		model       SyncFailure
		live, after string // what a reader sees, what a second sync has made durable
	}{
		{SyncKeepsDirty, "a=oldnew!", "a=oldnew!"},
		// Beyond the sector that the last write took along, the data is lost.
		{SyncForgets, "a=oldnew!", "a=oldnew!"},
		{SyncReverts, "a=old!", "a=old!"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.model), func(t *testing.T) {
			m := NewMem()
			f, err := m.Create("a")
			check(t, err)
			_, err = f.Write([]byte("old"))
			check(t, err)
			check(t, f.Sync())
			check(t, SyncDir(m, "/"))
			m.FailSync("other", c.model, fail)
			m.FailSync("a", c.model, fail)
			_, err = f.Write([]byte("new"))
			check(t, err)
			wantIs(t, f.Sync(), fail)
			_, err = f.Write([]byte("!"))
			check(t, err)
			check(t, f.Sync()) // once only
			if m.Used() != int64(len(c.live)-len("a=")) {
				t.Errorf("used %d", m.Used())
			}
			if got := dump(t, m); got != c.live {
				t.Errorf("a reader sees %q, want %q", got, c.live)
			}
			if got := dump(t, m.CrashClone(CrashOptions{})); got != c.after {
				t.Errorf("the device holds %q, want %q", got, c.after)
			}
		})
	}
}

// The measured behaviour of ext4: after the failure a second sync succeeds and
// readers see the data, and after a crash the bytes are zeros.
func TestFailSyncForgets(t *testing.T) {
	fail := errors.New("EIO")
	m := NewMem()
	f, err := m.Create("a")
	check(t, err)
	check(t, SyncDir(m, "/"))
	_, err = f.Write(sectors("ab"))
	check(t, err)
	m.FailSync("*", SyncForgets, fail)
	wantIs(t, f.Sync(), fail)
	check(t, f.Sync())
	if got := read(t, m, "a"); got != string(sectors("ab")) {
		t.Fatal("a reader does not see the data")
	}
	for _, keep := range []float64{0, 1} {
		if got := read(t, m.CrashClone(CrashOptions{Keep: keep}), "a"); got != string(make([]byte, 2*SectorSize)) {
			t.Fatalf("after a crash: %.40q", got)
		}
	}
	// What is written later arrives, in its sector, and later syncs are honest.
	_, err = f.Write(sectors("c"))
	check(t, err)
	check(t, f.Sync())
	_, err = f.Write(sectors("d"))
	check(t, err)
	want := append(make([]byte, 2*SectorSize), sectors("c")...)
	if got := read(t, m.CrashClone(CrashOptions{}), "a"); got != string(want) {
		t.Fatalf("later data: %.40q", got)
	}
}

func TestFailSyncDir(t *testing.T) {
	fail := errors.New("EIO")
	m := NewMem()
	check(t, MkdirAllDurable(m, "d"))
	write(t, m, "d/a", "A", true)
	m.FailSync("d", SyncForgets, fail)
	wantIs(t, SyncDir(m, "d"), fail)
	wantCrashes(t, m, CrashOptions{}, "d/", "d/ d/a=A")
}

func TestCrashIsRepeatable(t *testing.T) {
	m := NewMem()
	for i := range 20 {
		write(t, m, fmt.Sprint(i), strings.Repeat("x", 100*i), i%3 == 0)
	}
	seen := map[string]bool{}
	for seed := range uint64(10) {
		one := dump(t, m.CrashClone(CrashOptions{Keep: 0.5, Rand: rand.New(rand.NewPCG(seed, 0))}))
		two := dump(t, m.CrashClone(CrashOptions{Keep: 0.5, Rand: rand.New(rand.NewPCG(seed, 0))}))
		if one != two {
			t.Fatalf("seed %d gives two different crashes", seed)
		}
		seen[one] = true
	}
	if len(seen) != 10 {
		t.Errorf("10 seeds gave %d different crashes", len(seen))
	}
	if a, b := dump(t, m.CrashClone(CrashOptions{Keep: 0.5})), dump(t, m.CrashClone(CrashOptions{Keep: 0.5})); a != b {
		t.Error("without a source of randomness two crashes differ")
	}
}

// A clone and its original go separate ways.
func TestCrashCloneIsSeparate(t *testing.T) {
	m := NewMem()
	f, err := m.Create("a")
	check(t, err)
	_, err = f.Write([]byte("abc"))
	check(t, err)
	check(t, f.Sync())
	check(t, SyncDir(m, "/"))
	c := m.CrashClone(CrashOptions{})
	_, err = f.Write([]byte("def"))
	check(t, err)
	check(t, f.Truncate(1))
	_, err = f.Write([]byte("X"))
	check(t, err)
	check(t, m.Rename("a", "b"))
	check(t, SyncDir(m, "/"))
	if got := dump(t, c); got != "a=abc" {
		t.Errorf("the clone changed: %q", got)
	}
	check(t, c.Remove("a"))
	if got := dump(t, m); got != "b=aX" {
		t.Errorf("the original changed: %q", got)
	}
	if c.Ops() != 1 {
		t.Errorf("the clone counts %d operations", c.Ops())
	}
}
