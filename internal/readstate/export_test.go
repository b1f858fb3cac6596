package readstate

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// What tests, which lie in a package of their own because the rig imports this one, need
// to see of the inside.

var ErrCrowded = errCrowded

const (
	Patience       = patience
	FilterPatience = filterPatience
)

// Renew makes a new state of what the current one has.
func (st *Store) Renew() bool { return st.change(false, (*State).again) }

// OnQuiet has free called once no point read holds the current state, nor one before.
func (st *Store) OnQuiet(free func()) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.quiet.wait(free)
}

// Left is what keeps the memory: states and Close, and whether any state may have point
// reads.
func (st *Store) Left() (lifetimes int, reads bool) { return st.lifetimes.n, st.quiet.oldest != nil }

// AgeSnapshots makes the open snapshots older.
func (s *Snapshots) AgeSnapshots() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.holds {
		h.since = h.since.Add(-filterPatience)
	}
}

// Tables lists the tables of a state.
func (s *State) Tables() (all []*Table) {
	s.v.eachTable(func(_ int, t *Table) { all = append(all, t) })
	return all
}

// Reader is the reader of a table; nil if it is not in memory.
func (t *Table) Reader() *sstable.Reader { return t.reader.Load() }

// Open is open for point reads.
func (t *Table) Open(waited bool) (*sstable.Reader, error) { return t.open(waited) }

// GetBesides is Get, with between called when its sequence is chosen and nothing has been
// looked at.
func (q *Query) GetBesides(between func()) (Outcome, error) {
	q.at.Seq, q.newest, q.hash = q.s.Visible(), true, base.Hash(q.key)
	between()
	_, out, err := q.find()
	if out == unpinned {
		q.pinRanges(nil)
		_, out, err = q.find()
	}
	return out, err
}

// Look looks at all open tables.
func (st *Store) Look() {
	m := &st.memory
	m.looking.Lock()
	defer m.looking.Unlock()
	m.look()
}

// LookBesides looks when n bytes of tables are left in the limit by others.
func (st *Store) LookBesides(n int64) (others int64) {
	others = st.memory.limit() - n
	st.cache.Charge(cache.Tables, others)
	st.Look()
	return others
}

// Live is what open tables take without what is on its way out, Dying the latter.
func (st *Store) Live() int64  { return st.memory.charged() }
func (st *Store) Dying() int64 { return st.memory.dying.Load() }

func (st *Store) Slack() int64  { return st.memory.slack() }
func (st *Store) Crowded() bool { return st.memory.crowded() }
func (st *Store) Stuck() bool   { return st.memory.stuck.Load() }

// TryAgain makes reads wait though a look found that nothing can be taken out.
func (st *Store) TryAgain() { st.memory.stuck.Store(false) }

// Gone reports whether what a state held was let go, as nothing holds it any more.
func (s *State) Gone() bool { return s.reclaims.Load() }
