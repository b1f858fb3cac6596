package engine

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// NewIter opens an iterator at a point. The iterator pins what it reads until it is
// closed.
func (k *Keyspace) NewIter(o dbiter.Options, at readstate.Point) (*dbiter.Iter, error) {
	return k.newIter(o, at, nil)
}

// newIter is NewIter with the writes of an open transaction on top, if own is not nil.
func (k *Keyspace) newIter(o dbiter.Options, at readstate.Point, own *writeset.Set) (*dbiter.Iter, error) {
	s, shard := k.e.store.KeepAt(at)
	if s == nil {
		return nil, base.ErrClosed
	}
	return k.newIterOn(s, shard, o, at, own)
}

// newIterOn is newIter on a state, which the iterator releases.
func (k *Keyspace) newIterOn(s *readstate.State, shard int, o dbiter.Options, at readstate.Point, own *writeset.Set) (*dbiter.Iter, error) {
	if err := k.Usable(); err != nil { // after the state was acquired: it may lack a dropped keyspace
		s.LetGo(shard)
		return nil, err
	}
	if o.Site.Zero() {
		o.Site = pins.Caller(2, 4)
	}
	return dbiter.New(&k.e.iters, k.Keyspace, s, shard, o, at, own), nil
}
