package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// unsynced is a segment of which nothing was synced.
func unsynced(t testing.TB) (data []byte, payloads []string) {
	t.Helper()
	fs := memfs.New()
	w := create(t, fs, Options{})
	for i := range 5 {
		p := strings.Repeat(string(rune('a'+i)), 3*i)
		payloads = append(payloads, p)
		mustAppend(t, w, p)
	}
	if err := w.FlushAll(); err != nil {
		t.Fatal(err)
	}
	return bytesOf(t, fs), payloads
}

// TestTornAnywhere cuts a segment at every byte and fills what was cut: the
// whole records before the cut are replayed, and nothing else.
func TestTornAnywhere(t *testing.T) {
	data, payloads := unsynced(t)
	rng := rand.New(rand.NewPCG(7, 8))
	noise := make([]byte, len(data))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	// What the disk held before: the same records, a few bytes further on.
	stale := append([]byte("stale"), data...)[:len(data)]
	for name, fill := range map[string][]byte{
		"nothing": nil, "zeros": make([]byte, len(data)), "0xff": bytes.Repeat([]byte{0xff}, len(data)), "noise": noise, "stale": stale,
	} {
		for cut := range data {
			torn := bytes.Clone(data[:cut])
			if fill != nil {
				torn = append(torn, fill[cut:]...)
			}
			got, info, err := replayAll(withBytes(t, torn))
			if err != nil {
				t.Fatalf("%s from %d: %v", name, cut, err)
			}
			if len(got) > len(payloads) || fmt.Sprint(got) != fmt.Sprint(payloads[:len(got)]) {
				t.Fatalf("%s from %d: %q", name, cut, got)
			}
			if info.Torn != (info.Bytes < info.Size || info.Size == 0) || !bytes.HasPrefix(torn, data[:info.Bytes]) || info.Records != int64(len(got)) {
				t.Fatalf("%s from %d: %+v", name, cut, info)
			}
			// Every record that is there whole is replayed.
			if rest := data[info.Bytes:]; len(got) < len(payloads) && info.Bytes > 0 &&
				bytes.HasPrefix(torn[info.Bytes:], rest[:16+len(payloads[len(got)])]) {
				t.Fatalf("%s from %d: record %d was not replayed", name, cut, len(got))
			}
		}
	}
}

// acked is what the writer of a scenario promised.
type acked struct {
	all             []string // in log order
	flushed, synced int      // so many of all are promised to outlive the process, the machine
}

// scenario appends records in groups, flushes some and syncs some, until it is
// done or an error comes.
func scenario(fs vfs.FS, groups int) (*acked, error) {
	a := &acked{}
	w, err := newWriter(fs, "", testID, Prev{}, Options{})
	if err != nil {
		return a, err
	}
	d, err := fs.OpenDir("")
	if err != nil {
		return a, err
	}
	if err := d.Sync(); err != nil {
		return a, err
	}
	for g := range groups {
		var lsn int64
		for i := range 1 + g%3 {
			p := fmt.Sprintf("group %d record %d %s", g, i, strings.Repeat("x", 200*g%1000))
			if lsn, err = w.Append([]byte(p)); err != nil {
				return a, err
			}
			a.all = append(a.all, p)
		}
		if g%2 == 0 {
			if err := w.Sync(lsn); err != nil {
				return a, err
			}
			a.synced = len(a.all)
		} else if err := w.Flush(lsn); err != nil {
			return a, err
		}
		a.flushed = len(a.all)
	}
	if err := w.Finish(); err != nil {
		return a, err
	}
	a.synced = len(a.all)
	return a, nil
}

// check replays a segment of which at least min records must be there.
func (a *acked) check(fs vfs.FS, min int) error {
	got, info, err := replayAll(fs)
	if err != nil && min == 0 && info.Size == 0 {
		err = nil // the file's name did not survive
	}
	if err != nil {
		return err
	}
	if len(got) < min || len(got) > len(a.all) {
		return fmt.Errorf("%d records, promised %d of %d", len(got), min, len(a.all))
	}
	for i := range got {
		if got[i] != a.all[i] {
			return fmt.Errorf("record %d is %q, want %q", i, got[i], a.all[i])
		}
	}
	return nil
}

// TestCrashEverywhere stops the power at every operation of a scenario.
func TestCrashEverywhere(t *testing.T) {
	seeds := 8
	if testing.Short() {
		seeds = 2
	}
	for k := int64(1); ; k++ {
		fs := memfs.New()
		fs.FreezeAt(k)
		a, err := scenario(fs, 12)
		if err == nil && !fs.Frozen() {
			if k < 20 {
				t.Fatalf("only %d crash points", k)
			}
			return
		}
		// Freezing during the last, unpromised, write leaves no error.
		if err != nil && !errors.Is(err, memfs.ErrFrozen) {
			t.Fatal(err)
		}
		crashes := []memfs.CrashOptions{{Keep: 0}, {Keep: 1}}
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
			crashes = append(crashes, o)
		}
		for i, o := range crashes {
			if err := a.check(fs.CrashClone(o), a.synced); err != nil {
				t.Fatalf("crash at %d, clone %d: %v", k, i, err)
			}
		}
		// The process died, the machine did not.
		alive := fs.CrashClone(memfs.CrashOptions{Keep: 1})
		if err := a.check(alive, a.flushed); err != nil {
			t.Fatalf("kill at %d: %v", k, err)
		}
	}
}

