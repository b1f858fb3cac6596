package memfs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

// crashes returns everything a crash can leave, by trying each subset of the
// pending pieces.
func crashes(t vfstest.TB, m *FS, o CrashOptions) []string {
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
		seen[vfstest.Dump(t, m.CrashClone(o))] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func wantCrashes(t *testing.T, m *FS, o CrashOptions, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := crashes(t, m, o); !slices.Equal(got, want) {
		t.Errorf("a crash can leave\n %q\nwant\n %q", got, want)
	}
}

func TestCrashName(t *testing.T) {
	m := New()
	f, err := m.Create("a")
	vfstest.Check(t, err)
	_, err = f.Write([]byte("abc"))
	vfstest.Check(t, err)
	wantCrashes(t, m, CrashOptions{}, "", "a=", "a=\x00\x00\x00", "a=abc")
	vfstest.Check(t, f.Sync()) // the bytes, not the name
	wantCrashes(t, m, CrashOptions{}, "", "a=abc")
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "a=abc")
	if m.Pending() != 0 {
		t.Errorf("%d pieces are pending after the syncs", m.Pending())
	}
}

func TestCrashDirSyncIsNotFileSync(t *testing.T) {
	m := New()
	vfstest.Write(t, m, "a", "abc", false)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "a=", "a=\x00\x00\x00", "a=abc")
}

func TestCrashMkdir(t *testing.T) {
	m := New()
	vfstest.Check(t, m.MkdirAll("d"))
	vfstest.Write(t, m, "d/a", "A", true)
	vfstest.Check(t, vfs.SyncDir(m, "d"))
	wantCrashes(t, m, CrashOptions{}, "", "d/ d/a=A") // its own name is its parent's
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "d/ d/a=A")

	vfstest.Check(t, vfs.MkdirAllDurable(m, "d/e/f"))
	wantCrashes(t, m, CrashOptions{}, "d/ d/a=A d/e/ d/e/f/")
	vfstest.Check(t, m.MkdirAll("d/g")) // and then the process is killed
	vfstest.Check(t, vfs.MkdirAllDurable(m, "d/g"))
	wantCrashes(t, m, CrashOptions{}, "d/ d/a=A d/e/ d/e/f/ d/g/")
}

func TestCrashRename(t *testing.T) {
	m := New()
	vfstest.Write(t, m, "CURRENT", "old", true)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	vfstest.Write(t, m, "tmp", "new", true)
	vfstest.Check(t, m.Rename("tmp", "CURRENT"))
	wantCrashes(t, m, CrashOptions{}, "CURRENT=old", "CURRENT=old tmp=new", "CURRENT=new")
	wantCrashes(t, m, CrashOptions{SplitRename: true},
		"CURRENT=old", "CURRENT=old tmp=new", "CURRENT=new", "CURRENT=new tmp=new")
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "CURRENT=new")

	// Without a sync of the new file, its name may come and its bytes not.
	vfstest.Write(t, m, "tmp", "3", false)
	vfstest.Check(t, m.Rename("tmp", "CURRENT"))
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "CURRENT=", "CURRENT=\x00", "CURRENT=3")
}

func TestCrashRenameAcross(t *testing.T) {
	m := New()
	vfstest.Check(t, m.MkdirAll("d"))
	vfstest.Write(t, m, "a", "A", true)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	vfstest.Check(t, m.Rename("a", "d/a"))
	wantCrashes(t, m, CrashOptions{}, "a=A d/", "a=A d/ d/a=A", "d/", "d/ d/a=A")
	// A clone with the file under both names counts its room once.
	both := m.CrashClone(CrashOptions{Pick: func(i int) bool { return i == 1 }})
	if got := vfstest.Dump(t, both); got != "a=A d/ d/a=A" || both.Used() != 1 {
		t.Fatalf("%q, used %d", got, both.Used())
	}
	vfstest.Check(t, both.Remove("a"))
	vfstest.Check(t, both.Remove("d/a"))
	if both.Used() != 0 {
		t.Fatalf("used %d", both.Used())
	}
	vfstest.Check(t, vfs.SyncDir(m, "d"))
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "d/ d/a=A")
}

func TestCrashRemove(t *testing.T) {
	m := New()
	vfstest.Write(t, m, "a", "1", true)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	vfstest.Check(t, m.Remove("a"))
	wantCrashes(t, m, CrashOptions{}, "", "a=1") // what was removed comes back
	vfstest.Write(t, m, "a", "2", true)
	wantCrashes(t, m, CrashOptions{}, "", "a=1", "a=2")
	vfstest.Check(t, m.Remove("a"))
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	wantCrashes(t, m, CrashOptions{}, "")
}

