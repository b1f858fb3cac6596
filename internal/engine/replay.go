package engine

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/jobs"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
	"github.com/seerdb-go/seerdb/observe"
)

// replay turns logs into memtables and these into tables.
type replay struct {
	o       *opening
	e       *Engine
	st      *manifest.State
	begin   func() error // called before the first file is written
	gens    []*generation.Generation
	cur     *generation.Generation // the last of gens, not yet full
	edit    manifest.Edit
	event   observe.RecoveryEvent
	next    base.SeqNum // the lowest sequence at which the next batch may begin
	buf     []byte
	reading base.FileNum // the log being read
	// payloads are those of all batches in gens, up to smallLog bytes.
	payloads [][]byte
	small    int64 // bytes in payloads; more than smallLog once payloads are no longer kept
}

// replayMemoryMax bounds the bytes of a memtable that one batch may take in recovery. It
// is larger than in commits, because another system may have written the log. Only tests
// change it.
var replayMemoryMax = int64(memtable.MaxCapacity)

// smallLog is the size up to which Open copies the batches of the logs into the new log
// instead of writing tables, so that a program that repeatedly opens, writes little and
// closes does not make a table each time. The cost is to write as much again at the
// next Open.
const smallLog = 256 << 10

// logs replays the needed logs in order. The recovered state is a prefix of
// the commits: after a log that breaks off, later logs do not count. With several
// logs a first pass, which applies nothing, finds the last log that counts.
func (r *replay) logs(names []string) error {
	nums, err := r.list(names)
	if err != nil {
		return err
	}
	if len(nums) > 1 {
		infos := make([]wal.Info, len(nums))
		for i, num := range nums {
			var err error
			if infos[i], err = r.log(num, func([]byte) error { return nil }); err != nil {
				return err
			}
		}
		nums, infos = used(nums, infos)
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

// list returns the logs to be replayed, in order. After a clean close the manifest names
// them; otherwise they are all logs in the directory that needs reports true for.
func (r *replay) list(names []string) (nums []base.FileNum, err error) {
	for _, l := range r.st.Closed {
		if !slices.Contains(names, base.FileName(base.FileTypeLog, l.Num)) {
			return nil, missingLog(l.Num)
		}
		nums = append(nums, l.Num)
	}
	if len(nums) > 0 {
		return nums, nil
	}
	for _, name := range names {
		if t, n, _ := base.ParseFileName(name); t == base.FileTypeLog && r.needs(n) {
			nums = append(nums, n)
		}
	}
	slices.Sort(nums)
	if first := r.st.LogNum; first != 0 && (len(nums) == 0 || nums[0] != first) {
		return nil, missingLog(first)
	}
	return nums, nil
}

// needs reports whether the log num holds commits that are not in tables. A log beyond
// the numbers that the manifest reserved does not: it was made by a later Open that did
// not write its own manifest, or by another program.
func (r *replay) needs(num base.FileNum) bool {
	if num < r.st.LogNum {
		return false
	}
	if r.st.Format > base.FormatV1 {
		return num < r.st.NextFile
	}
	// Format 1 reserved nothing, and its logs have no incarnation.
	id, ok := r.e.dir.identify(base.FileTypeLog, base.FileName(base.FileTypeLog, num))
	return !ok || id.Incarnation == 0
}

// used leaves out logs that were abandoned before use because their header could not be
// written, and whose files could not be removed. The log after such a log follows the
// log before it.
func used(nums []base.FileNum, infos []wal.Info) ([]base.FileNum, []wal.Info) {
	for i := len(nums) - 2; i > 0; i-- {
		if after := &infos[i+1]; infos[i].Records == 0 && after.Bytes > 0 && after.Prev.Num != nums[i] {
			nums, infos = slices.Delete(nums, i, i+1), slices.Delete(infos, i, i+1)
		}
	}
	return nums, infos
}

// prefix returns how many of the logs count. The last one is the first log that is
// shorter than its successor recorded. Such a loss is corruption if a later log is
// known to be synced, because a log is synced after all logs before it.
func (r *replay) prefix(nums []base.FileNum, infos []wal.Info) (int, error) {
	for i := 1; i < len(nums); i++ {
		before, after := &infos[i-1], &infos[i]
		if err := r.follows(after, nums[i-1]); err != nil {
			return 0, err
		}
		if before.Holds(after.Prev) {
			continue // anything torn beyond that is only the end mark
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

// follows checks that the predecessor recorded in a log is last, the log read before
// it, or is no longer needed.
func (r *replay) follows(info *wal.Info, last base.FileNum) error {
	before := info.Prev.Num
	if info.Bytes == 0 || before == 0 || before == last || before < r.st.LogNum {
		return nil
	}
	return missingLog(before)
}

func missingLog(num base.FileNum) error {
	return base.Corruptf(base.FileName(base.FileTypeLog, num), -1, "the log is missing, but it is still needed")
}

// log reads one log.
func (r *replay) log(num base.FileNum, fn func(payload []byte) error) (wal.Info, error) {
	id := base.Identity{DB: r.e.versions.DB(), Type: base.FileTypeLog, Num: num, Incarnation: r.st.LogIncarnation}
	durable := int64(0)
	for _, l := range r.st.Closed {
		if l.Num == num {
			durable = l.Size
		}
	}
	r.reading = num
	return wal.Replay(r.e.dir.fs, id.Name(), id, durable, func(payload []byte, _ int64) error { return fn(payload) })
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
	seq, size := b.Seq(), int64(0)
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
			r.e.clock.Use()
		case base.KindPut, base.KindDelete, base.KindMerge, base.KindSingleDelete, base.KindRangeDelete:
		default:
			return base.Corruptf("", 0, "an operation of kind %v cannot be replayed", op.Kind)
		}
		if r.dropped(&op) {
			if op.Keyspace >= r.st.NextKeyspace {
				return r.unknownKeyspace(op.Keyspace)
			}
			continue
		}
		size += memtable.OpBound(&op)
	}
	if err := r.room(size); err != nil {
		return err
	}
	var a memtable.Applier
	a.Init(r.cur.Mem, []base.SeqNum{base.SeqNumMax}, r.buf, 0) // no reader sees intermediate states
	for {
		op, ok, _ := b.Next()
		if !ok {
			break
		}
		if !r.dropped(&op) {
			if op.Keyspace != 0 {
				if err := r.cur.Mem.Share(); err != nil {
					return err
				}
			}
			a.Add(&op, seq)
		}
		seq++
	}
	r.buf = a.Flush()
	r.next = seq
	r.cur.LastSeq = seq - 1
	r.e.commit.Follow(seq - 1)
	r.event.Records++
	r.event.Bytes += int64(len(payload))
	if r.small += int64(len(payload)); r.small > smallLog {
		r.payloads = nil
	} else {
		r.payloads = append(r.payloads, bytes.Clone(payload))
	}
	return nil
}

// unknownKeyspace returns the error for a log with a keyspace that the manifest never
// had: the creation of a keyspace is durable before the first write to it.
func (r *replay) unknownKeyspace(id uint32) error {
	return base.Corruptf(base.FileName(base.FileTypeManifest, r.st.ManifestNum), -1,
		"the log %s writes to keyspace %d, and the manifest knows of none from %d on: its end is missing, or it is of an earlier moment",
		base.FileName(base.FileTypeLog, r.reading), id, r.st.NextKeyspace)
}

// dropped reports whether an operation is on a keyspace that was dropped.
func (r *replay) dropped(op *batch.Op) bool {
	return op.Keyspace != 0 && r.e.keyspaces.Get(op.Keyspace) == nil
}

// room ensures that the current memtable has room for need more bytes. It writes full
// memtables to tables at once, so that a long log needs little memory.
func (r *replay) room(need int64) error {
	if r.cur != nil && r.cur.Mem.Reserve(need) {
		return nil
	}
	if r.cur != nil && !r.e.opts.ReadOnly {
		if err := r.spill(); err != nil {
			return err
		}
	}
	if need > replayMemoryMax {
		return fmt.Errorf("%w: the log holds a batch that needs %d bytes of memory, and this system can use %d; open the database on a 64-bit system",
			base.ErrBatchTooLarge, need, replayMemoryMax)
	}
	capacity := max(int64(r.e.opts.MemtableSize), need)
	mem, err := memtable.New(memtable.Options{Capacity: capacity, Partitions: r.e.opts.Partitions})
	if err != nil {
		return err
	}
	r.cur = &generation.Generation{Mem: mem, Charge: capacity}
	r.e.store.ChargeMemtables(r.cur.Charge)
	r.gens = append(r.gens, r.cur)
	if !mem.Reserve(need) {
		return fmt.Errorf("seerdb: internal error, a memtable of %d bytes does not take %d", capacity, need)
	}
	return nil
}

// spill writes the memtables to synced tables of L0 and frees them.
func (r *replay) spill() error {
	e := r.e
	defer r.free()
	r.payloads, r.small = nil, smallLog+1
	gens := slices.Clone(r.gens)
	slices.Reverse(gens)
	if len(gens) == 0 {
		return nil
	}
	if err := r.begin(); err != nil {
		return err
	}
	e.store.Publish(e.commit.LastSeq())
	res, err := e.jobs.WriteGenerations(context.Background(), r.st.Version, gens, e.jobs.NewJob())
	if err != nil {
		return err
	}
	edit := jobs.FlushEdit(res, uint64(e.versions.NewFileNum()))
	r.edit.Add = append(r.edit.Add, edit.Add...)
	r.edit.AddValues = append(r.edit.AddValues, edit.AddValues...)
	return nil
}

// finish writes the rest to tables or, if it is small, to a new log, and makes
// everything current.
func (r *replay) finish() error {
	e := r.e
	keep := len(r.gens) == 1 && r.small <= smallLog && e.opts.Durability != NoWAL
	if !keep {
		if err := r.spill(); err != nil {
			return err
		}
	}
	if err := failpoint.Hit(failpoint.RecoverAfterReplay); err != nil {
		return err
	}
	if err := r.begin(); err != nil {
		return err
	}
	if !keep {
		return r.o.begin(r.st.Version, &r.edit, nil)
	}
	if err := r.relog(); err != nil {
		return err
	}
	g := r.cur
	r.gens, r.cur = nil, nil // begin takes ownership
	return r.o.begin(r.st.Version, &r.edit, g)
}

// relog gives the only generation a log of its own and writes its batches to it,
// durably.
func (r *replay) relog() error {
	g := r.cur
	seg, err := r.e.commit.MakeLog()
	if err != nil {
		return err
	}
	g.Num, g.After = seg.Num(), r.e.commit.LastSeq()
	if err := r.e.commit.BeginLog(g, nil, seg); err != nil {
		return err
	}
	for _, p := range r.payloads {
		if err == nil {
			_, err = g.Log.Append(p)
		}
	}
	if err == nil {
		err = g.Log.SyncAll()
	}
	if err != nil {
		g.AbandonLog()
		return vfs.Cannot("write "+base.FileName(base.FileTypeLog, g.Num), err)
	}
	return nil
}

func (r *replay) free() {
	for _, g := range r.gens {
		r.e.store.FreeGeneration(g)
	}
	r.gens, r.cur = nil, nil
}
