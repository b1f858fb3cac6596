package seerdb_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
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
		must(t, r.db.Put([]byte("once"), []byte("v")))
		must(t, r.db.Merge([]byte("n"), merger.AppendInt64(nil, 1)))
	}
	must(t, r.db.SingleDelete([]byte("once")))
	must(t, r.db.Put([]byte("filtered"), []byte("v")))
	must(t, r.db.PutTTL([]byte("soon"), []byte("v"), time.Second))
	must(t, r.db.Put([]byte("r"), []byte("v")))
	must(t, r.db.DeleteRange([]byte("r"), []byte("s")))
	must(t, r.db.Put([]byte("x"), []byte("not a counter")))
	must(t, r.db.Merge([]byte("x"), merger.AppendInt64(nil, 1)))
	r.clock.add(time.Minute)
	must(t, r.db.Flush(context.Background()))
	must(t, r.db.Compact(context.Background(), nil, nil))
	m := r.db.Metrics()
	if m.SingleDeleteMisuse != 1 || m.Merged == 0 || m.MergeFailures == 0 || m.Filtered != 1 || m.Expired != 1 || m.RangeCovered != 1 {
		t.Errorf("misuse %d, merged %d, failures %d, filtered %d, expired %d, covered %d",
			m.SingleDeleteMisuse, m.Merged, m.MergeFailures, m.Filtered, m.Expired, m.RangeCovered)
	}
	must(t, r.db.Close())
	if n := strings.Count(log.String(), "single delete"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
}
