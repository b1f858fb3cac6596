// Package extsort sorts rows by key in bounded memory. It spills sorted rows
// that do not fit to temporary files, and merges these. Of rows with the same
// key the last one added wins.
//
// A spill file is a sequence of blocks. Only the Sorter that wrote it reads it:
//
//	+------------+----------------+---------+--------+--------------+
//	| stored u32 | before as u32  | codec u8| bytes  | checksum u32 |
//	+------------+----------------+---------+--------+--------------+
//
// stored is the length of the bytes, before is their length before compression.
// They contain rows: the lengths of key and value as uvarints, then both. The
// checksum covers everything else, with the identity of the file and the
// offset.
package extsort

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Options say where and when a Sorter spills.
type Options struct {
	FS  vfs.FS
	Dir string
	// Open opens a finished spill file for reading. It is called once for each
	// file, and must cope with thousands of open files.
	Open  func(path string) (File, error)
	NewID func() (base.Identity, error) // returns the identity of the next spill file
	// Memory is roughly how many bytes the rows in memory, or the buffers of
	// the merge, may take. A larger row is held nevertheless.
	Memory int64
	Codec  compress.Codec
	// Poll, if set, is called now and then; an error ends the sort.
	Poll func() error
}

// File is an open spill file.
type File interface {
	io.ReaderAt
	io.Closer
}

// Stats counts the work of a Sorter.
type Stats struct {
	Rows       uint64 // rows added
	Duplicates uint64 // rows that a later one replaced, as far as seen
	Runs       int    // files written
	Spilled    uint64 // bytes written
}

const (
	blockMax = 64 << 10
	blockMin = 1 << 10
	chunkMax = 1 << 20
	// maxFanIn bounds the files that are read at the same time.
	maxFanIn = 128
	// entryCost is the cost of a row besides its bytes: an entry, and as much
	// again while their slice grows.
	entryCost = 48
)

// Sorter sorts rows. It is used by one goroutine: Add, then Sort, then Next
// until it returns false; and Close in every case.
type Sorter struct {
	o         Options
	blockSize int
	chunkSize int
	err       error // sticky
	sorted    bool
	stats     Stats

	chunks [][]byte
	spare  [][]byte // free chunks of chunkSize
	es     []entry
	used   int64

	runs     []*run // oldest first
	merging  []*run // being merged into one of runs, then removed
	maxBlock int    // the largest block written, before compression
	merged   *merger
	at       int // the entry of the next Next, if there are no runs
}

// entry is a row in memory.
type entry struct {
	prefix uint64 // the first 8 bytes of the key as a number
	pos    uint64 // chunk << 32 | offset; grows with each row added
	keyLen uint32
	valLen uint32
}

// New returns a Sorter.
func New(o Options) *Sorter {
	s := &Sorter{o: o}
	s.blockSize = int(min(max(o.Memory/64, blockMin), blockMax))
	s.chunkSize = int(min(max(o.Memory/16, blockMin), chunkMax))
	return s
}

// Stats returns the counts so far.
func (s *Sorter) Stats() Stats { return s.stats }

// Add adds a row. It copies both slices. Errors are sticky.
func (s *Sorter) Add(key, value []byte) error {
	switch {
	case s.err != nil:
		return s.err
	case s.sorted:
		return s.fail(errSorted)
	}
	n := len(key) + len(value)
	if len(s.es) > 0 && s.used+int64(n)+entryCost > s.o.Memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if c := len(s.chunks) - 1; c < 0 || cap(s.chunks[c])-len(s.chunks[c]) < n {
		s.addChunk(n)
	}
	last := len(s.chunks) - 1
	c := s.chunks[last]
	s.es = append(s.es, entry{base.Head(key), uint64(last)<<32 | uint64(len(c)), uint32(len(key)), uint32(len(value))})
	s.chunks[last] = append(append(c, key...), value...)
	s.used += entryCost
	s.stats.Rows++
	return nil
}

// addChunk makes room for n contiguous bytes.
func (s *Sorter) addChunk(n int) {
	var c []byte
	if i := len(s.spare) - 1; n <= s.chunkSize && i >= 0 {
		c, s.spare = s.spare[i], s.spare[:i]
	} else {
		c = make([]byte, 0, max(n, s.chunkSize))
	}
	s.chunks = append(s.chunks, c)
	s.used += int64(cap(c))
}

func (s *Sorter) row(e *entry) (key, value []byte) {
	b := s.chunks[e.pos>>32][uint32(e.pos):]
	return b[:e.keyLen:e.keyLen], b[e.keyLen : e.keyLen+e.valLen : e.keyLen+e.valLen]
}

