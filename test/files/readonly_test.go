package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// readOnlyDatabase makes a database with tables, value files, a keyspace, and
// commits that are only in the log; closed, or as a kill leaves it.
func readOnlyDatabase(t *testing.T, killed bool) (dir string, check func(*seerdb.DB)) {
	t.Helper()
	live := filepath.Join(t.TempDir(), "live")
	db, err := seerdb.Open(live, quietOptions())
	dbtest.Must(t, err)
	f := &fated{db, map[string]map[string]string{"": {}}}
	f.put(t, "flushed")
	dbtest.Must(t, db.Flush(context.Background()))
	k, err := db.Keyspace("more", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, k.Put([]byte("k"), []byte("v")))
	f.want["more"] = map[string]string{"k": "v"}
	f.put(t, "logged")
	dir = live
	if killed {
		dir = filepath.Join(t.TempDir(), "killed")
		dbtest.Must(t, os.CopyFS(dir, os.DirFS(live)))
	}
	dbtest.Must(t, db.Close())
	return dir, func(db *seerdb.DB) {
		t.Helper()
		f.db = db
		f.check(t)
	}
}

func readOnly() *seerdb.Options { return &seerdb.Options{ReadOnly: true, MemoryBudget: 16 << 20} }

func TestReadOnlyChangesNothing(t *testing.T) {
	for _, killed := range []bool{false, true} {
		for _, lockFile := range []bool{false, true} {
			t.Run(fmt.Sprintf("killed=%v/LOCK=%v", killed, lockFile), func(t *testing.T) {
				dir, check := readOnlyDatabase(t, killed)
				if !lockFile {
					dbtest.Must(t, os.Remove(filepath.Join(dir, "LOCK")))
				}
				unchanged := sameFiles(t, dir)
				db, err := seerdb.Open(dir, readOnly())
				dbtest.Must(t, err)
				unchanged("open")
				check(db)
				if err := db.Put([]byte("a"), nil); !errors.Is(err, seerdb.ErrReadOnly) {
					t.Errorf("Put: %v", err)
				}
				if err := dbtest.Keyspace(t, db, "more").Put([]byte("a"), nil); !errors.Is(err, seerdb.ErrReadOnly) {
					t.Errorf("Put into a keyspace: %v", err)
				}
				if _, err := db.Keyspace("new", nil); !errors.Is(err, seerdb.ErrReadOnly) {
					t.Errorf("Keyspace: %v", err)
				}
				if err := db.DropKeyspace("more"); !errors.Is(err, seerdb.ErrReadOnly) {
					t.Errorf("DropKeyspace: %v", err)
				}
				if _, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
					yield([]byte("a"), nil)
				}, &seerdb.BulkOptions{Unsorted: true}); !errors.Is(err, seerdb.ErrReadOnly) {
					t.Errorf("BulkLoad: %v", err)
				}
				_ = db.Sync()
				_ = db.Flush(context.Background())
				_ = db.Compact(context.Background(), nil, nil)
				if report, err := db.Verify(context.Background()); err != nil || !report.Clean() {
					t.Errorf("Verify: %v, %v", report, err)
				}
				_ = db.Metrics()
				unchanged("use")
				dbtest.Must(t, db.Close())
				unchanged("close")
			})
		}
	}
}

// A refused opening changes nothing either, and an opening for reading makes
// nothing where there is nothing.
func TestReadOnlyWithoutDatabase(t *testing.T) {
	base := t.TempDir()
	unchanged := sameFiles(t, base)
	for _, dir := range []string{base, filepath.Join(base, "missing")} {
		if _, err := seerdb.Open(dir, readOnly()); !errors.Is(err, seerdb.ErrNotExist) {
			t.Errorf("%s: %v", dir, err)
		}
		unchanged("open of " + dir)
	}
}

