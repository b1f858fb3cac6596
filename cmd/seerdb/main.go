// Command seerdb works with seerdb databases from the command line: it loads,
// reads, inspects, checks and measures them. `seerdb demo` shows all of it on
// bundled data.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
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
		Long:          "Load, read, inspect, check and measure seerdb databases.\nThe database directory is the first argument of most commands.\n\n" + exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,

		PersistentPreRunE: checkFlags,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		demoCommand(), writerCommand(), crashTestCommand(), batchWriterCommand(),
		loadCommand(), exportCommand(),
		getCommand(), putCommand(), delCommand(), mergeCommand(), scanCommand(), countCommand(), delrangeCommand(),
		keyspacesCommand(), dropCommand(),
		statsCommand(), checkCommand(), compactCommand(), dumpCommand(), lsmCommand(), benchCommand(),
		shellCommand(),
	)
	return root
}
