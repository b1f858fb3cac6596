package engine

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestOptionsThatMakeNoSense: Open names the option, and makes no directory.
func TestOptionsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"Durability":      func(o *Options) { o.Durability = Sync + 1 },
		"SyncInterval":    func(o *Options) { o.Durability, o.SyncInterval = Buffered, -1 },
		"with Durability": func(o *Options) { o.Durability, o.SyncInterval = Sync, time.Second },
		"MemtableSize":    func(o *Options) { o.MemtableSize = 255 },
		"MemoryBudget":    func(o *Options) { o.MemoryBudget = -1 },
		"OpenFiles":       func(o *Options) { o.OpenFiles = -1 },
		"Partitions":      func(o *Options) { o.Partitions = 3 },
		"PageSize":        func(o *Options) { o.PageSize = 31 },
		"TableSize":       func(o *Options) { o.TableSize = 255 },
		"Compression":     func(o *Options) { o.Codec = 99 },
		"CompactionStyle": func(o *Options) { o.Style = 9 },
		"FilterBits":      func(o *Options) { o.FilterBits = math.NaN() },
		"MaxCompactions":  func(o *Options) { o.MaxCompactions = 65 },
		"ErrorIfMissing":  func(o *Options) { o.ErrorIfExists, o.ErrorIfMissing = true, true },
		"ReadOnly":        func(o *Options) { o.ErrorIfExists, o.ReadOnly = true, true },
	} {
		fs := memfs.New()
		o := Options{FS: fs, MemoryBudget: 1 << 20}.WithDefaults()
		change(&o)
		if _, err := Open("db", o); !errors.Is(err, base.ErrInvalidOptions) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := fs.Stat("db"); err == nil {
			t.Errorf("%s: there is a directory", name)
		}
	}
}

// TestThingsOfAnotherDatabase: a keyspace of another database, or of an earlier opening
// of this one, is refused, and so are options of a keyspace that differ.
func TestThingsOfAnotherDatabase(t *testing.T) {
	a, b := openSmall(t, nil), openSmall(t, nil)
	defer a.Close()
	defer b.Close()
	k, err := a.Keyspace("k", KeyspaceChoice{TTL: time.Hour}, true)
	if err != nil {
		t.Fatal(err)
	}
	if k.Name() != "k" || k.TTL() != time.Hour || k.Describe() != `keyspace "k"` || a.Root().Describe() != "the database" {
		t.Errorf("%q, %v, %s", k.Name(), k.TTL(), k.Describe())
	}
	s := b.NewSnapshot()
	defer s.Close()
	if _, err := s.Has(k, nil); !errors.Is(err, base.ErrInvalidOptions) {
		t.Errorf("a snapshot reads a keyspace of another database: %v", err)
	}
	var x Txn
	if err := b.Begin(&x, TxnOptions{}); err != nil {
		t.Fatal(err)
	}
	defer x.Rollback()
	if _, err := x.Has(k, nil); !errors.Is(err, base.ErrInvalidOptions) {
		t.Errorf("a transaction reads a keyspace of another database: %v", err)
	}
	for _, c := range []KeyspaceChoice{{TTL: time.Minute}, {TTL: -1}} {
		if _, err := a.Keyspace("k", c, false); !errors.Is(err, base.ErrInvalidOptions) {
			t.Errorf("a TTL of %v: %v", c.TTL, err)
		}
	}
	if _, err := a.Keyspace("", KeyspaceChoice{}, true); !errors.Is(err, base.ErrInvalidOptions) {
		t.Errorf("a keyspace without a name: %v", err)
	}
	if _, err := a.Keyspace("none", KeyspaceChoice{}, false); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a keyspace that is not there: %v", err)
	}
	if err := a.DropKeyspace("k"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Has([]byte("key"), readstate.Newest); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a read of a keyspace that was dropped: %v", err)
	}
}
