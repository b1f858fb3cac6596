package seerdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
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
	mem := vfs.NewMem()
	o := seerdb.Options{MemtableSize: 32 << 10, PageSize: 512, TableSize: 2 << 10, ValueThreshold: 100, MemoryBudget: 4 << 20, Durability: d, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}.With(
		seerdb.TestOptions{FS: mem, L0Trigger: 2, BaseLevel: 8 << 10, PackFrom: 1, PackedMax: 3 << 10, PackSlack: 1 << 10})
	db, err := seerdb.Open("db", o)
	must(t, err)
	const writers, each = 4, 12
	stop := time.Now().Add(span)
	var wg sync.WaitGroup
	rows := make([]map[string]map[string]string, writers)
	for w := range writers {
		rows[w] = map[string]map[string]string{}
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 3))
			spaces := map[string]*seerdb.Keyspace{}
			for n := 0; time.Now().Before(stop); n++ {
				name := fmt.Sprintf("w%d-%d", w, rng.IntN(each))
				k := spaces[name]
				if k == nil {
					ko := &seerdb.KeyspaceOptions{}
					if strings.HasSuffix(name, "7") {
						ko.Filter = func(key, value []byte) (seerdb.FilterVerdict, []byte, error) {
							if time.Now().UnixNano()%7 == 0 {
								panic("filter")
							}
							return seerdb.FilterKeep, nil, nil
						}
					}
					var err error
					if k, err = db.Keyspace(name, ko); err != nil {
						t.Error(err)
						return
					}
					spaces[name], rows[w][name] = k, map[string]string{}
				}
				m := rows[w][name]
				key := fmt.Sprintf("k%03d", rng.IntN(200))
				value := fmt.Sprintf("%d-%s", n, strings.Repeat("v", rng.IntN(150)))
				switch r := rng.IntN(400); {
				case r < 350:
					if err := k.Put([]byte(key), []byte(value)); err == nil {
						m[key] = value
					} else if !strings.Contains(err.Error(), "stopped") {
						t.Error(err)
						return
					}
				case r < 380:
					if err := k.Delete([]byte(key)); err == nil {
						delete(m, key)
					}
				case r < 385:
					if err := k.DeleteRange([]byte(key), nil); err == nil {
						for x := range m {
							if x >= key {
								delete(m, x)
							}
						}
					}
				case r < 388:
					must(t, db.DropKeyspace(name))
					delete(spaces, name)
					delete(rows[w], name)
				case r < 391:
					_ = db.Flush(context.Background())
				case r < 392:
					_ = k.Compact(context.Background(), nil, nil)
				case r < 396:
					it, err := k.NewIter(nil)
					if err != nil {
						t.Error(err)
						return
					}
					want := len(m)
					drop := rng.IntN(2) == 0
					if drop {
						must(t, db.DropKeyspace(name))
						_ = db.Flush(context.Background())
						delete(spaces, name)
						delete(rows[w], name)
					}
					got := 0
					for ok := it.First(); ok; ok = it.Next() {
						if m[string(it.Key())] != string(it.Value()) {
							t.Errorf("%s %s: %.20q, expected %.20q", name, it.Key(), it.Value(), m[string(it.Key())])
						}
						got++
					}
					if err := errors.Join(it.Err(), it.Close()); err != nil {
						t.Error(err)
					}
					if got != want {
						t.Errorf("%s: %d rows of %d", name, got, want)
					}
				default:
					if v, err := k.Get([]byte(key)); err == nil && string(v) != m[key] || err != nil && m[key] != "" {
						t.Errorf("%s %s: %q %v, expected %q", name, key, v, err, m[key])
					}
				}
			}
		})
	}
	wg.Wait()
	check := func() {
		t.Helper()
		for w := range rows {
			for name, m := range rows[w] {
				k := keyspace(t, db, name)
				for i := range 200 {
					key := fmt.Sprintf("k%03d", i)
					v, err := k.Get([]byte(key))
					if m[key] != "" && (err != nil || !bytes.Equal(v, []byte(m[key]))) || m[key] == "" && !errors.Is(err, seerdb.ErrNotFound) {
						t.Fatalf("%s %s: %q %v, expected %q", name, key, v, err, m[key])
					}
				}
			}
		}
		report, err := db.Verify(context.Background())
		must(t, err)
		if !report.Clean() {
			t.Fatal(report.Damage)
		}
	}
	check()
	must(t, db.Close())
	st, err := manifest.Recover(mem, "db")
	must(t, err)
	named := map[string]bool{}
	st.Version.All(func(_ int, f *manifest.FileMeta) bool { named[f.FileName()] = true; return true })
	names, err := mem.List("db")
	must(t, err)
	packs := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".pack") || strings.HasSuffix(name, ".sst") {
			if !named[name] {
				t.Errorf("%s stays", name)
			}
			packs++
		}
	}
	t.Log(packs, "files", len(named), "named")
	db = open(t, "db", o)
	check()
}
