package isolation

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

var isolationHistories = flag.Int("isolation.histories", 40, "concurrent histories of each store")

// octet is all of a store that the histories use: the values of the keys 0 to
// 7, "" where there is none.
type octet [8]string

func (o *octet) apply(s *step) string {
	i := s.lo[0] - '0'
	switch s.op {
	case 'r', 'u':
		if o[i] == "" {
			return "-"
		}
		return o[i]
	case 'w':
		o[i] = s.value
	case 'd':
		o[i] = ""
	case 'D':
		clear(o[i : s.hi[0]-'0'])
	case 's', 'S':
		var rows []isolationRow
		for ; i < s.hi[0]-'0'; i++ {
			if o[i] != "" {
				rows = append(rows, isolationRow{string('0' + rune(i)), o[i]})
			}
		}
		return rowsText(rows)
	}
	return ""
}

// histTxn is a transaction of a history, with what its steps answered.
type histTxn struct {
	steps   []step
	results []string
	applied bool
}

func (h *histTxn) String() string {
	var b strings.Builder
	for i, s := range h.steps {
		if b.WriteString(s.text); h.results[i] != "" {
			b.WriteString("→" + strings.ReplaceAll(h.results[i], " ", ","))
		}
		b.WriteByte(' ')
	}
	return b.String() + map[bool]string{true: "committed", false: "not applied"}[h.applied]
}

// histories is what transactions are: each happens at one moment between its
// beginning and its end, on all keys at once. One that was not applied read at
// one moment, too.
var histories = porcupine.Model{
	Init: func() any { return octet{} },
	Step: func(state, input, _ any) (bool, any) {
		h, o := input.(*histTxn), state.(octet)
		for i := range h.steps {
			if got := o.apply(&h.steps[i]); got != h.results[i] {
				return false, state
			}
		}
		if !h.applied {
			return true, state
		}
		return true, o
	},
	DescribeOperation: func(input, _ any) string { return input.(*histTxn).String() },
}

// drawSteps draws a transaction; values are unlike any other.
func drawSteps(rng *rand.Rand, unique string) []step {
	var b strings.Builder
	for n := range 1 + rng.IntN(4) {
		k, lo := rng.IntN(8), rng.IntN(7)
		hi := lo + 1 + rng.IntN(3)
		switch rng.IntN(16) {
		case 0, 1, 2, 3, 4:
			fmt.Fprintf(&b, "r%d ", k)
		case 5:
			fmt.Fprintf(&b, "u%d ", k)
		case 6, 7:
			fmt.Fprintf(&b, "s%d-%d ", lo, min(hi, 8))
		case 8:
			fmt.Fprintf(&b, "S%d-%d ", lo, min(hi, 8))
		case 9, 10:
			fmt.Fprintf(&b, "d%d ", k)
		case 11:
			fmt.Fprintf(&b, "D%d-%d ", lo, min(hi, 8))
		default:
			fmt.Fprintf(&b, "w%d=%s.%d ", k, unique, n)
		}
	}
	return script(b.String())[1:] // without the beginning
}

// runHistory lets six clients at a store and returns what they saw.
func runHistory(t testing.TB, db isolationDB, level isolationLevel, seed uint64) (ops []porcupine.Operation) {
	s := &schedule{db: db, level: level, prefix: fmt.Sprintf("h%d/%06d/", level, seed)}
	begin := time.Now()
	var mu sync.Mutex
	var clients sync.WaitGroup
	for client := range 6 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(client)))
			for i := range 30 {
				x := &scheduled{}
				h := &histTxn{steps: drawSteps(rng, fmt.Sprintf("%d.%d", client, i))}
				op := porcupine.Operation{ClientId: client, Input: h, Call: int64(time.Since(begin))}
				if err := s.client(rng, x, h); err != nil {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
				op.Return = int64(time.Since(begin))
				mu.Lock()
				ops = append(ops, op)
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	return ops
}

// client runs one transaction of a history.
func (s *schedule) client(rng *rand.Rand, x *scheduled, h *histTxn) (err error) {
	if x.txn, err = s.db.Begin(s.level); err != nil {
		return err
	}
	for i := range h.steps {
		got, err := s.perform(x, &h.steps[i])
		if err != nil {
			return err
		}
		h.results = append(h.results, got)
		if rng.IntN(50) == 0 {
			if err := s.db.Disturb(rng.Uint64()); err != nil {
				return err
			}
		}
	}
	if rng.IntN(10) == 0 {
		return x.txn.Rollback()
	}
	err = x.txn.Commit()
	h.applied = err == nil
	if errors.Is(err, seerdb.ErrConflict) {
		return nil
	}
	return err
}

// TestIsolationHistories has Porcupine look for an order of the transactions of
// concurrent clients that agrees with real time: strict serializability.
func TestIsolationHistories(t *testing.T) {
	n := *isolationHistories
	if testing.Short() {
		n = min(n, 8)
	}
	for _, store := range isolationStores() {
		t.Run(store.name, func(t *testing.T) {
			db := store.open(t)
			txns, applied, unknown := 0, 0, 0
			for seed := range uint64(n) {
				ops := runHistory(t, db, serializable, seed)
				for _, op := range ops {
					if txns++; op.Input.(*histTxn).applied {
						applied++
					}
				}
				switch porcupine.CheckOperationsTimeout(histories, ops, 10*time.Second) {
				case porcupine.Illegal:
					t.Errorf("seed %d: no order explains\n%s", seed, describe(ops))
				case porcupine.Unknown:
					unknown++
				}
			}
			dbtest.Must(t, db.Close())
			t.Logf("%d histories of %d transactions, %d applied; %d not judged in time", n, txns, applied, unknown)
			if unknown*100 > n || applied == txns || applied*2 < txns {
				t.Errorf("too few were judged, or there was no contest, or too much")
			}
		})
	}
}

func describe(ops []porcupine.Operation) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "\t%9d %9d client %d: %s\n", op.Call, op.Return, op.ClientId, op.Input)
	}
	return b.String()
}

// TestIsolationHistoriesCatch breaks the model: some history must show it.
func TestIsolationHistoriesCatch(t *testing.T) {
	for _, c := range []struct {
		name  string
		bugs  modelBugs
		level isolationLevel
	}{
		{"snapshot isolation", modelBugs{}, snapshotIsolation},
		{"reads are not validated", modelBugs{noReads: true}, serializable},
		{"ranges are tracked by their rows", modelBugs{noRanges: true}, serializable},
		{"backward scans are not tracked", modelBugs{noReverse: true}, serializable},
		{"absent keys are not tracked", modelBugs{noAbsent: true}, serializable},
		{"range deletes are not seen", modelBugs{noRangeDeletes: true}, serializable},
		{"a conflict leaves something behind", modelBugs{applied: true}, serializable},
		{"a rollback leaves something behind", modelBugs{rolledForward: true}, serializable},
		{"snapshots move", modelBugs{moving: true}, serializable},
		{"uncommitted writes are there", modelBugs{dirty: true}, serializable},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(200) {
				ops := runHistory(t, newModelDB(c.bugs), c.level, seed)
				if porcupine.CheckOperationsTimeout(histories, ops, 10*time.Second) == porcupine.Illegal {
					t.Logf("seen in history %d", seed)
					return
				}
			}
			t.Error("no history shows it")
		})
	}
}
