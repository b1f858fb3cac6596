package wal

import (
	"sync"
	"time"
)

// retryMax is the longest pause between attempts to write while the disk is
// full.
const retryMax = time.Second

// background keeps the time limits of Options: with one goroutine for each that
// is set. The goroutines sleep while there is nothing to do.
type background struct {
	flushKick, syncKick chan struct{}
	done                chan struct{}
	wg                  sync.WaitGroup
}

// startBackground returns nil if the options need no goroutine.
func startBackground(w *Writer) *background {
	if w.opts.FlushEvery <= 0 && w.opts.SyncEvery <= 0 {
		return nil
	}
	b := &background{
		flushKick: make(chan struct{}, 1),
		syncKick:  make(chan struct{}, 1),
		done:      make(chan struct{}),
	}
	if d := w.opts.FlushEvery; d > 0 {
		b.wg.Go(func() { b.run(b.flushKick, d, w.FlushAll) })
	}
	if d := w.opts.SyncEvery; d > 0 {
		b.wg.Go(func() { b.run(b.syncKick, d, w.SyncAll) })
	}
	return b
}

// pending reports that bytes wait to be written.
func (b *background) pending(every time.Duration) {
	if every > 0 {
		kick(b.flushKick)
	}
}

// written reports that bytes wait to be synced.
func (b *background) written(every time.Duration) {
	if every > 0 {
		kick(b.syncKick)
	}
}

// kick wakes a goroutine, now or when it next looks.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run calls work at most d after each kick, and again after an error, less and
// less often. If an error is final, the next Append finds it.
func (b *background) run(kicked chan struct{}, d time.Duration, work func() error) {
	pause := d
	for {
		select {
		case <-b.done:
			return
		case <-kicked:
		}
		t := time.NewTimer(pause)
		select {
		case <-b.done:
			t.Stop()
			return
		case <-t.C:
		}
		if work() == nil {
			pause = d
			continue
		}
		pause = min(2*pause, max(d, retryMax))
		kick(kicked)
	}
}

// stop ends the goroutines and waits for them.
func (b *background) stop() {
	if b != nil {
		close(b.done)
		b.wg.Wait()
	}
}
