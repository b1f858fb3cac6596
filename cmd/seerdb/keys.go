package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/merger"
)

// keyFlags are the flags of commands on one key.
type keyFlags struct {
	encoding
	place
}

func (f *keyFlags) flags(cmd *cobra.Command) {
	f.encoding.flag(cmd)
	f.place.flag(cmd)
}

func getCommand() *cobra.Command {
	var f keyFlags
	expiry := false
	cmd := &cobra.Command{
		Use: "get DIR KEY", Short: "Print the value of a key, exactly as stored",
		Long: "Print the value of a key, exactly as stored. Counters are printed as decimal numbers and\n" +
			"sets as their elements, separated by commas, if the keyspace has that merge operator.\n" +
			"With --expiry, print when the key expires instead, or - if it does not.",
		Args: exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := f.parse("key", args[1])
			if err != nil {
				return err
			}
			return reading(args[0], f.place, func(s *store, t tree) error {
				text, err := f.read(s, t, key, expiry)
				if err != nil {
					return fmt.Errorf("key %s: %w", f.format(key), err)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
				return err
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&expiry, "expiry", false, "print when the key expires, or -, instead of the value")
	return cmd
}

// read returns the text of a value, or of its expiry.
func (f *keyFlags) read(s *store, t tree, key []byte, expiry bool) (string, error) {
	if expiry {
		at, expires, err := t.Expiry(key)
		return momentText(at, expires), err
	}
	v, err := t.Get(key)
	return f.exact(s.operators[f.keyspace], v), err
}

// exact returns a value alone, which may have several lines.
func (e *encoding) exact(operator string, v []byte) string {
	if s, ok := e.special(operator, v); ok {
		return s
	}
	if e.hex {
		return e.format(v)
	}
	return string(v)
}

func putCommand() *cobra.Command {
	var f keyFlags
	var ttl time.Duration
	create := false
	cmd := &cobra.Command{
		Use: "put DIR KEY VALUE", Short: "Set a key; VALUE - reads standard input",
		Long: "Set a key; VALUE - reads standard input. The database and the keyspace are created if missing.",
		Args: exactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := f.parse("key", args[1])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("ttl") && ttl <= 0 {
				return usagef("--ttl is %v; it must be positive", ttl)
			}
			if args[2] == "-" {
				b, err := io.ReadAll(cmd.InOrStdin())
				if err != nil {
					return err
				}
				return f.put(args[0], create, key, string(b), true, ttl)
			}
			return f.put(args[0], create, key, args[2], false, ttl)
		},
	}
	f.flags(cmd)
	createFlag(cmd, &create)
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "the key is gone after this time, such as 90s, 10m or 36h")
	return cmd
}

// put sets a key. Values from files are never hexadecimal.
func (f *keyFlags) put(dir string, create bool, key []byte, text string, file bool, ttl time.Duration) error {
	s, err := openToWrite(dir, create, seerdb.Sync)
	if err != nil {
		return err
	}
	return s.within(f.place, true, func(s *store, t tree) error {
		e := encoding{hex: f.hex && !file}
		operator := s.operators[f.keyspace]
		if f.hex {
			operator = ""
		}
		value, err := e.parseValue(operator, "value", text)
		switch {
		case err != nil:
			return err
		case ttl > 0:
			return t.PutTTL(key, value, ttl)
		}
		return t.Put(key, value)
	})
}

func delCommand() *cobra.Command {
	var f keyFlags
	cmd := &cobra.Command{
		Use: "del DIR KEY", Short: "Delete a key; KEY - reads keys from standard input, one on a line",
		Long: "Delete a key. KEY - reads keys from standard input, one on each line as scan --keys prints them, and\n" +
			"deletes them in batches, synced at the end. To delete the key \"-\", write --hex 2d.",
		Args: exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] == "-" {
				return f.deleteLines(args[0], cmd.InOrStdin(), cmd.ErrOrStderr())
			}
			key, err := f.parse("key", args[1])
			if err != nil {
				return err
			}
			return writing(args[0], f.place, func(_ *store, t tree) error { return t.Delete(key) })
		},
	}
	f.flags(cmd)
	return cmd
}

