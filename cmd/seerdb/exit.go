package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seerdb-go/seerdb"
)

// The exit codes of all commands. A test checks that the help of seerdb and
// README.md list them.
const (
	exitDamage   = 1 // the database is damaged, or a check failed
	exitUsage    = 2 // the command line, an argument or a row of input is invalid
	exitIO       = 3 // the system refused an operation, or any other error
	exitNotFound = 4 // there is no such key, keyspace or database
	exitExists   = 5 // there is a database already
	exitScript   = 6 // commands from a pipe failed, each with a message of its own
)

const exitHelp = "Exit codes:\n" +
	"  0  done\n" +
	"  1  the database is damaged, or a check failed\n" +
	"  2  the command line, an argument or a row of input makes no sense\n" +
	"  3  input or output failed, or anything else\n" +
	"  4  there is no such key, keyspace or database\n" +
	"  5  there is a database already\n" +
	"  6  commands of a shell from a pipe failed"

func exitCode(err error) int {
	var u usageError
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(seerdb.ErrCorruption, errDamage):
		return exitDamage
	case is(seerdb.ErrNotFound, seerdb.ErrNotExist, seerdb.ErrNoKeyspace):
		return exitNotFound
	case is(seerdb.ErrExists):
		return exitExists
	case is(errShell):
		return exitScript
	case errors.As(err, &u), is(seerdb.ErrInvalidOptions, seerdb.ErrKeyTooLarge, seerdb.ErrValueTooLarge, seerdb.ErrBatchTooLarge),
		strings.HasPrefix(err.Error(), "unknown command"): // cobra has no error type for it
		return exitUsage
	}
	return exitIO
}

// errDamage is returned by a check that found damage and printed it.
var errDamage = errors.New("the database is damaged")

// errShell is returned by a script in which commands failed; each printed its
// error.
var errShell = errors.New("not every command was carried out")

// usageError is a mistake on the command line or in the input.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exactArgs and rangeArgs are like cobra's, with this tool's exit code.
func exactArgs(n int) cobra.PositionalArgs { return rangeArgs(n, n) }

func rangeArgs(lo, hi int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < lo || len(args) > hi:
			return usagef("%s takes %s; see %s --help", cmd.CommandPath(), cmd.Use, cmd.CommandPath())
		case len(args) > 0 && args[0] == "": // a directory or file, never a key
			return usagef("the first argument of %s is empty; expected %s", cmd.CommandPath(), cmd.Use)
		}
		return nil
	}
}

// mayBeEmpty are the flags that may be the empty string: the empty key is a
// key, and operands may be joined without a separator.
var mayBeEmpty = map[string]bool{"prefix": true, "from": true, "to": true, "separator": true}

// checkFlags refuses values that no flag can have. An unset variable in a
// script must not turn --keyspace "$K" into the default keyspace.
func checkFlags(cmd *cobra.Command, _ []string) error {
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch kind, value := f.Value.Type(), f.Value.String(); {
		case err != nil:
		case kind == "string" && value == "" && !mayBeEmpty[f.Name]:
			err = usagef("--%s is empty; give a value, or leave it out", f.Name)
		case strings.HasPrefix(kind, "int") && strings.HasPrefix(value, "-"):
			err = usagef("--%s is %s; expected 0 or more", f.Name, value)
		}
	})
	return err
}

// sentence returns the message of err without the prefixes of the errors in it,
// since the tool prints its name once, in front.
func sentence(err error) string {
	s := err.Error()
	withoutPrefixes(err, &s)
	return s
}

func withoutPrefixes(err error, s *string) {
	if err == nil {
		return
	}
	const prefix = "seerdb: "
	if text := err.Error(); strings.HasPrefix(text, prefix) {
		if i := strings.LastIndex(*s, text); i >= 0 {
			*s = (*s)[:i] + (*s)[i+len(prefix):]
		}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		withoutPrefixes(e.Unwrap(), s)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			withoutPrefixes(inner, s)
		}
	}
}
