package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// rotateNow makes the next Append rotate.
func rotateNow(l *Log) {
	l.mu.Lock()
	l.rotateAt = 0
	l.mu.Unlock()
}

// history is what a scenario did: the states after each edit that it tried, of
// which the first acked are promised.
type history struct {
	created bool
	states  []string
	acked   int
}

const historyEdits = 9

// historyEdit is edit i of the scenario: flushes, and compactions of what they
// made.
func historyEdit(i int) *Edit {
	e := flushEdit(i)
	if i == 2 {
		// Numbers and sequences that were handed out, and are in no file.
		e.NextFile, e.LastSeq = 500, 10000
	}
	if i%3 == 2 {
		f := e.Add[0].Meta
		for _, j := range []int{i - 1, i - 2} {
			old := flushEdit(j).Add[0].Meta
			e.Remove = append(e.Remove, OldFile{0, old.Num})
		}
		e.Add[0] = NewFile{1, table(f.Num, f.Run, "a", "z", 1, f.LargestSeq, ValueRef{f.ValueRefs[0].File, 100, 1})}
		if i > 2 {
			e.Remove = append(e.Remove, OldFile{1, flushEdit(i - 3).Add[0].Meta.Num})
		}
	}
	return e
}

// run creates a database, and appends edits with rotations and a reopening in
// between, until it is done or an error comes.
func (h *history) run(fs vfs.FS) error {
	l, err := Create(fs, "", testDB, 9)
	if err != nil {
		return err
	}
	h.created = true
	h.states = []string{describe(l.State())}
	for i := range historyEdits {
		if i == 4 {
			if err := l.Close(); err != nil {
				return err
			}
			s, err := Recover(fs, "")
			if err != nil {
				return err
			}
			if l, err = Start(fs, "", s, 9); err != nil {
				return err
			}
		}
		if i%4 == 1 {
			rotateNow(l)
		}
		e := historyEdit(i)
		next, err := l.State().apply(e)
		if err != nil {
			return err
		}
		h.states = append(h.states, describe(next))
		if err := l.Append(e); err != nil {
			return err
		}
		h.acked = len(h.states) - 1
	}
	return l.Close()
}

// check recovers from what a crash left, and returns how many edits are there.
func (h *history) check(fs vfs.FS) (int, error) {
	s, err := Recover(fs, "")
	if errors.Is(err, base.ErrNotExist) && !h.created {
		// Creation can be tried again.
		l, err := Create(fs, "", testDB, 9)
		if err == nil {
			err = l.Close()
		}
		return 0, err
	}
	if err != nil {
		return 0, err
	}
	if !h.created {
		return 0, nil
	}
	got := describe(s)
	for i := len(h.states) - 1; i >= h.acked; i-- {
		if got == h.states[i] {
			return i, s.Version.Check()
		}
	}
	return 0, fmt.Errorf("%d edits were promised; recovered\n%s", h.acked, got)
}

func crashes(k, seeds int) []memfs.CrashOptions {
	list := []memfs.CrashOptions{{Keep: 0}, {Keep: 1}}
	for s := range seeds {
		rng := rand.New(rand.NewPCG(uint64(s), uint64(k)))
		o := memfs.CrashOptions{Keep: 0.5, Rand: rng}
		if s%2 == 0 {
			o.Fill = func(p []byte) {
				for i := range p {
					p[i] = byte(rng.Uint32())
				}
			}
		}
		list = append(list, o)
	}
	return list
}

// TestCrashEverywhere stops the power at every operation of the scenario, and
// then at every operation of opening what is left.
func TestCrashEverywhere(t *testing.T) {
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	for k := 1; ; k++ {
		fs := memfs.New()
		fs.FreezeAt(int64(k))
		h := &history{}
		err := h.run(fs)
		if err == nil && !fs.Frozen() {
			if k < 60 || len(h.states) != historyEdits+1 {
				t.Fatalf("only %d crash points, %d states", k, len(h.states))
			}
			return
		}
		if err != nil && !errors.Is(err, memfs.ErrFrozen) {
			t.Fatal(err)
		}
		for i, o := range crashes(k, seeds) {
			clone := fs.CrashClone(o)
			n, err := h.check(clone)
			if err != nil {
				t.Fatalf("crash at %d, clone %d: %v", k, i, err)
			}
			if i < 3 && h.created {
				reopenEverywhere(t, h, fs, o, n, k)
			}
		}
	}
}

