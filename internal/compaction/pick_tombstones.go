package compaction

import (
	"bytes"
	"slices"

	"github.com/seerdb-go/seerdb/internal/manifest"
)

// pickTombstones merges tombstones and expired entries all the way down where
// that frees enough for its cost. It rewrites in place tables that have nothing
// under them.
func (t *tree) pickTombstones(w Workload) (Job, bool) {
	if t.cfg.TombstoneDensity <= 0 {
		return Job{}, false
	}
	var best Job
	most := t.cfg.TombstoneDensity
	for level := 0; level < lastLevel; level++ {
		if !t.hasTombstones(level) {
			continue
		}
		s := span{level, lastLevel}
		for _, g := range t.groups(s, t.components(s)) {
			if !g.deletes {
				continue
			}
			if gain := t.tombstoneGain(w, g.tables); gain.sum() > most*float64(g.bytes) {
				most = gain.sum() / float64(g.bytes)
				best = t.job(gain.reason(), most, s, g)
				best.Move = false
			}
		}
	}
	if j, ok := t.pickInPlace(w, most); ok {
		best = j
	}
	return best, best.Inputs != nil
}

func (t *tree) hasTombstones(level int) bool {
	return slices.ContainsFunc(t.Levels[level], func(r manifest.Run) bool { return slices.ContainsFunc(r.Files, t.hasGarbage) })
}

// pickInPlace rewrites neighbouring tables that have nothing under them and are
// full of expired entries, or, in the last level, of tombstones that a snapshot
// kept until now. This ends: an expired entry outlives its rewriting at most as
// a tombstone, and a tombstone that every snapshot sees does not.
func (t *tree) pickInPlace(w Workload, most float64) (best Job, ok bool) {
	for level := range t.Levels {
		for i := range t.Levels[level] {
			r := &t.Levels[level][i]
			for n := 0; n < len(r.Files); n++ {
				gain := t.gainInPlace(w, level, i, r.Files[n])
				if gain.sum() <= most*float64(r.Files[n].Size) {
					continue
				}
				// Take as many due neighbours as there are, so that they do not
				// become one small table each.
				begin := n
				for n++; n < len(r.Files) && n-begin < maxGarbageTables; n++ {
					more := t.gainInPlace(w, level, i, r.Files[n])
					if more.sum() <= t.cfg.TombstoneDensity*float64(r.Files[n].Size) || t.parted(level, r.Files[n-1], r.Files[n]) {
						break
					}
					gain.add(more)
				}
				files := r.Files[begin:n:n]
				n--
				if score := gain.sum() / float64(totalSize(files)); score > most {
					best, most = t.inPlace(gain.reason(), level, r.ID, files), score
					best.Score = score
				}
			}
		}
	}
	return best, best.Inputs != nil
}

// gainInPlace returns what rewriting a table in place frees, counting only the
// part that has nothing under it.
func (t *tree) gainInPlace(w Workload, level, i int, f *manifest.FileMeta) (g gain) {
	if t.busy[f.Num] != nil {
		return gain{}
	}
	single := placed{f, level, i}
	if level == lastLevel && len(t.Levels[level]) == 1 && (w.seen(f) && (f.Deletes > 0 || f.Ranges > 0) || w.cleared(f)) {
		g = t.tombstoneGain(w, []placed{single})
	} else if t.expired(f) > 0 && !t.overOlder(level, i, f, nil) {
		g.expired = t.expiredPart(f) * single.extent().sum()
	}
	if g.sum() > 0 && t.blocked(level, f.Smallest, f.End()) {
		return gain{}
	}
	return g
}

// gain is how many bytes a job frees.
type gain struct {
	deleted float64 // by tombstones
	expired float64
}

func (g gain) sum() float64 { return g.deleted + g.expired }

func (g *gain) add(o gain) {
	g.deleted += o.deleted
	g.expired += o.expired
}

func (g gain) reason() Reason {
	if g.expired > g.deleted {
		return ReasonExpired
	}
	return ReasonTombstones
}

// tombstoneGain estimates how many bytes a merge of tables with nothing under
// them frees. Each point tombstone is taken to meet one other entry of average
// size, with its value in a value file, and both go. Expired entries count only
// themselves: such keys are usually written once. A range tombstone that does
// not cover its table is taken for one point tombstone, since what it frees is
// not known. Tables that tombstones of others cover are not counted here: see
// pickDrop.
func (t *tree) tombstoneGain(w Workload, tables []placed) gain {
	wipes := slices.DeleteFunc(slices.Clone(tables), func(p placed) bool {
		return !isWipe(p.f) || !w.seen(p.f)
	})
	var deletes, expired, entries, wiped, rest float64
	for _, p := range tables {
		size := p.extent().sum()
		if isWipe(p.f) || w.cleared(p.f) ||
			slices.ContainsFunc(wipes, func(w placed) bool { return w.wipes(&p) }) {
			wiped += size
			continue
		}
		rest += size
		deletes += float64(p.f.Deletes + p.f.Ranges)
		expired += t.expiredPart(p.f) * size
		entries += float64(p.f.Entries)
	}
	deleted := rest * min(2*deletes/max(entries, 1), 1)
	return gain{wiped + deleted, min(expired, rest-deleted)}
}

// extent returns the size of a table.
func (p *placed) extent() (e extent) {
	e.add(p.f)
	return e
}

// expiredPart returns roughly the part of a table's entries that have expired.
func (t *tree) expiredPart(f *manifest.FileMeta) float64 {
	return t.expired(f) / float64(max(f.Entries, 1))
}

// seen reports whether every snapshot sees all entries of a table.
func (w *Workload) seen(f *manifest.FileMeta) bool { return f.LargestSeq <= w.OldestSnapshot }

// cleared reports whether a table's own range tombstones, which every snapshot
// sees, cover all its keys. A merge with nothing under the table removes them
// and everything older. How much that is, is not known: entries put since are
// taken to be few.
func (w *Workload) cleared(f *manifest.FileMeta) bool {
	return w.RangeDeleted[f.Num] == RangeDeletedPart && f.SmallestSeq <= w.OldestSnapshot
}

// isWipe reports whether a table is one range tombstone and nothing else. Its
// description then says exactly what it deletes.
func isWipe(f *manifest.FileMeta) bool { return f.Entries == 0 && f.Ranges == 1 }

// wipes reports whether p, a wipe, deletes all of another table. It does if the
// other is older; of one key, entries in deeper levels are older.
func (p *placed) wipes(o *placed) bool {
	older := o.level > p.level || o.level == p.level && o.run > p.run
	return older && bytes.Compare(p.f.Smallest, o.f.Smallest) <= 0 && o.f.End().Compare(p.f.End()) <= 0
}
