package clock

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/observe"
)

const (
	begin    = 1_750_000_000_000 // a system's time, in ms
	tenYears = 10 * 365 * 24 * time.Hour
)

// system is a system's clock, and the elapsed time, which can part.
type system struct{ wall, elapsed atomic.Int64 } // ms

func newSystem() *system {
	s := &system{}
	s.wall.Store(begin)
	return s
}

func (s *system) now() time.Time { return time.UnixMilli(s.wall.Load()) }

func (s *system) since(time.Time) time.Duration {
	return time.Duration(s.elapsed.Load()) * time.Millisecond
}

// pass lets time pass.
func (s *system) pass(d time.Duration) {
	s.elapsed.Add(d.Milliseconds())
	s.wall.Add(d.Milliseconds())
}

// jump sets the clock, or lets the machine sleep.
func (s *system) jump(d time.Duration) { s.wall.Add(d.Milliseconds()) }

// start returns a clock that follows s.
func (s *system) start() *Clock {
	c := new(Clock)
	c.Start(s.now, s.since)
	return c
}

// says checks how far from begin the time is.
func says(t *testing.T, what string, c *Clock, want time.Duration) {
	t.Helper()
	if got := time.Duration(int64(c.Now())-begin) * time.Millisecond; got != want {
		t.Errorf("%s: the time is %v; want %v", what, got, want)
	}
}

// marks checks how far from begin the mark is.
func marks(t *testing.T, what string, c *Clock, want time.Duration) {
	t.Helper()
	if got := time.Duration(int64(c.Mark())-begin) * time.Millisecond; got != want {
		t.Errorf("%s: the mark is %v; want %v", what, got, want)
	}
}

// TestJumpsAhead: the clock follows a jump of jumpSlack immediately, and a longer one once
// the system has kept to it for jumpConfirm, not earlier. Looks by Now and by Tick count
// alike.
func TestJumpsAhead(t *testing.T) {
	for _, step := range []time.Duration{time.Millisecond, jumpSlack} {
		s := newSystem()
		c := s.start()
		s.jump(step)
		says(t, "after a small step", c, step)
	}
	for _, jump := range []time.Duration{jumpSlack + time.Millisecond, 2 * time.Hour, tenYears} {
		s := newSystem()
		c := s.start()
		s.pass(time.Second)
		s.jump(jump)
		says(t, "just after a jump", c, time.Second)
		s.pass(jumpConfirm - time.Millisecond)
		says(t, "before it is sure", c, time.Second+jumpConfirm-time.Millisecond)
		s.pass(time.Millisecond)
		says(t, "when it is sure", c, jump+time.Second+jumpConfirm)
		s.pass(time.Second)
		says(t, "after that", c, jump+2*time.Second+jumpConfirm)
		marks(t, "after that", c, jump+2*time.Second+jumpConfirm)
	}
	look := map[string]func(*Clock){"Now": func(c *Clock) { c.Now() }, "Tick": (*Clock).Tick}
	for name, look := range look {
		s := newSystem()
		c := s.start()
		for range 3 { // a jump to the same place again and again, which never lasts
			s.jump(time.Hour)
			c.Now()
			s.pass(jumpConfirm / 2)
			c.Now()
			s.jump(-time.Hour)
			look(c)
			s.pass(jumpConfirm / 2)
		}
		s.jump(time.Hour)
		says(t, "after jumps that were over, as "+name+" found", c, 3*jumpConfirm)
		s.jump(jumpSlack + time.Millisecond) // another place: it begins anew
		c.Now()
		s.pass(jumpConfirm - time.Millisecond)
		says(t, "a jump after a jump", c, 4*jumpConfirm-time.Millisecond)
		s.jump(-jumpSlack) // the same place, more or less
		s.pass(time.Millisecond)
		says(t, "a jump that was followed", c, 4*jumpConfirm+time.Hour+time.Millisecond)
	}
}

