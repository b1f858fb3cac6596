package compaction

import (
	"flag"
	"testing"
)

var shapes = flag.Bool("shapes", false, "print what shapes and settings cost, for docs/adr")

// TestShapes prints the figures from which the defaults were chosen: run it
// with -v -shapes.
func TestShapes(t *testing.T) {
	if !*shapes {
		t.Skip("it takes a minute; -shapes runs it")
	}
	const keys = 100_000
	for _, flush := range []int{1 << 20, 256 << 10, 64 << 10} {
		for _, shape := range []Shape{Leveled, LazyLeveled} {
			for _, space := range []float64{1.12, 1.25} {
				for _, runs := range []int{4, 6, 8} {
					cfg := inlineSim()
					cfg.memtable, cfg.TableSize, cfg.BaseLevelBytes = flush, uint64(flush/8), uint64(flush*3)
					cfg.Shape, cfg.SpaceTarget, cfg.MaxRuns, cfg.SizeRatio = shape, space, runs, runs
					s := newSim(t, cfg, 1)
					loadShuffled(s, keys)
					t.Logf("memtable %4d KiB, shape %d, space %.2f, runs %d: load  %s", flush>>10, shape, space, runs, s.report())
					overwriteUniform(s, keys, keys)
					s.resetCounters()
					overwriteUniform(s, keys, 2*keys)
					t.Logf("memtable %4d KiB, shape %d, space %.2f, runs %d: write %s", flush>>10, shape, space, runs, s.report())
				}
			}
		}
	}
}

// TestShapesOfValues is TestShapes for values of 1 KiB in value files.
func TestShapesOfValues(t *testing.T) {
	if !*shapes {
		t.Skip("it takes a minute; -shapes runs it")
	}
	for _, flush := range []int{4 << 20, 1 << 20, 256 << 10} {
		for _, target := range []float64{1.15, 1.25, 1.4} {
			for _, w := range workloads[2:4] {
				cfg := valueSim()
				cfg.memtable, cfg.TableSize, cfg.BaseLevelBytes, cfg.valueFile = flush, uint64(flush/8), uint64(flush*3), flush/16
				cfg.ValueSpaceTarget = target
				s := newSim(t, cfg, 1)
				w.run(s, 20_000)
				t.Logf("memtable %4d KiB, space %.2f: %s %s", flush>>10, target, w.name, s.report())
			}
		}
	}
}
