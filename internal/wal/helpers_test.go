package wal

import (
	"fmt"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

var testID = base.Identity{DB: 0x1234, Type: base.FileTypeLog, Num: 7}

// create makes a segment in the root of fs.
func create(t testing.TB, fs vfs.FS, o Options) *Writer {
	t.Helper()
	w, err := newWriter(fs, "", testID, Prev{Num: 3, Size: 99}, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// replayAll returns the payloads of the segment.
func replayAll(fs vfs.FS) (payloads []string, info Info, err error) {
	info, err = Replay(fs, testID.Name(), testID, 0, func(p []byte, off int64) error {
		payloads = append(payloads, string(p))
		return nil
	})
	return payloads, info, err
}

// mustReplay is replayAll for a segment that must not be damaged.
func mustReplay(t testing.TB, fs vfs.FS) ([]string, Info) {
	t.Helper()
	payloads, info, err := replayAll(fs)
	if err != nil {
		t.Fatal(err)
	}
	return payloads, info
}

func mustAppend(t testing.TB, w *Writer, payload string) int64 {
	t.Helper()
	lsn, err := w.Append([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// syncDir makes the segment's name durable, as the engine does.
func syncDir(t testing.TB, fs vfs.FS) {
	t.Helper()
	d, err := fs.OpenDir("")
	if err == nil {
		err = d.Sync()
	}
	if err == nil {
		err = d.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// same fails unless two lists are equal.
func same(t testing.TB, got, want []string) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
}

// withBytes is a file system with one segment of these bytes.
func withBytes(t testing.TB, data []byte) vfs.FS {
	t.Helper()
	fs := memfs.New()
	f, err := fs.Create(testID.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return fs
}

// bytesOf is the content of the segment.
func bytesOf(t testing.TB, fs vfs.FS) []byte {
	t.Helper()
	f, err := fs.Open(testID.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, size)
	if _, err := f.ReadAt(p, 0); err != nil && size > 0 {
		t.Fatal(err)
	}
	return p
}

// hookFS calls functions before what a segment's file does. A hook that
// returns an error makes the call fail with it.
type hookFS struct {
	vfs.FS
	mu       sync.Mutex
	write    func(p []byte) (n int, err error) // n bytes are written before the error
	sync     func() error
	truncate func() error
	close    func()
}

func (h *hookFS) Create(name string) (vfs.File, error) {
	f, err := h.FS.Create(name)
	return &hookFile{f, h}, err
}

func (h *hookFS) set(fn func(h *hookFS)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fn(h)
}

type hookFile struct {
	vfs.File
	h *hookFS
}

func (f *hookFile) Write(p []byte) (int, error) {
	f.h.mu.Lock()
	hook := f.h.write
	f.h.mu.Unlock()
	if hook != nil {
		if n, err := hook(p); err != nil {
			n, _ = f.File.Write(p[:n])
			return n, err
		}
	}
	return f.File.Write(p)
}

func (f *hookFile) Sync() error {
	f.h.mu.Lock()
	hook := f.h.sync
	f.h.mu.Unlock()
	if hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	return f.File.Sync()
}

func (f *hookFile) Truncate(size int64) error {
	f.h.mu.Lock()
	hook := f.h.truncate
	f.h.mu.Unlock()
	if hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	return f.File.Truncate(size)
}

func (f *hookFile) Close() error {
	if f.h.close != nil {
		f.h.close()
	}
	return f.File.Close()
}

// newWriter is NewSegment and Begin.
func newWriter(fs vfs.FS, dir string, id base.Identity, prev Prev, o Options) (*Writer, error) {
	s, err := NewSegment(fs, dir, id)
	if err != nil {
		return nil, err
	}
	return s.Begin(prev, o)
}
