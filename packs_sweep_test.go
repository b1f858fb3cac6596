package seerdb_test

import (
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestSweepOfPacks: after a kill Open removes packs that were half written or that
// nothing names, and leaves those of another database.
func TestSweepOfPacks(t *testing.T) {
	to := seerdb.TestOptions{PackFrom: 1, ManualOnly: true}
	other := newHerd(t, 20, seerdb.Options{}, to)
	other.round(0)
	h := newHerd(t, 20, seerdb.Options{}, to)
	h.round(0)
	killed := &rig{TB: t, mem: h.fs.CrashClone(memfs.CrashOptions{Keep: 1})}
	pack := func(fs *memfs.FS) []byte {
		for n := range 1000 {
			name := fmt.Sprintf("db/%06d.pack", n)
			if _, err := fs.Stat(name); err == nil {
				return (&rig{TB: t, mem: fs}).read(name)
			}
		}
		t.Fatal("no pack")
		return nil
	}
	ours, foreign := pack(h.fs), pack(other.fs)
	const half, unnamed, theirs = "db/000050.pack", "db/000051.pack", "db/000052.pack"
	for name, b := range map[string][]byte{half: ours[:len(ours)/2], unnamed: ours, theirs: foreign} {
		f, err := killed.mem.Create(name)
		must(t, err)
		_, err = f.Write(b)
		must(t, err)
		must(t, f.Close())
	}
	must(t, h.db.Close())
	must(t, other.db.Close())
	h.fs = killed.mem
	to.FS = h.fs
	h.o = seerdb.Options{}.With(to)
	h.db = open(t, "db", h.o)
	for i := range h.spaces {
		h.spaces[i] = keyspace(t, h.db, fmt.Sprintf("tenant%05d", i))
	}
	for name, stays := range map[string]bool{half: false, unnamed: false, theirs: true} {
		if _, err := h.fs.Stat(name); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.check(1)
	must(t, h.db.Close())
}
