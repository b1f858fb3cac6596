package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
)

// crash starts this program as a writer, kills it in the middle of its work,
// and counts the commits that survived.
func (d *demo) crash(cmd *cobra.Command) error {
	heading(d.w, "5. Kill a writer")
	acked, pid, err := writeAndKill(cmd, d.dir, 300*time.Millisecond+rand.N(300*time.Millisecond))
	if err != nil {
		return err
	}
	d.printf("  process %d was killed with SIGKILL; it had acknowledged %s commits\n", pid, humanize.Comma(acked))
	begin := time.Now()
	db, err := seerdb.Open(d.dir, &seerdb.Options{Durability: seerdb.Buffered})
	if err != nil {
		return err
	}
	took := time.Since(begin)
	found, err := countCommits(db)
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	d.printf("  reopened in %v: commits 1 to %s are there, without a gap\n", took.Round(time.Millisecond), humanize.Comma(found))
	if found < acked {
		return fmt.Errorf("%w: %d commits were acknowledged, %d survived", errDamage, acked, found)
	}
	d.printf("  nothing acknowledged is lost (what was on its way when it died may be there too)\n")
	return nil
}

// writeAndKill lets a child commit for a while. The child prints the number of
// each commit after it was acknowledged; every number read must survive.
func writeAndKill(cmd *cobra.Command, dir string, after time.Duration) (acked int64, pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	child := exec.CommandContext(cmd.Context(), self, "write-until-killed", dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := child.Start(); err != nil {
		return 0, 0, err
	}
	timer := time.AfterFunc(after, func() { _ = child.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // the text after the last newline is incomplete
		}
		if err != nil {
			return 0, 0, err
		}
		if acked, err = strconv.ParseInt(strings.TrimSpace(line), 10, 64); err != nil {
			return 0, 0, err
		}
	}
	if err := child.Wait(); err == nil {
		return 0, 0, fmt.Errorf("the writer ended by itself")
	}
	return acked, child.Process.Pid, nil
}

func commitKey(i int64) []byte { return fmt.Appendf(nil, "crash/%09d", i) }

// countCommits returns n if exactly the commits 1 to n exist.
func countCommits(db *seerdb.DB) (n int64, err error) {
	rows := db.Prefix([]byte("crash/"))
	for k, v := range rows.All() {
		if n++; string(k) != string(commitKey(n)) || string(v) != strconv.FormatInt(n, 10) {
			return n, fmt.Errorf("%w: commit %d is missing; found %s", errDamage, n, k)
		}
	}
	return n, rows.Err()
}

// writerCommand returns the child's command, which commits until it is killed.
func writerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "write-until-killed DIR", Hidden: true, Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := seerdb.Open(args[0], &seerdb.Options{Durability: seerdb.Buffered})
			if err != nil {
				return err
			}
			for i := int64(1); ; i++ {
				if err := db.Put(commitKey(i), []byte(strconv.FormatInt(i, 10))); err != nil {
					return err
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), i); err != nil {
					return err
				}
			}
		},
	}
}
