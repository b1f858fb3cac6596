package commit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// history is what committers and readers of one pipeline saw. It is compared with a plain
// map when all is over.
type history struct {
	*rig
	rows []row // all that commits write to

	mu      sync.Mutex
	next    int           // guarded by mu; of the commit to come
	applied []applied     // guarded by mu
	refused map[int]bool  // guarded by mu; commits of which nothing may be left
	unknown int           // guarded by mu
	seen    []observation // guarded by mu
	crashes []crash       // guarded by mu
}

// applied is a commit that succeeded.
type applied struct {
	id         int
	first, end base.SeqNum
	ops        []change
	reads      []read // of a transaction
	loaded     bool   // it is an ingestion, and in no log
}

// change is one operation.
type change struct {
	row
	value   string
	deleted bool
}

// read is what a transaction depends on.
type read struct {
	row
	seq base.SeqNum // of the version that it saw, 0 if there was none
}

// observation is all rows at a visible sequence.
type observation struct {
	at, durable base.SeqNum // durable was asked for afterwards
	rows        []version
}

// crash is what a power cut left: the commits in the logs.
type crash struct {
	durable, flushed base.SeqNum // before it
	logged           map[int]bool
}

func newHistory(r *rig) *history {
	h := &history{rig: r, refused: map[int]bool{}}
	asked, err := keyspace.Choice{}.Ask("other")
	r.check(err)
	other, err := r.env.Keyspaces.Open(asked, true)
	r.check(err)
	for i := range 8 {
		h.rows = append(h.rows, row{0, fmt.Sprint("k", i)}, row{other.ID(), fmt.Sprint("k", i)})
	}
	// What transactions ask: all versions, those in memory too.
	r.tree.newest = func(space uint32, key []byte) (base.SeqNum, error) {
		return h.look1(row{space, string(key)}).seq, nil
	}
	r.tree.any = func(space uint32, lo, hi []byte, after base.SeqNum) (bool, error) {
		return slices.ContainsFunc(h.rows, func(k row) bool {
			in := k.space == space && k.key >= string(lo) && (hi == nil || k.key < string(hi))
			return in && h.look1(k).seq > after
		}), nil
	}
	return h
}

// look1 returns the newest visible version of a row.
func (h *history) look1(k row) version {
	seq := h.store.Visible()
	s, shard := h.store.Acquire()
	defer s.Release(shard)
	return h.at(s, k, seq)
}

// look notes what a reader sees.
func (h *history) look() {
	o := observation{at: h.store.Visible()}
	s, shard := h.store.Acquire()
	for _, k := range h.rows {
		o.rows = append(o.rows, h.at(s, k, o.at))
	}
	s.Release(shard)
	o.durable = h.DurableSeq()
	h.mu.Lock()
	h.seen = append(h.seen, o)
	h.mu.Unlock()
}

// crash notes what a power cut would leave now, of what is not synced each piece with
// probability keep.
func (h *history) crash(keep float64) {
	c := crash{durable: h.DurableSeq(), logged: map[int]bool{}}
	h.tables.mu.Lock()
	c.flushed = h.tables.last
	h.tables.mu.Unlock()
	disk := h.disk.CrashClone(memfs.CrashOptions{Keep: keep})
	names, err := disk.List("db")
	h.check(err)
	for _, name := range names {
		t, num, ok := base.ParseFileName(name)
		if !ok || t != base.FileTypeLog {
			continue
		}
		id := base.Identity{DB: h.env.Versions.DB(), Type: t, Num: num, Incarnation: h.env.Versions.Incarnation()}
		_, err := wal.Replay(disk, path.Join("db", name), id, 0, func(p []byte, _ int64) error {
			r, err := batch.Decode(p)
			if err != nil {
				return err
			}
			op, _, err := r.Next()
			c.logged[idOf(string(op.Value))] = true
			return err
		})
		h.check(err)
	}
	h.mu.Lock()
	h.crashes = append(h.crashes, c)
	h.mu.Unlock()
}

// idOf is the commit that wrote a value.
func idOf(value string) (id int) {
	_, _ = fmt.Sscanf(value, "%d ", &id)
	return id
}

