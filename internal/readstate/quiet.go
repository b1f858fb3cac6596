package readstate

import "sync"

// Filters and tables are taken out of memory while point reads use them, which
// count themselves in the state alone. A read that began in a state may use what
// it found there until it releases the state. So what was taken out is freed when
// no read holds the state that was current then, nor any before it.

// quietStates are the states that point reads may hold, in their order.
type quietStates struct {
	mu             sync.Mutex
	oldest, newest *State // guarded by mu; a list by state.younger
}

// add notes a state that becomes current.
func (q *quietStates) add(s *State) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.newest == nil {
		q.oldest = s
	} else {
		q.newest.younger = s
	}
	q.newest = s
}

// wait has free called once no point read holds the newest state, nor any before
// it. It is false when that is so already. The caller holds store.mu, so that a
// current state is not retired.
func (q *quietStates) wait(free func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.newest == nil {
		return false
	}
	q.newest.dead = append(q.newest.dead, free)
	return true
}

// note reports that no point read holds s, nor will. It frees what waited for
// that.
func (q *quietStates) note(s *State) {
	q.mu.Lock()
	s.quiet = true
	var dead []func()
	for q.oldest != nil && q.oldest.quiet {
		o := q.oldest
		dead = append(dead, o.dead...)
		q.oldest, o.younger, o.dead = o.younger, nil, nil // one that is kept must not keep the younger ones
	}
	if q.oldest == nil {
		q.newest = nil
	}
	q.mu.Unlock()
	for _, free := range dead {
		free()
	}
}
