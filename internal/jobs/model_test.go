package jobs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/jobs/jobstest"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// ticking is a clock that a test moves.
type ticking struct{ ms atomic.Int64 }

func (c *ticking) now() time.Time { return time.UnixMilli(1_000_000 + c.ms.Load()) }

// modelRow is a value with operands on top, and when the value is gone; 0 is never.
type modelRow struct {
	value    string
	expiry   int64
	operands []string
}

func (r modelRow) at(now int64) (value string, ok bool) {
	parts := r.operands
	if r.expiry == 0 || r.expiry > now {
		parts = append([]string{r.value}, parts...)
	}
	return strings.Join(parts, ","), len(parts) > 0
}

// model is a keyspace beside what it should hold.
type model struct {
	k    *keyspace.Keyspace
	rows map[string]modelRow
}

// live is what readers see at a time.
func (m *model) live(c *ticking) map[string]string {
	out := map[string]string{}
	for key, row := range m.rows {
		if v, ok := row.at(c.now().UnixMilli()); ok {
			out[key] = v
		}
	}
	return out
}

// modelRig is a rig with keyspaces that have merge operators and values in files of their own.
type modelRig struct {
	*rig
	clock  *ticking
	rand   *rand.Rand
	spaces []*model
	made   int
}

func newModelRig(t testing.TB, seed uint64, change func(*rigOptions)) *modelRig {
	m := &modelRig{clock: new(ticking), rand: rand.New(rand.NewPCG(seed, 1))}
	m.rig = newRig(t, memfs.New(), func(o *rigOptions) {
		o.Now = m.clock.now
		o.Keyspace = keyspace.Options{ValueThreshold: 100, Merger: jobstest.Joiner{}}
		o.env.Config.PackFrom = 2
		o.Commit.MemtableSize = 64 << 10
		if change != nil {
			change(o)
		}
	})
	m.spaces = append(m.spaces, &model{m.Keyspaces.Root(), map[string]modelRow{}})
	for range 3 {
		m.create()
	}
	return m
}

// create makes a keyspace. Values of every second lie in files of their own.
func (m *modelRig) create() {
	m.made++
	threshold, codec := 0, compress.None
	if m.made%2 == 0 {
		threshold, codec = 50, compress.LZ4
	}
	k := m.Keyspace(fmt.Sprint("space", m.made), keyspace.Choice{ValueThreshold: &threshold, Codec: &codec, Merger: jobstest.Joiner{}})
	m.spaces = append(m.spaces, &model{k, map[string]modelRow{}})
}

// drop drops a keyspace, but for the default one, and makes another.
func (m *modelRig) drop() {
	i := 1 + m.rand.IntN(len(m.spaces)-1)
	m.Drop(m.spaces[i].k)
	m.spaces = append(m.spaces[:i], m.spaces[i+1:]...)
	m.create()
}

// do commits an operation, or several, on one keyspace.
func (m *modelRig) do() {
	m.Helper()
	s := m.spaces[m.rand.IntN(len(m.spaces))]
	m.Check(m.Write(func(b *batch.Batch) error {
		for range 1 + m.rand.IntN(4) {
			if err := m.add(s, b); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (m *modelRig) add(s *model, b *batch.Batch) error {
	n := m.rand.IntN(60)
	key := fmt.Sprintf("k%02d", n)
	value := fmt.Sprint(m.rand.IntN(1000), strings.Repeat("x", m.rand.IntN(4)*60))
	switch m.rand.IntN(10) {
	case 0:
		delete(s.rows, key)
		return b.Delete(s.k.ID(), []byte(key))
	case 1:
		hi := fmt.Sprintf("k%02d", n+m.rand.IntN(10)+1)
		for k := range s.rows {
			if k >= key && k < hi {
				delete(s.rows, k)
			}
		}
		return b.DeleteRange(s.k.ID(), []byte(key), []byte(hi))
	case 2, 3, 4:
		row, ok := s.rows[key]
		if !ok {
			row.expiry = 1 // there is no value
		}
		row.operands = append(slices.Clone(row.operands), value)
		s.rows[key] = row
		return b.Merge(s.k.ID(), []byte(key), []byte(value))
	case 5:
		at := m.clock.now().UnixMilli() + int64(m.rand.IntN(4000))
		s.rows[key] = modelRow{value: value, expiry: at}
		return b.PutTTL(s.k.ID(), []byte(key), []byte(value), uint64(at))
	default:
		s.rows[key] = modelRow{value: value}
		return b.Put(s.k.ID(), []byte(key), []byte(value))
	}
}

// want compares what readers see with the model.
func (m *modelRig) want(what string) {
	m.Helper()
	for _, s := range m.spaces {
		m.WantRows(what, s.k, s.live(m.clock))
	}
}

// wantRest fails the test unless no table is busy, and all files are those of the state.
func (m *modelRig) wantRest(what string) { m.Helper(); wantRest(m.rig, what) }

func wantRest(r *rig, what string) {
	r.Helper()
	r.WantFiles(what)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.busy); n != 0 {
		r.Errorf("%s: %d tables stay busy", what, n)
	}
}

// TestJobsLoseAndDoubleNothing: what readers see is the same before and after each flush and
// each compaction, of rows, merge operands, range deletes and expiries of several keyspaces
// that come and go; a snapshot goes on seeing what it saw; and no file is left over.
func TestJobsLoseAndDoubleNothing(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := newModelRig(t, seed, nil)
			var hold *readstate.Hold
			var at readstate.Point
			var kept map[string]string
			for round := range 40 {
				for range m.rand.IntN(60) {
					m.do()
				}
				m.want("before")
				if hold == nil {
					hold = new(readstate.Hold)
					m.Clock.Now()
					at, kept = m.Store.Snapshots.Take(hold), m.spaces[0].live(m.clock)
				} else if m.rand.IntN(3) == 0 {
					m.Store.Snapshots.Drop(at)
					hold = nil
				}
				switch m.rand.IntN(5) {
				case 0:
					m.drop()
				case 1:
					m.Check(m.Compact(t.Context(), m.spaces[m.rand.IntN(len(m.spaces))].k, nil, nil))
				case 2:
					m.clock.ms.Add(int64(m.rand.IntN(3000)))
				default:
					m.Check(m.Flush(t.Context()))
				}
				m.want(fmt.Sprint("after round ", round))
				if hold != nil {
					if got := m.Rows(m.spaces[0].k, at); fmt.Sprint(got) != fmt.Sprint(kept) {
						t.Fatalf("round %d: a snapshot sees %v, and saw %v", round, got, kept)
					}
				}
			}
			if hold != nil {
				m.Store.Snapshots.Drop(at)
			}
			for _, s := range m.spaces {
				m.Check(m.Compact(t.Context(), s.k, nil, nil))
				for level, files := range m.Tables(s.k) {
					if level < base.NumLevels-1 && len(files) > 0 && !m.working() {
						t.Errorf("%s: level %d has %d tables after all was compacted", s.k.Describe(), level, len(files))
					}
				}
			}
			m.want("at the end")
			m.Soon("jobs end", func() bool { return !m.working() }, func() any { return m.busy })
			m.wantRest("at the end")
		})
	}
}

// working reports whether a compaction runs.
func (r *rig) working() bool {
	r.failures.mu.Lock()
	defer r.failures.mu.Unlock()
	return r.failures.compacting > 0
}