func TestCrashTruncate(t *testing.T) {
	m := New()
	f, err := m.Create("a")
	vfstest.Check(t, err)
	_, err = f.Write([]byte("abcdef"))
	vfstest.Check(t, err)
	vfstest.Check(t, f.Sync())
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	vfstest.Check(t, f.Truncate(2))
	wantCrashes(t, m, CrashOptions{}, "a=abcdef", "a=ab")
	_, err = f.Write([]byte("X"))
	vfstest.Check(t, err)
	// cut, sector, size: the page cache writes the sector with zeros behind.
	wantCrashes(t, m, CrashOptions{}, "a=abcdef", "a=ab", "a=abX", "a=abX\x00\x00\x00", "a=ab\x00", "a=abc")
	vfstest.Check(t, f.Sync())
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
	m := New()
	f, err := m.Create("a")
	vfstest.Check(t, err)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	_, err = f.Write(sectors("abcd")[:3*SectorSize+10])
	vfstest.Check(t, err)
	if m.Pending() != 5 {
		t.Fatalf("%d pieces, want 4 sectors and a size", m.Pending())
	}
	for mask := range 1 << 5 {
		c := m.CrashClone(CrashOptions{Pick: func(i int) bool { return mask>>i&1 == 1 }})
		got := vfstest.Read(t, c, "a")
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
	m := New()
	f, err := m.Create("a")
	vfstest.Check(t, err)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	for _, s := range []string{"ab", "cd"} {
		_, err = f.Write([]byte(s))
		vfstest.Check(t, err)
	}
	wantCrashes(t, m, CrashOptions{}, "a=", "a=\x00\x00", "a=ab", "a=\x00\x00\x00\x00", "a=ab\x00\x00", "a=abcd")
}

func TestCrashFill(t *testing.T) {
	m := New()
	f, err := m.Create("a")
	vfstest.Check(t, err)
	_, err = f.Write([]byte("ab"))
	vfstest.Check(t, err)
	vfstest.Check(t, f.Sync())
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	_, err = f.Write(append([]byte("cd"), sectors("xyz")...))
	vfstest.Check(t, err)
	fill := func(p []byte) {
		for i := range p {
			p[i] = '?'
		}
	}
	// Keep the size and the third sector only.
	c := m.CrashClone(CrashOptions{Fill: fill, Pick: func(i int) bool { return i == 2 || i == 4 }})
	got := vfstest.Read(t, c, "a")
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
	m := New()
	f, err := m.Create("a")
	vfstest.Check(t, err)
	_, err = f.Write(sectors("ab"))
	vfstest.Check(t, err)
	vfstest.Check(t, f.Sync())
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	vfstest.Check(t, f.Truncate(3))
	_, err = f.Write(sectors("xy"))
	vfstest.Check(t, err)
	fill := func(p []byte) { copy(p, "?") }
	// The cut and the last size.
	got := vfstest.Read(t, m.CrashClone(CrashOptions{Fill: fill, Pick: func(i int) bool { return i == 0 || i == 4 }}), "a")
	want := append([]byte("aaa"), make([]byte, 2*SectorSize)...)
	want[SectorSize], want[2*SectorSize] = '?', '?'
	if got != string(want) {
		t.Errorf("%d bytes, beginning %.10q; want %d", len(got), got, len(want))
	}
}

// A removal that survives, of a file whose creation did not, is not the removal
// of the file that had the name before.
func TestCrashRemoveOfAnother(t *testing.T) {
	m := New()
	vfstest.Write(t, m, "a", "1", true)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	vfstest.Check(t, m.Remove("a"))
	vfstest.Write(t, m, "a", "", true)
	vfstest.Check(t, m.Remove("a"))
	if m.Pending() != 3 {
		t.Fatalf("%d pieces", m.Pending())
	}
	c := m.CrashClone(CrashOptions{Pick: func(i int) bool { return i == 2 }})
	if got := vfstest.Dump(t, c); got != "a=1" {
		t.Errorf("%q", got)
	}
}

func TestCrashLyingSync(t *testing.T) {
	m := New()
	m.SetLyingSync(true)
	vfstest.Write(t, m, "a", "abc", true)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	if got := vfstest.Dump(t, m.CrashClone(CrashOptions{})); got != "" {
		t.Fatalf("the sync did something: %q", got)
	}
	if got := vfstest.Dump(t, m.CrashClone(CrashOptions{Keep: 1})); got != "a=abc" {
		t.Fatalf("%q", got)
	}
	m.SetLyingSync(false)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	if got := vfstest.Dump(t, m.CrashClone(CrashOptions{})); got != "a=" {
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
			m := New()
			f, err := m.Create("a")
			vfstest.Check(t, err)
			_, err = f.Write([]byte("old"))
			vfstest.Check(t, err)
			vfstest.Check(t, f.Sync())
			vfstest.Check(t, vfs.SyncDir(m, "/"))
			m.FailSync("other", c.model, fail)
			m.FailSync("a", c.model, fail)
			_, err = f.Write([]byte("new"))
			vfstest.Check(t, err)
			vfstest.WantIs(t, f.Sync(), fail)
			_, err = f.Write([]byte("!"))
			vfstest.Check(t, err)
			vfstest.Check(t, f.Sync()) // once only
			if m.Used() != int64(len(c.live)-len("a=")) {
				t.Errorf("used %d", m.Used())
			}
			if got := vfstest.Dump(t, m); got != c.live {
				t.Errorf("a reader sees %q, want %q", got, c.live)
			}
			if got := vfstest.Dump(t, m.CrashClone(CrashOptions{})); got != c.after {
				t.Errorf("the device holds %q, want %q", got, c.after)
			}
		})
	}
}

