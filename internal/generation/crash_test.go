package generation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// history is commits in their order, and how many of them are promised to be durable.
type history struct {
	mu       sync.Mutex
	fs       vfs.FS
	gen      *Generation // guarded by mu
	commits  int         // guarded by mu
	promised int         // guarded by mu
}

// commit appends a commit, whose record is its number, to the active generation, and
// returns what its caller waits for.
func (h *history) commit() (g *Generation, lsn int64, n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if lsn, err = h.gen.Log.Append(fmt.Appendf(nil, "%d %0200d", h.commits, 0)); err != nil {
		return nil, 0, 0, err
	}
	h.commits++
	return h.gen, lsn, h.commits, nil
}

// promise notes that the first n commits are durable.
func (h *history) promise(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.promised = max(h.promised, n)
}

// rotate makes the next generation active, and returns the one before.
func (h *history) rotate() (*Generation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	prev, num := h.gen, base.FileNum(1)
	if prev != nil {
		num = prev.Num + 1
	}
	g, err := begin(h.fs, num, prev)
	if err == nil {
		h.gen = g
	}
	return prev, err
}

// recovered returns how many commits the logs hold after a crash: those of the logs up to
// the first that is shorter than its successor says. A synced log after that one is damage
// to recovery.
func recovered(fs vfs.FS) (n int, err error) {
	var infos []wal.Info
	broken := false
	for num := base.FileNum(1); ; num++ {
		if _, err := fs.Stat(logID(num).Name()); err != nil {
			return n, nil
		}
		next := n
		info, err := wal.Replay(fs, logID(num).Name(), logID(num), 0, func(p []byte, _ int64) error {
			var got int
			if _, err := fmt.Sscan(string(p), &got); err != nil || got != next && !broken {
				return fmt.Errorf("log %d has commit %q where %d should be", num, p[:10], next)
			}
			next++
			return nil
		})
		last := len(infos) - 1
		broken = broken || last >= 0 && (info.Prev.Num != num-1 || !infos[last].Holds(info.Prev))
		switch {
		case broken && info.Records > 0 && info.Synced > 0:
			return 0, fmt.Errorf("log %d was synced, and one before it is not whole", num)
		case broken: // what it holds does not count
		case err != nil:
			return 0, err
		default:
			n = next
		}
		infos = append(infos, info)
	}
}

// life makes generations and commits, syncs and seals, in an order drawn from a seed, until
// the first error.
func (h *history) life(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 7))
	var old []*Generation
	for range 5 {
		g, err := h.rotate()
		if err != nil {
			return err
		}
		if g != nil {
			old = append(old, g)
		}
		for range 1 + rng.IntN(5) {
			g, lsn, n, err := h.commit()
			if err != nil {
				return err
			}
			switch rng.IntN(5) {
			case 0:
				err = g.Sync(lsn)
			case 1:
				err = g.SyncAll()
			case 2:
				if len(old) == 0 {
					continue
				}
				if err := old[rng.IntN(len(old))].Seal(); err != nil {
					return err
				}
				continue
			case 3:
				if err := g.Log.Flush(lsn); err != nil {
					return err
				}
				continue
			default:
				continue
			}
			if err != nil {
				return err
			}
			h.promise(n)
		}
	}
	if err := h.gen.Seal(); err != nil {
		return err
	}
	h.promise(h.commits)
	return nil
}

// survives checks what several crashes at this moment leave.
func (h *history) survives(disk *memfs.FS, promised int, rng *rand.Rand) error {
	for _, keep := range []float64{0, 0.5, 0.5, 0.9, 1} {
		n, err := recovered(disk.CrashClone(memfs.CrashOptions{Keep: keep, Rand: rng}))
		if err != nil {
			return fmt.Errorf("with %v of what was not synced: %w", keep, err)
		}
		if n < promised {
			return fmt.Errorf("with %v of what was not synced: %d commits are left of %d that are durable", keep, n, promised)
		}
	}
	return nil
}

// TestCrashAnywhere: the power fails at each operation of lives of several generations. The
// commits that recovery finds in the logs, up to the first log that is not whole, are a
// prefix of all commits, with every one that was promised to be durable.
func TestCrashAnywhere(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		for k := int64(1); ; k++ {
			disk := memfs.New()
			disk.FreezeAt(k)
			h := &history{fs: disk}
			err := h.life(seed)
			if err != nil && !errors.Is(err, memfs.ErrFrozen) {
				t.Fatal(err)
			}
			if err := h.survives(disk, h.promised, rand.New(rand.NewPCG(seed, uint64(k)))); err != nil {
				t.Fatalf("seed %d, power lost at operation %d: %v", seed, k, err)
			}
			if err == nil && !disk.Frozen() {
				break
			}
		}
	}
}

// TestLyingDisk is the negative control: the test detects a disk that syncs nothing.
func TestLyingDisk(t *testing.T) {
	disk := memfs.New()
	disk.SetLyingSync(true)
	h := &history{fs: disk}
	must(t, h.life(1))
	if err := h.survives(disk, h.promised, rand.New(rand.NewPCG(1, 1))); err == nil {
		t.Error("nothing is missed")
	}
}

// TestCommittersBesideSwitches: committers wait for their syncs while generations are
// replaced and sealed; at any moment a crash leaves all that they were promised by then.
func TestCommittersBesideSwitches(t *testing.T) {
	commits := 150
	if testing.Short() {
		commits = 40
	}
	disk := memfs.New()
	h := &history{fs: disk}
	_, err := h.rotate()
	must(t, err)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for j := range commits {
				if err := h.commitAndWait((i + j) % 3); err != nil {
					t.Error(err)
					return
				}
				if j%10 != 9 {
					continue
				}
				old, err := h.rotate()
				if err == nil && j%20 == 9 {
					err = old.Seal()
				}
				if err != nil {
					t.Error(err)
					return
				}
				h.mu.Lock()
				promised := h.promised
				h.mu.Unlock()
				if err := h.survives(disk, promised, rand.New(rand.NewPCG(uint64(i), uint64(j)))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// commitAndWait makes a commit and waits until it is durable.
func (h *history) commitAndWait(how int) error {
	g, lsn, n, err := h.commit()
	if err != nil {
		return err
	}
	if how == 0 {
		err = g.SyncAll()
	} else {
		err = g.Sync(lsn)
	}
	if err == nil {
		h.promise(n)
	}
	return err
}
