package compaction

import (
	"math/rand/v2"
	"testing"
)

// workload writes to a sim.
type workload struct {
	name string
	run  func(s *sim, keys int)
}

func overwriteUniform(s *sim, keys, n int) {
	for range n {
		s.put(uint32(s.rnd.IntN(keys)))
	}
}

func loadShuffled(s *sim, keys int) {
	for _, k := range s.rnd.Perm(keys) {
		s.put(uint32(k))
	}
}

// zipf returns skewed keys, scattered over the key space.
func zipf(s *sim, keys int) func() uint32 {
	z := rand.NewZipf(s.rnd, 1.01, 1, uint64(keys-1))
	place := s.rnd.Perm(keys)
	return func() uint32 { return uint32(place[z.Uint64()]) }
}

var workloads = []workload{
	{"load sequential", func(s *sim, keys int) {
		for k := range keys {
			s.put(uint32(k))
		}
	}},
	{"load shuffled", loadShuffled},
	{"overwrite uniform", func(s *sim, keys int) {
		loadShuffled(s, keys)
		overwriteUniform(s, keys, 2*keys)
		s.resetCounters()
		overwriteUniform(s, keys, 4*keys)
	}},
	{"overwrite skewed", func(s *sim, keys int) {
		loadShuffled(s, keys)
		next := zipf(s, keys)
		for range 2 * keys {
			s.put(next())
		}
		s.resetCounters()
		for range 4 * keys {
			s.put(next())
		}
	}},
	{"queue", func(s *sim, keys int) {
		for k := range 4 * keys {
			s.put(uint32(k))
			if k >= keys/4 {
				s.del(uint32(k - keys/4))
			}
		}
	}},
	{"mixed deletes", func(s *sim, keys int) {
		for range 4 * keys {
			k := uint32(s.rnd.IntN(keys))
			if s.rnd.IntN(3) == 0 {
				s.del(k)
			} else {
				s.put(k)
			}
		}
	}},
}

func inlineSim() simConfig {
	cfg := simConfig{Config: DefaultConfig(), memtable: 1 << 20, keySize: 16, valueSize: 100, workers: 1, valueFile: 1 << 20}
	cfg.TableSize = 128 << 10
	cfg.BaseLevelBytes = 4 * 780 << 10
	return cfg
}

// TestSimulate prints what the shapes cost. The memtable is 1 MiB where a real
// one has 64, and all else in proportion.
func TestSimulate(t *testing.T) {
	keys := 100_000
	if testing.Short() {
		keys = 20_000
	}
	for _, shape := range []Shape{Leveled, LazyLeveled} {
		for _, w := range workloads {
			cfg := inlineSim()
			cfg.Shape = shape
			s := newSim(t, cfg, 1)
			w.run(s, keys)
			if err := s.checkTree(); err != nil {
				t.Fatalf("%s: %v", w.name, err)
			}
			t.Logf("shape %d %-18s %s", shape, w.name, s.report())
		}
	}
}
