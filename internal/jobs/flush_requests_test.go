package jobs

import (
	"errors"
	"testing"

	"github.com/seerdb-go/seerdb/internal/generation"
)

// TestFlushRequests answers requests by attempts that began before and after them.
func TestFlushRequests(t *testing.T) {
	q := newFlushRequests()
	a, b := new(generation.Generation), new(generation.Generation)
	memory := map[*generation.Generation]bool{a: true, b: true}
	in := func(g *generation.Generation) bool { return memory[g] }
	wrong := errors.New("disk")
	want := func(what string, r *flushRequest, answered bool, err error) {
		t.Helper()
		if got, gerr := r.answered(); got != answered || gerr != err {
			t.Errorf("%s: answered %v, %v; want %v, %v", what, got, gerr, answered, err)
		}
	}
	wanted := func() bool { return len(q.wanted) == 1 }
	acquire := func() {
		if q.mu.TryLock() {
			q.mu.Unlock()
			t.Error("a request may be made between the requests of an attempt and what it flushes")
		}
	}

	early := q.add([]*generation.Generation{a})
	if !wanted() {
		t.Error("a request does not end the pause of the flusher")
	}
	taken := q.take(acquire)
	if wanted() {
		t.Error("an attempt that began is still wanted")
	}
	late := q.add([]*generation.Generation{a, b})
	if !wanted() {
		t.Error("a request beside an attempt does not ask for another")
	}
	q.settle(taken, []*generation.Generation{a}, wrong, in)
	want("the request before the attempt", early, true, wrong)
	want("the request beside the attempt", late, false, nil)

	other := q.add([]*generation.Generation{b})
	gone := q.add([]*generation.Generation{a})
	taken = q.take(acquire)
	q.leave(gone)
	q.settle(taken, []*generation.Generation{a}, wrong, in)
	want("a request for what the attempt had and more", late, true, wrong)
	want("a request for another generation", other, false, nil)
	want("a request whose caller has gone", gone, false, nil)

	both := q.add([]*generation.Generation{a, b})
	taken = q.take(acquire)
	beside := q.add([]*generation.Generation{a})
	delete(memory, a)
	q.settle(taken, []*generation.Generation{a}, nil, in)
	want("half of a request is in tables", both, false, nil)
	want("all of one is, by an attempt before it", beside, true, nil)
	delete(memory, b)
	q.settle(q.take(acquire), []*generation.Generation{b}, nil, in)
	want("all of a request is in tables", both, true, nil)
	want("and of the other", other, true, nil)
	if len(q.waiting) != 0 {
		t.Errorf("%d requests are left", len(q.waiting))
	}

	gone = q.add([]*generation.Generation{a})
	q.leave(gone)
	if len(q.waiting) != 0 {
		t.Error("a request stays whose caller has gone")
	}
	after := q.add([]*generation.Generation{a})
	q.settle(nil, nil, nil, in) // what its caller does
	want("a request for what was in tables before", after, true, nil)
}
