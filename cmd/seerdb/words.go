package main

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The words of a line of the shell are separated by blanks. A word may be a Go
// string in quotes, or in single quotes, with any characters but those.
// Backslashes outside quotes are as in Go strings, so that a printed key can be
// typed again.

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

func skipBlanks(s string) string { return strings.TrimLeft(s, " \t\r") }

// splitWords splits a line into words, and returns which were in quotes.
func splitWords(line string) (words []string, quoted []bool, err error) {
	words, quoted, rest, err := cutWords(line)
	if err == nil && rest != "" {
		err = usagef("%s has no closing quote", rest)
	}
	if err != nil {
		return nil, nil, err
	}
	return words, quoted, nil
}

// cutWords splits a line, up to a string without a closing quote, which it
// returns.
func cutWords(line string) (words []string, quoted []bool, open string, err error) {
	for line = skipBlanks(line); line != ""; line = skipBlanks(line) {
		end := strings.IndexAny(line, " \t\r")
		if end < 0 {
			end = len(line)
		}
		word, inQuotes := "", strings.IndexByte("\"`'", line[0]) >= 0
		if inQuotes {
			if strings.IndexByte(line[1:], line[0]) < 0 {
				return words, quoted, line, nil
			}
			word, end, err = cutQuoted(line)
		} else {
			word, err = unescapeWord(line[:end])
		}
		if err != nil {
			return words, quoted, "", err
		}
		words, quoted, line = append(words, word), append(quoted, inQuotes), line[end:]
	}
	return words, quoted, "", nil
}

// cutQuoted parses a quoted string, and returns the length of its written form.
func cutQuoted(line string) (word string, end int, err error) {
	if line[0] == '\'' {
		end = 2 + strings.IndexByte(line[1:], '\'')
		word = line[1 : end-1]
	} else {
		q, err := strconv.QuotedPrefix(line)
		if err == nil {
			word, err = strconv.Unquote(q)
		}
		if err != nil {
			return "", 0, usagef("%s is not a valid Go string", line)
		}
		end = len(q)
	}
	if end < len(line) && !isBlank(line[end]) {
		return "", 0, usagef("there is no blank after %s", line[:end])
	}
	return word, end, nil
}

// unescapeWord resolves the backslashes in a word without quotes.
func unescapeWord(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for rest := s; rest != ""; {
		if rest[0] != '\\' { // any byte, also invalid UTF-8
			b.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		c, multibyte, tail, err := strconv.UnquoteChar(rest, '"')
		if err != nil {
			return "", usagef("%s has an invalid backslash escape", s)
		}
		if multibyte {
			b.WriteRune(c)
		} else {
			b.WriteByte(byte(c))
		}
		rest = tail
	}
	return b.String(), nil
}

// quoteWord returns a word in a form that splitWords parses, without quotes if
// possible.
func quoteWord(b []byte) string {
	s := string(b)
	if s == "" || strings.ContainsAny(s, " \"`#") || s[0] == '\'' || s[0] == '-' {
		return strconv.Quote(s)
	}
	return escape(b)
}

// arrange puts words that only look like flags behind --: words in quotes, and
// negative numbers, which no flag begins with. Other words stay where they are.
func arrange(root *cobra.Command, words []string, quoted func(i int) bool) []string {
	if len(words) == 0 || strings.HasPrefix(words[0], "-") {
		return words
	}
	cmd, _, err := root.Find(words[:1])
	if err != nil || cmd.DisableFlagParsing || cmd.HasSubCommands() {
		return words
	}
	var flags, rest []string
	for i := 1; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "--" && !quoted(i):
			rest = append(rest, words[i+1:]...)
			i = len(words)
		case quoted(i) || len(w) < 2 || w[0] != '-' || '0' <= w[1] && w[1] <= '9':
			rest = append(rest, w)
		default:
			flags = append(flags, w)
			if takesNext(cmd, w) && i+1 < len(words) {
				i++
				flags = append(flags, words[i])
			}
		}
	}
	return slices.Concat(words[:1], flags, []string{"--"}, rest)
}

// takesNext reports whether the word after a flag is its value.
func takesNext(cmd *cobra.Command, word string) bool {
	var f *pflag.Flag
	switch name, long := strings.CutPrefix(word, "--"); {
	case long:
		f = cmd.Flags().Lookup(name)
	case len(word) == 2:
		f = cmd.Flags().ShorthandLookup(word[1:])
	}
	return f != nil && f.NoOptDefVal == ""
}

// commonPrefix returns the common prefix of some texts, in whole characters.
func commonPrefix(texts []string) string {
	p := texts[0]
	for _, t := range texts[1:] {
		n := 0
		for n < len(p) && n < len(t) && p[n] == t[n] {
			n++
		}
		p = p[:n]
	}
	for p != "" && !utf8.ValidString(p) {
		p = p[:len(p)-1]
	}
	return p
}
