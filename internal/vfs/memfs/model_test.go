package memfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

// crashModel drives an FS by random operations and knows, in the plainest
// way there is, what has to survive: a copy of each file and each directory as
// of its last sync. Two flat directories, files known by a number of their own.
type crashModel struct {
	m       *FS
	names   [2]map[string]int  // name -> file, as a process sees it
	durable [2]map[string]int  // and as of the last sync of the directory
	touched [2]map[string]bool // names changed since then, be it there and back
	files   []*modelFile
}

type modelFile struct {
	open   vfs.File
	live   []byte
	synced []byte
	least  int // the shortest the file has been since its last sync
}

func newCrashModel(t vfstest.TB) *crashModel {
	c := &crashModel{m: New()}
	for d := range c.names {
		c.names[d], c.durable[d], c.touched[d] = map[string]int{}, map[string]int{}, map[string]bool{}
		vfstest.Check(t, c.m.MkdirAll(c.dir(d)))
	}
	vfstest.Check(t, vfs.SyncDir(c.m, "/"))
	return c
}

func (c *crashModel) dir(d int) string { return fmt.Sprintf("d%d", d) }

func (c *crashModel) path(d int, name string) string { return c.m.PathJoin(c.dir(d), name) }

func (c *crashModel) create(t *rapid.T) {
	d, name := drawName(t)
	f, err := c.m.Create(c.path(d, name))
	if _, taken := c.names[d][name]; taken != (err != nil) {
		t.Fatalf("create: taken %v, error %v", taken, err)
	}
	if err == nil {
		c.names[d][name] = len(c.files)
		c.touched[d][name] = true
		c.files = append(c.files, &modelFile{open: f})
	}
}

func (c *crashModel) write(t *rapid.T) {
	f := c.drawFile(t)
	p := bytes.Repeat([]byte{byte(rapid.IntRange('a', 'z').Draw(t, "letter"))}, rapid.IntRange(0, 1500).Draw(t, "n"))
	if _, err := f.open.Write(p); err != nil {
		t.Fatal(err)
	}
	f.live = append(f.live, p...)
}

func (c *crashModel) truncate(t *rapid.T) {
	f := c.drawFile(t)
	size := rapid.IntRange(0, len(f.live)).Draw(t, "size")
	if err := f.open.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	f.live = f.live[:size]
	f.least = min(f.least, size)
}

func (c *crashModel) sync(t *rapid.T) {
	f := c.drawFile(t)
	if err := f.open.Sync(); err != nil {
		t.Fatal(err)
	}
	f.synced, f.least = bytes.Clone(f.live), len(f.live)
}

func (c *crashModel) syncDir(t *rapid.T) {
	d := rapid.IntRange(0, 1).Draw(t, "dir")
	vfstest.Check(t, vfs.SyncDir(c.m, c.dir(d)))
	c.durable[d], c.touched[d] = map[string]int{}, map[string]bool{}
	for name, f := range c.names[d] {
		c.durable[d][name] = f
	}
}

func (c *crashModel) rename(t *rapid.T) {
	d1, n1 := drawName(t)
	d2, n2 := drawName(t)
	f, ok := c.names[d1][n1]
	if err := c.m.Rename(c.path(d1, n1), c.path(d2, n2)); ok != (err == nil) {
		t.Fatalf("rename: there %v, error %v", ok, err)
	}
	if ok {
		delete(c.names[d1], n1)
		c.names[d2][n2] = f
		c.touched[d1][n1], c.touched[d2][n2] = true, true
	}
}

func (c *crashModel) remove(t *rapid.T) {
	d, name := drawName(t)
	_, ok := c.names[d][name]
	if err := c.m.Remove(c.path(d, name)); ok != (err == nil) {
		t.Fatalf("remove: there %v, error %v", ok, err)
	}
	delete(c.names[d], name)
	c.touched[d][name] = true
}

func drawName(t *rapid.T) (int, string) {
	return rapid.IntRange(0, 1).Draw(t, "dir"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
}

func (c *crashModel) drawFile(t *rapid.T) *modelFile {
	if len(c.files) == 0 {
		t.Skip("no file")
	}
	return rapid.SampledFrom(c.files).Draw(t, "file")
}

// check compares the three kinds of crash with what the model allows.
func (c *crashModel) check(t *rapid.T) {
	c.compare(t, "live", c.m, c.names, func(f *modelFile) []byte { return f.live })
	c.compare(t, "all kept", c.m.CrashClone(CrashOptions{Keep: 1, SplitRename: true}), c.names, func(f *modelFile) []byte { return f.live })
	c.compare(t, "none kept", c.m.CrashClone(CrashOptions{}), c.durable, func(f *modelFile) []byte { return f.synced })

	seed := rapid.Uint64().Draw(t, "seed")
	some := c.m.CrashClone(CrashOptions{Keep: 0.5, Rand: rand.New(rand.NewPCG(seed, 0))})
	for d := range c.names {
		for name, i := range c.durable[d] {
			// An entry that nothing has touched since it was synced stays, and so
			// do the bytes that were synced and not cut off since.
			if c.touched[d][name] {
				continue
			}
			f := c.files[i]
			b := []byte(vfstest.Read(t, some, c.path(d, name)))
			if keep := min(f.least, len(f.synced)); !bytes.HasPrefix(b, f.synced[:keep]) {
				t.Fatalf("%s lost some of its %d synced bytes", name, keep)
			}
		}
	}
}

func (c *crashModel) compare(t *rapid.T, what string, m *FS, names [2]map[string]int, content func(*modelFile) []byte) {
	var used int64
	counted := map[int]bool{}
	for d := range names {
		got := vfstest.List(t, m, c.dir(d))
		if len(got) != len(names[d]) {
			t.Fatalf("%s: %s holds %q, want %v", what, c.dir(d), got, names[d])
		}
		for name, i := range names[d] {
			want := content(c.files[i])
			if b := vfstest.Read(t, m, c.path(d, name)); b != string(want) {
				t.Fatalf("%s: %s has %d bytes, want %d, or others", what, name, len(b), len(want))
			}
			if !counted[i] {
				counted[i] = true
				used += int64(len(want))
			}
		}
	}
	if m != c.m && m.Used() != used {
		t.Fatalf("%s: used %d, want %d", what, m.Used(), used)
	}
}

func TestCrashModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCrashModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"create": c.create, "write": c.write, "truncate": c.truncate, "sync": c.sync,
			"syncDir": c.syncDir, "rename": c.rename, "remove": c.remove, "": c.check,
		})
	})
}
