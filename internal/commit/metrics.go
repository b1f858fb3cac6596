package commit

import (
	"time"

	"github.com/seerdb-go/seerdb/observe"
)

// Metrics adds what the pipeline counts.
func (p *Pipeline) Metrics(m *observe.Metrics) {
	s := &p.Stats
	m.UserBytes = s.userBytes.Load()
	m.DurableSeq = uint64(p.durable.load())
	m.Stalls.Stops, m.Stalls.StopTime, m.Stalls.Stopped = s.stops.Load(), time.Duration(s.stopTime.Load()), s.Stopped()
	m.Stalls.Slowdowns, m.Stalls.SlowdownTime = p.env.Pace.Waits()
	m.Ops.Commit = s.commits.Latency()
	m.Log.Segments += int(p.turning.made.Load()) // the next log, if it is made already
	m.Memory.Pinned = p.pinnedMemtables()
}

// Refusing returns the error that a commit would get now, or nil: the error of the
// last commit, if the database caused it, or what keeps full memtables from being
// flushed.
func (p *Pipeline) Refusing() error {
	if why := p.env.Room.Lacking(); why != nil {
		return why
	}
	if why := p.trouble.Load(); why != nil {
		return *why
	}
	s := p.env.Store.Current()
	if s != nil && s.Active.Log != nil && s.Active.Log.Crowded() {
		if err := s.Active.Log.Full(); err != nil {
			return err
		}
	}
	if s != nil && p.queueFull(s) {
		return p.env.Blocking(StopMemtables)
	}
	return nil
}

// Slowed returns the bytes a second to which writers are slowed, or 0 if they are not.
func (p *Pipeline) Slowed() int64 { return p.env.Pace.Rate() }
