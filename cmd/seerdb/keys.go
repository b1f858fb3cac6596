package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
)

// encoding says how keys and values appear on the command line: escaped as in
// a Go string without its quotes, or in hexadecimal.
type encoding struct{ hex bool }

func (e *encoding) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&e.hex, "hex", false, "read and print keys and values in hexadecimal")
}

func (e *encoding) parse(what, s string) ([]byte, error) {
	if !e.hex {
		return []byte(s), nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, usagef("%s %q is not hexadecimal: %w", what, s, err)
	}
	return b, nil
}

func (e *encoding) format(b []byte) string {
	if e.hex {
		return hex.EncodeToString(b)
	}
	return escape(b)
}

// escape prints b so that it fits on one line and can be read back.
func escape(b []byte) string {
	q := strconv.Quote(string(b))
	return q[1 : len(q)-1]
}

func getCommand() *cobra.Command {
	var e encoding
	cmd := &cobra.Command{
		Use: "get DIR KEY", Short: "Print the value of a key, exactly as stored",
		Args: exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			key, err := e.parse("key", args[1])
			if err != nil {
				return err
			}
			db, err := openExisting(args[0], true)
			if err != nil {
				return err
			}
			defer closing(db, &err)
			v, err := db.Get(key)
			if err != nil {
				return fmt.Errorf("key %s: %w", e.format(key), err)
			}
			if e.hex {
				v = []byte(hex.EncodeToString(v))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", v)
			return err
		},
	}
	e.flag(cmd)
	return cmd
}

func putCommand() *cobra.Command {
	var e encoding
	cmd := &cobra.Command{
		Use: "put DIR KEY VALUE", Short: "Set a key; VALUE - reads standard input",
		Args: exactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			key, err := e.parse("key", args[1])
			if err != nil {
				return err
			}
			var value []byte
			if args[2] == "-" {
				value, err = io.ReadAll(cmd.InOrStdin())
			} else {
				value, err = e.parse("value", args[2])
			}
			if err != nil {
				return err
			}
			return write(args[0], func(db *seerdb.DB) error { return db.Put(key, value) })
		},
	}
	e.flag(cmd)
	return cmd
}

func delCommand() *cobra.Command {
	var e encoding
	cmd := &cobra.Command{
		Use: "del DIR KEY", Short: "Delete a key",
		Args: exactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := e.parse("key", args[1])
			if err != nil {
				return err
			}
			return write(args[0], func(db *seerdb.DB) error { return db.Delete(key) })
		},
	}
	e.flag(cmd)
	return cmd
}

// write opens a database, creating it if missing, for one commit.
func write(dir string, f func(*seerdb.DB) error) (err error) {
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		return err
	}
	defer closing(db, &err)
	return f(db)
}

// scanFlags are the flags of scan.
type scanFlags struct {
	encoding
	prefix, from, to  string
	limit             int
	reverse, keysOnly bool
}

func scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use: "scan DIR", Short: "Print keys and values in order, a tab between them",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			lo, hi, err := f.bounds()
			if err != nil {
				return err
			}
			db, err := openExisting(args[0], true)
			if err != nil {
				return err
			}
			defer closing(db, &err)
			return f.print(db, cmd.OutOrStdout(), lo, hi)
		},
	}
	f.flag(cmd)
	cmd.Flags().StringVar(&f.prefix, "prefix", "", "only keys that begin with this")
	cmd.Flags().StringVar(&f.from, "from", "", "first key")
	cmd.Flags().StringVar(&f.to, "to", "", "end before this key")
	cmd.Flags().IntVar(&f.limit, "limit", 0, "at most this many rows (0: all)")
	cmd.Flags().BoolVar(&f.reverse, "reverse", false, "from the last key to the first")
	cmd.Flags().BoolVar(&f.keysOnly, "keys", false, "print keys only")
	return cmd
}

func (f *scanFlags) bounds() (lo, hi []byte, err error) {
	if f.prefix != "" && (f.from != "" || f.to != "") {
		return nil, nil, usagef("--prefix cannot be used with --from or --to")
	}
	if f.prefix != "" {
		p, err := f.parse("prefix", f.prefix)
		return p, prefixEnd(p), err
	}
	if f.from != "" {
		if lo, err = f.parse("--from", f.from); err != nil {
			return nil, nil, err
		}
	}
	if f.to != "" {
		hi, err = f.parse("--to", f.to)
	}
	return lo, hi, err
}

// prefixEnd is the first key after all keys with a prefix; nil: none.
func prefixEnd(p []byte) []byte {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] < 0xff {
			end := append([]byte(nil), p[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}

func (f *scanFlags) print(db *seerdb.DB, w io.Writer, lo, hi []byte) error {
	it, err := db.NewIter(&seerdb.IterOptions{LowerBound: lo, UpperBound: hi, KeysOnly: f.keysOnly, Bulk: f.limit == 0})
	if err != nil {
		return err
	}
	step, ok := it.Next, it.First()
	if f.reverse {
		step, ok = it.Prev, it.Last()
	}
	for n := 0; ok && (f.limit == 0 || n < f.limit); n++ {
		line := f.format(it.Key())
		if !f.keysOnly {
			line += "\t" + f.format(it.Value())
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			_ = it.Close()
			return err
		}
		ok = step()
	}
	return it.Close()
}