// TestLyingDevice is the negative control: the check above can fail.
func TestLyingDevice(t *testing.T) {
	fs := memfs.New()
	fs.SetLyingSync(true)
	a, err := scenario(fs, 12)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.check(fs.CrashClone(memfs.CrashOptions{}), a.synced); err == nil {
		t.Fatal("a device that syncs nothing was not found out")
	}
}

// TestHoles keeps any subset of the sectors of unsynced records: what comes
// after the first gap is not replayed.
func TestHoles(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{})
	if err := w.Sync(mustAppend(t, w, "synced")); err != nil {
		t.Fatal(err)
	}
	want := []string{"synced"}
	for i := range 6 {
		p := strings.Repeat(string(rune('a'+i)), 350)
		want = append(want, p)
		if err := w.Flush(mustAppend(t, w, p)); err != nil {
			t.Fatal(err)
		}
	}
	syncDir(t, fs)
	lengths := map[int]int{}
	for subset := range 1 << 12 {
		clone := fs.CrashClone(memfs.CrashOptions{Pick: func(i int) bool { return subset>>(i%12)&1 == 1 }})
		got, info := mustReplay(t, clone)
		if len(got) == 0 || len(got) > len(want) {
			t.Fatalf("subset %x: %d records", subset, len(got))
		}
		same(t, got, want[:len(got)])
		if info.Synced != 0 && info.Synced > info.Bytes {
			t.Fatalf("%+v", info)
		}
		lengths[len(got)]++
	}
	if len(lengths) < 4 {
		t.Fatalf("the subsets hardly differ: %v", lengths)
	}
}

// TestDamageBeforeSync flips every bit of a segment whose records were synced
// one by one, but for the last two.
func TestDamageBeforeSync(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{})
	var ends []int64
	var want []string
	for i := range 5 {
		p := fmt.Sprint("record ", i)
		want = append(want, p)
		lsn := mustAppend(t, w, p)
		if i < 3 {
			if err := w.Sync(lsn); err != nil {
				t.Fatal(err)
			}
		}
		ends = append(ends, lsn)
	}
	if err := w.FlushAll(); err != nil {
		t.Fatal(err)
	}
	data := bytesOf(t, fs)
	for bit := range len(data) * 8 {
		data[bit/8] ^= 1 << (bit % 8)
		got, info, err := replayAll(withBytes(t, data))
		data[bit/8] ^= 1 << (bit % 8)
		if int64(bit/8) < ends[2] {
			// Records 3 and 4 both tell that the first three were synced.
			var c *base.CorruptionError
			if !errors.As(err, &c) || c.Offset > int64(bit/8) || c.File != testID.Name() {
				t.Fatalf("bit %d: %v", bit, err)
			}
			continue
		}
		if err != nil || !info.Torn || len(got) >= len(want) {
			t.Fatalf("bit %d: %q %v", bit, got, err)
		}
		same(t, got, want[:len(got)])
	}
}

// TestReplayCallback passes errors of the caller through, and completes those
// about the payload.
func TestReplayCallback(t *testing.T) {
	data, _ := unsynced(t)
	fs := withBytes(t, data)
	stop := errors.New("stop")
	info, err := Replay(fs, testID.Name(), testID, 0, func([]byte, int64) error { return stop })
	if err != stop || info.Records != 0 {
		t.Fatal(err)
	}
	var at int64
	_, err = Replay(fs, testID.Name(), testID, 0, func(_ []byte, off int64) error {
		at = off
		return base.Corruptf("", 3, "bad batch")
	})
	var c *base.CorruptionError
	if !errors.As(err, &c) || c.File != testID.Name() || c.Offset != at+16+3 {
		t.Fatalf("%v", err)
	}
	if _, err = Replay(fs, "000008.wal", testID, 0, nil); err == nil {
		t.Fatal("a missing segment was replayed")
	}
	other := testID
	other.Num = 8
	if _, err := Replay(fs, testID.Name(), other, 0, nil); !errors.Is(err, base.ErrCorruption) {
		t.Fatalf("a segment under another name: %v", err)
	}
}

func FuzzReplay(f *testing.F) {
	data, _ := unsynced(f)
	f.Add(data)
	f.Add(data[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, info, err := replayAll(withBytes(t, data))
		if err != nil && !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrFormatTooNew) {
			t.Fatal(err)
		}
		if info.Bytes > int64(len(data)) || int64(len(got)) != info.Records {
			t.Fatalf("%+v", info)
		}
	})
}
