package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// shell is a session with one database.
type shell struct {
	s           *store
	dir         string // as the user wrote it, for the prompt
	files       vfs.FS // of the directory, wherever its path leads now
	out, errors io.Writer
	encoding    // never hexadecimal

	keyspace string
	space    *seerdb.Keyspace // nil in the default keyspace
	snap     *seerdb.Snapshot // used by reads, if not nil
	txn      *seerdb.Txn      // used by reads and writes, if not nil
	history  *history         // nil if input comes from a pipe
	unsynced bool             // something was written since the last sync
	quit     bool
}

// enter makes a keyspace the current one.
func (sh *shell) enter(name string, create bool) error {
	if name == "" {
		sh.keyspace, sh.space = "", nil
		return nil
	}
	k, err := sh.s.space(name, create)
	if err != nil {
		return err
	}
	sh.keyspace, sh.space = name, k
	return nil
}

func (sh *shell) operator() string { return sh.s.operators[sh.keyspace] }

// committed returns the current keyspace without the transaction.
func (sh *shell) committed() reader {
	switch {
	case sh.snap != nil && sh.space != nil:
		return sh.snap.In(sh.space)
	case sh.snap != nil:
		return sh.snap
	case sh.space != nil:
		return sh.space
	}
	return sh.s.DB
}

func (sh *shell) reader() reader {
	switch {
	case sh.txn != nil && sh.space != nil:
		return sh.txn.In(sh.space)
	case sh.txn != nil:
		return sh.txn
	}
	return sh.committed()
}

func (sh *shell) writer() writer {
	switch {
	case sh.txn != nil && sh.space != nil:
		return sh.txn.In(sh.space)
	case sh.txn != nil:
		return sh.txn
	case sh.space != nil:
		return sh.space
	}
	return sh.s.DB
}

// settle makes writes durable before anything is printed that a reader may rely
// on.
func (sh *shell) settle() error {
	if !sh.unsynced {
		return nil
	}
	err := sh.s.Sync()
	sh.unsynced = err != nil
	return err
}

// end releases what the session holds, and returns whether it lost something.
func (sh *shell) end() (lost bool) {
	if sh.snap != nil {
		_ = sh.snap.Close()
		sh.snap = nil
	}
	if sh.txn != nil {
		sh.txn.Rollback()
		sh.txn = nil
		fmt.Fprintln(sh.errors, "the transaction was not committed: it is rolled back")
		return true
	}
	return false
}

// prompt returns the prompt: the keyspace, the sequence of a snapshot, a star
// in a transaction.
func (sh *shell) prompt() string {
	text := filepath.Base(filepath.Clean(sh.dir))
	if sh.keyspace != "" {
		text += "/" + quoteWord([]byte(sh.keyspace))
	}
	if sh.snap != nil {
		text += fmt.Sprintf("@%d", sh.snap.Seq())
	}
	if sh.txn != nil {
		text += "*"
	}
	return text + "> "
}

// wordCount checks the number of words after a command.
func wordCount(lo, hi int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < lo || len(args) > hi {
			return usagef("%d words after %s; expected %s", len(args), cmd.Name(), cmd.Use)
		}
		return nil
	}
}
