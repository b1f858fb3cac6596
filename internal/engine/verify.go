package engine

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
	"github.com/seerdb-go/seerdb/observe"
)

// Verify reads all live files and checks them against each other. It reports damage
// in the report; it returns an error only if it could not check.
func (e *Engine) Verify(ctx context.Context) (*observe.Report, error) {
	s, shard := e.store.Keep()
	if s == nil {
		return nil, base.ErrClosed
	}
	defer s.LetGo(shard)
	r := &observe.Report{}
	note := func(err error) error { return noteDamage(ctx, e, r, err) }
	if err := s.Verify(ctx, r, note); err != nil {
		return r, err
	}
	for _, g := range s.Generations() {
		if err := note(verifyLog(e, g)); err != nil {
			return r, err
		}
	}
	if err := note(verifyManifest(e, s)); err != nil {
		return r, err
	}
	return r, e.dir.foreign(r)
}

// noteDamage adds damage that a check found to the report, or returns the error that
// kept the check from running, which says nothing about the files.
func noteDamage(ctx context.Context, e *Engine, r *observe.Report, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case e.store.Closed():
		return base.ErrClosed
	case vfs.IsTooManyFiles(err):
		return err
	}
	if gone := e.store.Reach(); gone != nil {
		return vfs.Cannot("list the directory "+e.dir.name, gone)
	}
	r.Damage = append(r.Damage, err)
	return nil
}

// verifyLog reads the written part of the log of a generation.
func verifyLog(e *Engine, g *generation.Generation) error {
	if g.Log == nil {
		return nil
	}
	size := g.Log.Size()
	id := base.Identity{DB: e.versions.DB(), Type: base.FileTypeLog, Num: g.Num, Incarnation: e.versions.Incarnation()}
	_, err := wal.Replay(e.dir.fs, id.Name(), id, size, func(payload []byte, _ int64) error { return batch.Check(payload) })
	if s := e.store.Current(); err == nil || s == nil || !slices.Contains(s.Generations(), g) {
		return nil // if g is no longer in the state, a flush has removed the log
	}
	if errors.Is(err, fs.ErrNotExist) {
		return missingLog(g.Num)
	}
	return err
}

// verifyManifest reads CURRENT and the manifest. A read-only engine wrote no manifest
// itself, and compares with the one that Open read.
func verifyManifest(e *Engine, s *readstate.State) error {
	e.versions.Lock()
	log := e.versions.Manifest()
	e.versions.Unlock()
	if log != nil {
		return log.Verify()
	}
	st, err := manifest.Recover(e.dir.fs, vfs.Top)
	if err == nil && st.Version.String() != s.Version().String() {
		err = base.Corruptf(base.FileName(base.FileTypeManifest, st.ManifestNum), -1, "the manifest is not the one that was read when the database was opened")
	}
	return err
}
