package compaction

import (
	"flag"
	"testing"
)

var styles = flag.Bool("styles", false, "print what styles and settings cost, for docs/adr")

// TestStyles prints the figures from which the defaults were chosen: run it
// with -v -styles.
func TestStyles(t *testing.T) {
	if !*styles {
		t.Skip("it takes a minute; -styles runs it")
	}
	const keys = 100_000
	for _, flush := range []int{1 << 20, 256 << 10, 64 << 10} {
		for _, style := range []Style{Leveled, LazyLeveled} {
			for _, space := range []float64{1.12, 1.25} {
				for _, runs := range []int{4, 6, 8} {
					cfg := inlineSim()
					cfg.memtable, cfg.TableSize, cfg.BaseLevelBytes = flush, uint64(flush/8), uint64(flush*3)
					cfg.Style, cfg.SpaceTarget, cfg.MaxRuns, cfg.SizeRatio = style, space, runs, runs
					s := newSim(t, cfg, 1)
					loadShuffled(s, keys)
					t.Logf("memtable %4d KiB, style %d, space %.2f, runs %d: load  %s", flush>>10, style, space, runs, s.report())
					overwriteUniform(s, keys, keys)
					s.resetCounters()
					overwriteUniform(s, keys, 2*keys)
					t.Logf("memtable %4d KiB, style %d, space %.2f, runs %d: write %s", flush>>10, style, space, runs, s.report())
				}
			}
		}
	}
}

// TestStylesOfValues is TestStyles for values of 1 KiB in value files.
func TestStylesOfValues(t *testing.T) {
	if !*styles {
		t.Skip("it takes a minute; -styles runs it")
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
