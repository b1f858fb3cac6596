package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
)

// rangeFlags select keys of a keyspace. An empty flag is not the same as a
// missing one.
type rangeFlags struct {
	encoding
	place
	prefix, from, to string
	all              bool // of delrange
	given            func(name string) bool
}

func (f *rangeFlags) flags(cmd *cobra.Command) {
	f.encoding.flag(cmd)
	f.place.flag(cmd)
	f.boundFlags(cmd)
}

func (f *rangeFlags) boundFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.prefix, "prefix", "", "only keys that begin with this")
	cmd.Flags().StringVar(&f.from, "from", "", "first key")
	cmd.Flags().StringVar(&f.to, "to", "", "end before this key")
	f.given = cmd.Flags().Changed
}

func (f *rangeFlags) unbounded() bool {
	return !f.given("prefix") && !f.given("from") && !f.given("to")
}

// bounds returns the first key and the end; nil is no end.
func (f *rangeFlags) bounds() (lo, hi []byte, err error) {
	if f.given("prefix") && (f.given("from") || f.given("to")) {
		return nil, nil, usagef("--prefix cannot be used with --from or --to")
	}
	if f.given("prefix") {
		p, err := f.parse("--prefix", f.prefix)
		return p, seerdb.PrefixEnd(p), err
	}
	if lo, err = f.parse("--from", f.from); err != nil || !f.given("to") {
		return lo, nil, err
	}
	hi, err = f.parse("--to", f.to)
	if err == nil && len(hi) == 0 {
		err = usagef("--to is empty, and no key is before the empty one; leave it out for all keys to the last")
	}
	return lo, hi, err
}

// scanFlags are the flags of scan.
type scanFlags struct {
	rangeFlags
	limit                     int
	reverse, keysOnly, expiry bool
	key                       func([]byte) string // prints a key
}

func scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use: "scan DIR", Short: "Print keys and values in order, a tab between them",
		Long: "Print keys and values in order, a tab between them. Printable text is printed unchanged; other bytes,\n" +
			"and the empty string, as a quoted Go string. Counters are printed as decimal numbers and sets as\n" +
			"their elements, separated by commas, if the keyspace has that merge operator.\n" +
			"The output of --keys is input for seerdb del DIR -.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			lo, hi, err := f.bounds()
			if err != nil {
				return err
			}
			return reading(args[0], f.place, func(s *store, t tree) error {
				it, err := t.NewIter(f.options(lo, hi))
				if err != nil {
					return err
				}
				return f.print(cmd.OutOrStdout(), it, s.operators[f.keyspace], func() error { return nil })
			})
		},
	}
	f.flags(cmd)
	f.rowFlags(cmd)
	f.key = f.format
	return cmd
}

func (f *scanFlags) rowFlags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.limit, "limit", 0, "at most this many rows (0: all)")
	cmd.Flags().BoolVar(&f.reverse, "reverse", false, "from the last key to the first")
	cmd.Flags().BoolVar(&f.keysOnly, "keys", false, "print keys only")
	cmd.Flags().BoolVar(&f.expiry, "expiry", false, "print at the end of each row when it expires, or -")
}

func (f *scanFlags) options(lo, hi []byte) *seerdb.IterOptions {
	return &seerdb.IterOptions{LowerBound: lo, UpperBound: hi, KeysOnly: f.keysOnly, Bulk: f.limit == 0}
}

// print prints rows and closes the iterator. Before each row it calls stop.
func (f *scanFlags) print(w io.Writer, it *seerdb.Iter, operator string, stop func() error) error {
	step, ok := it.Next, it.First()
	if f.reverse {
		step, ok = it.Prev, it.Last()
	}
	for n := 0; ok && (f.limit == 0 || n < f.limit); n++ {
		line := f.key(it.Key())
		if !f.keysOnly {
			v := it.Value()
			if !it.Valid() {
				break // the value cannot be read, and Close returns why
			}
			line += "\t" + f.formatValue(operator, v)
		}
		if f.expiry {
			line += "\t" + momentText(it.Expiry())
		}
		_, err := fmt.Fprintln(w, line)
		if err == nil {
			err = stop()
		}
		if err != nil {
			_ = it.Close()
			return err
		}
		ok = step()
	}
	return it.Close()
}

func countCommand() *cobra.Command {
	var f rangeFlags
	cmd := &cobra.Command{
		Use: "count DIR", Short: "Count all keys, or those of a range",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			lo, hi, err := f.bounds()
			if err != nil {
				return err
			}
			return reading(args[0], f.place, func(_ *store, t tree) error {
				n, err := countKeys(cmd.Context(), t, lo, hi)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), n)
				return err
			})
		},
	}
	f.flags(cmd)
	return cmd
}

// countKeys counts keys until ctx ends.
func countKeys(ctx context.Context, t reader, lo, hi []byte) (n int64, err error) {
	it, err := t.NewIter(&seerdb.IterOptions{LowerBound: lo, UpperBound: hi, KeysOnly: true, Bulk: true})
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			_ = it.Close()
			return n, ctx.Err()
		}
	}
	return n, it.Close()
}

func delrangeCommand() *cobra.Command {
	var f rangeFlags
	cmd := &cobra.Command{
		Use: "delrange DIR", Short: "Delete a range of keys, at the cost of one delete",
		Long: "Delete the keys --from up to, but not including, --to, or those with a --prefix. Only --all\n" +
			"deletes every key of the keyspace.",
		Args: exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			lo, hi, err := f.toDelete()
			if err != nil {
				return err
			}
			return writing(args[0], f.place, func(_ *store, t tree) error { return t.DeleteRange(lo, hi) })
		},
	}
	f.flags(cmd)
	f.allFlag(cmd)
	return cmd
}

func (f *rangeFlags) allFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.all, "all", false, "delete every key of the keyspace")
}

// toDelete returns the bounds of the keys to delete. Only --all deletes all
// keys: a missing flag, or one with an unset variable, does not.
func (f *rangeFlags) toDelete() (lo, hi []byte, err error) {
	switch {
	case f.all && !f.unbounded():
		return nil, nil, usagef("--all cannot be used with --prefix, --from or --to")
	case f.all:
		return nil, nil, nil
	case f.unbounded():
		return nil, nil, usagef("give --prefix, --from or --to, or --all to delete every key")
	}
	if lo, hi, err = f.bounds(); err == nil && len(lo) == 0 && hi == nil {
		err = usagef("this is every key; give --all if you mean it")
	}
	return lo, hi, err
}
