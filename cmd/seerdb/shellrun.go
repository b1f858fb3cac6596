package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// run runs one line.
func (sh *shell) run(ctx context.Context, line string) error {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return nil
	}
	words, quoted, err := splitWords(line)
	if err != nil || len(words) == 0 {
		return err
	}
	switch words[0] {
	case "put", "del", "delrange", "merge", "commit":
		sh.unsynced = true
	case "begin", "rollback", "use":
	default:
		if err := sh.settle(); err != nil {
			return err
		}
	}
	root := sh.commands()
	root.SetArgs(arrange(root, words, func(i int) bool { return quoted[i] }))
	return root.ExecuteContext(ctx)
}

// script runs every line, even after errors.
func (sh *shell) script(ctx context.Context, in io.Reader) error {
	l := text{r: bufio.NewReaderSize(in, 64<<10), o: &rowOptions{crlf: true}}
	failed := false
	for !sh.quit {
		line, err := l.line(nil)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := sh.run(ctx, string(line)); err != nil {
			fmt.Fprintf(sh.errors, "seerdb: line %d: %s\n", l.n, sentence(err))
			failed = true
		}
	}
	lost := sh.end()
	if err := sh.settle(); err != nil {
		return err
	}
	if lost || failed {
		return errShell
	}
	return nil
}