// reopenEverywhere crashes at every operation of opening: nothing that was
// recovered once may be lost.
func reopenEverywhere(t *testing.T, h *history, fs *memfs.FS, o memfs.CrashOptions, n, k int) {
	t.Helper()
	want := h.states[n]
	clone := fs.CrashClone(memfs.CrashOptions{Keep: 0}) // for k2 = 1, unless o keeps more
	if o.Keep == 1 {
		clone = fs.CrashClone(o)
	} else if o.Keep > 0 {
		return // a random clone is not the same twice
	}
	for k2 := int64(1); ; k2++ {
		again := clone.CrashClone(memfs.CrashOptions{Keep: 1})
		again.FreezeAt(k2)
		s, err := Recover(again, "")
		if err != nil && !errors.Is(err, memfs.ErrFrozen) {
			t.Fatal(err)
		}
		if err == nil {
			var l *Log
			if l, err = Start(again, "", s, 9); err == nil {
				err = l.Close()
			}
		}
		if !again.Frozen() {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		for _, o := range crashes(k, 2) {
			s, err := Recover(again.CrashClone(o), "")
			if err != nil || describe(s) != want {
				t.Fatalf("crash at %d, then at %d of opening: %v", k, k2, err)
			}
		}
	}
}

// TestLyingDevice is the negative control: the check above can fail.
func TestLyingDevice(t *testing.T) {
	fs := memfs.New()
	fs.SetLyingSync(true)
	h := &history{}
	if err := h.run(fs); err != nil {
		t.Fatal(err)
	}
	if _, err := h.check(fs.CrashClone(memfs.CrashOptions{})); err == nil {
		t.Fatal("a device that syncs nothing was not found out")
	}
}

// contents returns a copy of every file.
func contents(t testing.TB, fs vfs.FS) map[string][]byte {
	t.Helper()
	names, err := fs.List("")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		f, err := fs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		p := make([]byte, size)
		if _, err := f.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		files[name] = p
		_ = f.Close()
	}
	return files
}

