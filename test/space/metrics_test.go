package space

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/merger"
)

// What becomes of other entries than plain ones is counted, and a broken promise
// is reported.
func TestSpaceMetrics(t *testing.T) {
	var log bytes.Buffer
	r := newSpaceRig(t, func(o *seerdb.Options) {
		o.Merger, o.Logger = merger.Counter{}, slog.New(slog.NewTextHandler(&log, nil))
		o.CompactionFilter = func(key, _ []byte) (seerdb.FilterVerdict, []byte, error) {
			if string(key) == "filtered" {
				return seerdb.FilterRemove, nil, nil
			}
			return seerdb.FilterKeep, nil, nil
		}
	})
	for range 2 {
		dbtest.Must(t, r.db.Put([]byte("once"), []byte("v")))
		dbtest.Must(t, r.db.Merge([]byte("n"), merger.AppendInt64(nil, 1)))
	}
	dbtest.Must(t, r.db.SingleDelete([]byte("once")))
	dbtest.Must(t, r.db.Put([]byte("filtered"), []byte("v")))
	dbtest.Must(t, r.db.PutTTL([]byte("soon"), []byte("v"), time.Second))
	dbtest.Must(t, r.db.Put([]byte("r"), []byte("v")))
	dbtest.Must(t, r.db.DeleteRange([]byte("r"), []byte("s")))
	dbtest.Must(t, r.db.Put([]byte("x"), []byte("not a counter")))
	dbtest.Must(t, r.db.Merge([]byte("x"), merger.AppendInt64(nil, 1)))
	r.clock.Add(time.Minute)
	dbtest.Must(t, r.db.Flush(context.Background()))
	dbtest.Must(t, r.db.Compact(context.Background(), nil, nil))
	m := r.db.Metrics()
	if m.SingleDeleteMisuse != 1 || m.Merged == 0 || m.MergeFailures == 0 || m.Filtered != 1 || m.Expired != 1 || m.RangeCovered != 1 {
		t.Errorf("misuse %d, merged %d, failures %d, filtered %d, expired %d, covered %d",
			m.SingleDeleteMisuse, m.Merged, m.MergeFailures, m.Filtered, m.Expired, m.RangeCovered)
	}
	dbtest.Must(t, r.db.Close())
	if n := strings.Count(log.String(), "single delete"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
}
