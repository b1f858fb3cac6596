package engine

import (
	"fmt"
	"sync"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// background runs the jobs: one flusher, so that a flush never waits for a
// compaction, and a dispatcher that keeps up to MaxCompactions compactions going, L0
// first. A failed job is retried, into new files, after a pause that doubles.
type background struct {
	e     *Engine
	wake  chan struct{} // flusher
	pick  chan struct{} // dispatcher
	seals chan *generation.Generation

	flushes flushRequests

	seen  base.SeqNum // owned by the dispatcher: the newest commit it saw
	quiet time.Time   // owned by the dispatcher: when it saw it

	coverage coverage // owned by the dispatcher
	weighed  weighing // owned by the dispatcher

	mu         sync.Mutex
	flushErr   error         // guarded by mu; the last flush failed with it
	compactErr error         // guarded by mu; the last compaction failed with it
	compacting int           // guarded by mu; compactions running
	ended      chan struct{} // guarded by mu; closed when a compaction ends
}

const (
	retryMin = 20 * time.Millisecond
	// retryMax bounds how long a database stays refused after its disk has
	// space again: the contract says 5 s.
	retryMax = 2 * time.Second
)

func newBackground(e *Engine) *background {
	return &background{
		e:       e,
		wake:    make(chan struct{}, 1),
		pick:    make(chan struct{}, 1),
		flushes: newFlushRequests(),
		ended:   make(chan struct{}),
	}
}

// start launches the workers.
func (b *background) start() {
	w := b.e.work
	w.Go(b.flusher)
	w.Go(b.dispatcher)
	b.kick()
}

// kick makes the workers look for work.
func (b *background) kick() {
	for _, c := range []chan struct{}{b.wake, b.pick} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// pause waits for d, or less when a caller asks for a flush or jobs are stopped.
func (b *background) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.flushes.wanted:
	case <-b.e.work.Done():
	}
}

// flusher flushes whenever there is an immutable generation.
func (b *background) flusher() {
	delay := retryMin
	for {
		select {
		case <-b.e.work.Done():
			return
		case <-b.wake:
		}
		for {
			did, err := b.e.flushImmutable(b.e.work.Context())
			if b.e.work.Stopped() {
				return
			}
			if err != nil {
				b.pause(delay)
				delay = min(2*delay, retryMax)
				continue
			}
			delay = retryMin
			if !did {
				break
			}
		}
	}
}

// endFlush notes how an attempt went.
func (b *background) endFlush(err error) {
	b.mu.Lock()
	b.flushErr = err
	b.mu.Unlock()
	if err == nil {
		b.e.commit.ClearTrouble()
	}
	b.report("flush", err)
	b.e.commit.Changed()
}

// dispatcher starts compactions while there are any to pick, and looks again
// when the database falls idle or time has passed.
func (b *background) dispatcher() {
	idle := time.NewTicker(idleAfter)
	defer idle.Stop()
	for {
		select {
		case <-b.e.work.Done():
			return
		case <-b.pick:
		case <-idle.C:
			b.e.clock.Tick() // also of a database at rest: a jump that lasts needs looks
			if seq := b.e.store.Visible(); seq != b.seen {
				b.seen, b.quiet = seq, time.Now()
				if !b.e.clock.Used() {
					continue
				}
				// Something may have expired, and a program that writes
				// little flushes nothing for long.
			} else {
				b.flushDeletes()
			}
		}
		for b.startCompaction() {
		}
	}
}

// idleFor is for how long no commit was seen. Only the dispatcher asks.
func (b *background) idleFor() time.Duration {
	if b.e.store.Visible() != b.seen {
		return 0
	}
	return time.Since(b.quiet)
}

// startCompaction picks a job and runs it beside the dispatcher.
func (b *background) startCompaction() bool {
	b.mu.Lock()
	if b.e.opts.ManualOnly || b.compacting >= b.e.opts.MaxCompactions || b.e.work.Stopped() {
		b.mu.Unlock()
		return false
	}
	b.compacting++
	b.mu.Unlock()
	job, err := b.e.pickCompaction()
	if job == nil {
		b.compactionEnded(err, false)
		return false
	}
	b.e.work.Go(func() {
		err := b.e.compact(b.e.work.Context(), job)
		if err != nil && !b.e.work.Stopped() {
			b.report("compaction", err)
			b.noteCompaction(err)
			b.e.work.Rest(retryMin * 10)
		}
		b.compactionEnded(err, true)
		b.kick()
	})
	return true
}

func (b *background) noteCompaction(err error) {
	b.mu.Lock()
	b.compactErr = err
	b.mu.Unlock()
	b.e.commit.Changed()
}

func (b *background) compactionEnded(err error, ran bool) {
	b.mu.Lock()
	b.compacting--
	news := ran || err != nil && b.compactErr == nil
	if err != nil || b.compacting == 0 { // else what failed may still be wanted
		b.compactErr = err
	}
	if ran {
		b.compactErr = err
		close(b.ended)
		b.ended = make(chan struct{})
	}
	b.mu.Unlock()
	if news {
		b.e.commit.Changed()
	}
}

// jobEnded is closed when the next compaction ends.
func (b *background) jobEnded() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// report logs a failure. Poisoning is reported by poisonLocked.
func (b *background) report(job string, err error) {
	if err == nil || b.e.work.Stopped() {
		return
	}
	b.e.report.JobFailed(job, err)
}

// blocking is the error, if any, that keeps writers from ever getting room:
// that of the job that would make it.
func (b *background) blocking(s commit.Stop) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case s == commit.StopMemtables && b.flushErr != nil:
		return fmt.Errorf("seerdb: writers are stopped while memtables cannot be flushed: %w", b.flushErr)
	case s == commit.StopL0 && b.compactErr != nil:
		return fmt.Errorf("seerdb: writers are stopped while compactions fail: %w", b.compactErr)
	}
	return nil
}

// errors lists what is failing now, for Health.
func (b *background) errors() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []error
	for _, err := range []error{b.flushErr, b.compactErr} {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}
