package space

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// The tables of many small keyspaces share files.

// herd is a database of many keyspaces with little in each.
type herd struct {
	t      testing.TB
	fs     *memfs.FS
	o      *seerdb.Options
	db     *seerdb.DB
	n      int
	spaces []*seerdb.Keyspace
}

func newHerd(t testing.TB, n int, o seerdb.Options, to dbtest.TestOptions) *herd {
	h := &herd{t: t, fs: memfs.New(), n: n}
	to.FS = h.fs
	h.o = dbtest.With(o, to)
	h.db = dbtest.Open(t, "db", h.o)
	for i := range n {
		h.spaces = append(h.spaces, dbtest.Keyspace(t, h.db, fmt.Sprintf("tenant%05d", i)))
	}
	return h
}

// round writes a row to every keyspace and flushes.
func (h *herd) round(r int) {
	h.t.Helper()
	for i, k := range h.spaces {
		dbtest.Must(h.t, k.Put(fmt.Appendf(nil, "row%d", r), fmt.Appendf(nil, "%d of %d", r, i)))
	}
	dbtest.Must(h.t, h.db.Flush(context.Background()))
}

// reopen closes the database and opens it again.
func (h *herd) reopen() {
	h.t.Helper()
	dbtest.Must(h.t, h.db.Close())
	h.db = dbtest.Open(h.t, "db", h.o)
	for i := range h.spaces {
		h.spaces[i] = dbtest.Keyspace(h.t, h.db, fmt.Sprintf("tenant%05d", i))
	}
}

// check reads every row of the rounds that were.
func (h *herd) check(rounds int) {
	h.t.Helper()
	for i, k := range h.spaces {
		for r := range rounds {
			if v, err := k.Get(fmt.Appendf(nil, "row%d", r)); err != nil || string(v) != fmt.Sprintf("%d of %d", r, i) {
				h.t.Fatalf("keyspace %d, row %d: %q, %v", i, r, v, err)
			}
		}
	}
	report, err := h.db.Verify(context.Background())
	dbtest.Must(h.t, err)
	if !report.Clean() {
		h.t.Fatal(report.Damage)
	}
}

// settle waits until no compaction is due.
func (h *herd) settle() {
	h.t.Helper()
	dbtest.Eventually(h.t, time.Minute, "compactions are done", func() bool {
		return h.db.Metrics().Levels[0].Files == 0
	})
}

// files lists those of the database that are tables.
func (h *herd) files() (tables, packs int, bytes int64) {
	names, err := h.fs.List("db")
	dbtest.Must(h.t, err)
	for _, name := range names {
		info, err := h.fs.Stat("db/" + name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case strings.HasSuffix(name, ".sst"):
			tables++
		case strings.HasSuffix(name, ".pack"):
			packs++
		default:
			continue
		}
		dbtest.Must(h.t, err)
		bytes += info.Size()
	}
	return tables, packs, bytes
}

func herdSize(t testing.TB) int {
	if testing.Short() || dbtest.RaceEnabled {
		return 300
	}
	return 3000
}

// TestManySmallKeyspacesShareFiles: what a flush and the compactions after it
// write for thousands of keyspaces is in a few files, made with a few syncs, and
// figures count files where they say so.
func TestManySmallKeyspacesShareFiles(t *testing.T) {
	h := newHerd(t, herdSize(t), seerdb.Options{Durability: seerdb.Buffered}, dbtest.TestOptions{})
	const rounds = 6 // more than level 0 takes
	for r := range rounds {
		h.round(r)
	}
	h.settle()
	dbtest.Eventually(t, time.Minute, "metrics say which files there are", func() bool { // those that were replaced go a little later
		tables, packs, bytes := h.files()
		m := h.db.Metrics()
		return m.IO.Tables.Files == tables+packs && m.IO.Tables.Bytes == bytes
	})
	if tables, packs, _ := h.files(); tables+packs > 20 {
		t.Errorf("%d tables and %d packs for %d keyspaces", tables, packs, h.n)
	}
	m := h.db.Metrics()
	if m.IO.Tables.Syncs > int64(rounds*8) {
		t.Errorf("%d syncs of tables in %d flushes", m.IO.Tables.Syncs, rounds)
	}
	h.check(rounds)
	h.reopen()
	h.check(rounds)
	dbtest.Must(t, h.db.Close())
}

