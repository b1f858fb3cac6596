package model

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestModelWithFewDescriptors is the model test on a machine that refuses to
// open more than so many files: no operation may fail for it.
func TestModelWithFewDescriptors(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	ops := *modelOps
	if ops == 0 {
		ops = 300
		if testing.Short() {
			ops = 60
		}
	}
	for _, limit := range []int{dbtest.OneAtATime, dbtest.FewestDescriptors, 256} {
		for i, c := range configs() {
			name := fmt.Sprintf("%d/%s", limit, c.name)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c.o.MaxCompactions = 1
				r := &modelRun{t: t, config: c, g: testkit.NewGen(seed+uint64(i), 200, 120), m: testkit.NewModel(), fs: memfs.New(), limit: limit}
				defer func() {
					if t.Failed() {
						t.Logf("reproduce with: go test ./test/model -run 'TestModelWithFewDescriptors/%s$' -model.seed %d -model.ops %d", name, seed, ops)
					}
				}()
				r.run(ops)
			})
		}
	}
}
