package manifest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// TestAppendLaterSurvivesAsItPromises: after a power cut, on disks that were full
// now and then, the manifest has every edit up to the last that was synced, perhaps
// some after it, in order, and none that failed; and Verify agrees all along.
func TestAppendLaterSurvivesAsItPromises(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewMem()
		l := mustCreate(t, fs)
		mustAppend(t, l, &Edit{NextFile: 5}) // as every Open does
		var made []string                    // in order
		durable := 0
		for i := range 5 + rng.IntN(40) {
			name := fmt.Sprintf("%d%0*d", i, 1+rng.IntN(250), 0)
			edit := &Edit{SetKeyspaces: []Keyspace{{ID: uint32(len(made) + 1), Name: name}}}
			full := rng.IntN(4) == 0
			if full {
				fs.SetCapacity(fs.Used() + int64(rng.IntN(200)))
			}
			if rng.IntN(6) == 0 {
				l.rotateAt = l.size
			}
			var err error
			switch rng.IntN(5) {
			case 0:
				edit.NextFile = l.State().NextFile + 1
				if err = l.Append(edit); err == nil {
					made = append(made, name)
					durable = len(made)
				}
			case 1:
				if err = l.Sync(); err == nil {
					durable = len(made)
				}
			default:
				if err = l.AppendLater(edit); err == nil {
					made = append(made, name)
				}
			}
			fs.SetCapacity(0)
			if err != nil && (!full || !errors.Is(err, base.ErrNoSpace)) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if err := l.Verify(); err != nil {
				t.Fatalf("seed %d: Verify: %v", seed, err)
			}
			for _, keep := range []float64{0, 0.5, 1} {
				st, err := Recover(fs.CrashClone(vfs.CrashOptions{Keep: keep, Rand: rng}), "")
				if err != nil {
					t.Fatalf("seed %d, keep %v: %v", seed, keep, err)
				}
				n := len(st.Keyspaces)
				if n < durable || n > len(made) || keep == 1 && n != len(made) {
					t.Fatalf("seed %d, keep %v: %d keyspaces of %d, %d durable", seed, keep, n, len(made), durable)
				}
				for i, k := range st.Keyspaces {
					if k.Name != made[i] {
						t.Fatalf("seed %d: keyspace %d is %q, expected %q", seed, i, k.Name, made[i])
					}
				}
			}
		}
		if rng.IntN(2) == 0 {
			if err := l.Seal(nil); err != nil {
				t.Fatal(err)
			}
			st, err := Recover(fs.CrashClone(vfs.CrashOptions{}), "")
			if err != nil || len(st.Keyspaces) != len(made) {
				t.Fatalf("seed %d: sealed: %v", seed, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
