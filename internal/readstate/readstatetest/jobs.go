package readstatetest

import (
	"bytes"
	"context"
	"math"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/merge"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Install installs the version after an edit: see readstate.Store.Install.
func (r *Rig) Install(e *manifest.Edit, flushed []*generation.Generation, filtered bool) {
	r.Helper()
	next, err := r.Version.Apply(e)
	r.Check(err)
	dropped := r.Version.DroppedBy(e, next)
	r.Version = next
	r.Store.Install(next, flushed, dropped, filtered)
}

// Flush writes the immutable generations to level 0: one run for each keyspace.
func (r *Rig) Flush() {
	r.Helper()
	gens := slices.Clone(r.Store.Current().Imm)
	keyspaces := []uint32{0}
	for _, g := range gens {
		keyspaces = append(keyspaces, g.Mem.Keyspaces()...)
	}
	slices.Sort(keyspaces)
	j := r.job()
	for _, ks := range slices.Compact(keyspaces) {
		var iters []base.Iterator
		var ranges []*rangedel.List
		for _, g := range gens {
			if it := g.Mem.AllIter(ks); it != nil {
				iters = append(iters, it)
				if l := g.Mem.RangeList(ks); l != nil {
					ranges = append(ranges, l)
				}
			}
		}
		if len(iters) > 0 {
			j.run(ks, 0, iters, ranges)
		}
	}
	j.finish()
	r.Install(&j.edit, gens, false)
}

// Compact merges a range of levels of a keyspace, both ends included, into a run
// of the last of them.
func (r *Rig) Compact(keyspace uint32, from, to int) {
	r.Helper()
	s, shard := r.Store.Keep()
	defer s.LetGo(shard)
	j := r.job()
	j.fetch, j.filter = s.Fetch, r.Filter
	var iters []base.Iterator
	lists := map[base.FileNum]*rangedel.List{}
	for l := from; l <= to; l++ {
		for _, run := range s.Levels(keyspace)[l] {
			it := new(readstate.RunIter)
			it.Init(run.Tables, sstable.IterOptions{Bypass: true}, nil)
			iters = append(iters, it)
			run.RangeLists(lists)
			for _, t := range run.Tables {
				j.edit.Remove = append(j.edit.Remove, manifest.OldFile{Level: l, Num: t.Meta.Num})
			}
		}
	}
	if len(iters) == 0 {
		return
	}
	var ranges []*rangedel.List
	for _, l := range lists {
		ranges = append(ranges, l)
	}
	j.run(keyspace, to, iters, ranges)
	j.finish()
	r.Install(&j.edit, nil, j.filter != nil)
}

// AddTable adds a table that fill writes, in a run of its own, and returns its
// description. change, if not nil, falsifies that first.
func (r *Rig) AddTable(level int, fill func(w *sstable.Writer), change func(*manifest.FileMeta)) *manifest.FileMeta {
	r.Helper()
	id := r.id(base.FileTypeTable)
	f := r.create(id)
	w := r.writer(f, id)
	fill(w)
	info, err := w.Finish()
	r.Check(err)
	r.Check(f.Close())
	p := info.Props
	m := &manifest.FileMeta{
		Num: id.Num, Size: info.Size, Format: id.Format(), Run: uint64(id.Num),
		Smallest: bytes.Clone(info.Smallest), Largest: bytes.Clone(info.Largest), LargestBound: info.LargestBound,
		SmallestSeq: info.SmallestSeq, LargestSeq: info.LargestSeq,
		Ranges: info.Ranges, Entries: p.Entries, RawKeyBytes: p.RawKeyBytes, RawValueBytes: p.RawValueBytes,
	}
	if change != nil {
		change(m)
	}
	r.Install(&manifest.Edit{Add: []manifest.NewFile{{Level: level, Meta: m}}}, nil, false)
	return m
}

// id returns the identity of a new file.
func (r *Rig) id(t base.FileType) base.Identity {
	r.next++
	return base.Identity{DB: DB, Type: t, Num: r.next - 1}
}

func (r *Rig) create(id base.Identity) vfs.File {
	r.Helper()
	f, err := r.FS.Create(id.Name())
	r.Check(err)
	return f
}

func (r *Rig) writer(w interface{ Write([]byte) (int, error) }, id base.Identity) *sstable.Writer {
	return sstable.NewWriter(w, sstable.WriterOptions{ID: id, PageSize: r.o.PageSize, FilterBits: r.o.FilterBits})
}

// stripes returns the sequences at which what is visible must stay. With
// Options.KeepAll those are all sequences up to end.
func (r *Rig) stripes(end base.SeqNum) []base.SeqNum {
	if !r.o.KeepAll {
		return r.Store.Snapshots.Stripes()
	}
	all := make([]base.SeqNum, end+1)
	for i := range all {
		all[i] = base.SeqNum(i)
	}
	return all
}

// job writes tables and value files for an edit.
type job struct {
	*Rig
	edit   manifest.Edit
	fetch  func([]byte, valuelog.Pointer) ([]byte, error)
	filter compaction.Filter
	packed []packed
}

// packed is a table that waits for its pack.
type packed struct {
	num  base.FileNum
	data *bytes.Buffer
}

func (r *Rig) job() *job { return &job{Rig: r} }

// run writes the tables of a keyspace, in a run of their own.
func (j *job) run(keyspace uint32, level int, iters []base.Iterator, ranges []*rangedel.List) {
	j.Helper()
	in := merge.New(iters...)
	all := rangedel.Merge(ranges...)
	expired := uint64(0)
	if j.o.Expire {
		expired = j.Store.Snapshots.Expired()
	}
	res, err := compaction.Run(context.Background(), compaction.RunOptions{
		Input: in, Ranges: &all, Snapshots: j.stripes(j.Store.Visible()), MaxTableSize: j.o.TableSize, Filter: j.filter,
		Merger: j.o.Merger, ExpireAt: expired,
		Values:   compaction.ValueOptions{Threshold: j.o.ValuesFrom, MaxFileSize: math.MaxInt64, Fetch: j.fetch},
		NewTable: j.table, NewValues: j.values,
	})
	j.Check(err)
	j.Check(in.Close())
	j.next++
	for _, m := range res.Tables {
		m.Keyspace, m.Run = keyspace, uint64(j.next)
		j.edit.Add = append(j.edit.Add, manifest.NewFile{Level: level, Meta: m})
	}
	j.edit.AddValues = append(j.edit.AddValues, res.Values...)
}

func (j *job) table() (compaction.TableOutput, error) {
	id := j.id(base.FileTypeTable)
	if j.o.Packed {
		p := packed{id.Num, new(bytes.Buffer)}
		j.packed = append(j.packed, p)
		return compaction.TableOutput{ID: id, Writer: j.writer(p.data, id), Close: func() error { return nil }, Abort: func() {}}, nil
	}
	f := j.create(id)
	return compaction.TableOutput{ID: id, Writer: j.writer(f, id), Close: f.Close, Abort: func() {}}, nil
}

func (j *job) values() (compaction.ValueOutput, error) {
	id := j.id(base.FileTypeValues)
	f := j.create(id)
	return compaction.ValueOutput{ID: id, Writer: valuelog.NewWriter(f, id, compress.None), Close: f.Close, Abort: func() {}}, nil
}

// finish writes the pack of the packed tables.
func (j *job) finish() {
	j.Helper()
	if len(j.packed) == 0 {
		return
	}
	id := j.id(base.FileTypePack)
	f := j.create(id)
	w := pack.NewWriter(f, id)
	places := map[base.FileNum]uint64{}
	for _, p := range j.packed {
		offset, err := w.Add(p.num, p.data.Bytes())
		j.Check(err)
		places[p.num] = offset
	}
	size, err := w.Finish()
	j.Check(err)
	j.Check(f.Close())
	for _, n := range j.edit.Add {
		n.Meta.Pack, n.Meta.Offset, n.Meta.PackSize = id.Num, places[n.Meta.Num], size
	}
}
