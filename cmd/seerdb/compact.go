package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func compactCommand() *cobra.Command {
	var f rangeFlags
	cmd := &cobra.Command{
		Use: "compact DIR", Short: "Rewrite until every key is in one place",
		Long: "Rewrite the tables of every keyspace, or of the one that --keyspace names, until each key is in\n" +
			"one place. Bounds apply to the default keyspace unless another is named.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			lo, hi, err := f.bounds()
			if err != nil {
				return err
			}
			s, err := openExisting(args[0], false)
			if err != nil {
				return err
			}
			defer closing(s, &err)
			names := []string{f.keyspace}
			if f.keyspace == "" && f.unbounded() {
				others, err := s.Keyspaces()
				if err != nil {
					return err
				}
				names = append(names, others...)
			}
			return s.compact(cmd.Context(), names, lo, hi, cmd.ErrOrStderr())
		},
	}
	f.flags(cmd)
	return cmd
}

// compact compacts keyspaces, with progress on a terminal, and prints what it
// did.
func (s *store) compact(ctx context.Context, names []string, lo, hi []byte, messages io.Writer) error {
	before := s.Metrics()
	stop := watch(messages, stored(before), "compacting", readSince(s.DB, before))
	defer func() { stop() }()
	for _, name := range names {
		t, err := s.tree(name, false)
		if err != nil {
			return err
		}
		if err := t.Compact(ctx, lo, hi); err != nil {
			return err
		}
	}
	stop()
	stop = func() {}
	_, err := fmt.Fprintf(messages, "%s in tables and value files before, %s after\n", size(stored(before)), size(stored(s.Metrics())))
	return err
}