// TestPacksGiveSpaceBack: a pack in which little lives does not stay for that.
func TestPacksGiveSpaceBack(t *testing.T) {
	for name, hide := range map[string]func(h *herd, i int) error{
		"dropped": func(h *herd, i int) error { return h.db.DropKeyspace(h.spaces[i].Name()) },
		"deleted": func(h *herd, i int) error { return h.spaces[i].DeleteRange(nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := min(herdSize(t), 1000)
			h := newHerd(t, n, seerdb.Options{Durability: seerdb.Buffered}, dbtest.TestOptions{PackFrom: 2, PackSlack: 4 << 10})
			for r := range 3 {
				h.round(r)
			}
			h.settle() // or what is due in those that are left would do
			_, _, peak := h.files()
			var left []*seerdb.Keyspace
			for i, k := range h.spaces {
				if i%20 == 0 {
					left = append(left, k)
					continue
				}
				dbtest.Must(t, hide(h, i))
			}
			dbtest.Must(t, h.db.Flush(context.Background()))
			dbtest.Eventually(t, time.Minute, "space comes back", func() bool {
				_, _, bytes := h.files()
				return bytes < peak/5
			})
			for _, k := range left {
				if v, err := k.Get([]byte("row2")); err != nil || !bytes.HasPrefix(v, []byte("2 of ")) {
					t.Fatalf("%s: %q, %v", k.Name(), v, err)
				}
			}
			dbtest.Must(t, h.db.Close())
		})
	}
}

// TestLooseTablesArePacked: a database in which every keyspace has a file of its
// own, as older versions wrote them, becomes one with few files.
func TestLooseTablesArePacked(t *testing.T) {
	n := 300
	h := newHerd(t, n, seerdb.Options{Durability: seerdb.Buffered}, dbtest.TestOptions{PackFrom: 1000})
	h.round(0)
	h.settle()
	dbtest.Eventually(t, time.Minute, "each keyspace has a file", func() bool {
		tables, packs, _ := h.files()
		return tables == n && packs == 0
	})
	dbtest.Must(t, h.db.Close())
	h.o = dbtest.With(seerdb.Options{Durability: seerdb.Buffered}, dbtest.TestOptions{FS: h.fs})
	h.db = dbtest.Open(t, "db", h.o)
	dbtest.Eventually(t, time.Minute, "tables are packed", func() bool {
		tables, packs, _ := h.files()
		return tables+packs < 10
	})
	h.reopen()
	h.check(1)
	dbtest.Must(t, h.db.Close())
}

