package space

import (
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestSweepOfPacks: after a kill Open removes packs that were half written or that
// nothing names, and leaves those of another database.
func TestSweepOfPacks(t *testing.T) {
	to := dbtest.TestOptions{PackFrom: 1, ManualOnly: true}
	other := newHerd(t, 20, seerdb.Options{}, to)
	other.round(0)
	h := newHerd(t, 20, seerdb.Options{}, to)
	h.round(0)
	killed := &dbtest.Rig{TB: t, Mem: h.fs.CrashClone(memfs.CrashOptions{Keep: 1})}
	pack := func(fs *memfs.FS) []byte {
		for n := range 1000 {
			name := fmt.Sprintf("db/%06d.pack", n)
			if _, err := fs.Stat(name); err == nil {
				return (&dbtest.Rig{TB: t, Mem: fs}).Read(name)
			}
		}
		t.Fatal("no pack")
		return nil
	}
	ours, foreign := pack(h.fs), pack(other.fs)
	const half, unnamed, theirs = "db/000050.pack", "db/000051.pack", "db/000052.pack"
	for name, b := range map[string][]byte{half: ours[:len(ours)/2], unnamed: ours, theirs: foreign} {
		f, err := killed.Mem.Create(name)
		dbtest.Must(t, err)
		_, err = f.Write(b)
		dbtest.Must(t, err)
		dbtest.Must(t, f.Close())
	}
	dbtest.Must(t, h.db.Close())
	dbtest.Must(t, other.db.Close())
	h.fs = killed.Mem
	to.FS = h.fs
	h.o = dbtest.With(seerdb.Options{}, to)
	h.db = dbtest.Open(t, "db", h.o)
	for i := range h.spaces {
		h.spaces[i] = dbtest.Keyspace(t, h.db, fmt.Sprintf("tenant%05d", i))
	}
	for name, stays := range map[string]bool{half: false, unnamed: false, theirs: true} {
		if _, err := h.fs.Stat(name); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.check(1)
	dbtest.Must(t, h.db.Close())
}
