package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb/internal/manifest"
)

// This file has the commands of the shell that work on a whole keyspace or
// database, and those of the shell itself.

func (sh *shell) countCommand() *cobra.Command {
	var f rangeFlags
	cmd := &cobra.Command{
		Use: "count", Short: "Count all keys, or those of a range", Args: wordCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lo, hi, err := f.bounds()
			if err != nil {
				return err
			}
			n, err := countKeys(cmd.Context(), sh.reader(), lo, hi)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(sh.out, n)
			return err
		},
	}
	f.boundFlags(cmd)
	return cmd
}

func (sh *shell) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Read every byte of the database and verify it", Args: wordCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := verify(cmd.Context(), sh.s.DB, sh.errors)
			if err != nil {
				return err
			}
			state, err := manifest.Recover(sh.files, "")
			if err != nil {
				return err
			}
			reportText(sh.out, r, state)
			if !r.Clean() {
				return errDamage
			}
			return nil
		},
	}
}

func (sh *shell) compactCommand() *cobra.Command {
	var f rangeFlags
	cmd := &cobra.Command{
		Use: "compact", Short: "Rewrite the keyspace until every key is in one place", Args: wordCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lo, hi, err := f.bounds()
			if err != nil {
				return err
			}
			return sh.s.compact(cmd.Context(), []string{sh.keyspace}, lo, hi, sh.errors)
		},
	}
	f.boundFlags(cmd)
	return cmd
}

func (sh *shell) loadCommand() *cobra.Command {
	l := loader{format: "tsv", o: newRowOptions()}
	cmd := &cobra.Command{
		Use: "load FILE", Short: "Load rows from a file, as seerdb load does", Args: wordCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if sh.txn != nil {
				return usagef("load makes commits of its own, and a transaction is open; end it with commit or rollback")
			}
			if args[0] == "-" || args[0] == "" {
				return usagef("load needs the name of a file")
			}
			if err := l.check(); err != nil {
				return err
			}
			in, size, err := openInput(args[0], nil)
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }()
			t, err := sh.s.tree(sh.keyspace, false)
			if err != nil {
				return err
			}
			return l.run(sh.s.DB, t, in, size, sh.errors)
		},
	}
	l.flags(cmd)
	return cmd
}

func (sh *shell) historyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "history [TEXT]", Short: "List the lines of this and earlier sessions, or those that contain TEXT", Args: wordCount(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if sh.history == nil {
				return usagef("the history exists only at a terminal")
			}
			for _, line := range sh.history.lines {
				if len(args) == 0 || strings.Contains(line, args[0]) {
					if _, err := fmt.Fprintln(sh.out, line); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
}
