package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/observe"
)

// newBar returns a progress bar in bytes. It is shown only on a terminal.
func newBar(w io.Writer, size int64, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size, progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(isTerminal(w)),
		progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// watch shows progress on a terminal, for operations that do not report any: it
// calls done a few times a second until stop is called.
func watch(w io.Writer, size int64, what string, done func() int64) (stop func()) {
	if !isTerminal(w) {
		return func() {}
	}
	bar := newBar(w, size, what)
	ticker, end := time.NewTicker(250*time.Millisecond), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			_ = bar.Set64(min(done(), max(size, 0)))
			select {
			case <-ticker.C:
			case <-end:
				return
			}
		}
	})
	return func() {
		ticker.Stop()
		close(end)
		wait.Wait()
		_ = bar.Finish()
	}
}

// readSince returns a func that returns how many bytes were read from tables
// and value files since then.
func readSince(db *seerdb.DB, then *observe.Metrics) func() int64 {
	return func() int64 {
		now := db.Metrics()
		return now.IO.Tables.BytesRead + now.IO.Values.BytesRead - then.IO.Tables.BytesRead - then.IO.Values.BytesRead
	}
}

// stored returns the size of tables and value files.
func stored(m *observe.Metrics) int64 { return m.IO.Tables.Bytes + m.Values.Bytes }
