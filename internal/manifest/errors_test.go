package manifest

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// recovered is what a crash now would leave, with nothing kept that was not
// synced.
func recovered(t testing.TB, mem *memfs.FS) string {
	t.Helper()
	return describe(mustRecover(t, mem.CrashClone(memfs.CrashOptions{})))
}

// TestFaultEverywhere makes every operation of the scenario fail once, and
// then for ever: what was promised before stays, and an edit that failed is
// wholly there or not at all.
func TestFaultEverywhere(t *testing.T) {
	for _, rule := range []faultfs.Rule{
		{Err: syscall.EIO, Count: 1}, {Err: syscall.EIO}, {Err: syscall.ENOSPC, Count: 1}, {Err: syscall.ENOSPC},
		{Err: syscall.EIO, Count: 1, Short: true}, {Err: syscall.EIO, Count: 1, After: true}, {Err: syscall.ENOSPC, Count: 1, After: true},
	} {
		rule.Op = faultfs.OpAll
		for rule.Skip = 0; ; rule.Skip++ {
			mem := memfs.New()
			fs := faultfs.New(mem)
			fired := fs.Inject(rule)
			h := &history{}
			err := h.run(fs)
			if err != nil && fired.Count() == 0 {
				t.Fatal(err)
			}
			for _, o := range crashes(rule.Skip, 2) {
				if _, err := h.check(mem.CrashClone(o)); err != nil {
					t.Fatalf("%+v: %v", rule, err)
				}
			}
			if fired.Count() == 0 {
				if rule.Skip < 60 {
					t.Fatalf("only %d operations", rule.Skip)
				}
				break
			}
		}
	}
}

// TestFullDisk appends with room for n bytes, for every n that is too small:
// the edit has not happened, and happens when there is room.
func TestFullDisk(t *testing.T) {
	mem := memfs.New()
	l := mustCreate(t, mem)
	mustAppend(t, l, flushEdit(0))
	before := describe(l.State())
	free := int64(0)
	for ; ; free++ {
		mem.SetCapacity(mem.Used() + free)
		err := l.Append(flushEdit(1))
		if err == nil {
			break
		}
		if !errors.Is(err, base.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) || l.Err() != nil {
			t.Fatal(err)
		}
		if got := describe(l.State()); got != before || recovered(t, mem) != before {
			t.Fatalf("with room for %d bytes: %s", free, got)
		}
	}
	if free < 50 {
		t.Fatalf("the edit fitted in %d bytes", free)
	}
	// Now there was room for the edit and none for its mark.
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	mem.SetCapacity(0)
	mustAppend(t, l, flushEdit(2))
	if got := recovered(t, mem); got != describe(l.State()) {
		t.Fatalf("recovered %s", got)
	}
}

// TestPoison: after a failed write or sync nothing is tried again, even if it
// would work.
func TestPoison(t *testing.T) {
	for _, c := range []struct {
		rules []faultfs.Rule
		cause error
	}{
		{[]faultfs.Rule{{Op: faultfs.OpWrite, Err: syscall.EIO}}, syscall.EIO},
		{[]faultfs.Rule{{Op: faultfs.OpSync, Err: syscall.EIO}}, syscall.EIO},
		{[]faultfs.Rule{{Op: faultfs.OpSync, Err: syscall.ENOSPC}}, syscall.ENOSPC},
		{[]faultfs.Rule{{Op: faultfs.OpWrite, Err: syscall.ENOSPC, Short: true}, {Op: faultfs.OpTruncate, Err: syscall.EROFS}}, syscall.EROFS},
	} {
		mem := memfs.New()
		fs := faultfs.New(mem)
		l, err := Create(fs, "", testDB, 9)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, flushEdit(0))
		want := describe(l.State())
		for _, r := range c.rules {
			r.Count = 1
			fs.Inject(r)
		}
		if err := l.Append(flushEdit(1)); !errors.Is(err, c.cause) || errors.Is(err, base.ErrNoSpace) {
			t.Fatalf("%v: %v", c.cause, err)
		}
		ops := mem.Ops()
		if err := l.Append(flushEdit(1)); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, c.cause) {
			t.Fatalf("%v: %v", c.cause, err)
		}
		if mem.Ops() != ops || !errors.Is(l.Err(), c.cause) || describe(l.State()) != want {
			t.Fatalf("%v: something happened after it", c.cause)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if recovered(t, mem) != want {
			t.Fatalf("%v: the failed edit is durable", c.cause)
		}
		if err := l.Append(flushEdit(1)); err == nil {
			t.Fatal("closed and poisoned, yet it appends")
		}
	}
}

// TestMarkFails: an edit is durable whatever becomes of its mark.
func TestMarkFails(t *testing.T) {
	mem := memfs.New()
	fs := faultfs.New(mem)
	l, err := Create(fs, "", testDB, 9)
	if err != nil {
		t.Fatal(err)
	}
	fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Skip: 1, Err: syscall.EIO, Short: true})
	mustAppend(t, l, flushEdit(0))
	if l.Err() == nil {
		t.Fatal("half a mark is in the file")
	}
	if recovered(t, mem) != describe(l.State()) {
		t.Fatal("the edit is lost")
	}
}