// deleteLines deletes the keys in the lines of in.
func (f *keyFlags) deleteLines(dir string, in io.Reader, messages io.Writer) error {
	s, err := openStore(dir, &seerdb.Options{ErrorIfMissing: true, Durability: seerdb.Buffered}, storedOperators(dir))
	if err != nil {
		return err
	}
	return s.within(f.place, false, func(s *store, t tree) error {
		b := s.NewBatch()
		del := b.Delete
		if k, ok := t.(*seerdb.Keyspace); ok {
			del = b.In(k).Delete
		}
		keys := text{r: bufio.NewReaderSize(in, 64<<10), o: newRowOptions()}
		n, deleted := int64(0), int64(0)
		for {
			line, err := keys.line(nil)
			var key []byte
			if err == nil {
				key, err = f.parseKeyLine(string(line))
			}
			if err == nil {
				err = del(key)
			}
			if err == nil {
				n++
			}
			if err != nil || b.Size() >= loadBatchBytes {
				if aerr := s.Apply(b, seerdb.DefaultDurability); aerr != nil {
					return fmt.Errorf("%w (%s before it deleted)", aerr, counted(deleted, "key"))
				}
				b.Reset()
				deleted = n
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return fmt.Errorf("line %d: %w (%s before it deleted)", keys.n, err, counted(deleted, "key"))
			}
		}
		if err := s.Sync(); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(messages, "deleted %s\n", counted(deleted, "key"))
		return nil
	})
}

func (f *keyFlags) parseKeyLine(line string) ([]byte, error) {
	key := []byte(fromLine(line))
	if f.hex {
		var err error
		if key, err = f.parse("key", line); err != nil {
			return nil, err
		}
	}
	if len(key) > seerdb.MaxKeySize {
		return nil, usagef("the key is longer than %d bytes", seerdb.MaxKeySize)
	}
	return key, nil
}

// operators are the merge operators that have a short name on the command line.
var operators = map[string]func(separator string) seerdb.Merger{
	"counter": func(string) seerdb.Merger { return merger.Counter{} },
	"append":  func(sep string) seerdb.Merger { return merger.Append{Sep: sep} },
	"max":     func(string) seerdb.Merger { return merger.Max{} },
	"min":     func(string) seerdb.Merger { return merger.Min{} },
	"union":   func(string) seerdb.Merger { return merger.Union{} },
}

func operatorNames() string { return strings.Join(slices.Sorted(maps.Keys(operators)), ", ") }

// storedName returns the name under which an operator is stored.
func storedName(short, separator string) (string, error) {
	make, ok := operators[short]
	if !ok {
		return "", usagef("there is no merge operator %q; there are %s", short, operatorNames())
	}
	return make(separator).Name(), nil
}

func mergeCommand() *cobra.Command {
	var f keyFlags
	var operator, separator string
	create := false
	cmd := &cobra.Command{
		Use: "merge DIR KEY OPERAND", Short: "Merge an operand into a key, without reading it",
		Long: "Merge an operand into a key. The first merge in a keyspace chooses the operator, which is\n" +
			"stored; later merges need not name it, and cannot name another. The operators:\n\n" +
			"  counter  adds decimal numbers, also negative ones\n" +
			"  append   appends, with --separator between each two operands\n" +
			"  max      keeps the largest value, bytewise\n" +
			"  min      keeps the smallest value, bytewise\n" +
			"  union    adds an element to a set",
		Args: exactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := f.parse("key", args[1])
			if err != nil {
				return err
			}
			if operator == "" && cmd.Flags().Changed("separator") {
				return usagef("--separator needs --operator append")
			}
			names := storedOperators(args[0])
			if err := chooseOperator(names, f.keyspace, operator, separator); err != nil {
				return err
			}
			operand, err := f.parseValue(names[f.keyspace], "operand", args[2])
			if err != nil {
				return err
			}
			if !create {
				if err := checkNew(args[0], "give --create to make one among them"); err != nil {
					return err
				}
			}
			s, err := openStore(args[0], &seerdb.Options{}, names)
			if err != nil {
				return err
			}
			return s.within(f.place, true, func(_ *store, t tree) error { return t.Merge(key, operand) })
		},
	}
	f.flags(cmd)
	createFlag(cmd, &create)
	operatorFlags(cmd, &operator, &separator)
	return cmd
}

func operatorFlags(cmd *cobra.Command, operator, separator *string) {
	cmd.Flags().StringVar(operator, "operator", "", "merge operator: "+operatorNames())
	cmd.Flags().StringVar(separator, "separator", ",", "what the operator append puts between operands")
}

// chooseOperator adds the operator of the command line to the stored ones, with
// which it must agree.
func chooseOperator(names map[string]string, keyspace, operator, separator string) error {
	stored := names[keyspace]
	if operator == "" {
		if stored == "" {
			return usagef("this keyspace has no merge operator yet: choose one with --operator: %s", operatorNames())
		}
		return nil
	}
	name, err := storedName(operator, separator)
	switch {
	case err != nil:
		return err
	case stored != "" && stored != name:
		return usagef("the keyspace has the merge operator %s and cannot use %s", stored, name)
	}
	names[keyspace] = name
	return nil
}
