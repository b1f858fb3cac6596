package readstate

import "sync"

// Filters and tables are taken out of memory while point reads, which only
// count themselves in their state, may use them. A read that began in a state
// may use what it found there until it releases the state. So the memory is
// freed when no read holds the state that was current then, nor an earlier one.

// quietStates are the states that point reads may hold, in order.
type quietStates struct {
	mu             sync.Mutex
	oldest, newest *State // guarded by mu; a list by state.younger
}

// add adds a state that becomes current.
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

// wait arranges that free is called once no point read holds the newest state,
// nor an earlier one. It returns false if that is so already. The caller holds
// store.mu, so that a current state is not retired.
func (q *quietStates) wait(free func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.newest == nil {
		return false
	}
	q.newest.dead = append(q.newest.dead, free)
	return true
}

// note records that no point read holds s, or ever will. It frees what waited
// for that.
func (q *quietStates) note(s *State) {
	q.mu.Lock()
	s.quiet = true
	var dead []func()
	for q.oldest != nil && q.oldest.quiet {
		o := q.oldest
		dead = append(dead, o.dead...)
		q.oldest, o.younger, o.dead = o.younger, nil, nil // a kept state must not keep the younger ones
	}
	if q.oldest == nil {
		q.newest = nil
	}
	q.mu.Unlock()
	for _, free := range dead {
		free()
	}
}