// rotationFault is a fault in a rotation, and whether CURRENT may name the new
// manifest after it.
type rotationFault struct {
	rule   faultfs.Rule
	unsure bool
}

var rotationFaults = map[string]rotationFault{
	"create":            {faultfs.Rule{Op: faultfs.OpCreate, Path: "MANIFEST-*"}, false},
	"create temporary":  {faultfs.Rule{Op: faultfs.OpCreate, Path: "*.tmp"}, false},
	"no descriptor":     {faultfs.Rule{Op: faultfs.OpOpen, Err: syscall.EMFILE}, false},
	"write":             {faultfs.Rule{Op: faultfs.OpWrite, Path: "MANIFEST-000002"}, false},
	"no space":          {faultfs.Rule{Op: faultfs.OpWrite, Path: "MANIFEST-000002", Err: syscall.ENOSPC, Short: true}, false},
	"sync":              {faultfs.Rule{Op: faultfs.OpSync, Path: "MANIFEST-000002"}, false},
	"write temporary":   {faultfs.Rule{Op: faultfs.OpWrite, Path: "*.tmp"}, false},
	"sync temporary":    {faultfs.Rule{Op: faultfs.OpSync, Path: "*.tmp"}, false},
	"rename":            {faultfs.Rule{Op: faultfs.OpRename}, false},
	"rename unreadable": {faultfs.Rule{Op: faultfs.OpRename}, true},
	"sync, file stays":  {faultfs.Rule{Op: faultfs.OpSync, Path: "MANIFEST-000002"}, false},
	"rename happened":   {faultfs.Rule{Op: faultfs.OpRename, After: true}, true},
	"directory":         {faultfs.Rule{Op: faultfs.OpDirSync}, true},
	"directory after":   {faultfs.Rule{Op: faultfs.OpDirSync, Skip: 1}, true},
	"remove the old":    {faultfs.Rule{Op: faultfs.OpRemove}, false},
	"close the old one": {faultfs.Rule{Op: faultfs.OpClose, Path: "MANIFEST-*"}, false},
}

// TestRotationFails: the edit that started a rotation is applied. A failure before CURRENT
// could change has no effect; after a later failure nothing may be appended.
func TestRotationFails(t *testing.T) {
	for name, c := range rotationFaults {
		mem := memfs.New()
		fs := faultfs.New(mem)
		l, err := Create(fs, "", testDB, 9)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, flushEdit(0))
		rotateNow(l)
		c.rule.Count = 1
		fired := fs.Inject(c.rule)
		if strings.Contains(name, "unreadable") {
			fs.Inject(faultfs.Rule{Op: faultfs.OpOpen, Path: "CURRENT", Count: 1})
		}
		if strings.Contains(name, "stays") {
			fs.Inject(faultfs.Rule{Op: faultfs.OpRemove, Count: 1})
		}
		mustAppend(t, l, flushEdit(1))
		if fired.Count() != 1 {
			t.Fatalf("%s: the fault fired %d times", name, fired.Count())
		}
		want := describe(l.State())
		if c.unsure != (l.Err() != nil) {
			t.Fatalf("%s: %v", name, l.Err())
		}
		for _, o := range crashes(1, 6) {
			if got := describe(mustRecover(t, mem.CrashClone(o))); got != want {
				t.Fatalf("%s: recovered %s", name, got)
			}
		}
		err = l.Append(flushEdit(2))
		if c.unsure {
			if !errors.Is(err, base.ErrReadOnly) {
				t.Fatalf("%s: %v", name, err)
			}
			continue
		}
		if failed := strings.Contains(name, "old"); failed == (l.RotateErr() != nil) {
			t.Fatalf("%s: RotateErr is %v", name, l.RotateErr())
		}
		names, err := mem.List("")
		if left := strings.Contains(name, "stays") || strings.Contains(name, "remove"); err != nil || left != (len(names) > 2) {
			t.Fatalf("%s: left %q, %v", name, names, err)
		}
		rotateNow(l)
		mustAppend(t, l, flushEdit(3))
		if err := l.RotateErr(); err != nil {
			t.Fatalf("%s: the next rotation: %v", name, err)
		}
		if got := recovered(t, mem); got != describe(l.State()) {
			t.Fatalf("%s: recovered %s", name, got)
		}
	}
}

