// Package pins lists what the program has open and what keeps states alive:
// iterators, snapshots and transactions, each with the place in the program
// that opened it. Close names those that were not closed, metrics count them,
// and the memory budget is charged for iterators.
package pins

import (
	"fmt"
	"math/rand/v2"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// pinKind is the kind of an open object.
type pinKind uint8

const (
	pinIter pinKind = iota
	pinSnapshot
	pinTxn
)

// Pin is an open iterator, snapshot or transaction. It remembers where it was
// opened, so that Close can name it if it was not closed.
type Pin struct {
	next, prev *Pin // guarded by the mu of its shard
	kind       pinKind
	opened     time.Time // of snapshots and transactions
	shard      uint8
	state      *readstate.State // pinned by an iterator; immutable while listed
	bytes      int64            // of an iterator; guarded by the mu of its shard
	own        bool             // open only during a call, so the program cannot leak it
	where      CallSite
}

// CallSite is a place in a program: a few callers.
type CallSite struct {
	pcs [4]uintptr
	n   int
}

// Zero reports whether w is unset.
func (w *CallSite) Zero() bool { return w.n == 0 }

// Caller returns the callers, n in all, of the function that calls Caller, or
// of the one skip calls further up. Each caller skipped or kept costs about 100
// ns.
func Caller(skip, n int) (w CallSite) {
	w.n = runtime.Callers(skip+3, w.pcs[:n])
	return w
}

// List lists open objects; it is safe for concurrent use. It is sharded, since
// every scan adds and removes an entry.
type List struct {
	shards [readstate.Shards]shard
	cache  *cache.Cache // immutable after init
}

// Init makes the list usable. The memory of iterators is charged to c.
func (l *List) Init(c *cache.Cache) { l.cache = c }

type shard struct {
	mu    sync.Mutex
	first *Pin // guarded by mu
	iters int  // guarded by mu
	// bytes is the memory of iterators, charged the part that the budget knows.
	// Guarded by mu.
	bytes, charged int64
	_              [24]byte
}

// AddIter adds an iterator over a state, with its number of sources and bytes
// of buffers. own says that it is open only during a call, so the program
// cannot leak it.
func (l *List) AddIter(o *Pin, s *readstate.State, sources, buffers int, own bool, where CallSite) {
	o.own, o.state, o.bytes = own, s, iterBytes+int64(sources)*sourceBytes+int64(buffers)
	l.add(o, pinIter, where)
}

// AddSnapshot adds a snapshot.
func (l *List) AddSnapshot(o *Pin, where CallSite) { l.add(o, pinSnapshot, where) }

// AddTxn adds a transaction; own is as for AddIter.
func (l *List) AddTxn(o *Pin, own bool, where CallSite) {
	o.own = own
	l.add(o, pinTxn, where)
}

// Site returns where the pin was opened.
func (o *Pin) Site() CallSite { return o.where }

func (l *List) add(o *Pin, kind pinKind, where CallSite) {
	o.kind, o.where = kind, where
	if kind != pinIter {
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
	if kind == pinIter {
		s.iters++
		s.charge(l.cache, o.bytes)
	}
	s.mu.Unlock()
}

// Remove removes a pin from the list.
func (l *List) Remove(o *Pin) {
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
	if o.kind == pinIter {
		s.iters--
		s.charge(l.cache, -o.bytes)
		o.state = nil
	}
	s.mu.Unlock()
	o.next, o.prev = nil, nil
}

// Iterators returns the number of open iterators.
func (l *List) Iterators() int64 {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += s.iters
		s.mu.Unlock()
	}
	return int64(n)
}

// oldAfter is how long a snapshot or transaction may be open before Health
// mentions it: nothing that it may read can be dropped.
const oldAfter = 10 * time.Minute

// Old describes the snapshots and transactions that have been open for longer
// than oldAfter.
func (l *List) Old() (out []string) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for o := s.first; o != nil; o = o.next {
			if d := time.Since(o.opened); !o.opened.IsZero() && d > oldAfter {
				out = append(out, fmt.Sprintf("%s, open for %v, keeps old versions from being dropped", o.location(), d.Round(time.Second)))
			}
		}
		s.mu.Unlock()
	}
	return out
}

// Transactions returns the number of open transactions.
func (l *List) Transactions() (n int64) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for o := s.first; o != nil; o = o.next {
			if o.kind == pinTxn {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

// Leaked describes the objects that are still open: one line for each place,
// with their number.
func (l *List) Leaked() (n int, places []string) {
	count := map[string]int{}
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for o := s.first; o != nil; o = o.next {
			if o.own {
				continue
			}
			p := o.location()
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

// location returns the first caller outside the public facade and this package.
func (o *Pin) location() string {
	what := [...]string{"iterator", "snapshot", "transaction"}[o.kind]
	frames := runtime.CallersFrames(o.where.pcs[:o.where.n])
	for {
		f, more := frames.Next()
		if !ownFile(f.File) || !more {
			return fmt.Sprintf("%s made at %s:%d (%s)", what, f.File, f.Line, f.Function)
		}
	}
}

// ownRoot is the root of the module's sources.
var ownRoot = func() string {
	_, file, _, _ := runtime.Caller(0)
	return path.Dir(path.Dir(path.Dir(file)))
}()

// ownFile reports whether a source file belongs to the public facade (the root
// package and package typed) or to a package under it, and not to a caller. The
// name of the function does not show that: facade code inlined into a caller
// may have the caller's name.
func ownFile(file string) bool {
	dir := path.Dir(file)
	own := dir == ownRoot || dir == path.Join(ownRoot, "typed") || strings.HasPrefix(dir, path.Join(ownRoot, "internal")+"/")
	return own && !strings.HasSuffix(file, "_test.go")
}
