package memtable

import (
	"bytes"
	"sync/atomic"
	"unsafe"

	"github.com/seerdb-go/seerdb/internal/base"
)

// A record and the versions of its key:
//
//	record   newest u32 | keyLen u32 | version | key | value of that version
//	version  trailer u64 | size u32 | older u32
//	later    version | jump u32 | height u32 | value
//
// The first version of a key is inside its record and has no jump pointer.
// Later ones have one, after Myers, "An applicative random-access stack"
// (1983): a pointer to an older version, chosen so that any version is reached
// in O(log n) steps. It never changes, unlike the links of a balanced tree. A
// version that arrives late, with a smaller sequence than the newest, is linked
// where it belongs. Jump pointers made before it stay valid: each still leads
// to an older version, and a search follows one only if it lands above the
// sequence it looks for. Many late arrivals only make their spread uneven.
type record struct {
	newest atomic.Uint32 // ref of the newest version
	keyLen uint32        // immutable
	first  version
}

type version struct {
	trailer base.Trailer  // immutable
	size    uint32        // immutable; length of the value, and inlineFlag
	older   atomic.Uint32 // ref of the next older version
}

type laterVersion struct {
	version
	jump   ref    // immutable; an older version, or none
	height uint32 // immutable; length of the chain below if all came in order
}

const (
	recordSize       = int(unsafe.Sizeof(record{}))
	laterVersionSize = int(unsafe.Sizeof(laterVersion{}))
	firstVersionWord = ref(unsafe.Offsetof(record{}.first) >> wordShift)

	// inlineFlag marks the version inside a record. Values have at most 1 GiB,
	// which leaves the top bit free.
	inlineFlag = 1 << 31
)

func (a *arena) record(r ref) *record          { return (*record)(a.at(r)) }
func (a *arena) version(r ref) *version        { return (*version)(a.at(r)) }
func (a *arena) later(r ref) *laterVersion     { return (*laterVersion)(a.at(r)) }
func (v *version) inline() bool                { return v.size&inlineFlag != 0 }
func (v *version) valueLen() int               { return int(v.size &^ inlineFlag) }
func (rec *record) key() []byte                { return unsafe.Slice(rec.bytes(), rec.keyLen) }
func (rec *record) bytes() *byte               { return (*byte)(unsafe.Add(unsafe.Pointer(rec), recordSize)) }
func (a *arena) key(r ref) []byte              { return a.record(r).key() }
func (a *arena) newestOf(rec *record) ref      { return ref(rec.newest.Load()) }
func (a *arena) equalKey(r ref, k []byte) bool { return bytes.Equal(a.record(r).key(), k) }

// value returns the value of the version v of rec.
func (rec *record) value(v *version) []byte {
	if v.inline() {
		p := unsafe.Add(unsafe.Pointer(rec), recordSize+int(rec.keyLen))
		return unsafe.Slice((*byte)(p), v.valueLen())
	}
	p := unsafe.Add(unsafe.Pointer(v), laterVersionSize)
	return unsafe.Slice((*byte)(p), v.valueLen())
}

// newRecord writes a record with its first version.
func (a *arena) newRecord(key []byte, t base.Trailer, value []byte) ref {
	r := a.allocEntry(recordSize + len(key) + len(value))
	rec := a.record(r)
	rec.keyLen = uint32(len(key))
	rec.first.trailer = t
	rec.first.size = uint32(len(value)) | inlineFlag
	b := unsafe.Slice(rec.bytes(), len(key)+len(value))
	copy(b[copy(b, key):], value)
	publish32(&rec.newest, uint32(r+firstVersionWord))
	return r
}

// addVersion links another version into rec. The caller holds the lock of the
// key's partition.
func (a *arena) addVersion(rec *record, t base.Trailer, value []byte) {
	r := a.allocEntry(laterVersionSize + len(value))
	v := a.later(r)
	v.trailer = t
	v.size = uint32(len(value))
	p := unsafe.Add(unsafe.Pointer(v), laterVersionSize)
	copy(unsafe.Slice((*byte)(p), len(value)), value)

	newest := a.newestOf(rec)
	if t > a.version(newest).trailer {
		publish32(&v.older, uint32(newest))
		v.jump, v.height = a.jumpFor(newest)
		publish32(&rec.newest, uint32(r))
		return
	}
	newer := a.newerThan(newest, t)
	older := ref(a.version(newer).older.Load())
	publish32(&v.older, uint32(older))
	v.jump, v.height = older, 1
	if older != 0 {
		v.height = a.height(older) + 1
	}
	publish32(&a.version(newer).older, uint32(r))
}

// jumpFor returns the jump pointer and height of a version put above the
// version below.
func (a *arena) jumpFor(below ref) (ref, uint32) {
	h := a.height(below)
	j := a.jumpOrSelf(below)
	jj := a.jumpOrSelf(j)
	if h-a.height(j) == a.height(j)-a.height(jj) {
		return jj, h + 1
	}
	return below, h + 1
}

func (a *arena) height(r ref) uint32 {
	if a.version(r).inline() {
		return 1
	}
	return a.later(r).height
}

func (a *arena) jumpOrSelf(r ref) ref {
	if a.version(r).inline() || a.later(r).jump == 0 {
		return r
	}
	return a.later(r).jump
}

// atMost returns the newest version at or below r in its chain whose trailer is
// at most t, or nil.
func (a *arena) atMost(r ref, t base.Trailer) *version {
	for r != 0 {
		v := a.version(r)
		if v.trailer <= t {
			return v
		}
		r = a.step(r, v, t)
	}
	return nil
}

// step goes from v, whose trailer exceeds t, to an older version without
// passing any whose trailer is at most t.
func (a *arena) step(r ref, v *version, t base.Trailer) ref {
	if !v.inline() {
		if j := a.later(r).jump; j != 0 && a.version(j).trailer > t {
			return j
		}
	}
	return ref(v.older.Load())
}

// newerThan returns the oldest version, from r down, whose trailer exceeds t.
// The trailer of r itself must.
func (a *arena) newerThan(r ref, t base.Trailer) ref {
	for {
		next := a.step(r, a.version(r), t)
		if next == 0 || a.version(next).trailer <= t {
			return r
		}
		r = next
	}
}

// oldest returns the last version of the chain that starts at r.
func (a *arena) oldest(r ref) *version {
	for {
		v := a.version(r)
		next := ref(v.older.Load())
		if next == 0 {
			return v
		}
		if !v.inline() {
			if j := a.later(r).jump; j != 0 {
				next = j
			}
		}
		r = next
	}
}
