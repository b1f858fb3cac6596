package main

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// The words of a line of the shell: separated by blanks, or Go strings in
// quotes. Backslashes outside quotes are those of Go too, so that a key that
// was printed can be put back.

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

func skipBlanks(s string) string { return strings.TrimLeft(s, " \t\r") }

// splitWords cuts a line.
func splitWords(line string) ([]string, error) {
	words, rest, err := cutWords(line)
	if err == nil && rest != "" {
		return nil, usagef("%s is not closed", rest)
	}
	return words, err
}

// cutWords cuts a line, up to a string that is not closed, which it returns.
func cutWords(line string) (words []string, open string, err error) {
	for line = skipBlanks(line); line != ""; line = skipBlanks(line) {
		var word string
		if line[0] == '"' || line[0] == '`' {
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				if strings.IndexByte(line[1:], line[0]) < 0 {
					return words, line, nil
				}
				return words, "", usagef("%s is no string of Go", line)
			}
			if word, err = strconv.Unquote(q); err != nil {
				return words, "", usagef("%s is no string of Go", q)
			}
			line = line[len(q):]
			if line != "" && !isBlank(line[0]) {
				return words, "", usagef("there is no blank after %s", q)
			}
			words = append(words, word)
			continue
		}
		end := strings.IndexAny(line, " \t\r")
		if end < 0 {
			end = len(line)
		}
		if word, err = unescapeWord(line[:end]); err != nil {
			return words, "", err
		}
		words, line = append(words, word), line[end:]
	}
	return words, "", nil
}

// unescapeWord takes the backslashes out of a word without quotes.
func unescapeWord(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for rest := s; rest != ""; {
		if rest[0] != '\\' { // any byte, also what is no UTF-8
			b.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		c, multibyte, tail, err := strconv.UnquoteChar(rest, '"')
		if err != nil {
			return "", usagef("%s has a backslash that means nothing", s)
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

// quoteWord writes a word so that splitWords reads it: without quotes if it can
// be.
func quoteWord(b []byte) string {
	s := string(b)
	if s == "" || strings.ContainsAny(s, " \"`#") {
		return strconv.Quote(s)
	}
	return escape(b)
}

// commonPrefix is what all of some texts begin with, in whole characters.
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
