package clock

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// places are where the system's clock may jump to, off the right time, in ms. They
// are farther apart than twice the slack and what looks are off by; so are sleeps.
var places = []int64{0, 20_000, -20_000, 7_200_000, -7_200_000, tenYears.Milliseconds(), -tenYears.Milliseconds()}

// look is one reading of the system's clock.
type look struct {
	elapsed int64
	place   int64 // of the system, on the line of elapsed time
	off     int64 // from place
}

// clockModel opens databases under a system that jumps and sleeps. It keeps every look
// at the system, and works out anew from all of them what the promises make of the time.
type clockModel struct {
	s     *system
	c     *Clock
	slept int64 // by how much the system ran and the elapsed time did not
	place int64 // one of places
	off   int64

	looks []look // since the database was opened, and when the line was last set
	line  int64  // time less elapsed time on the line
	told  uint64
	kept  uint64 // at Open
	edit  uint64 // what the manifest has
	sure  bool
	agree int64 // since when no Tick found the time ahead
	last  int64 // elapsed when told was
	since int64 // elapsed when the line was last set
}

func (m *clockModel) set() {
	m.s.wall.Store(begin + m.s.elapsed.Load() + m.slept + m.place + m.off)
}

func (m *clockModel) look() look {
	return look{m.s.elapsed.Load(), m.slept + m.place, m.off}
}

// expected returns the time that the model expects now.
func (m *clockModel) expected() uint64 {
	l := m.look()
	m.looks = append(m.looks, l)
	system, slack, line := begin+l.place+l.off, jumpSlack.Milliseconds(), m.line
	if system <= line+slack {
		line = max(line, system)
	} else {
		// It has jumped. The looks at the same place, up to this one:
		first := len(m.looks) - 1
		for first > 0 && m.looks[first-1].place == l.place && begin+m.looks[first-1].place+m.looks[first-1].off > m.line+slack {
			first--
		}
		if l.elapsed-m.looks[first].elapsed >= jumpConfirm.Milliseconds() {
			m.line, m.looks, m.since = system, nil, l.elapsed
			line = system
		}
	}
	return max(m.told, uint64(line+l.elapsed))
}

// holds checks a returned time against the model, and against the promises that need no
// model.
func (m *clockModel) holds(t *rapid.T, got uint64) {
	want := m.expected()
	e := m.s.elapsed.Load()
	slack := uint64(jumpSlack.Milliseconds())
	switch {
	case got < m.told:
		t.Fatalf("the time went back from %d to %d", m.told, got)
	case got+slack < m.told+uint64(e-m.last):
		t.Fatalf("in %d ms the time went from %d to %d", e-m.last, m.told, got)
	case m.since <= m.last && got > m.told+uint64(e-m.last)+slack:
		t.Fatalf("in %d ms the time went from %d to %d, though no jump had lasted", e-m.last, m.told, got)
	case got != want:
		t.Fatalf("the time is %d, want %d", got, want)
	}
	m.told, m.last = got, e
}

func (m *clockModel) open(t *rapid.T, kept uint64, reset bool) {
	m.c = m.s.start()
	l := m.look()
	wall := uint64(max(m.s.wall.Load(), 0))
	if reset {
		kept = min(kept, wall)
	}
	if got := m.c.Begin(kept, reset); got != kept {
		t.Fatalf("the mark that holds is %d, want %d", got, kept)
	}
	m.kept, m.edit, m.told = kept, kept, max(kept, wall)
	m.sure = kept == 0 || wall <= kept+uint64(openSlack.Milliseconds())
	m.line, m.looks, m.agree, m.last, m.since = int64(m.told)-l.elapsed, nil, l.elapsed, l.elapsed, l.elapsed
}

func (m *clockModel) now(t *rapid.T) { m.holds(t, m.c.Now()) }

func (m *clockModel) tick(t *rapid.T) {
	m.c.Tick()
	m.c.Use()
	m.holds(t, m.c.Told())
	e := m.s.elapsed.Load()
	if behind := int64(m.told) - m.s.wall.Load(); behind > jumpSlack.Milliseconds() {
		m.agree = e
	} else if e-m.agree >= jumpConfirm.Milliseconds() {
		m.sure = true
	}
}

// mark stores the time, as an edit of the manifest does.
func (m *clockModel) mark(t *rapid.T) {
	got, want := m.c.Mark(), m.kept
	if m.sure {
		want = m.told
	}
	if got != want || got < m.edit || got > m.told {
		t.Fatalf("the mark is %d after %d at the time %d; want %d", got, m.edit, m.told, want)
	}
	m.edit = got
}

// reopen closes the database, or kills it: then the mark is that of the last edit.
func (m *clockModel) reopen(t *rapid.T) {
	if rapid.Bool().Draw(t, "close") {
		m.tick(t)
		m.mark(t)
	}
	m.pass(t)
	m.jump(t)
	before := m.edit
	reset := rapid.IntRange(0, 9).Draw(t, "reset") == 0
	m.open(t, before, reset)
	if !reset && m.told < before {
		t.Fatalf("the time went back from the mark %d to %d", before, m.told)
	}
}

func (m *clockModel) pass(t *rapid.T) {
	d := rapid.OneOf(rapid.Int64Range(0, 3000), rapid.SampledFrom([]int64{4999, 5000, 5001, 9999, 10_000, 10_001, 3_600_000})).Draw(t, "ms")
	m.s.elapsed.Add(d)
	m.set()
}

func (m *clockModel) jump(t *rapid.T) {
	m.place = rapid.SampledFrom(places).Draw(t, "place")
	m.waver(t)
}

func (m *clockModel) waver(t *rapid.T) {
	m.off = rapid.Int64Range(-2000, 2000).Draw(t, "off")
	m.set()
}

func (m *clockModel) sleep(t *rapid.T) {
	m.slept += rapid.SampledFrom([]int64{7_200_000, openSlack.Milliseconds(), openSlack.Milliseconds() + 7_200_000}).Draw(t, "sleep")
	m.set()
}

// TestClockModel: under a system that jumps ahead and back, wavers, sleeps, and is
// off when databases are opened, times and marks are what the promises say, worked out
// from all looks at the system.
func TestClockModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &clockModel{s: newSystem()}
		m.s.elapsed.Store(1) // at 0 a jump counts a nanosecond later
		m.set()
		m.open(t, 0, false)
		t.Repeat(map[string]func(*rapid.T){
			"now": m.now, "tick": m.tick, "mark": m.mark, "reopen": m.reopen,
			"pass": m.pass, "jump": m.jump, "waver": m.waver, "sleep": m.sleep,
			"lasts": func(t *rapid.T) { // so that jumps are confirmed
				for range 3 {
					m.now(t)
					m.pass(t)
				}
			},
		})
	})
}

// TestStandsStillNoLonger: with looks at any moments, the time never falls more than
// jumpSlack behind the time elapsed since any earlier moment.
func TestStandsStillNoLonger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSystem()
		c := s.start()
		most := int64(-1 << 62) // of time less elapsed time
		for range 50 {
			s.jump(time.Duration(rapid.Int64Range(-6000, 6000).Draw(t, "jump")) * time.Millisecond)
			s.pass(time.Duration(rapid.Int64Range(0, 6000).Draw(t, "pass")) * time.Millisecond)
			now := int64(c.Now()) - s.elapsed.Load()
			if most = max(most, now); now < most-jumpSlack.Milliseconds() {
				t.Fatalf("the time is %d ms behind", most-now)
			}
		}
	})
}
