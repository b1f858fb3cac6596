package memfs

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
)

// SectorSize is the unit in which a device writes: after a crash a sector has
// its content after some write, never a mixture.
const SectorSize = 512

// CrashOptions say which of the unsynced pieces survive. The pieces are: each
// sector of each write, each change of a file's size, each change of a
// directory entry.
type CrashOptions struct {
	// Keep is the probability that a piece survives: 0 for none, 1 for all.
	Keep float64
	// Rand is the source of randomness; nil means a fixed seed.
	Rand *rand.Rand
	// Pick, if set, decides instead of Keep. Pieces are numbered from 0 in an
	// order that does not depend on the decisions, so that a test can try every
	// subset of the Pending pieces.
	Pick func(piece int) bool
	// Fill writes what the device shows in sectors that a file's surviving size
	// covers and no surviving write does; nil leaves zeros. Real disks have
	// been seen to show zeros, and the content of deleted files.
	Fill func(sector []byte)
	// SplitRename lets each half of a rename survive independently, so that
	// both names, or neither, may be left.
	SplitRename bool
}

// picker returns the func that decides about the next piece.
func (o CrashOptions) picker() func() bool {
	piece := -1
	switch {
	case o.Pick != nil:
		return func() bool { piece++; return o.Pick(piece) }
	case o.Keep <= 0:
		return func() bool { return false }
	case o.Keep >= 1:
		return func() bool { return true }
	}
	r := o.Rand
	if r == nil {
		r = rand.New(rand.NewPCG(1, 1))
	}
	return func() bool { return r.Float64() < o.Keep }
}

// CrashClone returns what a machine that loses power now would find when it
// restarts. It may be called at any time, also on a frozen file system, and
// does not change it. In the clone everything is durable, nothing is locked,
// the capacity is the same, and the fault switches are off.
func (m *FS) CrashClone(o CrashOptions) *FS {
	m.mu.RLock()
	defer m.mu.RUnlock()
	keep := o.picker()
	nodes := m.nodesLocked()
	clones := make(map[*memNode]*memNode, len(nodes))
	entries := make(map[*memNode]map[string]*memNode)
	for _, n := range nodes {
		c := &memNode{id: n.id, isDir: n.isDir}
		clones[n] = c
		if n.isDir {
			entries[n] = n.dir.crash(keep, o.SplitRename)
			continue
		}
		b := n.file.crash(keep, o.Fill)
		c.file = fileState{live: b, disk: b, synced: b}
	}
	for n, names := range entries {
		for name, child := range names {
			names[name] = clones[child]
		}
		clones[n].dir = dirState{live: names, disk: maps.Clone(names)}
	}
	c := &FS{nextID: m.nextID, capacity: m.capacity, locks: map[*memNode]int{}}
	c.memView = memView{m: c, root: clones[m.root]}
	c.root.links = 1
	c.countLinks(c.root)
	return c
}

// countLinks counts the names below a directory, and the room of the files. A
// directory that a split rename left under two names counts once.
func (m *FS) countLinks(dir *memNode) {
	for _, child := range dir.dir.live {
		child.links++
		switch {
		case child.links > 1:
		case child.isDir:
			m.countLinks(child)
		default:
			m.used += child.file.room()
		}
	}
}

// Pending returns the number of pieces that a crash now would decide about.
func (m *FS) Pending() int {
	n := 0
	m.CrashClone(CrashOptions{Pick: func(int) bool { n++; return false }})
	return n
}

// nodesLocked returns every node that is live or may come back, by id.
func (m *FS) nodesLocked() []*memNode {
	seen := map[*memNode]bool{m.root: true}
	nodes := []*memNode{m.root}
	add := func(n *memNode) {
		if !seen[n] {
			seen[n] = true
			nodes = append(nodes, n)
		}
	}
	for i := 0; i < len(nodes); i++ {
		d := &nodes[i].dir
		for _, n := range d.live {
			add(n)
		}
		for _, n := range d.disk {
			add(n)
		}
		for _, op := range d.pending {
			add(op.node)
		}
	}
	slices.SortFunc(nodes, func(a, b *memNode) int { return cmp.Compare(a.id, b.id) })
	return nodes
}

// crash returns the entries of a directory after a crash.
func (d *dirState) crash(keep func() bool, splitRename bool) map[string]*memNode {
	left := maps.Clone(d.disk)
	for _, op := range d.pending {
		added := op.newName != "" && keep()
		removed := op.oldName != ""
		if removed && (op.newName == "" || splitRename) {
			removed = keep()
		} else if removed {
			removed = added
		}
		if added {
			left[op.newName] = op.node
		}
		// The name may be another file's by now, if what came before did not
		// survive: the removal was of op.node.
		if removed && left[op.oldName] == op.node {
			delete(left, op.oldName)
		}
	}
	return left
}

// crash returns the content of a file after a crash. A sector that survives is
// the sector in the page cache after that write, including earlier writes: a
// later piece of a sector never survives without the earlier ones.
func (f *fileState) crash(keep func() bool, fill func([]byte)) []byte {
	if len(f.pending) == 0 {
		return f.disk[:len(f.disk):len(f.disk)]
	}
	cache := slices.Clone(f.synced)
	image := newSectorImage(f.disk)
	size := int64(len(f.disk))
	for _, op := range f.pending {
		if op.cut {
			cache = cache[:op.off]
			if keep() {
				size = op.off
				image.cut(size)
			}
			continue
		}
		cache = append(cache[:op.off], op.bytes...)
		for off := op.off - op.off%SectorSize; off < int64(len(cache)); off += SectorSize {
			if keep() && !op.lost {
				image.write(off, cache[off:min(off+SectorSize, int64(len(cache)))])
			}
		}
		if keep() {
			size = int64(len(cache))
		}
	}
	return image.read(size, fill)
}

// sectorImage is the part of the device under one file.
type sectorImage struct {
	data    []byte // whole sectors
	written []bool // whether a sector holds data
}

func newSectorImage(content []byte) *sectorImage {
	im := &sectorImage{}
	im.grow(int64(len(content)))
	copy(im.data, content)
	for i := range im.written {
		im.written[i] = true
	}
	return im
}

func (im *sectorImage) grow(size int64) {
	sectors := int((size + SectorSize - 1) / SectorSize)
	if more := sectors - len(im.written); more > 0 {
		im.written = append(im.written, make([]bool, more)...)
		im.data = append(im.data, make([]byte, more*SectorSize)...)
	}
}

// write replaces the sector at off. The last sector of a file is padded with
// zeros, as in the page cache.
func (im *sectorImage) write(off int64, b []byte) {
	im.grow(off + SectorSize)
	clear(im.data[off+int64(copy(im.data[off:], b)) : off+SectorSize])
	im.written[off/SectorSize] = true
}

// cut drops everything from size on.
func (im *sectorImage) cut(size int64) {
	if size < int64(len(im.data)) {
		clear(im.data[size:])
		clear(im.written[(size+SectorSize-1)/SectorSize:])
	}
}

// read returns the first size bytes.
func (im *sectorImage) read(size int64, fill func([]byte)) []byte {
	im.grow(size)
	for i, written := range im.written {
		if !written && fill != nil {
			fill(im.data[i*SectorSize : (i+1)*SectorSize])
		}
	}
	return im.data[:size:size]
}