// TestSystemBehind: time runs on by elapsed time while the system is behind, and
// stands still only as long as it was ahead of the line, jumpSlack at most. When the
// system is back it is followed as before.
func TestSystemBehind(t *testing.T) {
	s := newSystem()
	c := s.start()
	s.jump(-tenYears)
	says(t, "set back", c, 0)
	s.pass(time.Hour)
	says(t, "an hour later", c, time.Hour)
	s.jump(tenYears)
	says(t, "back again", c, time.Hour)
	s.jump(jumpSlack)
	says(t, "a little ahead", c, time.Hour+jumpSlack)
	s.jump(-time.Hour)
	s.pass(jumpSlack - time.Millisecond)
	says(t, "while the line comes up", c, time.Hour+jumpSlack)
	s.pass(2 * time.Millisecond)
	says(t, "when it has", c, time.Hour+jumpSlack+time.Millisecond)
	if s.wall.Store(-begin); c.Now() != begin+uint64((time.Hour+jumpSlack+time.Millisecond).Milliseconds()) {
		t.Errorf("before 1970 the time is %d", c.Now())
	}
	s = newSystem()
	s.wall.Store(-begin)
	if c := s.start(); c.Now() != 0 {
		t.Errorf("started before 1970 the time is %d", c.Now())
	}
}

// TestMarkAtOpen: the time at Open is the later of the system's and the mark. A time more
// than openSlack ahead of the mark counts immediately, but becomes the mark only once the
// system has kept to it; a mark that is ahead stays, unless the caller asks for a reset.
func TestMarkAtOpen(t *testing.T) {
	open := func(s *system, kept time.Duration, reset bool) (*Clock, time.Duration) {
		c := s.start()
		holds := c.Begin(uint64(begin+kept.Milliseconds()), reset)
		return c, time.Duration(int64(holds)-begin) * time.Millisecond
	}
	for _, v := range []struct {
		kept        time.Duration
		reset       bool
		holds, says time.Duration
		marks       time.Duration // at Open
	}{
		{kept: 0},
		{kept: -time.Hour, holds: -time.Hour},
		{kept: -openSlack, holds: -openSlack},
		{kept: -openSlack - time.Millisecond, holds: -openSlack - time.Millisecond, marks: -openSlack - time.Millisecond},
		{kept: -tenYears, reset: true, holds: -tenYears, marks: -tenYears},
		{kept: tenYears, holds: tenYears, says: tenYears, marks: tenYears},
		{kept: tenYears, reset: true},
	} {
		s := newSystem()
		c, holds := open(s, v.kept, v.reset)
		if holds != v.holds {
			t.Errorf("%+v: the mark that holds is %v", v, holds)
		}
		says(t, "at Open", c, v.says)
		marks(t, "at Open", c, v.marks)
		c.Tick()
		marks(t, "after a Tick", c, v.marks)
		s.pass(jumpConfirm - time.Millisecond)
		c.Tick()
		s.pass(time.Millisecond)
		c.Tick()
		says(t, "when it is sure", c, v.says+jumpConfirm)
		marks(t, "when it is sure", c, v.says+jumpConfirm)
	}
	s := newSystem()
	if c := s.start(); c.Begin(0, false) != 0 || c.Mark() != begin {
		t.Error("a database without a mark does not take the system's time")
	}
}

// TestGlitchAtOpen: a system that is ten years ahead while the database is opened leaves no
// mark, however the glitch ends.
func TestGlitchAtOpen(t *testing.T) {
	const kept = begin - 1000
	s := newSystem()
	s.jump(tenYears)
	c := s.start()
	s.jump(-tenYears) // wrong at Start, right at Begin
	c.Begin(kept, false)
	says(t, "wrong at Start", c, 0)
	marks(t, "wrong at Start", c, 0)

	s = newSystem()
	s.jump(tenYears)
	c = s.start()
	c.Begin(kept, false)
	c.Tick()
	s.jump(-tenYears)
	s.pass(jumpConfirm / 2)
	c.Tick()
	s.pass(jumpConfirm / 2)
	s.jump(tenYears) // wrong once more
	c.Tick()
	marks(t, "wrong twice", c, -time.Second)
	s.jump(-tenYears)
	s.pass(time.Hour)
	c.Tick()
	says(t, "wrong at Open", c, tenYears+time.Hour+jumpConfirm) // it does not go back
	marks(t, "wrong at Open", c, -time.Second)
	s.jump(tenYears)
	for range 2 {
		marks(t, "right after all", c, -time.Second)
		c.Tick()
		s.pass(jumpConfirm)
	}
	c.Tick()
	marks(t, "right after all", c, tenYears+time.Hour+3*jumpConfirm)
}

