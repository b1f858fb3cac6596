// Command seerdb works with seerdb databases from the command line: it loads,
// reads, inspects, checks and measures them. `seerdb demo` shows all of it on
// bundled data.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb/internal/base"
)

func main() { os.Exit(run()) }

func run() int {
	root := newRoot()
	root.SetArgs(arrange(root, os.Args[1:], func(int) bool { return false }))
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
		Version:       versionText(),
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
		shellCommand(), versionCommand(),
	)
	root.SetVersionTemplate("{{.Version}}\n")
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of the tool, and the newest format that it knows",
		Args: rangeArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionText())
			return err
		},
	}
}

// versionText returns the version that the Go tool recorded in the program.
func versionText() string {
	version, revision := "(unknown)", ""
	if b, ok := debug.ReadBuildInfo(); ok {
		if b.Main.Version != "" {
			version = b.Main.Version
		}
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				revision = ", revision " + s.Value
			}
		}
	}
	return fmt.Sprintf("seerdb %s%s, database format %d, %s, %s/%s", version, revision, base.FormatNewest,
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
