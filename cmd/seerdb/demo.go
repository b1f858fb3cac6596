package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
)

// unicodeData is UnicodeData.txt of Unicode 15.0; data/README.md names its
// source.
//
//go:embed data/UnicodeData.txt.gz
var unicodeData []byte

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo [DIR]", Short: "Show what seerdb does, on bundled data",
		Long: "Loads the Unicode character database, reads, scans, holds a snapshot, kills a\n" +
			"writer in the middle of its work and shows that nothing acknowledged is lost.\n" +
			"Without DIR it works in a temporary directory and removes it.",
		Args: rangeArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := demo{w: cmd.OutOrStdout()}
			if len(args) == 1 {
				d.dir = args[0]
				if _, err := os.Stat(filepath.Join(d.dir, "CURRENT")); err == nil {
					return fmt.Errorf("%w: %s holds one; give a new directory", seerdb.ErrExists, d.dir)
				}
				if err := checkNew(d.dir, "give a new directory"); err != nil {
					return err
				}
				return d.run(cmd)
			}
			tmp, err := os.MkdirTemp("", "seerdb-demo-")
			if err != nil {
				return err
			}
			defer func() { _ = os.RemoveAll(tmp) }()
			d.dir = filepath.Join(tmp, "unicode.seerdb")
			return d.run(cmd)
		},
	}
}

// demo is one run of the demonstration.
type demo struct {
	w   io.Writer
	dir string
	db  *seerdb.DB
}

func (d *demo) printf(format string, args ...any) { fmt.Fprintf(d.w, format, args...) }

func (d *demo) run(cmd *cobra.Command) (err error) {
	d.printf("seerdb demonstration, in %s\n", d.dir)
	d.db, err = seerdb.Open(d.dir, nil)
	if err != nil {
		return err
	}
	for _, part := range []func(*cobra.Command) error{d.load, d.points, d.scan, d.snapshot} {
		if err := part(cmd); err != nil {
			_ = d.db.Close()
			return err
		}
	}
	if err := d.db.Close(); err != nil {
		return err
	}
	if err := d.crash(cmd); err != nil {
		return err
	}
	return d.finish(cmd)
}

// load puts every character under two keys: its code point and its name.
func (d *demo) load(*cobra.Command) error {
	heading(d.w, "1. Load the Unicode character database")
	z, err := gzip.NewReader(bytes.NewReader(unicodeData))
	if err != nil {
		return err
	}
	begin := time.Now()
	rows, b := 0, d.db.NewBatch()
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		code, rest, _ := strings.Cut(lines.Text(), ";")
		name, _, _ := strings.Cut(rest, ";")
		if err := b.Put(fmt.Appendf(nil, "char/%06s", code), []byte(rest)); err != nil {
			return err
		}
		if err := b.Put(fmt.Appendf(nil, "name/%s/%s", name, code), []byte(code)); err != nil {
			return err
		}
		if rows += 2; b.Len() >= 500 {
			if err := d.db.Apply(b, seerdb.DefaultDurability); err != nil {
				return err
			}
			b.Reset()
		}
	}
	if err := errors.Join(lines.Err(), d.db.Apply(b, seerdb.DefaultDurability)); err != nil {
		return err
	}
	took := time.Since(begin)
	d.printf("%s rows in %v, in batches of 500, each synced to the device before it was acknowledged\n",
		humanize.Comma(int64(rows)), took.Round(time.Millisecond))
	return nil
}

func (d *demo) points(cmd *cobra.Command) error {
	heading(d.w, "2. Point reads")
	for _, r := range []rune{'A', 'ß', '→', '🐹'} {
		v, err := d.db.Get(fmt.Appendf(nil, "char/%06s", fmt.Sprintf("%04X", r)))
		if err != nil {
			return err
		}
		name, _, _ := strings.Cut(string(v), ";")
		d.printf("  %c  U+%04X  %s\n", r, r, name)
	}
	_, err := d.db.Get([]byte("char/FFFFFF"))
	d.printf("  there is no U+FFFFFF: %v\n", err)
	if err := d.db.Flush(cmd.Context()); err != nil {
		return err
	}
	var keys [][]byte
	rows := d.db.Prefix([]byte("char/"))
	for k := range rows.Keys() {
		keys = append(keys, bytes.Clone(k))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	const reads = 300_000
	var buf []byte
	begin := time.Now()
	for range reads {
		if buf, err = d.db.AppendGet(buf[:0], keys[rand.IntN(len(keys))]); err != nil {
			return err
		}
	}
	took := time.Since(begin)
	d.printf("%s random reads from tables: %.2f µs each\n", humanize.Comma(reads), float64(took.Microseconds())/reads)
	return nil
}

func (d *demo) scan(*cobra.Command) error {
	heading(d.w, "3. A prefix scan, in key order")
	rows, n := d.db.Prefix([]byte("name/GREEK SMALL LETTER O")), 0
	for k, v := range rows.All() {
		if n++; n <= 6 {
			name := strings.Split(string(k), "/")[1]
			d.printf("  U+%s  %s\n", v, name)
		}
	}
	d.printf("  … %d characters have a name that begins with GREEK SMALL LETTER O\n", n)
	return rows.Err()
}

func (d *demo) snapshot(cmd *cobra.Command) error {
	heading(d.w, "4. A snapshot does not move")
	key := []byte("char/000041")
	snap := d.db.NewSnapshot()
	defer func() { _ = snap.Close() }()
	if err := d.db.Put(key, []byte("LATIN CAPITAL LETTER A, EDITED;…")); err != nil {
		return err
	}
	if err := d.db.Delete([]byte("char/000042")); err != nil {
		return err
	}
	if err := d.db.Compact(cmd.Context(), nil, nil); err != nil {
		return err
	}
	old, err := snap.Get(key)
	if err != nil {
		return err
	}
	now, err := d.db.Get(key)
	if err != nil {
		return err
	}
	_, gone := d.db.Get([]byte("char/000042"))
	kept, err := snap.Has([]byte("char/000042"))
	d.printf("  after an edit, a delete and a full compaction\n")
	d.printf("  now       A is %.32q, B: %v\n", now, gone)
	d.printf("  snapshot  A is %.32q, B is there: %v\n", old, kept)
	return err
}

// finish verifies everything and shows the tree.
func (d *demo) finish(cmd *cobra.Command) (err error) {
	d.db, err = seerdb.Open(d.dir, nil)
	if err != nil {
		return err
	}
	defer closing(d.db, &err)
	if err := d.db.Compact(cmd.Context(), nil, nil); err != nil {
		return err
	}
	heading(d.w, "6. Every byte checked")
	r, err := d.db.Verify(cmd.Context())
	if err != nil {
		return err
	}
	reportText(d.w, r, nil)
	if !r.Clean() {
		return errDamage
	}
	heading(d.w, "7. The tree, and what the learned index did")
	m := d.db.Metrics()
	if m.Index, err = d.db.IndexMetrics(cmd.Context()); err != nil { // no table was read since they were written
		return err
	}
	if err := printStats(d.w, m); err != nil {
		return err
	}
	x := m.Index
	if x.Pages > 0 {
		d.printf("A classical index keeps a separator for each of the %d pages; here %d straight lines say where %d of\nthem begin, and each read computes the one page to look into.\n",
			x.Pages, x.Windows, x.LearnedPages)
	}
	d.printf("\nNext: seerdb load, scan, stats, check, lsm --html; go doc github.com/seerdb-go/seerdb\n")
	return nil
}