// order sorts the rows in memory and keeps only the newest of each key.
func (s *Sorter) order() {
	slices.SortFunc(s.es, func(a, b entry) int {
		if c := cmp.Compare(a.prefix, b.prefix); c != 0 {
			return c
		}
		ka, _ := s.row(&a)
		kb, _ := s.row(&b)
		if c := bytes.Compare(ka, kb); c != 0 {
			return c
		}
		// An empty row takes no room, and has the same position as the row
		// after it.
		return cmp.Or(cmp.Compare(b.pos, a.pos), cmp.Compare(b.valLen, a.valLen))
	})
	all := len(s.es)
	s.es = slices.CompactFunc(s.es, func(a, b entry) bool {
		ka, _ := s.row(&a)
		kb, _ := s.row(&b)
		return a.prefix == b.prefix && bytes.Equal(ka, kb)
	})
	s.stats.Duplicates += uint64(all - len(s.es))
}

// spill writes the rows in memory to a file.
func (s *Sorter) spill() error {
	s.order()
	at := 0
	r, err := s.writeRun(func() (key, value []byte, ok bool, err error) {
		if at == len(s.es) {
			return nil, nil, false, nil
		}
		at++
		key, value = s.row(&s.es[at-1])
		return key, value, true, nil
	})
	if err != nil {
		return s.fail(err)
	}
	s.runs = append(s.runs, r)
	for _, c := range s.chunks {
		if cap(c) == s.chunkSize {
			s.spare = append(s.spare, c[:0])
		}
	}
	clear(s.chunks)
	s.chunks, s.es, s.used = s.chunks[:0], s.es[:0], 0
	return nil
}

func (s *Sorter) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	return s.err
}

// errSorted is the error of an Add after Sort.
var errSorted = errors.New("extsort: Add after Sort")

// Sort ends the adding of rows. Then Next returns them.
func (s *Sorter) Sort() error {
	if s.err != nil {
		return s.err
	}
	s.sorted = true
	if len(s.runs) == 0 {
		s.order()
		return nil
	}
	if len(s.es) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.chunks, s.spare, s.es = nil, nil, nil
	fanIn := int(min(max(s.o.Memory/int64(2*max(s.maxBlock, s.blockSize)), 2), maxFanIn))
	// Merge in passes over all runs, so that none is rewritten again before the
	// others were; but no more than necessary.
	for at := 0; len(s.runs) > fanIn; at++ {
		n := min(fanIn, len(s.runs)-fanIn+1, len(s.runs)-at)
		if n < 2 {
			at = -1
			continue
		}
		if err := s.mergeRuns(at, n); err != nil {
			return s.fail(err)
		}
	}
	m, err := s.newMerger(s.runs)
	if err != nil {
		return s.fail(err)
	}
	s.merged = m
	return nil
}

// mergeRuns merges n neighbouring runs into one.
func (s *Sorter) mergeRuns(at, n int) error {
	m, err := s.newMerger(s.runs[at : at+n])
	if err != nil {
		return err
	}
	r, err := s.writeRun(m.next)
	if err != nil {
		return err
	}
	s.merging = slices.Clone(s.runs[at : at+n])
	s.runs = slices.Replace(s.runs, at, at+n, r)
	return s.dropMerged()
}

// dropMerged removes the files of merged runs. Close tries those again that
// could not be removed.
func (s *Sorter) dropMerged() error {
	for len(s.merging) > 0 {
		if err := s.merging[0].remove(); err != nil {
			return err
		}
		s.merging = s.merging[1:]
	}
	return nil
}

// Next returns the rows in order, each key once. The slices are valid until the
// next call. Errors are sticky.
func (s *Sorter) Next() (key, value []byte, ok bool, err error) {
	switch {
	case s.err != nil:
		return nil, nil, false, s.err
	case s.merged != nil:
		if key, value, ok, err = s.merged.next(); err != nil {
			err = s.fail(err)
		}
		return key, value, ok, err
	case s.at >= len(s.es):
		return nil, nil, false, nil
	}
	s.at++
	key, value = s.row(&s.es[s.at-1])
	return key, value, true, nil
}

// Close removes the files. The Sorter cannot be used any more.
func (s *Sorter) Close() error {
	_ = s.fail(base.ErrClosed)
	var errs []error
	for _, r := range append(s.merging, s.runs...) {
		errs = append(errs, r.remove())
	}
	s.runs, s.merging, s.merged, s.chunks, s.spare, s.es = nil, nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

func fileError(doing string, id base.Identity, err error) error {
	return vfs.Cannot(doing+" the temporary file "+id.Name(), err)
}
