package jobs

import (
	"slices"
	"sync"

	"github.com/seerdb-go/seerdb/internal/generation"
)

// flushRequest requests that generations be written to tables. It is answered once: with
// nil when all of them are in tables, or with the error of an attempt that began after the
// request and had at least one of them to flush. Errors of earlier attempts do not count: the
// caller may just have made room on the disk.
type flushRequest struct {
	gens []*generation.Generation // immutable
	done chan struct{}            // closed by the answer
	err  error                    // immutable once done is closed

	left bool // guarded by flushRequests.mu; the caller has gone
}

// answered reports whether there is an answer, and returns it.
func (r *flushRequest) answered() (bool, error) {
	select {
	case <-r.done:
		return true, r.err
	default:
		return false, nil
	}
}

// failed returns the error of the answer, or nil before there is one.
func (r *flushRequest) failed() error {
	_, err := r.answered()
	return err
}

// flushRequests holds the requests without an answer.
type flushRequests struct {
	// wanted has capacity 1. It holds a token if a request was made since the last attempt
	// began; the token ends the pause of the flusher after a failure.
	wanted chan struct{}

	mu      sync.Mutex      // leaf
	waiting []*flushRequest // guarded by mu; requests that no attempt has taken
}

func newFlushRequests() flushRequests { return flushRequests{wanted: make(chan struct{}, 1)} }

// add makes a request. The caller then calls settle, which answers the request if its
// generations were flushed before any attempt took it.
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

// leave abandons a request, whether or not an attempt has taken it.
func (q *flushRequests) leave(r *flushRequest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.left = true
	q.waiting = slices.DeleteFunc(q.waiting, func(o *flushRequest) bool { return o == r })
}

// take begins an attempt and returns the requests that the attempt answers; the caller
// passes them to settle. take calls acquire, which pins what the attempt flushes, in the
// same critical section: if a request comes too late for this attempt, so does a
// generation that becomes immutable after the request, and the attempt cannot fail
// on that generation and leave the request without an answer.
func (q *flushRequests) take(acquire func()) []*flushRequest {
	q.mu.Lock()
	defer q.mu.Unlock()
	acquire()
	select {
	case <-q.wanted: // this attempt serves the request that sent the token
	default:
	}
	taken := q.waiting
	q.waiting = nil
	return taken
}

// settle ends an attempt that had taken requests to flush gens. If err is not nil, the
// taken requests for any of gens get err. Then all requests whose generations are all
// flushed get nil. The others wait for the next attempt.
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
