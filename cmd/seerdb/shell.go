package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

func shellCommand() *cobra.Command {
	var p place
	create, readOnly, noHistory, durability := false, false, false, ""
	cmd := &cobra.Command{
		Use: "shell DIR", Short: "Work with a database line by line, at a terminal or from a pipe",
		Long: "Work with a database line by line. At a terminal there are history, and with the tabulator\n" +
			"completion of commands, flags, keyspaces and keys; Ctrl-C ends a command or empties the line, Ctrl-D\n" +
			"leaves. From a pipe it runs a command from each line, and its exit status is 6 if any failed.\n\n" +
			"Words are separated by blanks. One with blanks in it is written like a string in Go, \"so\" or `so`,\n" +
			"or 'so', where only a single quote means something. The escapes of Go mean the same outside quotes.\n" +
			"A word in quotes is never a flag. A line that begins with # is a comment.\n\n" +
			"At a terminal each command is synced before the next. What a pipe brings is synced before anything\n" +
			"is printed and at the end, so that many writes share a sync; --durability sync syncs each.\n\n" +
			"The history is in the user's cache directory. Lines that begin with a blank are not kept.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			atTerminal := isTerminal(cmd.InOrStdin()) && isTerminal(cmd.OutOrStdout())
			d, err := shellDurability(durability, atTerminal)
			if err != nil {
				return err
			}
			s, err := openStore(args[0], &seerdb.Options{ErrorIfMissing: !create, ReadOnly: readOnly, Durability: d}, storedOperators(args[0]))
			if err != nil {
				return err
			}
			defer closing(s, &err)
			files, err := vfs.OS.OpenRoot(args[0])
			if err != nil {
				return err
			}
			defer files.Close()
			sh := &shell{s: s, dir: args[0], files: files, out: cmd.OutOrStdout(), errors: cmd.ErrOrStderr()}
			defer sh.end()
			if err := sh.enter(p.keyspace, create); err != nil {
				return err
			}
			if !atTerminal {
				return sh.script(cmd.Context(), cmd.InOrStdin())
			}
			h := &history{}
			if !noHistory {
				h = openHistory(historyFile())
			}
			sh.history = h
			return errors.Join(sh.interactive(cmd.Context(), h), sh.settle())
		},
	}
	p.flag(cmd)
	cmd.Flags().BoolVar(&create, "create", false, "create the database, and the keyspace, if missing")
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "change nothing")
	cmd.Flags().BoolVar(&noHistory, "no-history", false, "neither read nor write the file with the history")
	cmd.Flags().StringVar(&durability, "durability", "", "sync, buffered or relaxed (default: sync at a terminal, buffered from a pipe)")
	cmd.MarkFlagsMutuallyExclusive("create", "read-only")
	return cmd
}

// durabilities are the modes that the command line has names for.
var durabilities = map[string]seerdb.Durability{"sync": seerdb.Sync, "buffered": seerdb.Buffered, "relaxed": seerdb.Relaxed}

func parseDurability(name string) (seerdb.Durability, error) {
	d, ok := durabilities[name]
	if !ok {
		return d, usagef("--durability is %q; expected sync, buffered or relaxed", name)
	}
	return d, nil
}

func shellDurability(name string, atTerminal bool) (seerdb.Durability, error) {
	switch {
	case name != "":
		return parseDurability(name)
	case atTerminal:
		return seerdb.Sync, nil
	}
	return seerdb.Buffered, nil
}

// errShell ends a script in which commands failed; each said so.
var errShell = errors.New("not every command was carried out")

// shell is a session with one database.
type shell struct {
	s           *store
	dir         string // as the user gave it, for the prompt
	files       vfs.FS // of the directory, whatever its path leads to by now
	out, errors io.Writer
	encoding    // never hexadecimal

	keyspace string
	space    *seerdb.Keyspace // nil in the default keyspace
	snap     *seerdb.Snapshot // what reads see, if there is one
	txn      *seerdb.Txn      // what reads and writes go through, if there is one
	history  *history         // nil from a pipe
	unsynced bool             // something was written since the last sync
	quit     bool
}

// shellReader is what the shell reads from: a keyspace now, at a snapshot, or in
// a transaction.
type shellReader interface {
	Get(key []byte) ([]byte, error)
	NewIter(o *seerdb.IterOptions) (*seerdb.Iter, error)
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

// committed is the current keyspace without the transaction.
func (sh *shell) committed() shellReader {
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

func (sh *shell) reader() shellReader {
	switch {
	case sh.txn != nil && sh.space != nil:
		return sh.txn.In(sh.space)
	case sh.txn != nil:
		return sh.txn
	}
	return sh.committed()
}

func (sh *shell) writer() shellWriter {
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

// end lets go of what the session holds, and says whether it lost something.
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

// run carries out one line.
func (sh *shell) run(ctx context.Context, line string) error {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return nil
	}
	words, quoted, err := splitWords(line)
	if err != nil || len(words) == 0 {
		return err
	}
	switch words[0] {
	case "put", "del", "delrange", "merge", "commit":
		sh.unsynced = true
	case "begin", "rollback", "use":
	default:
		if err := sh.settle(); err != nil {
			return err
		}
	}
	root := sh.commands()
	root.SetArgs(arrange(root, words, func(i int) bool { return quoted[i] }))
	return root.ExecuteContext(ctx)
}

// settle makes durable what was written, before anything is printed on which a
// reader may rely.
func (sh *shell) settle() error {
	if !sh.unsynced {
		return nil
	}
	err := sh.s.Sync()
	sh.unsynced = err != nil
	return err
}

// script runs every line, whatever became of those before.
func (sh *shell) script(ctx context.Context, in io.Reader) error {
	l := text{r: bufio.NewReaderSize(in, 64<<10), o: &rowOptions{crlf: true}}
	failed := false
	for !sh.quit {
		line, err := l.line(nil)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := sh.run(ctx, string(line)); err != nil {
			fmt.Fprintf(sh.errors, "seerdb: line %d: %s\n", l.n, sentence(err))
			failed = true
		}
	}
	lost := sh.end()
	if err := sh.settle(); err != nil {
		return err
	}
	if lost || failed {
		return errShell
	}
	return nil
}

// prompt shows where the session is: the keyspace, the sequence of a snapshot, a
// star in a transaction.
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
