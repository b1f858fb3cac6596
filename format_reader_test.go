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
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/merger"
)

// plus is a merge operator that the reader does not know.
type plus struct{ merger.Append }

func (plus) Name() string { return "plus" }

// readdb runs the reader on directories. It returns the rows that it printed of
// each, and the faults that it found in all.
func readdb(t *testing.T, now time.Time, dirs ...string) (rows map[string][]string, faults string) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not there to run tools/readdb")
	}
	var stdout, stderr bytes.Buffer
	args := []string{filepath.Join("tools", "readdb"), "--now", strconv.FormatInt(now.UnixMilli(), 10)}
	cmd := exec.Command(python, append(args, dirs...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	switch err := cmd.Run(); {
	case err != nil && cmd.ProcessState.ExitCode() == 3:
		t.Skip(strings.TrimSpace(stderr.String()))
	case err != nil && cmd.ProcessState.ExitCode() != 1 || err != nil && strings.Contains(stderr.String(), "Traceback"):
		t.Fatalf("tools/readdb: %v\n%s", err, &stderr)
	case err == nil && stderr.Len() > 0:
		t.Fatalf("tools/readdb ends well, and says\n%s", &stderr)
	}
	rows = map[string][]string{}
	for line := range strings.Lines(stdout.String()) {
		dir := dirs[0]
		if len(dirs) > 1 {
			dir, line, _ = strings.Cut(line, "\t")
		}
		rows[dir] = append(rows[dir], line)
	}
	return rows, stderr.String()
}

// shown lists all rows of a database as the reader prints them.
func shown(t *testing.T, db *seerdb.DB, spaces ...*seerdb.Keyspace) (rows []string) {
	t.Helper()
	list := func(name string, all *seerdb.Rows) {
		for k, v := range all.All() {
			rows = append(rows, fmt.Sprintf("%q\t%x\t%x\n", name, k, v))
		}
		dbtest.Must(t, all.Err())
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
			dbtest.Must(t, err)
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

func openFormatLife(t *testing.T, dir string, o seerdb.Options, to dbtest.TestOptions) *formatLife {
	t.Helper()
	o.Merger, o.Durability = merger.Counter{}, seerdb.Buffered
	l := &formatLife{rnd: rand.New(rand.NewPCG(1, 1))}
	var err error
	l.db, err = seerdb.Open(dir, dbtest.With(o, to))
	dbtest.Must(t, err)
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
		dbtest.Must(t, err)
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
		return []byte(dbtest.Awkward[n%len(dbtest.Awkward)])
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
		dbtest.Must(t, err)
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
			o, to := dbtest.Tiny()
			o.MemtableSize, o.Compression, to.Index, to.ManualOnly = 1<<20, c.codec, c.index, true
			if c.codec == seerdb.NoCompression {
				o.FilterBits = -1
			}
			l := openFormatLife(t, dir, o, to)
			l.write(t, 250)
			dbtest.Must(t, l.db.Flush(ctx))
			dbtest.Must(t, l.db.Compact(ctx, nil, nil))
			_, err := l.spaces[1].BulkLoad(ctx, dbtest.BulkRows(dbtest.BulkKeys(0, 500, 3), func(i int) string { return fmt.Sprint(i) }), nil)
			dbtest.Must(t, err)
			l.write(t, 250)
			dbtest.Must(t, l.db.DeleteRange([]byte("user/002000"), nil))
			dbtest.Must(t, l.db.Flush(ctx))
			l.write(t, 120)
			killed := t.TempDir()
			for i := 0; ; i++ { // again, when a log that is done with was removed under the copy
				to := filepath.Join(killed, strconv.Itoa(i))
				if err := os.CopyFS(to, os.DirFS(dir)); !errors.Is(err, fs.ErrNotExist) {
					dbtest.Must(t, err)
					killed = to
					break
				}
			}
			now, want := time.Now(), shown(t, l.db, l.spaces...)
			dbtest.Must(t, l.db.Close())
			rows, faults := readdb(t, now, killed, dir)
			for _, d := range []string{killed, dir} {
				if diff := cmp.Diff(want, joined(t, rows[d])); diff != "" || faults != "" {
					t.Fatalf("%s: %s\nrows of the database (-) and of tools/readdb (+):\n%s", d, faults, diff)
				}
			}
			if !c.short {
				return
			}
			want = slices.DeleteFunc(want, func(row string) bool {
				return strings.Contains(row, "\t"+hex.EncodeToString([]byte("hour/")))
			})
			rows, faults = readdb(t, now.Add(2*time.Hour), dir)
			if diff := cmp.Diff(want, joined(t, rows[dir])); diff != "" || faults != "" {
				t.Fatalf("two hours later: %s\n%s", faults, diff)
			}
		})
	}
}

