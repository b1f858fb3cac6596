package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

func shellCommand() *cobra.Command {
	var p place
	create, readOnly, noHistory, durability := false, false, false, ""
	cmd := &cobra.Command{
		Use: "shell DIR", Short: "Work with a database line by line, at a terminal or from a pipe",
		Long: "Work with a database line by line. At a terminal there is a history, and Tab completes\n" +
			"commands, flags, keyspaces and keys; Ctrl-C ends a command or empties the line, Ctrl-D\n" +
			"leaves. From a pipe it runs a command from each line, and its exit status is 6 if any failed.\n\n" +
			"Words are separated by blanks. A word with blanks is quoted like a Go string, \"so\" or `so`, or\n" +
			"'so', in which only a single quote is special. Escapes of Go are also valid outside quotes.\n" +
			"A word in quotes is never a flag. A line that begins with # is a comment.\n\n" +
			"At a terminal each command is synced before the next. Writes from a pipe are synced before anything\n" +
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

func shellDurability(name string, atTerminal bool) (seerdb.Durability, error) {
	switch {
	case name != "":
		return parseDurability(name)
	case atTerminal:
		return seerdb.Sync, nil
	}
	return seerdb.Buffered, nil
}