// TestPackDamage: a pack that is missing, cut or damaged is noticed, by its name,
// and no answer is wrong.
func TestPackDamage(t *testing.T) {
	h := newHerd(t, 40, seerdb.Options{Durability: seerdb.Buffered}, dbtest.TestOptions{PackFrom: 1, ManualOnly: true})
	h.round(0)
	dbtest.Must(t, h.db.Close())
	names, err := h.fs.List("db")
	dbtest.Must(t, err)
	name := ""
	for _, n := range names {
		if strings.HasSuffix(n, ".pack") {
			name = n
		}
	}
	disk := &dbtest.Rig{TB: t, Mem: h.fs}
	file := bytes.Clone(disk.Read("db/" + name))
	refused := func(what string, err error) {
		t.Helper()
		var c *seerdb.CorruptionError
		if !errors.As(err, &c) || c.File != name {
			t.Errorf("%s: %v; it should name %s", what, err, name)
		}
	}
	with := func(b []byte) error {
		disk.Rewrite(name, func([]byte) []byte { return b })
		db, err := seerdb.Open("db", h.o)
		if err != nil {
			return err
		}
		defer func() { dbtest.Must(t, db.Close()) }()
		var first error
		for i := range h.n {
			v, err := dbtest.Keyspace(t, db, fmt.Sprintf("tenant%05d", i)).Get([]byte("row0"))
			if err == nil && string(v) != fmt.Sprintf("0 of %d", i) {
				t.Fatalf("keyspace %d: %q", i, v)
			}
			if err != nil && first == nil {
				first = err
			}
		}
		report, err := db.Verify(context.Background())
		dbtest.Must(t, err)
		if report.Clean() {
			t.Error("Verify finds it clean")
		} else {
			refused("Verify", report.Damage[0])
		}
		return first
	}
	refused("cut", with(file[:len(file)-1]))
	refused("longer", with(append(bytes.Clone(file), 0)))
	for _, at := range []int{10, len(file) / 2, len(file) - 200, len(file) - 20} {
		b := bytes.Clone(file)
		b[at] ^= 1
		if err := with(b); err != nil { // else it is one that no read needs
			refused(fmt.Sprintf("byte %d", at), err)
		}
	}
	dbtest.Must(t, h.fs.Remove("db/"+name))
	_, err = seerdb.Open("db", h.o)
	refused("missing", err)
}

// TestKeyspacesAreMadeWithOneSync: what is created and not written to costs no
// sync but in Sync mode, and is durable before the first row is in the log.
func TestKeyspacesAreMadeWithOneSync(t *testing.T) {
	const n = 200
	for d, most := range map[seerdb.Durability]int64{seerdb.Relaxed: 20, seerdb.Buffered: 20, seerdb.NoWAL: 20, seerdb.Sync: n + 20} {
		db := dbtest.Open(t, "db", dbtest.With(seerdb.Options{Durability: d}, dbtest.TestOptions{FS: memfs.New()}))
		var spaces []*seerdb.Keyspace
		for i := range n {
			spaces = append(spaces, dbtest.Keyspace(t, db, fmt.Sprint(i)))
		}
		for _, k := range spaces {
			dbtest.Must(t, k.Put([]byte("k"), []byte("v")))
		}
		syncs := db.Metrics().IO.Manifest.Syncs
		if syncs > most || d == seerdb.Sync && syncs < n {
			t.Errorf("%v: %d syncs of the manifest", d, syncs)
		}
		dbtest.Must(t, db.Close())
	}
}

// TestCreatedKeyspacesSurvive: a keyspace that nothing was written to is there
// after a power cut from the next Sync, Flush or Close on.
func TestCreatedKeyspacesSurvive(t *testing.T) {
	ctx := context.Background()
	for name, settle := range map[string]func(db *seerdb.DB) error{
		"Sync":  func(db *seerdb.DB) error { return db.Sync() },
		"Flush": func(db *seerdb.DB) error { return db.Flush(ctx) },
		"Close": func(db *seerdb.DB) error { return db.Close() },
		"Drop": func(db *seerdb.DB) error {
			if _, err := db.Keyspace("other", nil); err != nil {
				return err
			}
			return db.DropKeyspace("other")
		},
	} {
		r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = seerdb.Relaxed })
		dbtest.Keyspace(t, r.DB, "made")
		if cut := r.Disk(0); cut.TryOpen() == nil {
			names, err := cut.DB.Keyspaces()
			dbtest.Must(t, errors.Join(err, cut.DB.Close()))
			if len(names) != 0 {
				t.Fatal("the test has no teeth: what is created is synced")
			}
		}
		dbtest.Must(t, settle(r.DB))
		cut := r.Disk(0)
		dbtest.Must(t, cut.TryOpen())
		names, err := cut.DB.Keyspaces()
		if dbtest.Must(t, err); len(names) != 1 || names[0] != "made" {
			t.Errorf("after %s and a power cut there are %q", name, names)
		}
		dbtest.Must(t, cut.DB.Close())
		if name != "Close" {
			dbtest.Must(t, r.DB.Close())
		}
	}
}
