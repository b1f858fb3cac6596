package space

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/observe"
)

// spaceOps are what was written to a keyspace.
type spaceOps struct{ puts, large, deletes, expiring, ranges int }

// writeSpace writes to a keyspace, each key once.
func writeSpace(t *testing.T, k interface {
	Put(key, value []byte) error
	Delete(key []byte) error
	DeleteRange(lo, hi []byte) error
	PutTTL(key, value []byte, d time.Duration) error
}, round int, o spaceOps) {
	t.Helper()
	key := func(kind string, i int) []byte { return fmt.Appendf(nil, "%s%d-%d", kind, round, i) }
	for i := range o.puts {
		dbtest.Must(t, k.Put(key("put", i), []byte("v")))
	}
	for i := range o.large {
		dbtest.Must(t, k.Put(key("large", i), bytes.Repeat([]byte{byte(i)}, 1000)))
	}
	for i := range o.deletes {
		dbtest.Must(t, k.Delete(key("gone", i)))
	}
	for i := range o.expiring {
		dbtest.Must(t, k.PutTTL(key("soon", i), []byte("v"), time.Hour))
	}
	for i := range o.ranges {
		dbtest.Must(t, k.DeleteRange(fmt.Appendf(nil, "z%d-%03d", round, i), fmt.Appendf(nil, "z%d-%03d+", round, i)))
	}
}

// TestKeyspaceMetrics: every figure of every keyspace is counted again: in what was
// written, in the files, and in the sums over all.
func TestKeyspaceMetrics(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize, o.TableSize, to.PackFrom = 1<<20, 1<<20, 1000
	})
	wrote := map[string]spaceOps{
		"": {puts: 40, deletes: 3}, "b": {puts: 7, large: 5, deletes: 2}, "a": {expiring: 6, ranges: 4}, "idle": {},
	}
	const rounds = 3
	for round := range rounds {
		writeSpace(t, r.DB, round, wrote[""])
		for _, name := range []string{"b", "a", "idle"} {
			writeSpace(t, dbtest.Keyspace(t, r.DB, name), round, wrote[name])
		}
		if got := r.DB.KeyspaceMetrics(); len(got) != 4 || got[2].Total.Runs != round {
			t.Errorf("before flush %d: %+v", round, got)
		}
		dbtest.Must(t, r.Flush())
	}
	all := r.DB.KeyspaceMetrics()
	names := func(m observe.KeyspaceMetrics) string { return m.Name }
	if got := mapped(all, names); !slices.Equal(got, []string{"", "a", "b", "idle"}) {
		t.Fatalf("keyspaces %q", got)
	}
	checkKeyspaceSums(t, r.DB, all)
	files := filesOfKeyspaces(t, r)
	for _, m := range all {
		o, n := wrote[m.Name], m.Total
		want := observe.KeyspaceLevel{
			Runs: rounds, Files: rounds, Bytes: files[m.Name], Values: n.Values,
			Entries: int64(rounds * (o.puts + o.large + o.deletes + o.expiring)), Deletes: int64(rounds * o.deletes),
			Expiring: int64(rounds * o.expiring), RangeDeletes: int64(rounds * o.ranges),
		}
		if o == (spaceOps{}) {
			want = observe.KeyspaceLevel{}
		}
		if n != want || (n.Values > 0) != (o.large > 0) {
			t.Errorf("%q: %+v, want %+v", m.Name, n, want)
		}
		if len(m.Levels) > 1 || len(m.Levels) == 1 && m.Levels[0] != n || len(m.Levels) == 0 && n.Files > 0 {
			t.Errorf("%q: levels %+v, in all %+v", m.Name, m.Levels, n)
		}
	}
	dbtest.Must(t, dbtest.Keyspace(t, r.DB, "b").Compact(context.Background(), nil, nil))
	r.Compact()
	all = r.DB.KeyspaceMetrics()
	checkKeyspaceSums(t, r.DB, all)
	last := len(r.DB.Metrics().Levels) - 1
	if b := all[2]; len(b.Levels) != last+1 || b.Levels[last] != b.Total || b.Total.Level != last || b.Total.Runs != 1 ||
		b.Total.Entries != rounds*12 || b.Total.Deletes != 0 || all[1].Levels[0].Runs != rounds {
		t.Errorf("compacted: %+v, others %+v", b, all[1])
	}
	dbtest.Must(t, r.DB.DropKeyspace("b"))
	if got := mapped(r.DB.KeyspaceMetrics(), names); !slices.Equal(got, []string{"", "a", "idle"}) {
		t.Errorf("after a drop: %q", got)
	}
	checkKeyspaceSums(t, r.DB, r.DB.KeyspaceMetrics())
	dbtest.Must(t, r.DB.Close())
	if got := r.DB.KeyspaceMetrics(); got != nil {
		t.Errorf("after Close: %+v", got)
	}
}

func mapped[T, U any](s []T, f func(T) U) (out []U) {
	for _, x := range s {
		out = append(out, f(x))
	}
	return out
}

// filesOfKeyspaces adds up the sizes of the table files of each keyspace.
func filesOfKeyspaces(t *testing.T, r *dbtest.Rig) map[string]int64 {
	t.Helper()
	s, err := manifest.Recover(r.Mem, "db")
	dbtest.Must(t, err)
	sizes := map[string]int64{}
	s.Version.All(func(_ int, f *manifest.FileMeta) bool {
		info, err := r.Mem.Stat("db/" + f.FileName())
		dbtest.Must(t, err)
		name := ""
		if k := s.FindKeyspace(f.Keyspace); k != nil {
			name = k.Name
		}
		sizes[name] += info.Size()
		return true
	})
	return sizes
}

// checkKeyspaceSums compares the sums over keyspaces with what Metrics says of all.
func checkKeyspaceSums(t *testing.T, db *seerdb.DB, all []observe.KeyspaceMetrics) {
	t.Helper()
	m := db.Metrics()
	values := int64(0)
	sums := make([]observe.KeyspaceLevel, len(m.Levels))
	for _, k := range all {
		total := observe.KeyspaceLevel{}
		for i, l := range k.Levels {
			if l.Level != i {
				t.Errorf("%q: level %d is listed as %d", k.Name, l.Level, i)
			}
			s := &sums[i]
			s.Runs, s.Files, s.Bytes = max(s.Runs, l.Runs), s.Files+l.Files, s.Bytes+l.Bytes
			s.Entries, s.Deletes = s.Entries+l.Entries, s.Deletes+l.Deletes
			values += l.Values
			total = observe.KeyspaceLevel{
				Level: i, Runs: total.Runs + l.Runs, Files: total.Files + l.Files, Bytes: total.Bytes + l.Bytes, Values: total.Values + l.Values,
				Entries: total.Entries + l.Entries, Deletes: total.Deletes + l.Deletes, Expiring: total.Expiring + l.Expiring,
				RangeDeletes: total.RangeDeletes + l.RangeDeletes,
			}
		}
		if total != k.Total {
			t.Errorf("%q: in all %+v, the levels come to %+v", k.Name, k.Total, total)
		}
	}
	for i, l := range m.Levels {
		s := sums[i]
		if s.Runs != l.Runs || s.Files != l.Files || s.Bytes != l.Bytes || s.Entries != l.Entries || s.Deletes != l.Deletes {
			t.Errorf("level %d: %+v, the keyspaces come to %+v", i, l, s)
		}
	}
	if values != m.Values.Bytes-m.Values.Garbage {
		t.Errorf("keyspaces refer to %d bytes of values, value files have %+v", values, m.Values)
	}
}
