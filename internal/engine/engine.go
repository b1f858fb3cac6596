package engine

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Engine is an open database.
type Engine struct {
	// Immutable after Open.
	opts      Options
	fs        *filecache.FS    // the directory that is locked, whatever its path leads to by now; over io
	io        *vfs.CountingFS  // counts what is read and written
	files     *filecache.Cache // the open tables and value files
	name      string           // of the directory as the user gave it, for messages
	dirRoot   vfs.Root         // under io
	dirHandle vfs.Dir
	dirLock   io.Closer
	dbID      uint64
	// incarnation is that of the files which this opening writes.
	incarnation uint64
	firstFile   uint64 // the first number that this opening handed out
	cache       *cache.Cache
	listener    callback.Listener
	out         *callback.Outbox
	callers     callback.Callers
	opened      time.Time
	root        *Keyspace // the default one
	store       *readstate.Store

	// Atomics. A reader touches only these.
	durable   seqCell
	poisoned  atomic.Pointer[error]           // the first cause (I9)
	panicked  atomic.Pointer[base.PanicError] // the last panic of the program that was recovered from
	trouble   atomic.Pointer[error]           // why the last commit was refused that was not at fault; nil when it goes on
	nextFile  atomic.Uint64
	reserved  atomic.Uint64 // numbers below may be handed out; stored under installMu
	nextJob   atomic.Int64
	folded    dbiter.Folded
	iters     dbiter.Env
	outputs   outputs.Env  // immutable after Open
	collapsed atomic.Int64 // when a key's operands were last compacted, ns since opened

	spaces     keyspaces
	clock      clock.Clock
	commit     pipeline
	room       reserve.Reserve
	pace       *pace.Pace
	background *background
	dropped    droppedSpaces
	open       pins.List // iterators, snapshots and transactions
	stats      stats

	observed  compaction.Workload // guarded by mu; what jobs learned about the writes
	loading   *loading            // guarded by mu; a load between its place and its end
	manual    chan struct{}       // of one place: the caller that compacts by hand
	byHand    *byHand             // guarded by mu; what that caller has yet to do
	flushMu   sync.Mutex
	installMu sync.Mutex
	manifest  *manifest.Log // guarded by installMu

	mu   sync.Mutex
	busy compaction.Busy // guarded by mu; the inputs of running jobs

	// opening says that Open brings a database back and that CURRENT does not
	// yet name what it made, the files in made: undo removes them. Written by Open
	// alone, before anything else runs.
	opening bool
	made    []string

	closeOnce sync.Once
	closeErr  error // immutable after closeOnce
}

// top is the directory of a database in the root that Open opened: the root.
const top = ""

// noteMade notes a new file for undo.
func (e *Engine) noteMade(id base.Identity) {
	if e.opening {
		e.made = append(e.made, id.Name())
	}
}
