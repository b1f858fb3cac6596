package api

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

const tenYears = 10 * 365 * 24 * time.Hour

// jumpyClock is a clock of which the time of day and the elapsed time can part.
type jumpyClock struct{ wall, elapsed atomic.Int64 } // ms

func newJumpyClock() *jumpyClock {
	c := &jumpyClock{}
	c.wall.Store(1_750_000_000_000)
	return c
}

func (c *jumpyClock) now() time.Time { return time.UnixMilli(c.wall.Load()) }

// pass lets time pass.
func (c *jumpyClock) pass(d time.Duration) {
	c.wall.Add(d.Milliseconds())
	c.elapsed.Add(d.Milliseconds())
}

// jump sets the clock, or lets the machine sleep.
func (c *jumpyClock) jump(d time.Duration) { c.wall.Add(d.Milliseconds()) }

func (c *jumpyClock) options(fs vfs.FS, reset bool) *seerdb.Options {
	o := dbtest.SmallOn(fs, seerdb.Sync)
	o.ResetClock = reset
	return dbtest.With(*o, dbtest.TestOptions{
		FS: fs, Clock: c.now, ManualOnly: true,
		Elapsed: func(time.Time) time.Duration { return time.Duration(c.elapsed.Load()) * time.Millisecond },
	})
}

// lives checks whether a key is there.
func lives(t *testing.T, what string, db *seerdb.DB, key string, want bool) {
	t.Helper()
	if ok, err := db.Has([]byte(key)); ok != want || err != nil {
		t.Errorf("%s: %s is there: %v, %v", what, key, ok, err)
	}
}

// ttlWorks puts a value for a second, and lets it pass.
func ttlWorks(t *testing.T, what string, c *jumpyClock, db *seerdb.DB) {
	t.Helper()
	dbtest.Must(t, db.PutTTL([]byte("short"), nil, time.Second))
	c.pass(900 * time.Millisecond)
	lives(t, what, db, "short", true)
	c.pass(200 * time.Millisecond)
	lives(t, what, db, "short", false)
}

// TestClockJumpsWhileOpen: a clock that is ten years off for a moment, either
// way, changes nothing; one that stays off is followed ahead after ten seconds,
// and never back; and values put for a second live for one at any time.
func TestClockJumpsWhileOpen(t *testing.T) {
	c := newJumpyClock()
	fs := memfs.New()
	db := dbtest.Open(t, "db", c.options(fs, false))
	dbtest.Must(t, db.PutTTL([]byte("hour"), nil, time.Hour))
	for _, d := range []time.Duration{tenYears, -tenYears} {
		for _, lasts := range []time.Duration{0, 5 * time.Second} {
			what := d.String() + " for " + lasts.String()
			c.jump(d)
			lives(t, what, db, "hour", true)
			c.pass(lasts)
			lives(t, what, db, "hour", true)
			ttlWorks(t, what+", in it", c, db)
			dbtest.Must(t, db.Flush(context.Background())) // writes the time down
			c.jump(-d)
			c.pass(time.Second)
			ttlWorks(t, what+", after it", c, db)
			lives(t, what+", after it", db, "hour", true)
		}
	}
	// A machine that slept for two hours.
	c.jump(2 * time.Hour)
	lives(t, "just awake", db, "hour", true)
	c.pass(11 * time.Second)
	lives(t, "awake", db, "hour", false)
	// A clock that stays ten years behind: time runs on.
	c.jump(-tenYears)
	dbtest.Must(t, db.PutTTL([]byte("hour"), nil, time.Hour))
	c.pass(30 * time.Minute)
	lives(t, "behind", db, "hour", true)
	c.pass(31 * time.Minute)
	lives(t, "behind", db, "hour", false)
	ttlWorks(t, "behind", c, db)
}

// TestClockJumpsBetweenOpenings: a clock that is ten years ahead when a database
// is opened is not written down before it has kept to it for ten seconds; one
// that Health reports that it was, and ResetClock goes back.
func TestClockJumpsBetweenOpenings(t *testing.T) {
	c := newJumpyClock()
	fs := memfs.New()
	db := dbtest.Open(t, "db", c.options(fs, false))
	dbtest.Must(t, db.PutTTL([]byte("day"), nil, 24*time.Hour))
	dbtest.Must(t, db.PutTTL([]byte("gone"), nil, time.Second))
	c.pass(time.Minute)
	reopen := func(reset bool) {
		t.Helper()
		dbtest.Must(t, db.Close())
		db = dbtest.Open(t, "db", c.options(fs, reset))
	}
	aheadSaid := func() bool {
		return strings.Contains(strings.Join(db.Health().Reasons, "; "), "ResetClock")
	}
	c.jump(tenYears)
	reopen(false)
	lives(t, "opened ahead", db, "day", false) // it may have been closed for as long
	c.pass(5 * time.Second)
	dbtest.Must(t, db.Compact(context.Background(), nil, nil)) // drops nothing for that
	c.jump(-tenYears)
	reopen(false)
	lives(t, "opened ahead for a moment", db, "day", true)
	lives(t, "opened ahead for a moment", db, "gone", false)
	if aheadSaid() {
		t.Errorf("health: %v", db.Health().Reasons)
	}

	// Set back between openings: what was gone stays gone, and time goes on.
	c.jump(-tenYears)
	reopen(false)
	lives(t, "set back", db, "gone", false)
	lives(t, "set back", db, "day", true)
	ttlWorks(t, "set back", c, db)
	if !aheadSaid() {
		t.Errorf("health of a clock that is ten years behind: %v", db.Health().Reasons)
	}
	c.jump(tenYears)

	// Ten years ahead, and kept to it.
	c.jump(tenYears)
	reopen(false)
	c.pass(11 * time.Second)
	dbtest.Must(t, db.Flush(context.Background()))
	reopen(false)
	c.jump(-tenYears)
	reopen(false)
	lives(t, "written down", db, "day", false)
	ttlWorks(t, "written down", c, db)
	if !aheadSaid() {
		t.Errorf("health of a time that is ten years ahead: %v", db.Health().Reasons)
	}
	dbtest.Must(t, db.Close())
	db = dbtest.Open(t, "db", c.options(fs, true))
	lives(t, "reset", db, "gone", false)
	ttlWorks(t, "reset", c, db)
	if aheadSaid() {
		t.Errorf("health after the reset: %v", db.Health().Reasons)
	}
	reopen(false) // and that is kept
	if aheadSaid() {
		t.Errorf("health after another opening: %v", db.Health().Reasons)
	}
	if _, err := db.Get([]byte("gone")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Errorf("what had expired: %v", err)
	}
}

// TestClockSetBackAtReopen: Close forgot the time when it left everything in
// the log, and what had expired came back with a clock that was set back.
func TestClockSetBackAtReopen(t *testing.T) {
	fs := memfs.New()
	clock := dbtest.NewClock()
	o := dbtest.With(*dbtest.SmallOn(fs, seerdb.Sync), dbtest.TestOptions{FS: fs, Clock: clock.Now})
	db := dbtest.Open(t, "db", o)
	dbtest.Must(t, db.PutTTL([]byte("k"), []byte("v"), time.Second))
	clock.Add(time.Second)
	if _, err := db.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	dbtest.Must(t, db.Close())
	clock.Add(-time.Minute)
	db = dbtest.Open(t, "db", o)
	if v, err := db.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatalf("it is back: %q, %v", v, err)
	}
}
