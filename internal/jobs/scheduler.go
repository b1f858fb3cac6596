package jobs

import (
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/outputs"
)

const (
	retryMin = 20 * time.Millisecond
	// retryMax bounds how long a database refuses writes after its disk has
	// space again: the contract says 5 s.
	retryMax = 2 * time.Second
)

// New returns the jobs of a database. No worker runs before Start.
func New(env Env) *Jobs {
	js := &Jobs{
		env: env, opened: time.Now(), flushes: newFlushRequests(), busy: compaction.Busy{},
		wake: make(chan struct{}, 1), pick: make(chan struct{}, 1), manual: make(chan struct{}, 1),
	}
	js.failures.ended = make(chan struct{})
	o := &js.env.Outputs
	o.ValueFileSize, o.PackFrom, o.PackedMax = env.Config.ValueFileSize, env.Config.PackFrom, int(env.Config.PackedMax)
	o.Reserve, o.NewIdentity, o.Made = env.Versions.Reserve, env.Versions.NewIdentity, env.Versions.Made
	o.Created, o.Remove, o.Logger = env.Report.FileCreated, env.Remove, env.Report.Logger
	o.Poison, o.Poisoned = env.Commit.Poison, func() bool { return env.Latch.Cause() != nil }
	o.Built = js.noteBuilt
	js.outputs = o
	return js
}

// NewJob returns the number of a new job.
func (js *Jobs) NewJob() int { return int(js.nextJob.Add(1)) }

// Outputs returns the outputs of a new job. If frees is true, they may take the reserve.
func (js *Jobs) Outputs(frees bool) *outputs.Outputs {
	return outputs.New(js.outputs, js.NewJob(), frees)
}

// Discard removes the files of a job that was not installed.
func (js *Jobs) Discard(res compaction.Result) { js.outputs.Discard(res) }

// Start starts the workers.
func (js *Jobs) Start() {
	js.env.Work.Go(js.flusher)
	js.env.Work.Go(js.dispatcher)
	js.Kick()
}

// Kick makes the workers look for work.
func (js *Jobs) Kick() {
	for _, c := range []chan struct{}{js.wake, js.pick} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// pause waits for d, or until a caller requests a flush or the workers stop.
func (js *Jobs) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-js.flushes.wanted:
	case <-js.env.Work.Done():
	}
}

// flusher flushes immutable generations until the workers stop.
func (js *Jobs) flusher() {
	delay := retryMin
	for {
		select {
		case <-js.env.Work.Done():
			return
		case <-js.wake:
		}
		for {
			did, err := js.flushImmutable(js.env.Work.Context())
			if js.env.Work.Stopped() {
				return
			}
			if err != nil {
				js.pause(delay)
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

// endFlush notes the outcome of an attempt to flush.
func (js *Jobs) endFlush(err error) {
	js.failures.mu.Lock()
	js.failures.flushErr = err
	js.failures.mu.Unlock()
	if err == nil {
		js.env.Commit.ClearTrouble()
	}
	js.report("flush", err)
	js.env.Commit.Changed()
}

// dispatcher starts compactions as long as it can pick one. It looks for more when it is
// kicked, when the database falls idle, and as values expire.
func (js *Jobs) dispatcher() {
	idle := time.NewTicker(idleAfter)
	defer idle.Stop()
	for {
		select {
		case <-js.env.Work.Done():
			return
		case <-js.pick:
		case <-idle.C:
			js.env.Clock.Tick() // even without writes: the clock needs ticks to confirm a jump
			if seq := js.env.Store.Visible(); seq != js.idling.seen {
				js.idling.seen, js.idling.quiet = seq, time.Now()
				if !js.env.Clock.Used() {
					continue
				}
				// Values may have expired, and a program that writes little
				// seldom flushes.
			} else {
				js.flushDeletes()
			}
		}
		for js.startCompaction() {
		}
	}
}

// idleFor returns for how long the dispatcher has seen no commit. Only the dispatcher
// calls it.
func (js *Jobs) idleFor() time.Duration {
	if js.env.Store.Visible() != js.idling.seen {
		return 0
	}
	return time.Since(js.idling.quiet)
}

// startCompaction picks a job and runs it beside the dispatcher.
func (js *Jobs) startCompaction() bool {
	js.failures.mu.Lock()
	if js.env.ManualOnly || js.failures.compacting >= js.env.MaxCompactions || js.env.Work.Stopped() {
		js.failures.mu.Unlock()
		return false
	}
	js.failures.compacting++
	js.failures.mu.Unlock()
	job, err := js.pickCompaction()
	if job == nil {
		js.compactionEnded(err, false)
		return false
	}
	js.env.Work.Go(func() {
		err := js.compact(js.env.Work.Context(), job)
		if err != nil && !js.env.Work.Stopped() {
			js.report("compaction", err)
			js.compactionFailed(err)
			js.env.Work.Rest(retryMin * 10)
		}
		js.compactionEnded(err, true)
		js.Kick()
	})
	return true
}

func (js *Jobs) compactionFailed(err error) {
	js.failures.mu.Lock()
	js.failures.compactErr = err
	js.failures.mu.Unlock()
	js.env.Commit.Changed()
}

func (js *Jobs) compactionEnded(err error, ran bool) {
	js.failures.mu.Lock()
	js.failures.compacting--
	news := ran || err != nil && js.failures.compactErr == nil
	if err != nil || js.failures.compacting == 0 { // else the failed job may still be due
		js.failures.compactErr = err
	}
	if ran {
		js.failures.compactErr = err
		close(js.failures.ended)
		js.failures.ended = make(chan struct{})
	}
	js.failures.mu.Unlock()
	if news {
		js.env.Commit.Changed()
	}
}

// jobEnded returns a channel that is closed when the next compaction ends.
func (js *Jobs) jobEnded() <-chan struct{} {
	js.failures.mu.Lock()
	defer js.failures.mu.Unlock()
	return js.failures.ended
}

// report reports a failure. Poisoning is reported by package commit.
func (js *Jobs) report(job string, err error) {
	if err == nil || js.env.Work.Stopped() {
		return
	}
	js.env.Report.JobFailed(job, err)
}

// Blocking returns the error of the job that would make room for writers stopped by s,
// if that job fails.
func (js *Jobs) Blocking(s commit.Stop) error {
	js.failures.mu.Lock()
	defer js.failures.mu.Unlock()
	switch {
	case s == commit.StopMemtables && js.failures.flushErr != nil:
		return fmt.Errorf("seerdb: writers are stopped while memtables cannot be flushed: %w", js.failures.flushErr)
	case s == commit.StopL0 && js.failures.compactErr != nil:
		return fmt.Errorf("seerdb: writers are stopped while compactions fail: %w", js.failures.compactErr)
	}
	return nil
}

// Errors lists the errors of jobs that fail now, for Health.
func (js *Jobs) Errors() []error {
	js.failures.mu.Lock()
	defer js.failures.mu.Unlock()
	var out []error
	for _, err := range []error{js.failures.flushErr, js.failures.compactErr} {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}