func withContents(t testing.TB, files map[string][]byte) *memfs.FS {
	t.Helper()
	fs := memfs.New()
	for name, p := range files {
		f, err := fs.Create(name)
		if err == nil {
			_, err = f.Write(p)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// threeEdits is the files of a database with three edits, all marked durable
// but, if asked, the last.
func threeEdits(t testing.TB, marked bool) (files map[string][]byte, states []string, lastMark int) {
	t.Helper()
	fs := memfs.New()
	l := mustCreate(t, fs)
	states = append(states, describe(l.State()))
	for i := range 3 {
		mustAppend(t, l, flushEdit(i))
		states = append(states, describe(l.State()))
	}
	files = contents(t, fs)
	name := base.FileName(base.FileTypeManifest, l.State().ManifestNum)
	lastMark = len(files[name]) - 16
	if !marked {
		files[name] = files[name][:lastMark]
	}
	return files, states, lastMark
}

const testManifest = "MANIFEST-000001"

// TestFlipEveryBit: one flipped bit anywhere in a manifest or CURRENT gives an
// error, or the same database.
func TestFlipEveryBit(t *testing.T) {
	files, states, lastMark := threeEdits(t, true)
	for name, p := range files {
		for bit := range len(p) * 8 {
			p[bit/8] ^= 1 << (bit % 8)
			s, err := Recover(withContents(t, files), "")
			p[bit/8] ^= 1 << (bit % 8)
			switch {
			case err == nil && name == testManifest && bit/8 >= lastMark:
				if describe(s) != states[3] {
					t.Fatalf("bit %d of the mark loses an edit", bit)
				}
			case err == nil || !errors.Is(err, base.ErrCorruption):
				t.Fatalf("%s bit %d: %v", name, bit, err)
			}
		}
	}
}

// TestTornAnywhere cuts a manifest at every byte, with every kind of fill:
// whole edits from the beginning, or an error where something durable is gone.
func TestTornAnywhere(t *testing.T) {
	files, states, end := threeEdits(t, false)
	whole := files[testManifest]
	noise := make([]byte, end)
	rng := rand.New(rand.NewPCG(4, 4))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	stale := append([]byte("stale"), whole...)[:end]
	snapshot := durableLen(t, files)
	counts := map[int]int{}
	for name, fill := range map[string][]byte{
		"nothing": nil, "zeros": make([]byte, end), "0xff": bytes.Repeat([]byte{0xff}, end), "noise": noise, "stale": stale,
	} {
		for cut := range end {
			torn := bytes.Clone(whole[:cut])
			if fill != nil {
				torn = append(torn, fill[cut:]...)
			}
			if bytes.Equal(torn, whole) {
				continue
			}
			files[testManifest] = torn
			s, err := Recover(withContents(t, files), "")
			if err != nil {
				if !errors.Is(err, base.ErrCorruption) || cut >= snapshot {
					t.Fatalf("%s from %d (snapshot %d): %v", name, cut, snapshot, err)
				}
				continue
			}
			n := -1
			for i, st := range states {
				if describe(s) == st {
					n = i
				}
			}
			if n < 0 || n == 3 {
				t.Fatalf("%s from %d: recovered\n%s", name, cut, describe(s))
			}
			counts[n]++
		}
	}
	if len(counts) != 3 {
		t.Fatalf("cuts leave %v edits", counts)
	}
}

// durableLen is how long CURRENT says that the manifest was.
func durableLen(t testing.TB, files map[string][]byte) int {
	t.Helper()
	c, err := parseCurrent(files["CURRENT"])
	if err != nil || c.synced == 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	return int(c.synced)
}

// TestWrongFiles opens directories whose files were mixed up.
func TestWrongFiles(t *testing.T) {
	for name, mix := range map[string]func(files map[string][]byte){
		"no manifest":    func(f map[string][]byte) { delete(f, testManifest) },
		"empty manifest": func(f map[string][]byte) { f[testManifest] = nil },
		"empty CURRENT":  func(f map[string][]byte) { f["CURRENT"] = nil },
		"long CURRENT":   func(f map[string][]byte) { f["CURRENT"] = make([]byte, 1<<20) },
		"a manifest of another database": func(f map[string][]byte) {
			fs := memfs.New()
			l, err := Create(fs, "", testDB+1, 9)
			if err != nil {
				t.Fatal(err)
			}
			mustAppend(t, l, flushEdit(0))
			f[testManifest] = contents(t, fs)[testManifest]
		},
		"CURRENT of another database": func(f map[string][]byte) {
			fs := memfs.New()
			if _, err := Create(fs, "", testDB+1, 9); err != nil {
				t.Fatal(err)
			}
			f["CURRENT"] = contents(t, fs)["CURRENT"]
		},
		"a manifest under another number": func(f map[string][]byte) {
			fs := withContents(t, f)
			l, err := Start(fs, "", mustRecover(t, fs), 9)
			if err != nil {
				t.Fatal(err)
			}
			f["CURRENT"] = contents(t, fs)["CURRENT"] // names 2
			f["MANIFEST-000002"] = f[testManifest]
			_ = l.Close()
		},
	} {
		files, _, _ := threeEdits(t, true)
		mix(files)
		s, err := Recover(withContents(t, files), "")
		if !errors.Is(err, base.ErrCorruption) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if _, err := Create(withContents(t, files), "", 1, 9); err == nil {
			t.Errorf("%s: a new database was made in its place", name)
		}
	}
}

// TestCreateBesideData: without CURRENT a directory with data is not taken for
// an empty one; what an unfinished Create left is.
func TestCreateBesideData(t *testing.T) {
	for name, want := range map[string]error{
		"000007.sst": base.ErrCorruption, "000007.wal": base.ErrCorruption, "000007.val": base.ErrCorruption,
		"MANIFEST-000001": nil, "000001.tmp": nil, "notes.txt": nil, "LOCK": nil,
	} {
		fs := withContents(t, map[string][]byte{name: []byte("data")})
		l, err := Create(fs, "", testDB, 9)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := string(contents(t, fs)[name]); got != "data" {
			t.Fatalf("%s: it holds %q now", name, got)
		}
		if l != nil {
			_ = l.Close()
			mustRecover(t, fs)
		}
	}
}

// TestNumbersAreNotReused: the next file number is above every file in the
// directory, named or not.
func TestNumbersAreNotReused(t *testing.T) {
	for name, want := range map[string]base.FileNum{
		"000500.sst": 501, "000500.wal": 501, "000500.val": 501, "000500.tmp": 33, "MANIFEST-000500": 33,
		"18446744073709551615.sst": 33, "500.sst": 33, "x000500.sst": 33,
	} {
		files, _, _ := threeEdits(t, true)
		files[name] = []byte("half written")
		fs := withContents(t, files)
		s := mustRecover(t, fs)
		names, err := fs.List("")
		if err != nil {
			t.Fatal(err)
		}
		if s.NextFile = FreeAbove(names, s.NextFile); s.NextFile != want {
			t.Fatalf("beside %s: next file %d, want %d", name, s.NextFile, want)
		}
		l, err := Start(fs, "", s, 9)
		if err != nil {
			t.Fatal(err)
		}
		if want := s.ManifestNum + 1; l.State().ManifestNum != want {
			t.Fatalf("manifest %d", l.State().ManifestNum)
		}
		_ = l.Close()
		if got := mustRecover(t, fs); got.NextFile != want {
			t.Fatalf("next file %d after reopening, want %d", got.NextFile, want)
		}
	}
}
