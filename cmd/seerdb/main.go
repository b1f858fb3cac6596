// Command seerdb works with seerdb databases from the command line: it loads,
// reads, inspects, checks and measures them. `seerdb demo` shows all of it on
// bundled data.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
)

// Exit codes, the same for every command.
const (
	exitDamage = 1 // the database is damaged, a check failed, or a command of a script
	exitUsage  = 2 // the command line, or an argument, makes no sense
	exitIO     = 3 // the system said no
)

func main() { os.Exit(run()) }

func run() int {
	root := newRoot()
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "seerdb:", sentence(err))
		return exitCode(err)
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "seerdb",
		Short:         "Work with seerdb databases",
		Long:          "Load, read, inspect, check and measure seerdb databases.\nThe database directory is the first argument of most commands.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		demoCommand(), writerCommand(), crashTestCommand(), batchWriterCommand(),
		loadCommand(), exportCommand(),
		getCommand(), putCommand(), delCommand(), mergeCommand(), scanCommand(), delrangeCommand(),
		keyspacesCommand(), dropCommand(),
		statsCommand(), checkCommand(), compactCommand(), dumpCommand(), lsmCommand(), benchCommand(),
		shellCommand(),
	)
	return root
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exactArgs and rangeArgs are cobra's, with our exit code.
func exactArgs(n int) cobra.PositionalArgs { return rangeArgs(n, n) }

func rangeArgs(lo, hi int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < lo || len(args) > hi {
			return usagef("%s takes %s; see %s --help", cmd.CommandPath(), cmd.Use, cmd.CommandPath())
		}
		return nil
	}
}

func exitCode(err error) int {
	var u usageError
	switch {
	case errors.As(err, &u), errors.Is(err, seerdb.ErrInvalidOptions), errors.Is(err, seerdb.ErrNotExist),
		errors.Is(err, seerdb.ErrNoKeyspace), errors.Is(err, seerdb.ErrKeyTooLarge), errors.Is(err, seerdb.ErrValueTooLarge):
		return exitUsage
	case errors.Is(err, seerdb.ErrCorruption), errors.Is(err, errDamage), errors.Is(err, errShell), errors.Is(err, seerdb.ErrNotFound):
		return exitDamage
	case strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage // cobra has no type for it
	}
	return exitIO
}

// sentence drops the package prefix, which the tool prints itself.
func sentence(err error) string {
	const prefix = "seerdb: "
	s := err.Error()
	if len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):]
	}
	return s
}
