package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/wal"
	"github.com/seerdb-go/seerdb/observe"
)

// recover brings a database back. In order:
//
//	1 the manifest says which files count; each must be there, in full size
//	2 the logs that are still needed are replayed, oldest first, into
//	  memtables, and these are written to new, synced tables (the page cache
//	  may show what a failed sync never wrote)
//	3 a new manifest says that there are those tables, and that those logs are
//	  not needed; then CURRENT names it
//	4 only then the logs and whatever else nothing names are removed (I11)
//
// Up to the moment when CURRENT names the new manifest everything that was there
// is as it was, and nothing counts on what was added: a crash leaves a directory
// from which all of it can be done again, and an Open that fails removes what it
// added (see undo).
func (e *Engine) recover(names []string) error {
	begin := time.Now()
	e.opening = true
	st, err := manifest.Recover(e.fs, e.dir)
	if err != nil {
		return err
	}
	if err := e.restore(st, names); err != nil {
		return err
	}
	r := &replay{e: e, st: st, begin: func() error { return e.beginManifest(st) }}
	if err := r.logs(names); err != nil {
		r.free()
		return err
	}
	if e.opts.ReadOnly {
		return e.beginReadOnly(st.Version, r)
	}
	edit, err := r.write()
	if err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.RecoverAfterReplay); err != nil {
		return err
	}
	if err := e.beginManifest(st); err != nil {
		return err
	}
	if err := e.begin(st.Version, edit); err != nil {
		return err
	}
	if unsure, err := e.manifest.Install(); err != nil {
		if unsure {
			e.opening, e.made = false, nil
		}
		return e.fileError("begin a new manifest", err)
	}
	e.opening, e.made = false, nil
	if err := failpoint.Hit(failpoint.RecoverBeforeSweep); err != nil {
		return err
	}
	r.event.Removed, r.event.Foreign = e.sweep(names, e.live)
	r.event.Duration = time.Since(begin)
	e.listener.recovered(r.event)
	if r.event.TornFile != "" {
		e.opts.Logger.Warn("seerdb: an incomplete tail of the log was cut", "file", r.event.TornFile, "offset", r.event.TornAt)
	}
	return nil
}

// restore takes over what the manifest says, and looks for the files it names.
func (e *Engine) restore(st *manifest.State, names []string) error {
	e.dbID = st.DBID
	e.firstFile = uint64(manifest.FreeAbove(names, st.NextFile))
	e.nextFile.Store(e.firstFile)
	e.commit.nextSeq = max(st.LastSeq+1, base.SeqNumStart)
	e.loadKeyspaces(st.Keyspaces)
	// Replay merges, so this is the last moment to find the operator wrong.
	if err := e.root.checkMerger(e.root.opts.Load()); err != nil {
		return err
	}
	e.clock.raise(st.Clock)
	st.Version.All(func(_ int, f *manifest.FileMeta) bool {
		e.clock.inUse.Store(f.Expiring > 0)
		return f.Expiring == 0
	})
	return e.checkFiles(st.Version)
}

// beginManifest writes the new manifest, if that was not done yet. CURRENT does
// not name it.
func (e *Engine) beginManifest(st *manifest.State) error {
	if e.manifest != nil {
		return nil
	}
	next := *st
	next.FirstFile = base.FileNum(e.firstFile)
	next.NextFile = e.reservation()
	log, err := manifest.Begin(e.fs, e.dir, &next, e.incarnation)
	if err != nil {
		return e.fileError("begin a new manifest", err)
	}
	e.manifest = log
	e.reserved.Store(uint64(next.NextFile))
	return nil
}

// undo removes what a failed Open has made: CURRENT names none of it. The
// manifest goes last, as it says which numbers the others have.
func (e *Engine) undo() {
	for _, name := range e.made {
		_ = e.fs.Remove(e.path(name))
	}
	e.made = nil
	if e.manifest != nil {
		e.manifest.Discard()
	}
}