// The measured behaviour of ext4: after the failure a second sync succeeds and
// readers see the data, and after a crash the bytes are zeros.
func TestFailSyncForgets(t *testing.T) {
	fail := errors.New("EIO")
	m := New()
	f, err := m.Create("a")
	vfstest.Check(t, err)
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	_, err = f.Write(sectors("ab"))
	vfstest.Check(t, err)
	m.FailSync("*", SyncForgets, fail)
	vfstest.WantIs(t, f.Sync(), fail)
	vfstest.Check(t, f.Sync())
	if got := vfstest.Read(t, m, "a"); got != string(sectors("ab")) {
		t.Fatal("a reader does not see the data")
	}
	for _, keep := range []float64{0, 1} {
		if got := vfstest.Read(t, m.CrashClone(CrashOptions{Keep: keep}), "a"); got != string(make([]byte, 2*SectorSize)) {
			t.Fatalf("after a crash: %.40q", got)
		}
	}
	// What is written later arrives, in its sector, and later syncs are honest.
	_, err = f.Write(sectors("c"))
	vfstest.Check(t, err)
	vfstest.Check(t, f.Sync())
	_, err = f.Write(sectors("d"))
	vfstest.Check(t, err)
	want := append(make([]byte, 2*SectorSize), sectors("c")...)
	if got := vfstest.Read(t, m.CrashClone(CrashOptions{}), "a"); got != string(want) {
		t.Fatalf("later data: %.40q", got)
	}
}

func TestFailSyncDir(t *testing.T) {
	fail := errors.New("EIO")
	m := New()
	vfstest.Check(t, vfs.MkdirAllDurable(m, "d"))
	vfstest.Write(t, m, "d/a", "A", true)
	m.FailSync("d", SyncForgets, fail)
	vfstest.WantIs(t, vfs.SyncDir(m, "d"), fail)
	wantCrashes(t, m, CrashOptions{}, "d/", "d/ d/a=A")
}

func TestCrashIsRepeatable(t *testing.T) {
	m := New()
	for i := range 20 {
		vfstest.Write(t, m, fmt.Sprint(i), strings.Repeat("x", 100*i), i%3 == 0)
	}
	seen := map[string]bool{}
	for seed := range uint64(10) {
		one := vfstest.Dump(t, m.CrashClone(CrashOptions{Keep: 0.5, Rand: rand.New(rand.NewPCG(seed, 0))}))
		two := vfstest.Dump(t, m.CrashClone(CrashOptions{Keep: 0.5, Rand: rand.New(rand.NewPCG(seed, 0))}))
		if one != two {
			t.Fatalf("seed %d gives two different crashes", seed)
		}
		seen[one] = true
	}
	if len(seen) != 10 {
		t.Errorf("10 seeds gave %d different crashes", len(seen))
	}
	if a, b := vfstest.Dump(t, m.CrashClone(CrashOptions{Keep: 0.5})), vfstest.Dump(t, m.CrashClone(CrashOptions{Keep: 0.5})); a != b {
		t.Error("without a source of randomness two crashes differ")
	}
}

// A clone and its original go separate ways.
func TestCrashCloneIsSeparate(t *testing.T) {
	m := New()
	f, err := m.Create("a")
	vfstest.Check(t, err)
	_, err = f.Write([]byte("abc"))
	vfstest.Check(t, err)
	vfstest.Check(t, f.Sync())
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	c := m.CrashClone(CrashOptions{})
	_, err = f.Write([]byte("def"))
	vfstest.Check(t, err)
	vfstest.Check(t, f.Truncate(1))
	_, err = f.Write([]byte("X"))
	vfstest.Check(t, err)
	vfstest.Check(t, m.Rename("a", "b"))
	vfstest.Check(t, vfs.SyncDir(m, "/"))
	if got := vfstest.Dump(t, c); got != "a=abc" {
		t.Errorf("the clone changed: %q", got)
	}
	vfstest.Check(t, c.Remove("a"))
	if got := vfstest.Dump(t, m); got != "b=aX" {
		t.Errorf("the original changed: %q", got)
	}
	if c.Ops() != 1 {
		t.Errorf("the clone counts %d operations", c.Ops())
	}
}
