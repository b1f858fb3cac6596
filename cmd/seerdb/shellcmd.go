package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// commands returns new commands of the shell for every line, so that their
// flags start from the defaults.
func (sh *shell) commands() *cobra.Command {
	root := &cobra.Command{Use: "shell", SilenceErrors: true, SilenceUsage: true, DisableSuggestions: true}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetOut(sh.out)
	root.SetErr(sh.errors)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentPreRunE = checkFlags
	root.AddCommand(sh.getCommand(), sh.putCommand(), sh.delCommand(), sh.delrangeCommand(), sh.mergeCommand(), sh.scanCommand(),
		sh.useCommand(), sh.keyspacesCommand(), sh.snapshotCommand(), sh.releaseCommand(),
		sh.beginCommand(), sh.commitCommand(), sh.rollbackCommand(), sh.statsCommand(), sh.quitCommand(),
		sh.countCommand(), sh.checkCommand(), sh.compactCommand(), sh.loadCommand(), sh.historyCommand())
	help := &cobra.Command{
		Use: "help [COMMAND]", Aliases: []string{"?"}, Short: "List the commands, or the flags of one; ? is the same", Args: wordCount(0, 1),
		RunE: func(_ *cobra.Command, args []string) error { return sh.help(root, args) },
	}
	root.SetHelpCommand(help)
	root.AddCommand(help)
	return root
}

func (sh *shell) help(root *cobra.Command, args []string) error {
	if len(args) == 1 {
		c, _, err := root.Find(args)
		if err != nil {
			return usageError{err}
		}
		_, err = fmt.Fprintf(sh.out, "%s: %s\n%s", strings.TrimSpace(c.Use), c.Short, c.LocalFlags().FlagUsages())
		return err
	}
	t := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	for _, c := range root.Commands() {
		fmt.Fprintf(t, "%s\t%s\n", c.Use, c.Short)
	}
	return t.Flush()
}

func (sh *shell) getCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get KEY", Short: "Print a value", Args: wordCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := sh.reader().Get([]byte(args[0]))
			if err != nil {
				return fmt.Errorf("key %s: %w", escape([]byte(args[0])), err)
			}
			_, err = fmt.Fprintln(sh.out, sh.formatValue(sh.operator(), v))
			return err
		},
	}
}

func (sh *shell) putCommand() *cobra.Command {
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "put KEY VALUE", Short: "Set a key", Args: wordCount(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := sh.parseValue(sh.operator(), "value", args[1])
			switch {
			case err != nil:
				return err
			case !cmd.Flags().Changed("ttl"):
				return sh.writer().Put([]byte(args[0]), v)
			case ttl <= 0:
				return usagef("--ttl is %v; it must be positive", ttl)
			}
			return sh.writer().PutTTL([]byte(args[0]), v, ttl)
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "the key is gone after this time, such as 90s, 10m or 36h")
	return cmd
}

func (sh *shell) delCommand() *cobra.Command {
	return &cobra.Command{
		Use: "del KEY", Short: "Delete a key", Args: wordCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error { return sh.writer().Delete([]byte(args[0])) },
	}
}

func (sh *shell) delrangeCommand() *cobra.Command {
	var f rangeFlags
	cmd := &cobra.Command{
		Use: "delrange", Short: "Delete a range of keys", Args: wordCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			lo, hi, err := f.toDelete()
			if err != nil {
				return err
			}
			return sh.writer().DeleteRange(lo, hi)
		},
	}
	f.boundFlags(cmd)
	f.allFlag(cmd)
	return cmd
}

// mergeCommand does not parse flags, since operands may be negative.
func (sh *shell) mergeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "merge KEY OPERAND", Short: "Merge an operand into a key", Args: wordCount(2, 2), DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if sh.operator() == "" {
				return usagef("the keyspace has no merge operator; use NAME --create --operator makes a keyspace with one, " +
					"and the default keyspace gets one from seerdb merge")
			}
			operand, err := sh.parseValue(sh.operator(), "operand", args[1])
			if err != nil {
				return err
			}
			return sh.writer().Merge([]byte(args[0]), operand)
		},
	}
}

