package commit

import (
	"math"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/reserve"
)

// The keeper is the goroutine that keeps the reserve as large as it should be.
// It runs whenever the memtable has grown by a certain amount; commits that exceed
// what the reserve covers wait for it.

// keepAgain is the pause after which the keeper retries when there was no room. The
// pause doubles up to a second.
const keepAgain = 20 * time.Millisecond

// roomWanted returns how large the reserve should be, and how many more bytes the
// memtable may grow by before the keeper runs again; more is never less than need.
func (p *Pipeline) roomWanted(need int64) (want, more int64) {
	s, shard := p.env.Store.Acquire()
	if s == nil {
		return 0, reserve.From
	}
	defer s.Release(shard)
	var logs, unwritten, mem, data int64
	for _, g := range s.Generations() {
		mem += g.Mem.Bytes()
		if g.Log != nil {
			n := g.Log.Appended()
			logs += n
			unwritten += max(0, n-g.Log.Size())
		}
	}
	for level := range base.NumLevels {
		data += int64(s.Version().LevelSize(level))
	}
	data += s.ValueBytes()
	// A table of small entries can be larger than their log, but never larger than
	// their size in the memtable.
	flush := mem
	if p.env.Durability != NoWAL {
		flush = min(mem, 2*logs)
	}
	more = max(reserve.Min, flush/4, need+need/4)
	if flush+data < reserve.From && need < reserve.From {
		return 0, reserve.From
	}
	want = flush + more + min(max(data/reserve.Share, reserve.Min), reserve.Max)
	if p.env.Durability == Relaxed {
		want += unwritten + more // acknowledged before the log has room for it
	}
	return want, more
}

// keeper keeps the reserve until the workers stop.
func (p *Pipeline) keeper() {
	delay := keepAgain
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		select {
		case <-p.env.Work.Done():
			return
		case <-p.env.Room.Due():
		case <-again.C:
		}
		if p.keepRoom(delay == keepAgain) {
			delay = keepAgain
			continue
		}
		again.Reset(delay)
		delay = min(2*delay, time.Second)
	}
}

// keepRoom adjusts the reserve once and reports whether it succeeded; if not, the
// keeper retries soon. first reports whether the previous attempt succeeded. Without
// room keepRoom requests that the active generation be replaced: its flush removes
// its log.
func (p *Pipeline) keepRoom(first bool) bool {
	p.mu.Lock()
	g, need, taken := p.gen, p.keeping.need, p.gen.Mem.Bytes()
	p.keeping.need = 0
	p.mu.Unlock()
	want, more := p.roomWanted(need)
	was := p.env.Room.Lacking() != nil
	again, err := p.env.Room.Keep(want, 2*want+2*int64(p.env.MemtableSize))
	if err == nil && was {
		p.ClearTrouble()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gen == g {
		p.keeping.topUp, p.keeping.limit = taken+more/2, taken+more
	}
	if s := p.env.Store.Current(); err != nil && (first || p.gen.Mem.Bytes() > reserve.Min) && !p.gen.Mem.Empty() && s != nil && !p.queueFull(s) {
		p.wantTurn(0)
	}
	p.changed.Broadcast()
	return !again
}

// keptRoom reports whether the reserve covers need more bytes in the active
// memtable, and wakes the keeper if it is due. The caller holds mu.
func (p *Pipeline) keptRoom(need int64, b *batch.Batch) bool {
	k := &p.keeping
	taken := p.gen.Mem.Bytes() + need
	switch {
	case taken > k.limit && !reserve.Frees(b):
		k.need = max(k.need, need)
		p.env.Room.Wake()
		return false
	case taken > k.topUp:
		k.topUp = math.MaxInt64 // until the keeper has run
		p.env.Room.Wake()
	}
	return true
}
