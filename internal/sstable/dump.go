package sstable

import (
	"fmt"
	"io"
	"math/bits"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// DumpOptions select what Dump writes besides the properties.
type DumpOptions struct {
	Index   bool // every segment
	Pages   bool // every page
	Entries bool // every entry
}

// Dump writes the content of the table as text, for human readers.
func (r *Reader) Dump(w io.Writer, o DumpOptions) error {
	d := dumper{w: w}
	p := r.props
	d.printf("table      %s, %d bytes\n", r.id.Name(), r.size)
	d.printf("entries    %d of %d keys", p.Entries, p.Keys)
	for k, n := range p.ByKind {
		if n > 0 {
			d.printf(", %d %v", n, base.Kind(k))
		}
	}
	d.printf("\nkeys       %q to %q, %d bytes\n", p.Smallest, p.Largest, p.RawKeyBytes)
	d.printf("values     %d bytes\n", p.RawValueBytes)
	d.printf("sequences  %d to %d\n", p.SmallestSeq, p.LargestSeq)
	d.printf("pages      %d (%d learned, %d fences) of about %d bytes, %d bytes, %d stored, codec %v\n",
		p.Pages, p.LearnedPages, p.FencePages, p.PageSize, p.RawBytes, p.DataBytes, compress.Codec(p.Codec))
	keys := float64(max(p.Keys, 1))
	d.printf("index      %d segments, %d bytes, %.4f bytes a key\n", p.Segments, p.IndexBytes, float64(p.IndexBytes)/keys)
	d.printf("filter     %d bytes, %.2f bits a key\n", p.FilterBytes, float64(p.FilterBytes)*8/keys)
	r.dumpRanges(&d)
	if o.Index && r.index.pages > 0 {
		r.dumpIndex(&d)
	}
	if o.Pages || o.Entries {
		r.dumpPages(&d, o.Entries)
	}
	return d.err
}

type dumper struct {
	w   io.Writer
	err error
}

func (d *dumper) printf(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

// dumpRanges writes the range tombstones, if there are any.
func (r *Reader) dumpRanges(d *dumper) {
	l := r.Ranges()
	if l == nil {
		return
	}
	d.printf("ranges     %d\n", l.Len())
	for i := range l.Len() {
		if f := l.At(i); f.Hi == nil {
			d.printf("  from %q on, at %d\n", f.Lo, f.Seqs)
		} else {
			d.printf("  from %q to before %q, at %d\n", f.Lo, f.Hi, f.Seqs)
		}
	}
}

func (r *Reader) dumpIndex(d *dumper) {
	x := r.index
	d.printf("prefix     %q\n", x.prefix)
	for i, c := range x.codes[1:] {
		d.printf("code %d     %x\n", i+1, c.Description())
	}
	model, page := 0, 0
	for seg := range x.segments {
		pages := 1
		has := x.models > 0 && le.Uint64(x.modelBits[seg>>6*8:])>>(seg&63)&1 != 0
		if has {
			pages += x.extraBefore(model+1) - x.extraBefore(model)
		}
		d.printf("segment %d  pages %d to %d, separator %016x%s", seg, page, page+pages-1, le.Uint64(x.heads[seg*8:]), x.extensionText(seg))
		if has {
			b := x.model[model*modelSize:]
			off, n := le.Uint32(b[20:]), le.Uint32(b[24:])
			d.printf(", model x0 %016x slope %x shift %d code %d behind %q", le.Uint64(b), le.Uint64(b[8:]), b[29], b[28], x.heap[off:off+n])
			model++
		}
		d.printf("\n")
		page += pages
	}
}

func (x *index) extensionText(seg int) string {
	if x.exts == 0 {
		return ""
	}
	word, bit := seg>>6, uint64(1)<<(seg&63)
	set := le.Uint64(x.extBits[word*8:])
	if set&bit == 0 {
		return ""
	}
	e := int(le.Uint32(x.extRanks[word*4:])) + bits.OnesCount64(set&(bit-1))
	ext := x.heap[le.Uint32(x.extOffs[e*4:]):le.Uint32(x.extOffs[e*4+4:])]
	if ext[0]&extTrailer != 0 {
		return fmt.Sprintf("+%q %v", ext[9:], base.Trailer(le.Uint64(ext[1:])))
	}
	return fmt.Sprintf("+%q", ext[1:])
}

func (r *Reader) dumpPages(d *dumper, entries bool) {
	var s spans
	var key []byte
	var kv base.KV
	for n := range r.index.pages {
		var p block.Page
		off := r.index.offset(n)
		if err := s.load(r, n, &p); err != nil {
			d.printf("page %d     %v\n", n, err)
			continue
		}
		d.printf("page %d     at %d, %d bytes stored, %d entries, prefix %q\n", n, off, r.index.offset(n+1)-off, p.Len(), p.Prefix())
		key = append(key[:0], p.Prefix()...)
		for i := 0; entries && i < p.Len(); i++ {
			key = p.Load(i, &kv, key)
			if len(kv.Value) > 64 {
				d.printf("  %q %v %q... (%d bytes)\n", kv.Key, kv.Trailer, kv.Value[:64], len(kv.Value))
				continue
			}
			d.printf("  %q %v %q\n", kv.Key, kv.Trailer, kv.Value)
		}
	}
}