// TestFormatReaderReadsGoldens lets the reader read the databases that are kept.
func TestFormatReaderReadsGoldens(t *testing.T) {
	for _, format := range goldenFormats {
		dir := filepath.Join("testdata", "format", format)
		rows, faults := readdb(t, time.Now(), dir)
		var got strings.Builder
		for _, row := range rows[dir] {
			f := strings.Split(strings.TrimSuffix(row, "\n"), "\t")
			k, err := hex.DecodeString(f[1])
			dbtest.Must(t, err)
			v, err := hex.DecodeString(f[2])
			dbtest.Must(t, err)
			if len(v) <= 64 {
				fmt.Fprintf(&got, "%q %q\n", k, v)
			} else {
				fmt.Fprintf(&got, "%q %d bytes, %08x\n", k, len(v), crc32.ChecksumIEEE(v))
			}
		}
		want, err := os.ReadFile(dir + ".rows")
		dbtest.Must(t, err)
		if d := cmp.Diff(string(want), got.String()); d != "" || faults != "" {
			t.Errorf("%s: %s\n(-want +got):\n%s", format, faults, d)
		}
	}
}

// TestFormatReaderFindsDamage flips one byte of each kind of file; the reader
// must name the file.
func TestFormatReaderFindsDamage(t *testing.T) {
	dir := t.TempDir()
	o, to := dbtest.Tiny()
	to.ManualOnly = true
	l := openFormatLife(t, dir, o, to)
	l.write(t, 48)
	dbtest.Must(t, l.db.Flush(context.Background()))
	dbtest.Must(t, l.db.Compact(context.Background(), nil, nil)) // the other keyspaces stay in a pack
	l.write(t, 24)
	dbtest.Must(t, l.db.Close())
	dirs, files := []string{dir}, []string{""}
	for _, pattern := range []string{"CURRENT", "MANIFEST-*", "*.wal", "*.sst", "*.pack", "*.val"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		dbtest.Must(t, err)
		if len(names) == 0 {
			t.Fatalf("there is no %s", pattern)
		}
		name := names[len(names)-1]
		data, err := os.ReadFile(name)
		dbtest.Must(t, err)
		end := len(data)
		if strings.HasSuffix(pattern, "-*") || strings.HasSuffix(pattern, ".wal") {
			end -= 16 // the mark, which may be missing
		}
		places := []float64{0.02, 0.4, 0.97}
		if pattern == "*.pack" {
			places[0] = 0.6 // the first table in it was compacted, and is garbage
		}
		for _, at := range places {
			damaged := filepath.Join(t.TempDir(), "db")
			dbtest.Must(t, os.CopyFS(damaged, os.DirFS(dir)))
			data[int(at*float64(end))] ^= 4
			dbtest.Must(t, os.WriteFile(filepath.Join(damaged, filepath.Base(name)), data, 0o600))
			data[int(at*float64(end))] ^= 4
			dirs, files = append(dirs, damaged), append(files, filepath.Base(name))
		}
	}
	rows, faults := readdb(t, time.Now(), dirs...)
	if len(rows[dir]) == 0 || strings.Contains(faults, dir+string(filepath.Separator)) {
		t.Fatalf("the sound database has %d rows, and faults:\n%s", len(rows[dir]), faults)
	}
	for i, d := range dirs[1:] {
		if name := filepath.Join(d, files[i+1]); !strings.Contains(faults, name+": ") || len(rows[d]) > 0 {
			t.Errorf("a byte of %s is flipped: %d rows, and these faults in all:\n%s", name, len(rows[d]), faults)
		}
	}
}
