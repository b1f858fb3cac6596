package memtable

import "sync/atomic"

// writers counts the writers of a memtable, so that a flush begins only when
// there are none and none can begin. (The original engine lost writes here: a
// writer that had fetched a memtable and slept through the switch added its
// entry after the flush had read the memtable.)
type writers struct {
	n    atomic.Int64  // writers inside, plus sealed once no more may begin
	idle chan struct{} // closed when sealed and no writer is inside
}

const sealed = 1 << 40

func (w *writers) init() { w.idle = make(chan struct{}) }

// BeginWrite admits a writer. It returns false once WaitWriters has begun: the
// caller then has an old memtable, must not add to it nor call EndWrite, and
// loads the current one.
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

// EndWrite ends a write that BeginWrite admitted.
func (h *half) EndWrite() {
	if h.writers.n.Add(-1) == sealed {
		close(h.writers.idle)
	}
}

// WaitWriters refuses new writers and waits for the last one to end. From then
// on the memtable does not change. It may be called more than once.
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
