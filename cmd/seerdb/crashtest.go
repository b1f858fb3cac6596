package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
)

// crashTest loads a database through child processes that are killed at random
// moments. After each it checks that every acknowledged batch is complete and
// that nothing exists that was not written. It is for new disks and kernels,
// and for doubters.
type crashTest struct {
	dir     string
	puts    int64
	kills   int
	writers int
	w       io.Writer

	present  []bool // by batch: found by the last check
	acked    []bool // by batch
	peakRSS  int64
	user     int64 // bytes, over all children
	tables   int64
	values   int64
	log      int64
	writing  time.Duration
	checking time.Duration
}

// crashBatch is the number of puts in a batch.
const crashBatch = 100

func crashTestCommand() *cobra.Command {
	t := crashTest{puts: 1_000_000, kills: 10, writers: 4}
	cmd := &cobra.Command{
		Use: "crashtest DIR", Short: "Load through processes that are killed, and check that nothing was lost",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.dir, t.w = args[0], cmd.OutOrStdout()
			if t.writers == 0 {
				return usagef("--writers is 0; expected 1 or more")
			}
			if err := checkNew(t.dir, "give a new directory"); err != nil {
				return err
			}
			return t.run(cmd)
		},
	}
	cmd.Flags().Int64Var(&t.puts, "puts", t.puts, "puts in all, in batches of 100 with default options")
	cmd.Flags().IntVar(&t.kills, "kills", t.kills, "how often to kill the writer on the way")
	cmd.Flags().IntVar(&t.writers, "writers", t.writers, "goroutines that commit")
	return cmd
}

func (t *crashTest) run(cmd *cobra.Command) error {
	db, err := seerdb.Open(t.dir, &seerdb.Options{ErrorIfExists: true})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	n := t.puts / crashBatch
	t.present, t.acked = make([]bool, n), make([]bool, n)
	for kill := 1; ; kill++ {
		done := count(t.present)
		if done == n {
			break
		}
		// Spread the kills over the remaining work.
		quota := int64(-1)
		if kill <= t.kills {
			quota = 1 + rand.Int64N(2*(n-done)/int64(t.kills-kill+2)+1)
		}
		begin := time.Now()
		killed, err := t.child(cmd, quota)
		t.writing += time.Since(begin)
		if err != nil {
			return err
		}
		begin = time.Now()
		if err := t.check(); err != nil {
			return err
		}
		t.checking += time.Since(begin)
		what := "finished"
		if killed {
			what = fmt.Sprintf("kill %d", kill)
		}
		fmt.Fprintf(t.w, "%-9s %s of %s batches are there, whole, with all %s acknowledged; checked in %v\n", what,
			humanize.Comma(count(t.present)), humanize.Comma(n), humanize.Comma(count(t.acked)), time.Since(begin).Round(time.Millisecond))
	}
	t.summary()
	return nil
}

func (t *crashTest) summary() {
	fmt.Fprintf(t.w, "%s puts in %v (%s a second), checks %v\n", humanize.Comma(t.puts), t.writing.Round(time.Millisecond),
		humanize.Comma(int64(float64(t.puts)/t.writing.Seconds())), t.checking.Round(time.Millisecond))
	if t.peakRSS > 0 {
		fmt.Fprintf(t.w, "largest resident memory of a writer %s\n", size(t.peakRSS))
	}
	if t.user > 0 {
		fmt.Fprintf(t.w, "written to tables and value files %.2f times the user's bytes, with the log %.2f\n",
			float64(t.tables+t.values)/float64(t.user), float64(t.tables+t.values+t.log)/float64(t.user))
	}
}

func count(b []bool) (n int64) {
	for _, x := range b {
		if x {
			n++
		}
	}
	return n
}

// child runs a writer until it has acknowledged quota batches, then kills it;
// with a negative quota the writer finishes.
func (t *crashTest) child(cmd *cobra.Command, quota int64) (killed bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	c := exec.CommandContext(cmd.Context(), self, "write-batches", t.dir, "--writers", strconv.Itoa(t.writers))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return false, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := c.Start(); err != nil {
		return false, err
	}
	go t.feed(in)
	var io [4]int64
	lines := bufio.NewReader(out)
	for acks := int64(0); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // the text after the last newline is incomplete
		}
		var b int64
		if n, _ := fmt.Sscanf(line, "io %d %d %d %d", &io[0], &io[1], &io[2], &io[3]); n == 4 {
			t.peakRSS = max(t.peakRSS, residentPeak(c.Process.Pid))
			continue
		}
		if _, err := fmt.Sscanf(line, "ack %d", &b); err != nil || b < 0 || b >= int64(len(t.acked)) {
			return false, fmt.Errorf("the writer said %q", line)
		}
		t.acked[b] = true
		if acks++; acks == quota {
			killed = true
			_ = c.Process.Kill()
		}
	}
	t.user, t.tables, t.values, t.log = t.user+io[0], t.tables+io[1], t.values+io[2], t.log+io[3]
	if err := c.Wait(); err != nil && !killed {
		return false, fmt.Errorf("the writer failed: %w", err)
	}
	return killed, nil
}