// TestUse: while nothing has an expiry readers get no time and Health reports nothing. From
// Use on, Told is the latest time returned, without a look at the system.
func TestUse(t *testing.T) {
	s := newSystem()
	looks := 0
	c := new(Clock)
	c.Start(func() time.Time { looks++; return s.now() }, s.since)
	health := func(want string) {
		t.Helper()
		said := ""
		c.Health(func(st observe.Status, reason string) {
			said += reason
			if st != observe.Degraded {
				t.Errorf("health is %v", st)
			}
		})
		if want == "" && said != "" || !strings.Contains(said, want) {
			t.Errorf("health says %q; want %q", said, want)
		}
	}
	c.Begin(uint64(begin+tenYears.Milliseconds()), false)
	before := looks
	if c.Used() || c.IfUsed() != 0 || c.Told() != 0 {
		t.Error("it was not used")
	}
	health("")
	if looks != before {
		t.Error("a clock that is not used asks the system")
	}
	s.pass(time.Second)
	c.Use()
	used := uint64(begin + (tenYears + time.Second).Milliseconds())
	if !c.Used() || c.Told() != used {
		t.Errorf("used: %v, told %d, want %d", c.Used(), c.Told(), used)
	}
	s.pass(time.Second)
	before = looks
	if got := c.Told(); got != used || c.Mark() != used || looks != before {
		t.Errorf("told %d, marked %d, want %d; %d looks", got, c.Mark(), used, looks-before)
	}
	if got := c.IfUsed(); got != used+1000 || c.Told() != got {
		t.Errorf("%d if used, then told %d; want %d", got, c.Told(), used+1000)
	}
	health("is 87600h0m0s ahead")
	s.jump(tenYears - aheadSlack)
	health("is 1h0m0s ahead")
	s.jump(time.Millisecond)
	health("")
	s.wall.Store(begin)
	c.Begin(uint64(begin+30*tenYears.Milliseconds()), false) // more than a Duration can hold
	health("is 2562047h47m0s ahead")
}

// TestElapsedOfReadings: without a function for the elapsed time, it is the difference
// between readings.
func TestElapsedOfReadings(t *testing.T) {
	s := newSystem()
	c := new(Clock)
	c.Start(s.now, nil)
	s.jump(time.Hour)
	says(t, "an hour later", c, time.Hour)
	s.jump(-time.Minute)
	says(t, "a minute before", c, time.Hour)
}

// TestNowBesideNow: a caller that read the system's clock early and continues late does not
// get a time before one already returned.
func TestNowBesideNow(t *testing.T) {
	s := newSystem()
	looked, goOn := make(chan bool), make(chan bool)
	var hold atomic.Bool
	c := new(Clock)
	c.Start(s.now, func(time.Time) time.Duration {
		e := s.since(time.Time{})
		if hold.CompareAndSwap(true, false) {
			looked <- true
			<-goOn
		}
		return e
	})
	hold.Store(true)
	late := make(chan uint64)
	go func() { late <- c.Now() }()
	<-looked
	s.pass(time.Minute)
	told := c.Now()
	goOn <- true
	if got := <-late; got != told {
		t.Errorf("%d was told, then %d", told, got)
	}
}

// TestManyAsk: all methods are called concurrently while the system's clock jumps, and
// moves with each look. Each time is at least what any caller had before it asked; marks
// never go back, and are never ahead of the time.
func TestManyAsk(t *testing.T) {
	s := newSystem()
	c := new(Clock)
	c.Start(func() time.Time { s.pass(time.Millisecond); return s.now() }, s.since)
	c.Begin(begin, false)
	c.Use()
	var known, marked atomic.Uint64
	raise := func(a *atomic.Uint64, v uint64) {
		for old := a.Load(); v > old && !a.CompareAndSwap(old, v); old = a.Load() {
		}
	}
	ask := func(i int) {
		before, marks := known.Load(), marked.Load()
		mark := c.Mark()
		got := []func() uint64{c.Now, c.IfUsed, c.Told}[i%3]()
		if got < before {
			t.Errorf("the time went back from %d to %d", before, got)
		}
		if mark < marks || mark > got {
			t.Errorf("the mark is %d after %d; the time is %d", mark, marks, got)
		}
		raise(&known, got)
		raise(&marked, mark)
	}
	rounds := 20000
	if testing.Short() {
		rounds = 3000
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range rounds {
				ask(i)
			}
		})
	}
	wg.Go(func() {
		for i := range rounds / 8 {
			jump := time.Duration(i%7-3) * time.Hour
			s.jump(jump)
			for range 8 { // others see it too
				c.Tick()
				runtime.Gosched()
			}
			s.pass(time.Second)
			c.Tick()
			s.jump(-jump)
			s.pass(time.Second)
			c.Health(func(observe.Status, string) {})
		}
	})
	wg.Wait()
}
