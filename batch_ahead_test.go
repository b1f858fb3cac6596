package seerdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
)

// TestLargeBatches: a commit looks some operations ahead. Batches longer than
// that, of puts, deletes and range deletes on three keyspaces, with keys that
// outgrow its buffer, give what the operations one after another give, before
// and after recovery.
func TestLargeBatches(t *testing.T) {
	r := newRig(t, quiet)
	rng := rand.New(rand.NewPCG(1, 8))
	var want [3]map[string]string
	spaces := func() (s [3]*seerdb.Keyspace) {
		for i := 1; i < len(s); i++ {
			k, err := r.db.Keyspace(fmt.Sprint(i), nil)
			must(t, err)
			s[i] = k
		}
		return s
	}
	in := spaces()
	for i := range want {
		want[i] = map[string]string{}
	}
	long := strings.Repeat("long", 500)
	for round := range 40 {
		b := r.db.NewBatch()
		for op := range 1 + rng.IntN(60) {
			space := rng.IntN(len(want))
			var w interface {
				Put(key, value []byte) error
				Delete(key []byte) error
				DeleteRange(lo, hi []byte) error
			} = b
			if space > 0 {
				w = b.In(in[space])
			}
			key := fmt.Sprintf("%03d", rng.IntN(100))
			if rng.IntN(3) == 0 {
				key += long
			}
			switch rng.IntN(5) {
			case 0:
				must(t, w.Delete([]byte(key)))
				delete(want[space], key)
			case 1:
				hi := fmt.Sprintf("%03d", rng.IntN(100))
				if hi <= key {
					continue
				}
				must(t, w.DeleteRange([]byte(key), []byte(hi)))
				for k := range want[space] {
					if k >= key && k < hi {
						delete(want[space], k)
					}
				}
			default:
				v := fmt.Sprint(round, op)
				must(t, w.Put([]byte(key), []byte(v)))
				want[space][key] = v
			}
		}
		must(t, r.db.Apply(b, seerdb.Sync))
	}
	check := func() {
		t.Helper()
		for i, m := range want {
			for n := range 200 {
				key := fmt.Sprintf("%03d", n/2)
				if n%2 == 1 {
					key += long
				}
				get := r.db.Get
				if i > 0 {
					get = in[i].Get
				}
				v, err := get([]byte(key))
				if w, ok := m[key]; ok && (err != nil || !bytes.Equal(v, []byte(w))) || !ok && !errors.Is(err, seerdb.ErrNotFound) {
					t.Fatalf("keyspace %d: %.10q is %q %v, want %q %v", i, key, v, err, w, ok)
				}
			}
		}
	}
	check()
	r = r.crash(1)
	in = spaces()
	check()
}
