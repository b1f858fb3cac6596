package wal

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// discardFS has files that keep nothing.
type discardFS struct{ vfs.FS }

type discardFile struct{ vfs.File }

func (d discardFS) Create(string) (vfs.File, error)    { return discardFile{}, nil }
func (d discardFS) PathJoin(...string) string          { return "" }
func (discardFile) Write(p []byte) (int, error)        { return len(p), nil }
func (discardFile) Sync() error                        { return nil }
func (discardFile) Close() error                       { return nil }
func newDiscardWriter(b *testing.B, o Options) *Writer { return create(b, discardFS{}, o) }

// BenchmarkAppend is what a commit pays for the log before any system call.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16, 120, 1024} {
		b.Run(byteCount(size), func(b *testing.B) {
			w := newDiscardWriter(b, Options{})
			payload := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Append(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func byteCount(n int) string {
	return map[int]string{16: "16B", 120: "120B", 1024: "1KiB"}[n]
}

// BenchmarkAppendRelaxed adds the waking of the background goroutine.
func BenchmarkAppendRelaxed(b *testing.B) {
	w := newDiscardWriter(b, Options{FlushEvery: 1e6})
	payload := make([]byte, 120)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.AppendRelaxed(payload); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(false); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAppendFlush is a commit that goes to the system by itself.
func BenchmarkAppendFlush(b *testing.B) {
	w := newDiscardWriter(b, Options{})
	payload := make([]byte, 120)
	b.ReportAllocs()
	for b.Loop() {
		lsn, err := w.Append(payload)
		if err == nil {
			err = w.Flush(lsn)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
