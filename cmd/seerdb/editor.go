package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/seerdb-go/seerdb"
)

// interactive runs lines from a terminal until the user leaves. The terminal is
// in raw mode only while a line is edited, so that commands can be interrupted.
func (sh *shell) interactive(ctx context.Context, h *history) error {
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	restore, err := prepareConsole()
	if err != nil {
		return err
	}
	defer restore()
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{&interrupts{r: os.Stdin}, os.Stdout}, "")
	t.History = h
	width := 80
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		return sh.tab(t, width, line, pos, key)
	}
	fmt.Fprintln(sh.out, "help lists the commands, quit or Ctrl-D leaves")
	for !sh.quit {
		if w, height, err := term.GetSize(out); err == nil && w > 0 {
			width = w
			_ = t.SetSize(w, height)
		}
		t.SetPrompt(sh.prompt())
		old, err := term.MakeRaw(in)
		if err != nil {
			return err
		}
		line, err := t.ReadLine()
		_ = term.Restore(in, old)
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			return err
		}
		sh.interruptible(ctx, line)
	}
	fmt.Fprintln(sh.out)
	if h.err != nil {
		fmt.Fprintln(sh.errors, "the history was not kept:", h.err)
	}
	return nil
}

// interruptible runs one line until it is done or the user interrupts it.
func (sh *shell) interruptible(ctx context.Context, line string) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	err := sh.run(ctx, line)
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(sh.errors, "interrupted")
	case err != nil:
		fmt.Fprintln(sh.errors, sentence(err))
	}
}

// interrupts replaces Ctrl-C, which would end the line editor, by keys that
// empty the line: to its end, and delete back to its beginning.
type interrupts struct {
	r       io.Reader
	pending []byte
}

func (i *interrupts) Read(p []byte) (int, error) {
	if len(i.pending) == 0 {
		buf := make([]byte, max(len(p), 1))
		n, err := i.r.Read(buf)
		for _, c := range buf[:n] {
			if c == 'C'&0x1f {
				i.pending = append(i.pending, 'E'&0x1f, 'U'&0x1f)
				continue
			}
			i.pending = append(i.pending, c)
		}
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, i.pending)
	i.pending = i.pending[n:]
	return n, nil
}

// tab completes the word before the cursor as far as it is unambiguous, and
// lists the candidates where it is not.
func (sh *shell) tab(w io.Writer, width int, line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	before := line[:pos]
	start, candidates, more := sh.complete(before)
	if len(candidates) == 0 {
		return line, pos, true
	}
	text := commonPrefix(candidates)
	switch {
	case len(candidates) == 1 && !more:
		text += " "
	case text == before[start:]:
		if more {
			candidates = append(candidates, "…")
		}
		listColumns(w, width, candidates)
	}
	if more {
		text = before[start:] // candidates beyond the limit may differ
	}
	return before[:start] + text + line[pos:], start + len(text), true
}

// listColumns prints words in columns.
func listColumns(w io.Writer, width int, words []string) {
	var b strings.Builder
	column := 0
	for _, word := range words {
		n := len([]rune(word))
		switch {
		case column > 0 && column+2+n > width:
			b.WriteByte('\n')
			column = 0
		case column > 0:
			b.WriteString("  ")
			column += 2
		}
		b.WriteString(word)
		column += n
	}
	b.WriteByte('\n')
	_, _ = io.WriteString(w, b.String())
}

// maxCompletions is how many keys completion reads.
const maxCompletions = 50

var flagName = regexp.MustCompile(`--[a-z-]+`)

// complete returns the completions of the last word of a line: where the word
// starts, the candidates, and whether there are more.
func (sh *shell) complete(before string) (start int, candidates []string, more bool) {
	words, _, typed, err := cutWords(before)
	if err != nil {
		return 0, nil, false
	}
	if typed == "" && before != "" && !isBlank(before[len(before)-1]) {
		if last := before[len(before)-1]; len(words) == 0 || strings.IndexByte("\"`'", last) >= 0 {
			return 0, nil, false // the string is complete
		}
		typed = before[strings.LastIndexAny(before, " \t")+1:]
		words = words[:len(words)-1]
	}
	start = len(before) - len(typed)
	var all []string
	root := sh.commands()
	switch {
	case len(words) == 0, len(words) == 1 && words[0] == "help":
		for _, c := range root.Commands() {
			all = append(all, c.Name())
		}
	case strings.HasPrefix(typed, "-"):
		if c, _, err := root.Find(words[:1]); err == nil {
			all = flagName.FindAllString(c.LocalFlags().FlagUsages(), -1)
		}
	case words[0] == "use" && len(words) == 1:
		names, _ := sh.s.Keyspaces()
		for _, n := range names {
			all = append(all, wordLike(typed, []byte(n)))
		}
	case wantsKey(words):
		all, more = sh.keysLike(typed)
	}
	for _, text := range all {
		if strings.HasPrefix(text, typed) {
			candidates = append(candidates, text)
		}
	}
	return start, candidates, more
}

// wantsKey reports whether the next word is a key.
func wantsKey(words []string) bool {
	switch words[0] {
	case "get", "put", "del", "merge":
		return len(words) == 1
	case "scan", "delrange", "count", "compact":
		return slices.Contains([]string{"--prefix", "--from", "--to"}, words[len(words)-1])
	}
	return false
}

// wordLike quotes a word if the user began one in quotes.
func wordLike(typed string, b []byte) string {
	if strings.HasPrefix(typed, `"`) {
		return `"` + escape(b) + `"`
	}
	if strings.HasPrefix(typed, "'") && isPlain(string(b)) && bytes.IndexByte(b, '\'') < 0 {
		return "'" + string(b) + "'"
	}
	return quoteWord(b)
}

// keysLike returns keys that begin with what was typed. It does not read in the
// transaction, which would then depend on the keys read here.
func (sh *shell) keysLike(typed string) (all []string, more bool) {
	prefix, err := unescapeWord(strings.TrimPrefix(typed, `"`))
	if inSingle, ok := strings.CutPrefix(typed, "'"); ok {
		prefix, err = inSingle, nil
	}
	if err != nil || strings.HasPrefix(typed, "`") {
		return nil, false
	}
	o := &seerdb.IterOptions{Prefix: []byte(prefix), KeysOnly: true}
	it, err := sh.committed().NewIter(o)
	if err != nil {
		return nil, false
	}
	for ok := it.First(); ok; ok = it.Next() {
		if len(all) == maxCompletions {
			more = true
			break
		}
		all = append(all, wordLike(typed, it.Key()))
	}
	_ = it.Close() // keys that cannot be read are not offered
	return all, more
}
