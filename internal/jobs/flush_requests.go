package jobs

import (
	"slices"
	"sync"

	"github.com/seerdb-go/seerdb/internal/generation"
)

// flushRequest asks for generations to be in tables. It is answered once: with nil
// when all of them are, or with the error of an attempt that began after the request
// was made, and had one of them to flush. How earlier attempts end does not concern
// the caller, who may just have made room on the disk.
type flushRequest struct {
	gens []*generation.Generation // immutable
	done chan struct{}            // closed by the answer
	err  error                    // immutable once done is closed

	left bool // guarded by flushRequests.mu; the caller has gone
}

// answered reports whether there is an answer, and which.
func (r *flushRequest) answered() (bool, error) {
	select {
	case <-r.done:
		return true, r.err
	default:
		return false, nil
	}
}

// failed is the error of the answer, or nil as long as there is none.
func (r *flushRequest) failed() error {
	_, err := r.answered()
	return err
}

// flushRequests are those without an answer.
type flushRequests struct {
	// wanted has one place. It is full if a request was made since the last attempt
	// began, and ends the pause of the flusher after a failure.
	wanted chan struct{}

	mu      sync.Mutex      // leaf
	waiting []*flushRequest // guarded by mu; those that no attempt has taken
}

func newFlushRequests() flushRequests { return flushRequests{wanted: make(chan struct{}, 1)} }

// add makes a request. The caller looks with settle for what was flushed before
// attempts knew of it.
func (q *flushRequests) add(gens []*generation.Generation) *flushRequest {
	r := &flushRequest{gens: gens, done: make(chan struct{})}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, r)
	select {
	case q.wanted <- struct{}{}:
	default:
	}
	return r
}

// leave gives a request up, wherever it is.
func (q *flushRequests) leave(r *flushRequest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.left = true
	q.waiting = slices.DeleteFunc(q.waiting, func(o *flushRequest) bool { return o == r })
}

// take begins an attempt: it returns the requests that the attempt is to answer, and
// hands them back to settle. acquire, which gets what the attempt flushes, is called in
// the same step: a generation that becomes immutable after a request that this attempt
// did not take is none of its own, so it cannot fail without an answer to that.
func (q *flushRequests) take(acquire func()) []*flushRequest {
	q.mu.Lock()
	defer q.mu.Unlock()
	acquire()
	select {
	case <-q.wanted: // this is the attempt that was wanted
	default:
	}
	taken := q.waiting
	q.waiting = nil
	return taken
}

// settle ends an attempt to flush gens that had taken requests: those with one of
// gens get err, if it is one, and all those of which nothing is in memory any more
// get nil. The others wait for the next attempt.
func (q *flushRequests) settle(taken []*flushRequest, gens []*generation.Generation, err error, inMemory func(*generation.Generation) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := func(r *flushRequest) bool {
		return slices.ContainsFunc(r.gens, func(g *generation.Generation) bool { return slices.Contains(gens, g) })
	}
	for _, r := range taken {
		switch {
		case r.left:
		case err != nil && of(r):
			r.err = err
			close(r.done)
		default:
			q.waiting = append(q.waiting, r)
		}
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(r *flushRequest) bool {
		if slices.ContainsFunc(r.gens, inMemory) {
			return false
		}
		close(r.done)
		return true
	})
}
