package api

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// batchSpaces is three keyspaces, the default one first, and what batches did to
// them.
type batchSpaces struct {
	db   *seerdb.DB
	in   [3]*seerdb.Keyspace
	want [3]map[string]string
	rng  *rand.Rand
	long string
}

// open opens the keyspaces of a database.
func (s *batchSpaces) open(t *testing.T, db *seerdb.DB) {
	s.db = db
	for i := 1; i < len(s.in); i++ {
		k, err := db.Keyspace(fmt.Sprint(i), nil)
		dbtest.Must(t, err)
		s.in[i] = k
	}
}

// key is one of two hundred, half of which are long.
func (s *batchSpaces) key(n int) string {
	if n%2 == 1 {
		return fmt.Sprintf("%03d%s", n/2, s.long)
	}
	return fmt.Sprintf("%03d", n/2)
}

// write commits a batch of so many operations.
func (s *batchSpaces) write(t *testing.T, n int) {
	b := s.db.NewBatch()
	for op := range n {
		space := s.rng.IntN(len(s.want))
		var w seerdb.Writer = b
		if space > 0 {
			w = b.In(s.in[space])
		}
		m, key := s.want[space], s.key(s.rng.IntN(200))
		switch s.rng.IntN(5) {
		case 0:
			dbtest.Must(t, w.Delete([]byte(key)))
			delete(m, key)
		case 1:
			hi := s.key(s.rng.IntN(200))
			dbtest.Must(t, w.DeleteRange([]byte(key), []byte(hi)))
			maps.DeleteFunc(m, func(k, _ string) bool { return k >= key && k < hi })
		default:
			m[key] = fmt.Sprintf("%p %d", b, op)
			dbtest.Must(t, w.Put([]byte(key), []byte(m[key])))
		}
	}
	dbtest.Must(t, s.db.Apply(b, seerdb.Sync))
}

// check reads every key.
func (s *batchSpaces) check(t *testing.T) {
	t.Helper()
	for i, m := range s.want {
		get := s.db.Get
		if i > 0 {
			get = s.in[i].Get
		}
		for n := range 200 {
			key := s.key(n)
			v, err := get([]byte(key))
			if w, ok := m[key]; ok && (err != nil || string(v) != w) || !ok && !errors.Is(err, seerdb.ErrNotFound) {
				t.Fatalf("keyspace %d: %.10q is %q %v, want %q %v", i, key, v, err, w, ok)
			}
		}
	}
}

// TestLargeBatches: a commit looks some operations ahead. Batches longer than
// that, of puts, deletes and range deletes on three keyspaces, with keys that
// outgrow its buffer, give what the operations one after another give, before
// and after recovery.
func TestLargeBatches(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	s := &batchSpaces{rng: rand.New(rand.NewPCG(1, 8)), long: strings.Repeat("long", 500)}
	for i := range s.want {
		s.want[i] = map[string]string{}
	}
	s.open(t, r.DB)
	for range 40 {
		s.write(t, 1+s.rng.IntN(60))
	}
	s.check(t)
	r = r.Crash(1)
	s.open(t, r.DB)
	s.check(t)
}
