package engine

import (
	"fmt"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// openKind says what was opened.
type openKind uint8

const (
	originIter openKind = iota
	originSnapshot
	originTxn
)

// openObject remembers where an iterator or a snapshot was made, so that Close
// can name those that were forgotten.
type openObject struct {
	next, prev *openObject // guarded by openList.mu of its shard
	kind       openKind
	opened     time.Time // of snapshots and transactions
	shard      uint8
	state      *readstate.State // that an iterator pins; immutable while it is listed
	bytes      int64            // of an iterator; guarded by openList.mu of its shard
	own        bool             // made for the length of a call: the program cannot leak it
	where      CallSite
}

// CallSite is a place in a program: a few callers.
type CallSite struct {
	pcs [4]uintptr
	n   int
}

// Caller is the caller of the function that calls Caller, or the one skip calls
// further up, and those above, n in all. Each that is passed or kept costs about
// 100 ns.
func Caller(skip, n int) (w CallSite) {
	w.n = runtime.Callers(skip+3, w.pcs[:n])
	return w
}

// openObjects lists the open iterators and snapshots. It is sharded, since
// every scan passes here twice.
type openObjects struct {
	shards [readstate.Shards]openList
	cache  *cache.Cache // immutable after Open
}

type openList struct {
	mu    sync.Mutex
	first *openObject // guarded by mu
	iters int         // guarded by mu
	// bytes are what iterators take, charged is what the budget knows of. Guarded
	// by mu.
	bytes, charged int64
	_              [24]byte
}

// add lists o.
func (l *openObjects) add(o *openObject, kind openKind, where CallSite) {
	o.kind, o.where = kind, where
	if kind != originIter {
		o.opened = time.Now()
	}
	o.shard = uint8(rand.Uint32N(readstate.Shards))
	s := &l.shards[o.shard]
	s.mu.Lock()
	o.next, o.prev = s.first, nil
	if s.first != nil {
		s.first.prev = o
	}
	s.first = o
	if kind == originIter {
		s.iters++
		s.charge(l.cache, o.bytes)
	}
	s.mu.Unlock()
}

func (l *openObjects) remove(o *openObject) {
	s := &l.shards[o.shard]
	s.mu.Lock()
	if o.prev != nil {
		o.prev.next = o.next
	} else {
		s.first = o.next
	}
	if o.next != nil {
		o.next.prev = o.prev
	}
	if o.kind == originIter {
		s.iters--
		s.charge(l.cache, -o.bytes)
		o.state = nil
	}
	s.mu.Unlock()
	o.next, o.prev = nil, nil
}

// iterators counts the open iterators.
func (l *openObjects) iterators() int64 {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += s.iters
		s.mu.Unlock()
	}
	return int64(n)
}

// oldAfter is for how long a snapshot or a transaction may be open before
// Health speaks of it: as long as it is, nothing that it may read is dropped.
const oldAfter = 10 * time.Minute

// old describes the snapshots and transactions that have been open for long.
func (l *openObjects) old() (out []string) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for o := s.first; o != nil; o = o.next {
			if d := time.Since(o.opened); !o.opened.IsZero() && d > oldAfter {
				out = append(out, fmt.Sprintf("%s, open for %v, keeps old versions from being dropped", o.place(), d.Round(time.Second)))
			}
		}
		s.mu.Unlock()
	}
	return out
}

// count is how many objects of a kind are open.
func (l *openObjects) count(kind openKind) (n int64) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for o := s.first; o != nil; o = o.next {
			if o.kind == kind {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

// leaked describes what is still open: one line a place, with how many were
// made there.
func (l *openObjects) leaked() (n int, places []string) {
	count := map[string]int{}
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for o := s.first; o != nil; o = o.next {
			if o.own {
				continue
			}
			p := o.place()
			if count[p] == 0 {
				places = append(places, p)
			}
			count[p]++
			n++
		}
		s.mu.Unlock()
	}
	for i, p := range places {
		if count[p] > 1 {
			places[i] = fmt.Sprintf("%s (%d times)", p, count[p])
		}
	}
	return n, places
}

// place is the first caller outside the public facade and this package.
func (o *openObject) place() string {
	what := [...]string{"iterator", "snapshot", "transaction"}[o.kind]
	frames := runtime.CallersFrames(o.where.pcs[:o.where.n])
	for {
		f, more := frames.Next()
		if !ownFile(f.File) || !more {
			return fmt.Sprintf("%s made at %s:%d (%s)", what, f.File, f.Line, f.Function)
		}
	}
}

// ownDirs are where the sources of this package and of the facade are: the root and
// package typed.
var ownDirs = func() [3]string {
	_, file, _, _ := runtime.Caller(0)
	dir := path.Dir(file)
	root := path.Dir(path.Dir(dir))
	return [3]string{dir, root, path.Join(root, "typed")}
}()

// ownFile reports whether a source file belongs to the public facade or to this
// package, rather than to a caller. The name of the function does not tell: what
// of the facade is inlined into a caller may have the caller's.
func ownFile(file string) bool {
	dir := path.Dir(file)
	return slices.Contains(ownDirs[:], dir) && !strings.HasSuffix(file, "_test.go")
}
