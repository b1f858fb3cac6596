package manifest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestAppendLaterSurvivesAsItPromises: after a power cut, on disks that were full
// now and then, the manifest has every edit up to the last that was synced, perhaps
// some after it, in order, and none that failed; and Verify agrees all along.
func TestAppendLaterSurvivesAsItPromises(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := memfs.New()
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
				least := durable
				if keep == 1 {
					least = len(made)
				}
				if err := isPrefix(fs.CrashClone(memfs.CrashOptions{Keep: keep, Rand: rng}), made, least); err != nil {
					t.Fatalf("seed %d, keep %v: %v", seed, keep, err)
				}
			}
		}
		if rng.IntN(2) == 0 {
			if err := l.Seal(nil); err != nil {
				t.Fatal(err)
			}
			if err := isPrefix(fs.CrashClone(memfs.CrashOptions{}), made, len(made)); err != nil {
				t.Fatalf("seed %d: sealed: %v", seed, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// isPrefix returns an error unless the keyspaces on a disk are a prefix of made with at
// least least elements.
func isPrefix(fs vfs.FS, made []string, least int) error {
	st, err := Recover(fs, "")
	if err != nil {
		return err
	}
	if n := len(st.Keyspaces); n < least || n > len(made) {
		return fmt.Errorf("%d keyspaces of %d, at least %d expected", n, len(made), least)
	}
	for i, k := range st.Keyspaces {
		if k.Name != made[i] {
			return fmt.Errorf("keyspace %d is %q, expected %q", i, k.Name, made[i])
		}
	}
	return nil
}
