package space

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestPacksUnderEverything: many keyspaces are written, deleted from, dropped, made
// anew and loaded at the same time, some with a filter that panics now and then,
// while iterators are open over all that. No answer is wrong, and in the end there
// is no file but those that the manifest names.
func TestPacksUnderEverything(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.Buffered, seerdb.Relaxed, seerdb.NoWAL} {
		t.Run(d.String(), func(t *testing.T) { t.Parallel(); packStress(t, d) })
	}
}

func packStress(t *testing.T, d seerdb.Durability) {
	span := 500 * time.Millisecond
	if !testing.Short() {
		span = 2 * time.Second
	}
	mem := memfs.New()
	o := dbtest.With(seerdb.Options{MemtableSize: 32 << 10, PageSize: 512, TableSize: 2 << 10, ValueThreshold: 100, MemoryBudget: 4 << 20, Durability: d, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
		dbtest.TestOptions{FS: mem, L0Trigger: 2, BaseLevel: 8 << 10, PackFrom: 1, PackedMax: 3 << 10, PackSlack: 1 << 10})
	db := dbtest.Open(t, "db", o)
	until := time.Now().Add(span)
	writers := make([]*packWriter, 4)
	var wg sync.WaitGroup
	for i := range writers {
		w := &packWriter{t: t, db: db, id: i, rng: rand.New(rand.NewPCG(uint64(i), 3)),
			spaces: map[string]*seerdb.Keyspace{}, rows: map[string]map[string]string{}}
		writers[i] = w
		wg.Go(func() {
			for n := 0; time.Now().Before(until) && w.step(n); n++ {
			}
		})
	}
	wg.Wait()
	check := func() {
		t.Helper()
		for _, w := range writers {
			w.check(db)
		}
		report, err := db.Verify(context.Background())
		dbtest.Must(t, err)
		if !report.Clean() {
			t.Fatal(report.Damage)
		}
	}
	check()
	dbtest.Must(t, db.Close())
	onlyNamed(t, mem)
	db = dbtest.Open(t, "db", o)
	check()
}

// onlyNamed checks that the manifest names every file of tables.
func onlyNamed(t *testing.T, mem *memfs.FS) {
	t.Helper()
	st, err := manifest.Recover(mem, "db")
	dbtest.Must(t, err)
	named := map[string]bool{}
	st.Version.All(func(_ int, f *manifest.FileMeta) bool { named[f.FileName()] = true; return true })
	names, err := mem.List("db")
	dbtest.Must(t, err)
	for _, name := range names {
		if (strings.HasSuffix(name, ".pack") || strings.HasSuffix(name, ".sst")) && !named[name] {
			t.Errorf("%s stays", name)
		}
	}
}

// packWriter writes to keyspaces of its own, and knows what is in them.
type packWriter struct {
	t      *testing.T
	db     *seerdb.DB
	id     int
	rng    *rand.Rand
	spaces map[string]*seerdb.Keyspace
	rows   map[string]map[string]string
}

// keyspace opens a keyspace, or creates it; the filters of some panic now and then.
func (w *packWriter) keyspace(name string) (*seerdb.Keyspace, error) {
	if k := w.spaces[name]; k != nil {
		return k, nil
	}
	o := &seerdb.KeyspaceOptions{}
	if strings.HasSuffix(name, "7") {
		o.CompactionFilter = func(key, value []byte) (seerdb.FilterVerdict, []byte, error) {
			if time.Now().UnixNano()%7 == 0 {
				panic("filter")
			}
			return seerdb.FilterKeep, nil, nil
		}
	}
	k, err := w.db.Keyspace(name, o)
	if err == nil {
		w.spaces[name], w.rows[name] = k, map[string]string{}
	}
	return k, err
}

// step does something to a keyspace, and reports whether to go on.
func (w *packWriter) step(n int) bool {
	name := fmt.Sprintf("w%d-%d", w.id, w.rng.IntN(12))
	k, err := w.keyspace(name)
	if err != nil {
		w.t.Error(err)
		return false
	}
	m := w.rows[name]
	key := fmt.Sprintf("k%03d", w.rng.IntN(200))
	value := fmt.Sprintf("%d-%s", n, strings.Repeat("v", w.rng.IntN(150)))
	switch r := w.rng.IntN(400); {
	case r < 350:
		if err = k.Put([]byte(key), []byte(value)); err == nil {
			m[key] = value
		} else if strings.Contains(err.Error(), "stopped") {
			err = nil
		}
	case r < 380:
		if k.Delete([]byte(key)) == nil {
			delete(m, key)
		}
	case r < 385:
		if k.DeleteRange([]byte(key), nil) == nil {
			maps.DeleteFunc(m, func(x, _ string) bool { return x >= key })
		}
	case r < 388:
		err = w.drop(name)
	case r < 391:
		_ = w.db.Flush(context.Background())
	case r < 392:
		_ = k.Compact(context.Background(), nil, nil)
	case r < 396:
		err = w.scan(k, m)
	default:
		if v, err := k.Get([]byte(key)); err == nil && string(v) != m[key] || err != nil && m[key] != "" {
			w.t.Errorf("%s %s: %q %v, expected %q", name, key, v, err, m[key])
		}
	}
	if err != nil {
		w.t.Error(err)
	}
	return err == nil
}

func (w *packWriter) drop(name string) error {
	delete(w.spaces, name)
	delete(w.rows, name)
	return w.db.DropKeyspace(name)
}

// scan reads a keyspace, which half the times is dropped before the iterator moves.
func (w *packWriter) scan(k *seerdb.Keyspace, m map[string]string) error {
	it, err := k.NewIter(nil)
	if err != nil {
		return err
	}
	if w.rng.IntN(2) == 0 {
		if err := w.drop(k.Name()); err != nil {
			return errors.Join(err, it.Close())
		}
		_ = w.db.Flush(context.Background())
	}
	got := 0
	for ok := it.First(); ok; ok = it.Next() {
		if m[string(it.Key())] != string(it.Value()) {
			w.t.Errorf("%s %s: %.20q, expected %.20q", k.Name(), it.Key(), it.Value(), m[string(it.Key())])
		}
		got++
	}
	if got != len(m) {
		w.t.Errorf("%s: %d rows of %d", k.Name(), got, len(m))
	}
	return errors.Join(it.Err(), it.Close())
}

// check reads every key that there may be.
func (w *packWriter) check(db *seerdb.DB) {
	w.t.Helper()
	for name, m := range w.rows {
		k := dbtest.Keyspace(w.t, db, name)
		for i := range 200 {
			key := fmt.Sprintf("k%03d", i)
			v, err := k.Get([]byte(key))
			if m[key] != "" && (err != nil || string(v) != m[key]) || m[key] == "" && !errors.Is(err, seerdb.ErrNotFound) {
				w.t.Fatalf("%s %s: %q %v, expected %q", name, key, v, err, m[key])
			}
		}
	}
}
