package seerdb_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

var update = flag.Bool("update", false, "write the golden database of the newest format anew; for a format that was released this breaks a promise")

// goldenFormats are the formats of which a database is kept: testdata/format/v1
// and so on, with what it holds in v1.rows. The last is what this version
// writes.
var goldenFormats = []string{"v1", "v2"}

// goldenRow is what commit i of the generator does.
func goldenRow(i int) (key, value []byte) {
	switch i % 6 {
	case 0:
		key = fmt.Appendf(nil, "user/%06d", i*37)
	case 1:
		key = fmt.Appendf(nil, "https://example.org/%x", i*i%509)
	case 2:
		key = []byte(dbtest.Awkward[i%len(dbtest.Awkward)])
	default:
		key = fmt.Appendf(nil, "%08d", i*i%4001)
	}
	switch i % 9 {
	case 0:
		return key, nil // deleted
	case 1:
		return key, []byte{}
	case 2:
		value = make([]byte, 300) // apart, and does not shrink much
		for j := range value {
			value[j] = byte(j * (i + j) >> 3)
		}
		return key, value
	}
	return key, bytes.Repeat(fmt.Appendf(nil, "value %d. ", i), 1+i%4)
}

// makeGolden writes a database in which every part of the format is used:
// every codec, tables with and without models, values apart, deletes, several
// levels, a log with commits.
func makeGolden(t *testing.T, dir string) {
	t.Helper()
	o, to := dbtest.Tiny()
	o.MemtableSize, o.PageSize, to.ManualOnly = 1<<20, 512, true
	n := 0
	session := func(row func(int) (key, value []byte), end func(*seerdb.DB) error) {
		db, err := seerdb.Open(dir, dbtest.With(o, to))
		dbtest.Must(t, err)
		for range 300 {
			k, v := row(n)
			if n++; v == nil {
				dbtest.Must(t, db.Delete(k))
			} else {
				dbtest.Must(t, db.Put(k, v))
			}
		}
		dbtest.Must(t, errors.Join(end(db), db.Close()))
	}
	flush := func(db *seerdb.DB) error { return db.Flush(context.Background()) }
	compact := func(db *seerdb.DB) error { return db.Compact(context.Background(), nil, nil) }
	session(goldenRow, compact)
	for i, c := range []seerdb.Compression{seerdb.NoCompression, seerdb.LZ4, seerdb.S2, seerdb.Zstd} {
		o.Compression = c
		to.Index = []sstable.IndexMode{sstable.IndexLearned, sstable.IndexFences}[i%2]
		session(goldenRow, flush)
		to.Index = sstable.IndexLearned
		session(func(i int) (key, value []byte) { // keys that lie on a line
			return fmt.Appendf(nil, "line/%06d", 3*i), fmt.Appendf(nil, "value %d", i)
		}, flush)
	}
	session(goldenRow, func(*seerdb.DB) error { return nil }) // stays in the log
}

// TestGoldenDatabases opens a database of each format, as it is and for
// reading only, and compares what it holds.
func TestGoldenDatabases(t *testing.T) {
	newest := goldenFormats[len(goldenFormats)-1]
	if *update {
		updateGolden(t, filepath.Join("testdata", "format", newest))
	}
	for _, format := range goldenFormats {
		t.Run(format, func(t *testing.T) {
			dir := filepath.Join("testdata", "format", format)
			rows, err := os.ReadFile(dir + ".rows")
			dbtest.Must(t, err)
			want := strings.Split(strings.TrimSuffix(string(rows), "\n"), "\n")
			mem := memfs.New()
			copyIn(t, mem, dir)
			for _, o := range []seerdb.Options{{ReadOnly: true}, {ErrorIfMissing: true}} {
				db := dbtest.Open(t, "db", dbtest.With(o, dbtest.TestOptions{FS: mem}))
				if d := cmp.Diff(want, quoted(t, db)); d != "" {
					t.Fatalf("read only %v: (-want +got):\n%s", o.ReadOnly, d)
				}
				report, err := db.Verify(context.Background())
				dbtest.Must(t, err)
				if !report.Clean() {
					t.Fatal(report.Damage)
				}
				if m := db.Metrics(); o.ReadOnly && (m.Index.LearnedPages == 0 || m.Index.FencePages == 0 || m.Values.Files == 0 || m.Levels[0].Deletes == 0 || m.Levels[6].Files == 0 || m.Memtable.Entries == 0) {
					t.Errorf("the database does not use the whole format: %+v, %+v, %+v", m.Index, m.Values, m.Levels)
				}
				if !o.ReadOnly {
					dbtest.Must(t, db.Compact(context.Background(), nil, nil))
					if d := cmp.Diff(want, quoted(t, db)); d != "" {
						t.Fatalf("after a compaction (-want +got):\n%s", d)
					}
				}
				dbtest.Must(t, db.Close())
			}
		})
	}
}

// quoted lists a database, one quoted key and value a line; of a long value
// its length and checksum.
func quoted(t *testing.T, db *seerdb.DB) (out []string) {
	t.Helper()
	for _, row := range dbtest.Contents(t, db) {
		k, v, _ := strings.Cut(row, "=")
		if q := strconv.Quote(v); len(v) <= 64 {
			out = append(out, strconv.Quote(k)+" "+q)
		} else {
			out = append(out, fmt.Sprintf("%q %d bytes, %08x", k, len(v), crc32.ChecksumIEEE([]byte(v))))
		}
	}
	return out
}

// copyIn copies the files of a directory to the directory db of fs.
func copyIn(t *testing.T, fs *memfs.FS, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	dbtest.Must(t, err)
	dbtest.Must(t, fs.MkdirAll("db"))
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		dbtest.Must(t, err)
		f, err := fs.Create("db/" + e.Name())
		dbtest.Must(t, err)
		_, err = f.Write(b)
		dbtest.Must(t, errors.Join(err, f.Close()))
	}
}

func updateGolden(t *testing.T, dir string) {
	t.Helper()
	dbtest.Must(t, os.RemoveAll(dir))
	dbtest.Must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	makeGolden(t, dir)
	dbtest.Must(t, os.Remove(filepath.Join(dir, "LOCK")))
	mem := memfs.New()
	copyIn(t, mem, dir)
	db := dbtest.Open(t, "db", dbtest.With(seerdb.Options{ReadOnly: true}, dbtest.TestOptions{FS: mem}))
	dbtest.Must(t, os.WriteFile(dir+".rows", []byte(strings.Join(quoted(t, db), "\n")+"\n"), 0o644))
	dbtest.Must(t, db.Close())
}
