package seerdb_test

// This file holds the engine to docs/FORMAT.md: tools/readdb, a program in
// another language that was written from that document and shares no code with
// the engine, reads what the engine wrote. It checks all that the format
// promises, and must find the rows that the database shows.

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/merger"
)

// plus is a merge operator that the reader does not know.
type plus struct{ merger.Append }

func (plus) Name() string { return "plus" }

// readdb runs the reader on a directory. It returns what it printed, and what
// it found fault with.
func readdb(t *testing.T, dir string, now time.Time) (rows []string, faults string) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not there to run tools/readdb")
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(python, filepath.Join("tools", "readdb"), "--now", strconv.FormatInt(now.UnixMilli(), 10), dir)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	switch err := cmd.Run(); {
	case err != nil && cmd.ProcessState.ExitCode() == 3:
		t.Skip(strings.TrimSpace(stderr.String()))
	case err != nil && cmd.ProcessState.ExitCode() != 1 || err != nil && strings.Contains(stderr.String(), "Traceback"):
		t.Fatalf("tools/readdb: %v\n%s", err, &stderr)
	case err == nil && stderr.Len() > 0:
		t.Fatalf("tools/readdb ends well, and says\n%s", &stderr)
	}
	return slices.Collect(strings.Lines(stdout.String())), stderr.String()
}

// shown lists all rows of a database as the reader prints them.
func shown(t *testing.T, db *seerdb.DB, spaces ...*seerdb.Keyspace) (rows []string) {
	t.Helper()
	list := func(name string, all *seerdb.Rows) {
		for k, v := range all.All() {
			rows = append(rows, fmt.Sprintf("%q\t%x\t%x\n", name, k, v))
		}
		must(t, all.Err())
	}
	list("", db.Range(nil, nil))
	for _, k := range spaces {
		list(k.Name(), k.Range(nil, nil))
	}
	return rows
}

// joined makes of the operands that the reader prints what plus makes of them.
func joined(t *testing.T, rows []string) []string {
	t.Helper()
	for i, row := range rows {
		head, operands, ok := strings.Cut(strings.TrimSuffix(row, "\n"), "merge:")
		if !ok {
			continue
		}
		var parts []string
		for _, o := range strings.Split(strings.TrimPrefix(operands, "-:"), ":") {
			b, err := hex.DecodeString(o)
			must(t, err)
			parts = append(parts, string(b))
		}
		rows[i] = fmt.Sprintf("%s%x\n", head, strings.Join(parts, "+"))
	}
	return rows
}

// formatLife fills a database with every kind of content.
type formatLife struct {
	db     *seerdb.DB
	spaces []*seerdb.Keyspace
	rnd    *rand.Rand
}

func openFormatLife(t *testing.T, dir string, o seerdb.Options, to seerdb.TestOptions) *formatLife {
	t.Helper()
	o.Merger, o.Durability = merger.Counter{}, seerdb.Buffered
	l := &formatLife{rnd: rand.New(rand.NewPCG(1, 1))}
	var err error
	l.db, err = seerdb.Open(dir, o.With(to))
	must(t, err)
	for _, k := range []struct {
		name string
		o    seerdb.KeyspaceOptions
	}{
		{"append", seerdb.KeyspaceOptions{Merger: merger.Append{Sep: ", \"\x01\n"}}},
		{"plain", seerdb.KeyspaceOptions{ValueThreshold: 1, Compression: seerdb.LZ4}},
		{"plus", seerdb.KeyspaceOptions{Merger: plus{merger.Append{Sep: "+"}}}},
		{"union", seerdb.KeyspaceOptions{Merger: merger.Union{}}},
	} {
		space, err := l.db.Keyspace(k.name, &k.o)
		must(t, err)
		l.spaces = append(l.spaces, space)
	}
	return l
}

// key is one of a few hundred, short and long, with lines for models.
func (l *formatLife) key() []byte {
	n := l.rnd.IntN(300)
	switch n % 5 {
	case 0:
		return fmt.Appendf(nil, "%d", n)
	case 1:
		return fmt.Appendf(nil, "https://example.org/%s/%x", strings.Repeat("path/", n%60), n)
	case 2:
		return []byte(awkward[n%len(awkward)])
	}
	return fmt.Appendf(nil, "user/%06d", 7*n)
}

// value shrinks under compression, or does not, and stays with its key or not.
func (l *formatLife) value() []byte {
	n := l.rnd.IntN(1000)
	if n%9 == 0 {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(l.rnd.Uint32())
		}
		return v
	}
	return bytes.Repeat(fmt.Appendf(nil, "value %d. ", n), n%40)
}

// write makes n commits of all kinds.
func (l *formatLife) write(t *testing.T, n int) {
	t.Helper()
	appends, plain, pluses, unions := l.spaces[0], l.spaces[1], l.spaces[2], l.spaces[3]
	for i := range n {
		k := l.key()
		var err error
		switch i % 12 {
		case 0, 1:
			err = plain.Put(k, l.value())
		case 2:
			err = errors.Join(l.db.Put(fmt.Appendf(nil, "once/%d", i), l.value()), l.db.SingleDelete(fmt.Appendf(nil, "once/%d", i-12)))
		case 3:
			err = l.db.Delete(k)
		case 4:
			err = l.db.PutTTL(append([]byte("hour/"), k...), l.value(), time.Hour)
		case 5:
			err = plain.PutTTL(append([]byte("hour/"), k...), l.value(), time.Hour)
		case 6:
			err = l.db.Merge(fmt.Appendf(nil, "count/%d", i%7), merger.AppendInt64(nil, int64(i-50)))
		case 7:
			err = errors.Join(appends.Merge(k, fmt.Append(nil, i)), pluses.Merge(k, fmt.Append(nil, i)))
		case 8:
			err = unions.Merge(k, merger.AppendSet(nil, fmt.Append(nil, i%5)))
		case 9:
			lo := l.rnd.IntN(2000)
			err = l.db.DeleteRange(fmt.Appendf(nil, "user/%06d", lo), fmt.Appendf(nil, "user/%06d", lo+20))
		default:
			err = l.db.Put(k, l.value())
		}
		must(t, err)
	}
}