// TestReadOnlyBesideOthers opens for reading and writing in every order, in this
// process and beside another, in files and in memory.
func TestReadOnlyBesideOthers(t *testing.T) {
	if os.Getenv(readOnlyChildEnv) != "" {
		readOnlyChild(t)
		return
	}
	dir, check := readOnlyDatabase(t, false)
	t.Run("system", func(t *testing.T) { readersAndWriters(t, dir, vfs.OS, check) })
	t.Run("memory", func(t *testing.T) {
		mem := memfs.New()
		db := dbtest.Open(t, "db", dbtest.SmallOn(mem, seerdb.Sync))
		dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
		dbtest.Must(t, db.Close())
		readersAndWriters(t, "db", mem, func(db *seerdb.DB) {
			_, err := db.Get([]byte("a"))
			dbtest.Must(t, err)
		})
	})
	for _, mode := range []string{"read", "write"} {
		t.Run("beside a process that may "+mode, func(t *testing.T) {
			pid, end := startReadOnlyChild(t, dir, mode)
			defer end()
			_, err := seerdb.Open(dir, nil)
			if !errors.Is(err, seerdb.ErrLocked) {
				t.Errorf("a writer: %v", err)
			} else if mode == "read" && !strings.Contains(err.Error(), "read-only") {
				t.Errorf("%q does not say that readers hold the lock", err)
			}
			db, err := seerdb.Open(dir, readOnly())
			if mode == "write" {
				if !errors.Is(err, seerdb.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(pid)) {
					t.Errorf("a reader: %v; the writer is the process %d", err, pid)
				}
				return
			}
			dbtest.Must(t, err)
			check(db)
			dbtest.Must(t, db.Close())
		})
	}
	db, err := seerdb.Open(dir, quietOptions()) // what the children held went with them
	dbtest.Must(t, err)
	check(db)
	dbtest.Must(t, db.Close())
}

func readersAndWriters(t *testing.T, dir string, fs vfs.FS, check func(*seerdb.DB)) {
	to := dbtest.TestOptions{FS: fs}
	reading, writing := dbtest.With(*readOnly(), to), dbtest.With(seerdb.Options{MemoryBudget: 16 << 20}, to)
	a, err := seerdb.Open(dir, reading)
	dbtest.Must(t, err)
	b, err := seerdb.Open(dir, reading)
	dbtest.Must(t, err)
	check(a)
	check(b)
	dbtest.Must(t, a.Close())
	check(b)
	if _, err := seerdb.Open(dir, writing); !errors.Is(err, seerdb.ErrLocked) {
		t.Fatalf("a writer beside a reader: %v", err)
	}
	dbtest.Must(t, b.Close())
	w, err := seerdb.Open(dir, writing)
	dbtest.Must(t, err)
	check(w)
	if _, err := seerdb.Open(dir, reading); !errors.Is(err, seerdb.ErrLocked) {
		t.Fatalf("a reader beside a writer: %v", err)
	}
	dbtest.Must(t, w.Close())
}

const readOnlyChildEnv = "SEERDB_READ_ONLY_CHILD"

// readOnlyChild holds the database open until its input ends.
func readOnlyChild(t *testing.T) {
	o := readOnly()
	mode, dir, _ := strings.Cut(os.Getenv(readOnlyChildEnv), " ")
	o.ReadOnly = mode == "read"
	db, err := seerdb.Open(dir, o)
	dbtest.Must(t, err)
	fmt.Println("\nheld")
	_, _ = os.Stdin.Read(make([]byte, 1))
	dbtest.Must(t, db.Close())
}

func startReadOnlyChild(t *testing.T, dir, mode string) (pid int, end func()) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run", "^TestReadOnlyBesideOthers$", "-test.count", "1")
	c.Env = append(os.Environ(), readOnlyChildEnv+"="+mode+" "+dir)
	in, err := c.StdinPipe()
	dbtest.Must(t, err)
	out, err := c.StdoutPipe()
	dbtest.Must(t, err)
	dbtest.Must(t, c.Start())
	said := ""
	for b := make([]byte, 1<<10); !strings.Contains(said, "\nheld\n"); {
		n, err := out.Read(b)
		if said += string(b[:n]); err != nil {
			t.Fatalf("the child says %q", said)
		}
	}
	return c.Process.Pid, func() {
		dbtest.Must(t, in.Close())
		_, _ = out.Read(make([]byte, 1<<10))
		dbtest.Must(t, c.Wait())
	}
}

// TestReadOnlyMedia opens where nothing can be written: as a user
// that may not, or on a file system that is mounted so.
func TestReadOnlyMedia(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes do not bind there")
	}
	dir, check := readOnlyDatabase(t, true)
	if os.Getuid() == 0 {
		mountReadOnly(t, dir)
	} else {
		dbtest.Must(t, os.Chmod(dir, 0o500))
		defer func() { dbtest.Must(t, os.Chmod(dir, 0o700)) }()
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err == nil {
		t.Fatal("the directory can be written")
	}
	for range 2 {
		db, err := seerdb.Open(dir, readOnly())
		dbtest.Must(t, err)
		defer db.Close()
		check(db)
	}
}
