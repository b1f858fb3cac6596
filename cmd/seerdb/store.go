package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/merger"
)

// reader is what commands read from: a keyspace, now, at a snapshot, or in a
// transaction.
type reader interface {
	Get(key []byte) ([]byte, error)
	NewIter(o *seerdb.IterOptions) (*seerdb.Iter, error)
}

// writer is what commands write to: a keyspace, or one in a transaction.
type writer interface {
	Put(key, value []byte) error
	PutTTL(key, value []byte, d time.Duration) error
	Delete(key []byte) error
	DeleteRange(lo, hi []byte) error
	Merge(key, operand []byte) error
}

// tree has the methods that the database, as its default keyspace, and other
// keyspaces share.
type tree interface {
	reader
	writer
	AppendGet(dst, key []byte) ([]byte, error)
	Expiry(key []byte) (at time.Time, expires bool, err error)
	Range(lo, hi []byte) *seerdb.Rows
	Compact(ctx context.Context, lo, hi []byte) error
}

// place is the keyspace that a command works on.
type place struct{ keyspace string }

func (p *place) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.keyspace, "keyspace", "k", "", "keyspace to work on (default: the one without a name)")
}

// store is an open database, with the merge operators of its keyspaces.
type store struct {
	*seerdb.DB
	operators map[string]string // names, by keyspace; the default one is ""
}

// openExisting opens a database, which must exist.
func openExisting(dir string, readOnly bool) (*store, error) {
	return openStore(dir, &seerdb.Options{ErrorIfMissing: true, ReadOnly: readOnly}, storedOperators(dir))
}

// openStore opens a database with these merge operators, which must be those
// that it was written with.
func openStore(dir string, o *seerdb.Options, operators map[string]string) (*store, error) {
	o.Merger = operatorNamed(operators[""])
	db, err := seerdb.Open(dir, o)
	if err != nil {
		return nil, err
	}
	return &store{db, operators}, nil
}

// closing adds the error of c.Close to err.
func closing(c io.Closer, err *error) {
	if cerr := c.Close(); *err == nil {
		*err = cerr
	}
}

// tree returns a keyspace, which it creates if create is set.
func (s *store) tree(keyspace string, create bool) (tree, error) {
	if keyspace == "" {
		return s.DB, nil
	}
	return s.space(keyspace, create)
}

func (s *store) space(name string, create bool) (*seerdb.Keyspace, error) {
	return s.Keyspace(name, &seerdb.KeyspaceOptions{Merger: operatorNamed(s.operators[name]), ErrorIfMissing: !create})
}

// reading and writing open a database, which must exist, for one command on one
// keyspace.
func reading(dir string, p place, f func(s *store, t tree) error) (err error) {
	s, err := openExisting(dir, true)
	if err != nil {
		return err
	}
	return s.within(p, false, f)
}

func writing(dir string, p place, f func(s *store, t tree) error) error {
	s, err := openExisting(dir, false)
	if err != nil {
		return err
	}
	return s.within(p, false, f)
}

// openToWrite opens a database, and creates it if create is set. Commits are as
// durable as d; a d below Sync is for commands that sync at the end.
func openToWrite(dir string, create bool, d seerdb.Durability) (*store, error) {
	if !create {
		if err := checkNew(dir, "give --create to make one among them"); err != nil {
			return nil, err
		}
	}
	return openStore(dir, &seerdb.Options{Durability: d}, storedOperators(dir))
}

// durabilities maps names on the command line to modes.
var durabilities = map[string]seerdb.Durability{"sync": seerdb.Sync, "buffered": seerdb.Buffered, "relaxed": seerdb.Relaxed}

func parseDurability(name string) (seerdb.Durability, error) {
	d, ok := durabilities[name]
	if !ok {
		return d, usagef("--durability is %q; expected sync, buffered or relaxed", name)
	}
	return d, nil
}

func createFlag(cmd *cobra.Command, create *bool) {
	cmd.Flags().BoolVar(create, "create", false, "make a database also in a directory that has other files")
}

// checkNew refuses a directory with files but without a database, so that a
// mistyped path does not become one.
func checkNew(dir, advice string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return nil // opening it reports the problem, or creates it
	}
	for _, e := range entries {
		if _, _, ours := base.ParseFileName(e.Name()); ours {
			return nil
		}
	}
	return usagef("%s has files and no database; %s", dir, advice)
}

// within does one thing with a keyspace and closes the store.
func (s *store) within(p place, create bool, f func(s *store, t tree) error) (err error) {
	defer closing(s, &err)
	t, err := s.tree(p.keyspace, create)
	if err != nil {
		return err
	}
	return f(s, t)
}

// operatorNamed returns the merge operator with a name, nil for "". For an
// operator of another program it has only the name.
func operatorNamed(name string) seerdb.Merger {
	if name == "" {
		return nil
	}
	if op, ok := merger.ByName(name); ok {
		return op
	}
	return foreignOperator(name)
}

// foreignOperator stands in for an operator of another program. It has its
// name, so everything works that needs no result of it; operands stay as they
// are.
type foreignOperator string

func (f foreignOperator) Name() string { return string(f) }

func (f foreignOperator) Full(_, _, _ []byte, _ bool, _ [][]byte) ([]byte, error) {
	return nil, fmt.Errorf("the merge operator %q belongs to the program that wrote the database; this tool has only its name", string(f))
}

func (foreignOperator) Partial(_, _, _, _ []byte) ([]byte, bool, error) { return nil, false, nil }

func openFile(path string) (vfs.File, int64, error) {
	f, err := vfs.OS.Open(path)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, size, nil
}