// TestFormatReader lets the reader read databases with every kind of content:
// copied while they are open, as a kill leaves them, and after Close.
func TestFormatReader(t *testing.T) {
	for _, c := range []struct {
		name  string
		codec seerdb.Compression
		index sstable.IndexMode
		short bool
	}{
		{"lz4", seerdb.LZ4, sstable.IndexLearned, true}, {"none", seerdb.NoCompression, sstable.IndexFences, false},
		{"s2", seerdb.S2, sstable.IndexAuto, false}, {"zstd", seerdb.Zstd, sstable.IndexLearned, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && !c.short {
				t.Skip("one codec with -short")
			}
			dir, ctx := t.TempDir(), context.Background()
			o, to := tiny()
			o.MemtableSize, o.Compression, to.Index, to.ManualOnly = 1<<20, c.codec, c.index, true
			l := openFormatLife(t, dir, o, to)
			l.write(t, 250)
			must(t, l.db.Flush(ctx))
			must(t, l.db.Compact(ctx, nil, nil))
			_, err := l.spaces[1].BulkLoad(ctx, bulkRows(bulkKeys(0, 500, 3), func(i int) string { return fmt.Sprint(i) }), nil)
			must(t, err)
			l.write(t, 250)
			must(t, l.db.DeleteRange([]byte("user/002000"), nil))
			must(t, l.db.Flush(ctx))
			l.write(t, 120)
			killed := t.TempDir()
			for i := 0; ; i++ { // again, when a log that is done with was removed under the copy
				to := filepath.Join(killed, strconv.Itoa(i))
				if err := os.CopyFS(to, os.DirFS(dir)); !errors.Is(err, fs.ErrNotExist) {
					must(t, err)
					killed = to
					break
				}
			}
			now, want := time.Now(), shown(t, l.db, l.spaces...)
			check := func(dir string, now time.Time, want []string) {
				t.Helper()
				rows, faults := readdb(t, dir, now)
				if d := cmp.Diff(want, joined(t, rows)); d != "" || faults != "" {
					t.Fatalf("%s\nrows of the database (-) and of tools/readdb (+):\n%s", faults, d)
				}
			}
			check(killed, now, want)
			must(t, l.db.Close())
			if !c.short {
				check(dir, now, want)
				return
			}
			check(dir, now.Add(2*time.Hour), slices.DeleteFunc(want, func(row string) bool {
				return strings.Contains(row, "\t"+hex.EncodeToString([]byte("hour/")))
			}))
		})
	}
}

// TestFormatReaderReadsGoldens lets the reader read the databases that are kept.
func TestFormatReaderReadsGoldens(t *testing.T) {
	for _, format := range goldenFormats {
		dir := filepath.Join("testdata", "format", format)
		rows, faults := readdb(t, dir, time.Now())
		var got strings.Builder
		for _, row := range rows {
			f := strings.Split(strings.TrimSuffix(row, "\n"), "\t")
			k, err := hex.DecodeString(f[1])
			must(t, err)
			v, err := hex.DecodeString(f[2])
			must(t, err)
			if len(v) <= 64 {
				fmt.Fprintf(&got, "%q %q\n", k, v)
			} else {
				fmt.Fprintf(&got, "%q %d bytes, %08x\n", k, len(v), crc32.ChecksumIEEE(v))
			}
		}
		want, err := os.ReadFile(dir + ".rows")
		must(t, err)
		if d := cmp.Diff(string(want), got.String()); d != "" || faults != "" {
			t.Errorf("%s: %s\n(-want +got):\n%s", format, faults, d)
		}
	}
}

// TestFormatReaderFindsDamage flips one byte of each kind of file; the reader
// must name the file.
func TestFormatReaderFindsDamage(t *testing.T) {
	dir := t.TempDir()
	o, to := tiny()
	to.ManualOnly = true
	l := openFormatLife(t, dir, o, to)
	l.write(t, 48)
	must(t, l.db.Flush(context.Background()))
	l.write(t, 24)
	must(t, l.db.Close())
	if _, faults := readdb(t, dir, time.Now()); faults != "" {
		t.Fatal(faults)
	}
	places := []float64{0.4, 0.97}
	if testing.Short() {
		places = places[:1]
	}
	for _, pattern := range []string{"CURRENT", "MANIFEST-*", "*.wal", "*.sst", "*.val"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		must(t, err)
		if len(names) == 0 {
			t.Fatalf("there is no %s", pattern)
		}
		name := names[len(names)-1]
		sound, err := os.ReadFile(name)
		must(t, err)
		end := len(sound)
		if strings.HasSuffix(pattern, "-*") || strings.HasSuffix(pattern, ".wal") {
			end -= 16 // the mark, which may be missing
		}
		for _, at := range places {
			damaged, off := bytes.Clone(sound), int(at*float64(end))
			damaged[off] ^= 4
			must(t, os.WriteFile(name, damaged, 0o600))
			if rows, faults := readdb(t, dir, time.Now()); !strings.Contains(faults, filepath.Base(name)+": ") || len(rows) > 0 {
				t.Errorf("%s with byte %d of %d flipped: %d rows, and %q", filepath.Base(name), off, len(sound), len(rows), faults)
			}
		}
		must(t, os.WriteFile(name, sound, 0o600))
	}
}
