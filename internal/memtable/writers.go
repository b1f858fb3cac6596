package memtable

import "sync/atomic"

// writers counts who is adding to a memtable, so that a flush begins only
// when no writer is, and none begins after. (The original engine lost writes
// here: a writer that had fetched a memtable and slept through the switch put
// its entry into one that the flush had already read.)
type writers struct {
	n    atomic.Int64  // writers inside, plus sealed when no more may come
	idle chan struct{} // closed when sealed and no writer is inside
}

const sealed = 1 << 40

func (w *writers) init() { w.idle = make(chan struct{}) }

// BeginWrite lets a writer in. It answers false once WaitWriters has begun:
// the caller then holds an old memtable, must not add to it nor call
// EndWrite, and goes to load the current one.
func (h *half) BeginWrite() bool {
	w := &h.writers
	for {
		n := w.n.Load()
		if n >= sealed {
			return false
		}
		if w.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// EndWrite lets a writer out.
func (h *half) EndWrite() {
	if h.writers.n.Add(-1) == sealed {
		close(h.writers.idle)
	}
}

// WaitWriters refuses new writers and returns when the last one is out. From
// then on the memtable does not change. It may be called more than once.
func (h *half) WaitWriters() {
	w := &h.writers
	for {
		n := w.n.Load()
		if n >= sealed {
			break
		}
		if w.n.CompareAndSwap(n, n+sealed) {
			if n == 0 {
				close(w.idle)
			}
			break
		}
	}
	<-w.idle
}