// draw fills a batch with changes of some rows. The first is a Put, which names the commit.
func (h *history) draw(rng *rand.Rand, b *batch.Batch) (c applied) {
	h.mu.Lock()
	h.next++
	c.id = h.next
	h.mu.Unlock()
	for i := range 1 + rng.IntN(5) {
		op := change{row: h.rows[rng.IntN(len(h.rows))]}
		if i > 0 && rng.IntN(4) == 0 {
			op.deleted = true
			h.check(b.Delete(op.space, []byte(op.key)))
		} else {
			op.value = fmt.Sprintf("%d %s", c.id, strings.Repeat("v", rng.IntN(400)))
			h.check(b.Put(op.space, []byte(op.key), []byte(op.value)))
		}
		c.ops = append(c.ops, op)
	}
	return c
}

// note keeps how a commit ended. It reports whether the database takes more.
func (h *history) note(c applied, end base.SeqNum, err error) bool {
	if err == nil && h.store.Visible() < end {
		h.Errorf("commit %d has the sequence %d, and is not visible", c.id, end)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		c.first, c.end = end-base.SeqNum(len(c.ops))+1, end
		h.applied = append(h.applied, c)
	case errors.Is(err, base.ErrCommitUnknown):
		h.unknown++
	case errors.Is(err, base.ErrNoSpace), errors.Is(err, base.ErrReadOnly), errors.Is(err, base.ErrConflict), errors.Is(err, syscall.EIO):
		h.refused[c.id] = true
	default:
		h.Errorf("commit %d: %v", c.id, err)
	}
	return !errors.Is(err, base.ErrReadOnly) && !errors.Is(err, base.ErrCommitUnknown)
}

// commit makes a random commit.
func (h *history) commit(rng *rand.Rand, d Durability) bool {
	var b batch.Batch
	c := h.draw(rng, &b)
	end, err := h.Commit(h.Context(), &b, d, nil)
	if err == nil && d == Sync && h.DurableSeq() < end {
		h.Errorf("commit %d is acknowledged, and not durable", c.id)
	}
	return h.note(c, end, err)
}

// transact makes a transaction that reads two rows, and some of those in a range.
func (h *history) transact(rng *rand.Rand, d Durability) bool {
	var x txn.Txn
	var hold readstate.Hold
	at := h.BeginTxn(&x, &hold)
	defer h.store.Snapshots.Drop(at)
	defer h.EndTxn(&x)
	var b batch.Batch
	c := h.draw(rng, &b)
	s, shard := h.store.Acquire()
	defer s.Release(shard)
	see := func(k row) { c.reads = append(c.reads, read{k, h.at(s, k, at.Seq).seq}) }
	for range 2 {
		k := h.rows[rng.IntN(len(h.rows))]
		see(k)
		h.check(x.Key(k.space, []byte(k.key)))
	}
	if rng.IntN(4) == 0 {
		see(row{0, "k2"})
		see(row{0, "k3"})
		h.check(x.Range(0, []byte("k2"), []byte("k4")))
	}
	if rng.IntN(2) == 0 {
		for range rng.IntN(20) { // others come between
			h.look1(h.rows[0])
		}
	}
	h.check(x.Batch(&b))
	h.check(x.Seal())
	end, err := h.Commit(h.Context(), &b, d, &x)
	return h.note(c, end, err)
}

// load makes an ingestion, which comes to nothing if a draw says so.
func (h *history) load(rng *rand.Rand) bool {
	var b batch.Batch
	c := h.draw(rng, &b)
	c.loaded = true
	h.flushMu.Lock()
	defer h.flushMu.Unlock()
	pl, err := h.TakePlace(h.Context(), &Ingestion{Batch: &b})
	if err != nil {
		return h.note(c, 0, err)
	}
	if !h.flushLocked() {
		err = base.ErrReadOnly
	} else if rng.IntN(3) == 0 {
		err = base.ErrNoSpace
	}
	if last := h.LastSeq(); last != pl.End {
		h.Errorf("a commit took the sequence %d while an ingestion had its place up to %d", last, pl.End)
	}
	if err == nil {
		for i, op := range c.ops {
			h.tables.add(op.row, version{pl.Seq + base.SeqNum(i), op.value, op.deleted})
		}
	}
	h.EndPlace(pl, err, func() {
		if v := h.store.Visible(); v != pl.End {
			h.Errorf("at the end of an ingestion %d is visible, and not %d", v, pl.End)
		}
	})
	return h.note(c, pl.End, err)
}
