package cost

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// mostDescriptors is for what a database has how many descriptors at most, besides
// the tables and value files that it reads.
var mostDescriptors = map[string]int{
	"root": 1, "directory": 2, "lock": 2, // the directory is opened again while the manifest is rewritten
	"RESERVE":  1,
	"manifest": 2, "temporary": 1, // the next manifest, and the next CURRENT
	"log":  8, // of three memtables that were flushed, of three that wait, of the one in use, and one made ahead
	"list": 1, "usage": 1,
}

// TestMetricsOpenNoTable: what describes a database leaves its files alone, and
// what a caller asks of all indexes keeps to the limit.
func TestMetricsOpenNoTable(t *testing.T) {
	o, to := dbtest.Tiny()
	o.OpenFiles = 3
	mem := memfs.New()
	to.FS, to.ManualOnly, to.L0Trigger = mem, true, 100
	db, err := seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	for i := range 20 {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%02d", i), make([]byte, 300)))
		dbtest.Must(t, db.Flush(context.Background()))
	}
	dbtest.Must(t, db.Close())
	counting := dbtest.NewDescriptorFS(mem, 1000)
	to.FS = counting
	db = dbtest.Open(t, "db", dbtest.With(o, to))
	before, _ := counting.Counts()
	if m := db.Metrics(); m.Files.Opens != 0 || m.Files.Open != 0 || m.Files.Limit != 3 || m.Index.Tables != 0 || m.Levels[0].Files != 20 {
		t.Errorf("metrics: %+v, index %+v", m.Files, m.Index)
	}
	db.Health()
	if k := db.KeyspaceMetrics(); len(k) != 1 || k[0].Total.Files != 20 || k[0].Total.Entries != 20 {
		t.Errorf("metrics of keyspaces: %+v", k)
	}
	if after, _ := counting.Counts(); after != before {
		t.Errorf("metrics opened %d files", after-before)
	}
	x, err := db.IndexMetrics(context.Background())
	dbtest.Must(t, err)
	if x.Tables != 20 || x.Entries != 20 {
		t.Errorf("indexes: %+v", x)
	}
	for i := range 20 {
		if v, err := db.Get(fmt.Appendf(nil, "key%02d", i)); err != nil || len(v) != 300 {
			t.Fatalf("key %d: %d bytes, %v", i, len(v), err)
		}
	}
	m := db.Metrics()
	if after, _ := counting.Counts(); m.Files.Open != 3 || after != before+3 || m.Index != x {
		t.Errorf("%d descriptors besides %d; %+v, index %+v", after-before, before, m.Files, m.Index)
	}
}

// TestVerifyKeepsToTheLimit: a table may refer to more value files than there are
// descriptors, and is verified all the same.
func TestVerifyKeepsToTheLimit(t *testing.T) {
	o, to := dbtest.Tiny()
	d := dbtest.NewDescriptorFS(memfs.New(), dbtest.OneAtATime)
	o.TableSize, o.ValueThreshold, o.MemtableSize, o.MaxCompactions, to.FS, to.ManualOnly = 2<<10, 200, 1<<20, 1, d, true
	db := dbtest.Open(t, "db", dbtest.With(o, to))
	value, random := make([]byte, 2<<10), rand.NewChaCha8([32]byte{1}) // so that it does not compress
	for i := range 100 {
		_, _ = random.Read(value)
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "%03d", i), value))
	}
	dbtest.Must(t, db.Flush(context.Background()))
	report, err := db.Verify(context.Background())
	if dbtest.Must(t, err); !report.Clean() || report.ValueFiles < 3*dbtest.OneAtATime {
		t.Fatalf("%d value files: %v", report.ValueFiles, report.Damage)
	}
}
