package engine

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/work"
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
	cache     *cache.Cache
	opened    time.Time
	root      *Keyspace // the default one
	store     *readstate.Store
	versions  *versions.Set
	keyspaces *keyspace.Set
	report    *report.Reporter
	work      *work.Group
	latch     poison.Latch

	// Atomics. A reader touches only these.
	durable   seqCell
	trouble   atomic.Pointer[error] // why the last commit was refused that was not at fault; nil when it goes on
	nextJob   atomic.Int64
	folded    dbiter.Folded
	iters     dbiter.Env
	outputs   outputs.Env  // immutable after Open
	collapsed atomic.Int64 // when a key's operands were last compacted, ns since opened

	clock      clock.Clock
	commit     pipeline
	room       reserve.Reserve
	pace       *pace.Pace
	background *background
	dropped    droppedSpaces
	open       pins.List // iterators, snapshots and transactions
	stats      stats

	observed compaction.Workload // guarded by mu; what jobs learned about the writes
	loading  *loading            // guarded by mu; a load between its place and its end
	manual   chan struct{}       // of one place: the caller that compacts by hand
	byHand   *byHand             // guarded by mu; what that caller has yet to do
	flushMu  sync.Mutex

	mu   sync.Mutex
	busy compaction.Busy // guarded by mu; the inputs of running jobs

	closeOnce sync.Once
	closeErr  error // immutable after closeOnce
}
