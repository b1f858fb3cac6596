package manifest

import (
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// State is the content of a manifest. Every counter that must survive a restart
// is in it (I12).
type State struct {
	Version *Version
	DBID    uint64
	Format  base.FormatVersion // of the manifest
	// Incarnation is the incarnation of the opening that wrote the manifest.
	Incarnation uint64

	// NextFile is above the number of every file that the manifest ever named
	// and, in format 2, above every number that its opening assigned. FirstFile
	// is the first number that it may have assigned; 0 in format 1.
	FirstFile, NextFile base.FileNum
	LastSeq             base.SeqNum
	// LogNum is the oldest log segment that is still needed.
	LogNum base.FileNum
	// LogIncarnation is the incarnation of the opening that wrote the needed
	// segments: the one that wrote the manifest or, until that has made its
	// first segment, the one before it.
	LogIncarnation uint64

	Keyspaces    []Keyspace // ascending by number; immutable
	NextKeyspace uint32     // above the number of every keyspace that ever existed
	// Clock is the latest time, in Unix milliseconds, at which a reader saw
	// something expired. Time never goes back before it.
	Clock uint64

	// Closed are the needed logs, ascending by number, if the database was
	// closed; else nil.
	Closed []ClosedLog

	// ManifestNum is the number of the manifest that was read or is being
	// written. Manifests have numbers of their own.
	ManifestNum base.FileNum
}

// advance applies the counters of an edit.
func (s *State) advance(e *Edit) error {
	if e.LogNum != nil {
		if *e.LogNum < s.LogNum {
			return fmt.Errorf("the oldest needed log goes back from %d to %d", s.LogNum, *e.LogNum)
		}
		s.LogNum = *e.LogNum
	}
	if e.LogIncarnation != 0 {
		s.LogIncarnation = e.LogIncarnation
	}
	if e.FirstFile != 0 {
		s.FirstFile = e.FirstFile
	}
	s.NextFile = max(s.NextFile, e.NextFile, s.LogNum+1)
	s.LastSeq = max(s.LastSeq, e.LastSeq)
	for _, m := range e.AddValues {
		s.NextFile = max(s.NextFile, m.Num+1)
	}
	for _, n := range e.Add {
		s.NextFile = max(s.NextFile, n.Meta.Num+1, n.Meta.Pack+1)
		s.LastSeq = max(s.LastSeq, n.Meta.LargestSeq)
	}
	s.Clock = max(s.Clock, e.Clock)
	if err := s.advanceKeyspaces(e); err != nil {
		return err
	}
	if s.NextFile > fileNumMax || s.LastSeq > base.SeqNumMax {
		return fmt.Errorf("next file number %d or last sequence %d is past its limit", s.NextFile, s.LastSeq)
	}
	return nil
}

// apply returns the state after e.
func (s *State) apply(e *Edit) (*State, error) {
	next := *s
	var err error
	if next.Version, err = s.Version.Apply(e); err == nil {
		err = next.advance(e)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: the edit does not fit the current version: %w", err)
	}
	return &next, nil
}

// snapshot returns the edit that makes s from an empty state.
func (s *State) snapshot() *Edit {
	e := &Edit{
		LogNum: &s.LogNum, LogIncarnation: s.LogIncarnation, FirstFile: s.FirstFile, NextFile: s.NextFile, LastSeq: s.LastSeq,
		SetKeyspaces: s.Keyspaces, NextKeyspace: s.NextKeyspace, Clock: s.Clock,
	}
	for _, vf := range s.Version.Values {
		e.AddValues = append(e.AddValues, vf.ValueMeta)
	}
	s.Version.All(func(level int, f *FileMeta) bool {
		e.Add = append(e.Add, NewFile{level, f})
		return true
	})
	return e
}

// identity returns the identity of the manifest.
func (s *State) identity() base.Identity {
	return base.Identity{DB: s.DBID, Type: base.FileTypeManifest, Num: s.ManifestNum, Incarnation: s.Incarnation}
}
