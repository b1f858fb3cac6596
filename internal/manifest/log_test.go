package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

const testDB = 0xfeedface12345678

// table makes a valid description.
func table(num base.FileNum, run uint64, lo, hi string, seqLo, seqHi base.SeqNum, refs ...ValueRef) *FileMeta {
	return &FileMeta{
		Num: num, Size: 1000 + uint64(num), Format: base.FormatNewest, Run: run,
		Smallest: []byte(lo), Largest: []byte(hi), SmallestSeq: seqLo, LargestSeq: seqHi,
		Entries: 10, Deletes: 1, RawKeyBytes: 20, RawValueBytes: 30, ValueRefs: refs,
	}
}

func mustCreate(t testing.TB, fs vfs.FS) *Log {
	t.Helper()
	l, err := Create(fs, "", testDB, 9)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t testing.TB, l *Log, e *Edit) {
	t.Helper()
	if err := l.Append(e); err != nil {
		t.Fatal(err)
	}
}

func mustRecover(t testing.TB, fs vfs.FS) *State {
	t.Helper()
	s, err := Recover(fs, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Version.Check(); err != nil {
		t.Fatal(err)
	}
	return s
}

// describe is a state as text, without the number of its manifest.
func describe(s *State) string {
	return fmt.Sprintf("db %x format %d next %d seq %d log %d\n%s", s.DBID, s.Format, s.NextFile, s.LastSeq, s.LogNum, s.Version)
}

// flushEdit is the edit of flush i: one table with values, and the next log.
func flushEdit(i int) *Edit {
	n := base.FileNum(10 * (i + 1))
	lognum := n + 2
	seq := base.SeqNum(i * 10)
	return &Edit{
		AddValues: []ValueMeta{{Num: n + 1, Size: 500, Bytes: 400, Count: 4}},
		Add:       []NewFile{{0, table(n, uint64(n), "a", "z", seq+1, seq+10, ValueRef{n + 1, 400, 4})}},
		LogNum:    &lognum,
		LastSeq:   seq + 10,
	}
}

func TestLogSurvivesReopen(t *testing.T) {
	fs := memfs.New()
	l := mustCreate(t, fs)
	for i := range 3 {
		mustAppend(t, l, flushEdit(i))
	}
	want := describe(l.State())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s := mustRecover(t, fs)
		if got := describe(s); got != want {
			t.Fatalf("got %s\nwant %s", got, want)
		}
		l, err := Start(fs, "", s, 9)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(l.State()); got != want {
			t.Fatalf("got %s\nwant %s", got, want)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names, err := fs.List("")
	if err != nil || strings.Join(names, " ") != "CURRENT MANIFEST-000001 MANIFEST-000002 MANIFEST-000003 MANIFEST-000004" {
		t.Fatalf("left %q, %v", names, err)
	}
	var out bytes.Buffer
	if err := Dump(fs, "MANIFEST-000004", &out); err != nil || !strings.Contains(out.String(), "+L0 run 30 table 30") {
		t.Fatalf("%v\n%s", err, &out)
	}
	if _, err := Create(fs, "", testDB, 9); !errors.Is(err, base.ErrExists) {
		t.Fatal(err)
	}
}

// TestVerifyBesideRotation: while the manifest is rotated CURRENT names the new
// one before the rotation is over, which is no damage.
func TestVerifyBesideRotation(t *testing.T) {
	fs := faultfs.New(memfs.New())
	l := mustCreate(t, fs)
	mustAppend(t, l, flushEdit(0))
	rotateNow(l)
	reached := func(f *faultfs.Fired) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); f.Count() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("an operation was not reached")
			}
		}
	}
	open := fs.Inject(faultfs.Rule{Op: faultfs.OpOpen, Path: "CURRENT", Delay: time.Hour})
	renamed := fs.Inject(faultfs.Rule{Op: faultfs.OpDirSync, Skip: 1, Delay: time.Hour})
	verified, appended := make(chan error, 1), make(chan error, 1)
	go func() { verified <- l.Verify() }()
	reached(open)
	go func() { appended <- l.Append(flushEdit(1)) }()
	reached(renamed)
	open.Remove()
	time.Sleep(10 * time.Millisecond) // for Verify to look at CURRENT
	renamed.Remove()
	if err := <-appended; err != nil || l.RotateErr() != nil {
		t.Fatal(err, l.RotateErr())
	}
	if err := <-verified; err != nil {
		t.Fatal(err)
	}
}

// TestAppendLater: an edit that is not synced is there for this process at once,
// and after a power cut from the next Append, Sync, Seal or rotation on.
func TestAppendLater(t *testing.T) {
	settles := map[string]func(l *Log) error{
		"Append":   func(l *Log) error { return l.Append(flushEdit(0)) },
		"Sync":     func(l *Log) error { return l.Sync() },
		"Seal":     func(l *Log) error { return l.Seal(nil) },
		"rotation": func(l *Log) error { rotateNow(l); return l.Append(flushEdit(0)) },
	}
	for name, settle := range settles {
		mem := memfs.New()
		l := mustCreate(t, mem)
		made := &Edit{SetKeyspaces: []Keyspace{{ID: 1, Name: "made"}}}
		if err := l.AppendLater(made); err != nil || l.State().FindKeyspace(1) == nil {
			t.Fatal("it did not happen", err)
		}
		if err := l.Verify(); err != nil {
			t.Errorf("Verify before %s: %v", name, err)
		}
		if mustRecover(t, mem.CrashClone(memfs.CrashOptions{})).FindKeyspace(1) != nil {
			t.Fatal("it was synced")
		}
		if err := settle(l); err != nil {
			t.Fatal(name, err)
		}
		if mustRecover(t, mem.CrashClone(memfs.CrashOptions{})).FindKeyspace(1) == nil {
			t.Errorf("%s lost it", name)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