func (sh *shell) scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use: "scan", Short: "Print keys and values in order", Args: wordCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lo, hi, err := f.bounds()
			if err != nil {
				return err
			}
			it, err := sh.reader().NewIter(f.options(lo, hi))
			if err != nil {
				return err
			}
			return f.print(sh.out, it, sh.operator(), cmd.Context().Err)
		},
	}
	f.boundFlags(cmd)
	f.rowFlags(cmd)
	f.key = quoteWord // in a form that can be typed again
	return cmd
}

func (sh *shell) useCommand() *cobra.Command {
	create, operator, separator := false, "", ""
	cmd := &cobra.Command{
		Use: "use [KEYSPACE]", Short: "Work on a keyspace, or on the default one", Args: wordCount(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return sh.enter("", false)
			}
			if operator != "" {
				if !create {
					return usagef("--operator needs --create")
				}
				if err := chooseOperator(sh.s.operators, args[0], operator, separator); err != nil {
					return err
				}
			}
			return sh.enter(args[0], create)
		},
	}
	cmd.Flags().BoolVar(&create, "create", false, "create it if it is missing")
	operatorFlags(cmd, &operator, &separator)
	return cmd
}

func (sh *shell) keyspacesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keyspaces", Short: "List the keyspaces, and figures of their tables", Args: wordCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			state, err := manifest.Recover(sh.files, "")
			if err != nil {
				return err
			}
			return printFigures(sh.out, figuresOf(state))
		},
	}
}

func (sh *shell) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stats", Short: "Print levels, sizes, amplification, memory", Args: wordCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := metricsOf(cmd.Context(), sh.s)
			if err != nil {
				return err
			}
			return printStats(sh.out, m)
		},
	}
}

func (sh *shell) snapshotCommand() *cobra.Command {
	return &cobra.Command{
		Use: "snapshot", Short: "Read the database as it is now, until release", Args: wordCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if err := sh.free(); err != nil {
				return err
			}
			sh.snap = sh.s.NewSnapshot()
			_, err := fmt.Fprintf(sh.out, "reading at sequence %d\n", sh.snap.Seq())
			return err
		},
	}
}

// free returns an error if a snapshot or a transaction is open.
func (sh *shell) free() error {
	switch {
	case sh.snap != nil:
		return usagef("a snapshot is open; end it with release")
	case sh.txn != nil:
		return usagef("a transaction is open; end it with commit or rollback")
	}
	return nil
}

func (sh *shell) releaseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "release", Short: "Close the snapshot", Args: wordCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if sh.snap == nil {
				return usagef("no snapshot is open")
			}
			err := sh.snap.Close()
			sh.snap = nil
			return err
		},
	}
}

var errNoTxn = usagef("no transaction is open")

func (sh *shell) beginCommand() *cobra.Command {
	si := false
	cmd := &cobra.Command{
		Use: "begin", Short: "Begin a transaction", Args: wordCount(0, 0),
		RunE: func(*cobra.Command, []string) (err error) {
			if err := sh.free(); err != nil {
				return err
			}
			o := &seerdb.TxnOptions{}
			if si {
				o.Isolation = seerdb.SnapshotIsolation
			}
			sh.txn, err = sh.s.Begin(o)
			return err
		},
	}
	cmd.Flags().BoolVar(&si, "snapshot-isolation", false, "only writes conflict (default: serializable)")
	return cmd
}

func (sh *shell) commitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "commit", Short: "Commit the transaction", Args: wordCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if sh.txn == nil {
				return errNoTxn
			}
			err := sh.txn.Commit()
			sh.txn = nil
			if errors.Is(err, seerdb.ErrConflict) {
				return fmt.Errorf("nothing was committed: %w", err)
			}
			return err
		},
	}
}

func (sh *shell) rollbackCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rollback", Short: "Undo the transaction", Args: wordCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if sh.txn == nil {
				return errNoTxn
			}
			sh.txn.Rollback()
			sh.txn = nil
			return nil
		},
	}
}

func (sh *shell) quitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "quit", Aliases: []string{"exit"}, Short: "Leave", Args: wordCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			sh.quit = true
			return nil
		},
	}
}
