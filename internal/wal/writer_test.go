package wal

import (
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

var testID = base.Identity{DB: 0x1234, Type: base.FileTypeLog, Num: 7}

// create makes a segment in the root of fs.
func create(t testing.TB, fs vfs.FS, o Options) *Writer {
	t.Helper()
	w, err := Create(fs, "", testID, Prev{Num: 3, Size: 99}, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// replayAll returns the payloads of the segment.
func replayAll(fs vfs.FS) (payloads []string, info Info, err error) {
	info, err = Replay(fs, testID.Name(), testID, func(p []byte, off int64) error {
		payloads = append(payloads, string(p))
		return nil
	})
	return payloads, info, err
}

func TestAppendReplay(t *testing.T) {
	fs := vfs.NewMem()
	w := create(t, fs, Options{})
	var want []string
	for i := range 100 {
		p := fmt.Sprintf("payload %d", i)
		want = append(want, p)
		lsn, err := w.Append([]byte(p))
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			err = w.Flush(lsn)
		case 1:
			err = w.Sync(lsn)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	got, info, err := replayAll(fs)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %q", got)
	}
	if info.Prev != (Prev{3, 99}) || info.Torn || info.Records != 100 || info.Bytes != info.Size || !info.Holds(w.Prev()) {
		t.Fatalf("info %+v, writer %+v", info, w.Prev())
	}
}
