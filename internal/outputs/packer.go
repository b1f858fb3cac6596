package outputs

import (
	"bufio"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// packer puts the small tables of one job into packs.
type packer struct {
	o      *Outputs
	open   *openPack // nil between packs
	broken bool      // a pack could not be written, so the job fails
	// places has the pack and position of every packed table. sizes has the
	// size of every pack.
	places map[base.FileNum]packPlace
	sizes  map[base.FileNum]uint64
}

type packPlace struct {
	pack   base.FileNum
	offset uint64
}

// openPack is the pack being written.
type openPack struct {
	id  base.Identity
	f   vfs.File
	buf *bufio.Writer
	w   *pack.Writer
}

func newPacker(o *Outputs) *packer {
	return &packer{o: o, places: map[base.FileNum]packPlace{}, sizes: map[base.FileNum]uint64{}}
}

// add writes a finished table into a pack.
func (p *packer) add(num base.FileNum, table []byte) (err error) {
	defer func() { p.broken = p.broken || err != nil }()
	if p.open == nil {
		id, f, err := p.o.file(base.FileTypePack)
		if err != nil {
			return err
		}
		buf := bufio.NewWriterSize(f, 64<<10)
		p.open = &openPack{id: id, f: f, buf: buf, w: pack.NewWriter(buf, id)}
		p.sizes[id.Num] = 0
	}
	at, err := p.open.w.Add(num, table)
	if err != nil {
		return vfs.Cannot("write "+p.open.id.Name(), err)
	}
	p.places[num] = packPlace{p.open.id.Num, at}
	if p.open.w.Size() >= compaction.PackSize {
		return p.end()
	}
	return nil
}

// end makes the open pack durable.
func (p *packer) end() error {
	o := p.open
	if o == nil {
		return nil
	}
	p.open = nil
	finish, _ := p.o.closers(o.id, o.f, failpoint.OutputAfterTableSync)
	size, err := o.w.Finish()
	if err == nil {
		err = o.buf.Flush()
	}
	if err != nil {
		_ = o.f.Close()
		return vfs.Cannot("write "+o.id.Name(), err)
	}
	p.sizes[o.id.Num] = size
	return finish()
}

// place sets the position in a pack in the descriptions of tables, once all
// packs are complete.
func (p *packer) place(tables []*manifest.FileMeta) {
	for _, m := range tables {
		if at, ok := p.places[m.Num]; ok {
			m.Pack, m.Offset, m.PackSize = at.pack, at.offset, p.sizes[at.pack]
		}
	}
}

// discardUnused removes the packs without any of the tables: only runs that
// failed later wrote to them.
func (p *packer) discardUnused(tables []*manifest.FileMeta) {
	used := packsIn(tables)
	for num, size := range p.sizes {
		if _, ok := used[num]; !ok {
			p.o.env.Remove(base.FileTypePack, num, int64(size))
			delete(p.sizes, num)
		}
	}
}

// discard removes the packs of a failed job.
func (p *packer) discard() {
	if p.open != nil {
		_ = p.open.f.Close()
		p.open = nil
	}
	for num := range p.sizes {
		p.o.env.Remove(base.FileTypePack, num, 0)
	}
	clear(p.sizes)
}

// newTable makes a table that goes into a pack if it stays small.
func (p *packer) newTable() (compaction.TableOutput, error) {
	if err := p.o.env.Reserve(); err != nil {
		return compaction.TableOutput{}, err
	}
	f := &packedFile{p: p, id: p.o.env.NewIdentity(base.FileTypeTable)}
	return compaction.TableOutput{ID: f.id, Writer: p.o.writer(f, f.id), Close: f.close, Abort: f.abort}, nil
}

// packedFile is the file of a table that may go into a pack. It is in memory as
// long as it is small.
type packedFile struct {
	p   *packer
	id  base.Identity
	buf []byte

	own    vfs.File // nil while it is small
	finish func() error
	undo   func()
}

// Write implements io.Writer.
func (f *packedFile) Write(b []byte) (int, error) {
	if f.own == nil {
		if len(f.buf)+len(b) <= f.p.o.env.PackedMax {
			f.buf = append(f.buf, b...)
			return len(b), nil
		}
		if err := f.leave(); err != nil {
			return 0, err
		}
	}
	return f.own.Write(b)
}

// leave moves a table that became too large to a file of its own.
func (f *packedFile) leave() error {
	file, err := f.p.o.create(f.id)
	if err != nil {
		return err
	}
	f.own = file
	f.finish, f.undo = f.p.o.closers(f.id, file, failpoint.OutputAfterTableSync)
	_, err = file.Write(f.buf)
	f.buf = nil
	return err
}

// close ends a complete table. For a table in a pack, I4 only requires that the
// pack is durable before the edit.
func (f *packedFile) close() error {
	if f.own != nil {
		return f.finish()
	}
	buf := f.buf
	f.buf = nil
	return f.p.add(f.id.Num, buf)
}

// abort removes the table's file. A table in a pack is removed with the pack.
func (f *packedFile) abort() {
	f.buf = nil
	if f.own != nil {
		f.undo()
	}
}

// packsIn returns the numbers of the packs of some tables.
func packsIn(tables []*manifest.FileMeta) map[base.FileNum]struct{} {
	packs := map[base.FileNum]struct{}{}
	for _, m := range tables {
		if m.Pack != 0 {
			packs[m.Pack] = struct{}{}
		}
	}
	return packs
}
