package compaction

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
)

var joinFlushes = flag.Int("join.flushes", 2000, "flushes of TestJoinTinyFlushes")

// TestJoinTinyFlushes: a database that is flushed after every row stays one of
// few files, and each byte is rewritten no more often than the number of flushes
// has digits, whatever the order of the keys. It drives the picker with the
// default sizes: see TestTinyFlushesLeaveFewFiles of the root for the engine.
func TestJoinTinyFlushes(t *testing.T) {
	n := *joinFlushes
	if testing.Short() {
		n = min(n, 400)
	}
	orders := map[string]func(i int, rnd *rand.Rand) uint32{
		"ascending":   func(i int, _ *rand.Rand) uint32 { return uint32(i) },
		"descending":  func(i int, _ *rand.Rand) uint32 { return uint32(n - i) },
		"two writers": func(i int, _ *rand.Rand) uint32 { return uint32(i/2 + i%2*1_000_000) },
		"shuffled":    func(_ int, rnd *rand.Rand) uint32 { return rnd.Uint32() },
		"overwriting": func(_ int, rnd *rand.Rand) uint32 { return rnd.Uint32N(100) },
	}
	for name, key := range orders {
		for kind, valueSize := range map[string]int{"inline": 100, "apart": 2048} {
			cfg := simConfig{Config: DefaultConfig(), memtable: 1, keySize: 16, valueSize: valueSize, threshold: 1024, workers: 1}
			cfg.valueFile = int(cfg.ValueFileSize)
			s := newSim(t, cfg, 1)
			most, runs := 0, 0
			for i := range n {
				s.put(key(i, s.rnd))
				most = max(most, s.v.Tables()+len(s.v.Values))
				runs = max(runs, len(s.v.Tree(0).Levels[0]))
			}
			if err := s.checkTree(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%-11s %-6s at most %d files, %d runs in level 0; left %d tables, %d value files; %s", name, kind, most, runs, s.v.Tables(), len(s.v.Values), s.report())
			digits := math.Log(float64(n)) / math.Log(joinGrowth)
			if most > 10*int(digits) || runs > 2*cfg.L0Trigger || s.amplification() > 2+1.2*digits {
				t.Errorf("%s %s: too much for %.1f digits: %d files, %d runs, %s", name, kind, digits, most, runs, s.report())
			}
		}
	}
}