// TestRotates: a log that is appended to for long stays short.
func TestRotates(t *testing.T) {
	mem := memfs.New()
	l := mustCreate(t, mem)
	var last *Edit
	for i := range 4000 {
		e := flushEdit(i)
		e.Add[0].Meta.Largest = bytes.Repeat([]byte("z"), 1000)
		if last != nil {
			e.Remove = []OldFile{{0, last.Add[0].Meta.Num}}
		}
		mustAppend(t, l, e)
		last = e
	}
	if n := l.State().ManifestNum; n < 4 || n > 8 {
		t.Fatalf("manifest %d after 4 MB of edits", n)
	}
	if used := mem.Used(); used > rotateMin+1<<14 {
		t.Fatalf("%d bytes on disk", used)
	}
	want := describe(l.State())
	if recovered(t, mem) != want {
		t.Fatal("lost something")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(flushEdit(9999)); !errors.Is(err, base.ErrClosed) {
		t.Fatal(err)
	}
}

// TestRefusedEditWritesNothing: an impossible edit is found before it is
// written.
func TestRefusedEditWritesNothing(t *testing.T) {
	mem := memfs.New()
	l := mustCreate(t, mem)
	mustAppend(t, l, flushEdit(1))
	before, ops := describe(l.State()), mem.Ops()
	back := base.FileNum(3)
	for _, e := range []*Edit{
		{Remove: []OldFile{{0, 99}}},
		{LogNum: &back},
		{NextFile: fileNumMax + 1},
		{LastSeq: base.SeqNumMax + 1},
	} {
		if err := l.Append(e); err == nil || l.Err() != nil {
			t.Fatalf("%s: %v, %v", e, err, l.Err())
		}
	}
	if describe(l.State()) != before || mem.Ops() != ops {
		t.Fatal("something was written")
	}
	// Counters that are out of date change nothing.
	mustAppend(t, l, &Edit{NextFile: 1, LastSeq: 1})
	if describe(l.State()) != before {
		t.Fatalf("counters went back: %s", describe(l.State()))
	}
}

// TestCounters: a number that an edit uses counts as handed out, even if the edit's
// counters are lower.
func TestCounters(t *testing.T) {
	l := mustCreate(t, memfs.New())
	num := base.FileNum(300)
	for i, c := range []struct {
		e    *Edit
		next base.FileNum
		seq  base.SeqNum
	}{
		{&Edit{Add: []NewFile{{1, table(100, 1, "a", "b", 5, 50)}}}, 101, 50},
		{&Edit{NextFile: 200, LastSeq: 60}, 200, 60},
		{&Edit{LogNum: &num}, 301, 60},
		{&Edit{NextFile: 350}, 350, 60},
		{&Edit{NextFile: 2, LastSeq: 2}, 350, 60},
		{&Edit{
			AddValues: []ValueMeta{{Num: 400, Size: 1, Bytes: 1, Count: 1}},
			Add:       []NewFile{{1, table(102, 2, "a", "b", 5, 50, ValueRef{400, 1, 1})}},
		}, 401, 60},
	} {
		mustAppend(t, l, c.e)
		if s := l.State(); s.NextFile != c.next || s.LastSeq != c.seq {
			t.Fatalf("edit %d: next file %d, last sequence %d; want %d, %d", i, s.NextFile, s.LastSeq, c.next, c.seq)
		}
	}
}

// TestConcurrentAppend: edits of several jobs come in some order, all of them.
func TestConcurrentAppend(t *testing.T) {
	mem := memfs.New()
	l := mustCreate(t, mem)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				num := base.FileNum(100*i + j + 1)
				if err := l.Append(&Edit{Add: []NewFile{{1, table(num, uint64(num), "a", "b", 1, 2)}}}); err != nil {
					t.Error(err)
				}
				_ = l.Version().Tables()
				if j == 5 {
					rotateNow(l)
				}
			}
		})
	}
	wg.Wait()
	if n := mustRecover(t, mem.CrashClone(memfs.CrashOptions{})).Version.Tables(); n != 80 {
		t.Fatalf("%d tables", n)
	}
}

// TestDump goes as far as a damaged manifest lets it.
func TestDump(t *testing.T) {
	files, _, lastMark := threeEdits(t, true)
	dump := func() (string, error) {
		var out bytes.Buffer
		err := Dump(withContents(t, files), testManifest, &out)
		return out.String(), err
	}
	text, err := dump()
	if err != nil || !strings.Contains(text, "next file 33, last sequence 30, oldest log 32\nL0 run 30\n") {
		t.Fatalf("%v\n%s", err, text)
	}
	files[testManifest] = files[testManifest][:lastMark-1]
	if text, err = dump(); err != nil || !strings.Contains(text, "torn: ") || !strings.Contains(text, "oldest log 22\n") {
		t.Fatalf("%v\n%s", err, text)
	}
	files[testManifest][100] ^= 1
	if text, err = dump(); !errors.Is(err, base.ErrCorruption) || !strings.HasPrefix(text, "MANIFEST-000001 database feedface12345678 incarnation 0000000000000009 format 2") {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := Dump(withContents(t, files), "CURRENT", &bytes.Buffer{}); !errors.Is(err, base.ErrCorruption) {
		t.Fatal(err)
	}
}
