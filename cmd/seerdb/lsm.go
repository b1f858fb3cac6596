package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

func lsmCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "lsm DIR", Short: "Draw the tree: tables to scale, runs that reads visit, debt and garbage",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := manifest.Recover(vfs.OS, args[0])
			if err != nil {
				return err
			}
			if out == "" {
				return printTree(cmd.OutOrStdout(), s)
			}
			if err := drawTree(out, args[0], s); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s; open it in a browser\n", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "html", "", "write a self-contained page to this file; without it print text")
	return cmd
}

// printTree prints the tables of each keyspace. It prints no names if there is
// only the default one.
func printTree(w io.Writer, s *manifest.State) error {
	spaces := allSpaces(s)
	if len(spaces) == 1 {
		_, err := fmt.Fprint(w, s.Version.String())
		return err
	}
	for _, k := range spaces {
		text := s.Version.Tree(k.ID).String()
		if text == "" {
			text = "nothing in tables\n"
		}
		if _, err := fmt.Fprintf(w, "%s\n%s\n", describeSpace(&k), text); err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(w, (&manifest.Version{Values: s.Version.Values}).String())
	return err
}

// drawTree writes the page to a file.
func drawTree(out, dir string, s *manifest.State) error {
	return writeFile(out, func(w io.Writer) error { return drawPage(w, dir, s) })
}