// feed sends the writer the numbers of the missing batches.
func (t *crashTest) feed(in io.WriteCloser) {
	w := bufio.NewWriter(in)
	for b, ok := range t.present {
		if !ok {
			fmt.Fprintln(w, b)
		}
	}
	_ = w.Flush() // a killed reader is expected
	_ = in.Close()
}

// check opens the database and reads every row.
func (t *crashTest) check() (err error) {
	db, err := seerdb.Open(t.dir, &seerdb.Options{ErrorIfMissing: true})
	if err != nil {
		return err
	}
	defer closing(db, &err)
	rows := make([]uint8, len(t.present))
	all := db.Range(nil, nil)
	var want []byte
	for k, v := range all.All() {
		b, rest, ok := number(v)
		i, _, ok2 := number(rest)
		if !ok || !ok2 || b >= int64(len(rows)) {
			return fmt.Errorf("%w: key %q holds what was never written: %.30q", errDamage, k, v)
		}
		if want = crashKey(want[:0], b*crashBatch+i); string(want) != string(k) || len(v) != crashValueSize {
			return fmt.Errorf("%w: batch %d row %d is under key %q", errDamage, b, i, k)
		}
		rows[b]++
	}
	if err := all.Err(); err != nil {
		return err
	}
	for b, n := range rows {
		switch {
		case n != 0 && n != crashBatch:
			return fmt.Errorf("%w: batch %d is there with %d of its %d rows", errDamage, b, n, crashBatch)
		case n == 0 && t.acked[b]:
			return fmt.Errorf("%w: batch %d was acknowledged and is gone", errDamage, b)
		}
		t.present[b] = n > 0
	}
	return nil
}

// number parses a number that ends with a colon.
func number(s []byte) (n int64, rest []byte, ok bool) {
	for i, c := range s {
		switch {
		case c == ':':
			return n, s[i+1:], i > 0
		case c < '0' || c > '9' || i > 17:
			return 0, nil, false
		}
		n = n*10 + int64(c-'0')
	}
	return 0, nil, false
}

const crashValueSize = 100

// crashKey appends a key of 16 hexadecimal digits. It is unique to i, since
// each step can be inverted.
func crashKey(dst []byte, i int64) []byte {
	z := (uint64(i) + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>31) * 0xbf58476d1ce4e5b9
	z ^= z >> 29
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[z>>shift&15])
	}
	return dst
}

// batchWriterCommand returns the child's command. It reads batch numbers from
// standard input, commits the batches, and prints each number after its commit
// was acknowledged.
func batchWriterCommand() *cobra.Command {
	writers := 1
	cmd := &cobra.Command{
		Use: "write-batches DIR", Hidden: true, Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			db, err := seerdb.Open(args[0], nil)
			if err != nil {
				return err
			}
			defer closing(db, &err)
			todo := make(chan int64, 1024)
			go readNumbers(cmd.InOrStdin(), todo)
			var wg sync.WaitGroup
			var acks atomic.Int64
			errs := make([]error, writers)
			for w := range writers {
				wg.Go(func() { errs[w] = writeBatches(db, cmd.OutOrStdout(), todo, &acks) })
			}
			wg.Wait()
			printIO(cmd.OutOrStdout(), db)
			return errors.Join(errs...)
		},
	}
	cmd.Flags().IntVar(&writers, "writers", writers, "goroutines")
	return cmd
}

func readNumbers(r io.Reader, todo chan<- int64) {
	defer close(todo)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if b, err := strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64); err == nil {
			todo <- b
		}
	}
}

func writeBatches(db *seerdb.DB, w io.Writer, todo <-chan int64, acks *atomic.Int64) error {
	b := db.NewBatch()
	var key, value []byte
	for n := range todo {
		b.Reset()
		for i := range int64(crashBatch) {
			key = crashKey(key[:0], n*crashBatch+i)
			value = fmt.Appendf(value[:0], "%d:%d:", n, i)
			for len(value) < crashValueSize {
				value = fmt.Appendf(value, "%016x", rand.Uint64()&rand.Uint64())
			}
			if err := b.Put(key, value[:crashValueSize]); err != nil {
				return err
			}
		}
		if err := db.Apply(b, seerdb.DefaultDurability); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "ack %d\n", n); err != nil {
			return err
		}
		if acks.Add(1)%200 == 0 {
			printIO(w, db)
		}
	}
	return nil
}

func printIO(w io.Writer, db *seerdb.DB) {
	m := db.Metrics()
	_, _ = fmt.Fprintf(w, "io %d %d %d %d\n", m.UserBytes, m.IO.Tables.BytesWritten, m.IO.Values.BytesWritten, m.IO.Log.BytesWritten)
}