// live reports whether a file is still named by something.
func (e *Engine) live(t base.FileType, n base.FileNum) bool {
	switch t {
	case base.FileTypeCurrent, base.FileTypeLock:
		return true
	case base.FileTypeManifest:
		return n == e.manifest.State().ManifestNum
	case base.FileTypeLog:
		return n >= e.commit.gen.logNum
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tables[n] != nil || e.valueFiles[n] != nil
}

// checkFiles looks for every file that the manifest names.
func (e *Engine) checkFiles(v *manifest.Version) error {
	check := func(t base.FileType, n base.FileNum, size uint64) error {
		name := base.FileName(t, n)
		info, err := e.fs.Stat(e.path(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c := base.Corruptf(name, -1, "the manifest names this file, and it is missing")
			c.Err = err
			return c
		case err != nil:
			return e.fileError("look at "+name, err)
		case uint64(info.Size()) != size:
			return base.Corruptf(name, -1, "the file has %d bytes; the manifest says %d", info.Size(), size)
		}
		return nil
	}
	var err error
	v.All(func(_ int, f *manifest.FileMeta) bool {
		err = check(base.FileTypeTable, f.Num, f.Size)
		return err == nil
	})
	for _, f := range sortedValues(v) {
		if err == nil {
			err = check(base.FileTypeValues, f.Num, f.Size)
		}
	}
	return err
}

// replay turns logs into memtables and these into tables.
type replay struct {
	e     *Engine
	st    *manifest.State
	begin func() error // comes before the first file is written
	gens  []*generation
	cur   *generation // the last of gens, not yet full
	edit  manifest.Edit
	event observe.RecoveryEvent
	next  base.SeqNum // no batch may begin before it
	buf   []byte
}

// logs replays the needed logs in order. The recovered state is a prefix of
// the commits: where a log breaks off, later logs do not count. With several
// logs a first pass, which applies nothing, finds where that is.
func (r *replay) logs(names []string) error {
	var nums []base.FileNum
	for _, name := range names {
		if t, n, _ := base.ParseFileName(name); t == base.FileTypeLog && r.needs(n) {
			nums = append(nums, n)
		}
	}
	slices.Sort(nums)
	if first := r.st.LogNum; first != 0 && (len(nums) == 0 || nums[0] != first) {
		return missingLog(first)
	}
	if len(nums) > 1 {
		infos := make([]wal.Info, len(nums))
		for i, num := range nums {
			var err error
			if infos[i], err = r.log(num, func([]byte) error { return nil }); err != nil {
				return err
			}
		}
		whole, err := r.prefix(nums, infos)
		if err != nil {
			return err
		}
		nums = nums[:whole]
	}
	for _, num := range nums {
		info, err := r.log(num, r.apply)
		if err != nil {
			return err
		}
		if r.event.Logs == 0 {
			if err := r.follows(&info, 0); err != nil {
				return err
			}
		}
		r.event.Logs++
		if info.Torn && r.event.TornFile == "" {
			r.event.TornFile, r.event.TornAt = base.FileName(base.FileTypeLog, num), info.TornAt
		}
	}
	return nil
}

// needs reports whether the log num is one of those that are not in tables. What
// is beyond the numbers that the opening of the manifest reserved was made by a
// later one that did not get to its own manifest, or by others.
func (r *replay) needs(num base.FileNum) bool {
	if num < r.st.LogNum {
		return false
	}
	if r.st.Format > base.FormatV1 {
		return num < r.st.NextFile
	}
	// Format 1 reserved nothing, and its logs have no incarnation.
	id, ok := r.e.identify(base.FileTypeLog, base.FileName(base.FileTypeLog, num))
	return !ok || id.Incarnation == 0
}

// prefix returns how many of the logs count. A log that is shorter than its
// successor remembers is the last one that does. That is
// legitimate only while nothing after it was known to be synced, because a
// log is synced after all before it.
func (r *replay) prefix(nums []base.FileNum, infos []wal.Info) (int, error) {
	for i := 1; i < len(nums); i++ {
		before, after := &infos[i-1], &infos[i]
		if err := r.follows(after, nums[i-1]); err != nil {
			return 0, err
		}
		if before.Holds(after.Prev) {
			continue // what is torn beyond that is only the end mark
		}
		for j := i; j < len(nums); j++ {
			if infos[j].Records > 0 && infos[j].Synced > 0 {
				return 0, base.Corruptf(base.FileName(base.FileTypeLog, nums[i-1]), before.Bytes,
					"the log breaks off here, but it was synced before the log %s", base.FileName(base.FileTypeLog, nums[j]))
			}
		}
		r.event.TornFile, r.event.TornAt = base.FileName(base.FileTypeLog, nums[i-1]), before.Bytes
		return i, nil
	}
	return len(nums), nil
}

// follows checks that the log before this one is the one that was read before
// it, or is not needed any more.
func (r *replay) follows(info *wal.Info, last base.FileNum) error {
	before := info.Prev.Num
	if info.Bytes == 0 || before == 0 || before == last || before < r.st.LogNum {
		return nil
	}
	return missingLog(before)
}

func missingLog(num base.FileNum) error {
	return base.Corruptf(base.FileName(base.FileTypeLog, num), -1, "this log is still needed, and it is missing")
}

// log reads one log.
func (r *replay) log(num base.FileNum, fn func(payload []byte) error) (wal.Info, error) {
	id := base.Identity{DB: r.e.dbID, Type: base.FileTypeLog, Num: num, Incarnation: r.st.LogIncarnation}
	return wal.Replay(r.e.fs, r.e.path(id.Name()), id, func(payload []byte, _ int64) error { return fn(payload) })
}

// apply puts one batch into a memtable.
func (r *replay) apply(payload []byte) error {
	b, err := batch.Decode(payload)
	if err != nil {
		return err
	}
	if b.Seq() < r.next {
		return base.Corruptf("", 0, "batch with sequence %d follows one that ends at %d", b.Seq(), r.next-1)
	}
	seq, bytes := b.Seq(), 0
	for rd := b; ; {
		op, ok, err := rd.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		switch op.Kind {
		case base.KindPutTTL:
			r.e.clock.inUse.Store(true)
		case base.KindPut, base.KindDelete, base.KindMerge, base.KindSingleDelete, base.KindRangeDelete:
		default:
			return base.Corruptf("", 0, "an operation of kind %v cannot be replayed", op.Kind)
		}
		if r.dropped(&op) {
			continue
		}
		bytes += need(&op)
	}
	if err := r.room(bytes); err != nil {
		return err
	}
	a := applier{gen: r.cur, stripes: []base.SeqNum{base.SeqNumMax}, buf: r.buf} // nobody reads what is on the way
	for {
		op, ok, _ := b.Next()
		if !ok {
			break
		}
		if !r.dropped(&op) {
			if op.Keyspace != 0 {
				if err := r.cur.openOthers(r.e.opts.Partitions); err != nil {
					return err
				}
			}
			a.add(&op, seq)
		}
		seq++
	}
	a.flush()
	r.buf = a.buf
	r.next = seq
	r.cur.lastSeq = seq - 1
	r.e.commit.nextSeq = max(r.e.commit.nextSeq, seq)
	r.event.Records++
	r.event.Bytes += int64(len(payload))
	return nil
}

// dropped reports whether an operation was for a keyspace that is gone.
func (r *replay) dropped(op *batch.Op) bool {
	return op.Keyspace != 0 && r.e.space(op.Keyspace) == nil
}

// room makes sure that the current memtable takes need bytes more. Full ones
// are written to tables at once, so that a long log needs little memory.
func (r *replay) room(need int) error {
	if r.cur != nil && r.cur.mem.Reserve(need) {
		return nil
	}
	if r.cur != nil && !r.e.opts.ReadOnly {
		if err := r.spill(); err != nil {
			return err
		}
	}
	capacity := max(r.e.opts.MemtableSize, need)
	mem, err := memtable.New(memtable.Options{Capacity: capacity, Partitions: r.e.opts.Partitions})
	if err != nil {
		return err
	}
	r.cur = &generation{mem: mem, capacity: int64(capacity)}
	r.e.chargeMemtables(r.cur.capacity)
	r.gens = append(r.gens, r.cur)
	if !mem.Reserve(need) {
		return fmt.Errorf("seerdb: internal error, a memtable of %d bytes does not take %d", capacity, need)
	}
	return nil
}

// spill writes the memtables to synced tables of L0 and lets them go.
func (r *replay) spill() error {
	e := r.e
	defer r.free()
	gens := slices.Clone(r.gens)
	slices.Reverse(gens)
	if len(gens) == 0 {
		return nil
	}
	if err := r.begin(); err != nil {
		return err
	}
	e.visible.Store(uint64(e.commit.nextSeq - 1))
	res, err := e.writeGenerations(context.Background(), &view{version: r.st.Version}, gens, int(e.nextJob.Add(1)))
	if err != nil {
		return err
	}
	edit := flushEdit(res, uint64(e.newFileNum()))
	r.edit.Add = append(r.edit.Add, edit.Add...)
	r.edit.AddValues = append(r.edit.AddValues, edit.AddValues...)
	return nil
}

// write spills what is left and returns the edit that makes it all current.
func (r *replay) write() (*manifest.Edit, error) {
	if err := r.spill(); err != nil {
		return nil, err
	}
	return &r.edit, nil
}

func (r *replay) free() {
	for _, g := range r.gens {
		g.free(r.e)
	}
	r.gens, r.cur = nil, nil
}

// beginReadOnly keeps what the logs hold in memory and changes nothing.
func (e *Engine) beginReadOnly(v *manifest.Version, r *replay) error {
	e.visible.Store(uint64(e.commit.nextSeq - 1))
	e.durable.raise(e.commit.nextSeq - 1)
	mem, err := memtable.New(memtable.Options{Capacity: 1 << 10, Partitions: 1})
	if err != nil {
		r.free()
		return err
	}
	e.commit.gen = &generation{mem: mem}
	e.commit.refused = fmt.Errorf("%w: it was opened with Options.ReadOnly", base.ErrReadOnly)
	slices.Reverse(r.gens)
	e.mu.Lock()
	retire := e.setState(&state{mem: e.commit.gen, imm: r.gens, v: e.newView(v, nil)})
	e.mu.Unlock()
	retire()
	return nil
}
