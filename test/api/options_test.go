package api

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
)

// TestInvalidOptionsAreNamed: an option that makes no sense is refused before
// anything is made, by the name that it has in the documentation.
func TestInvalidOptionsAreNamed(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []seerdb.Options{
		{Durability: 99}, {SyncInterval: -1}, {SyncInterval: time.Second}, {MemoryBudget: -1},
		{MemtableSize: 1}, {MemtableSize: -1}, {PageSize: 1}, {PageSize: -1}, {PageSize: 1<<20 + 1},
		{TableSize: 1}, {TableSize: -1}, {FilterBits: 65}, {FilterBits: math.NaN()}, {FilterBits: math.Inf(1)},
		{Compression: 5}, {Compression: 99}, {CompactionStyle: 2}, {CompactionStyle: 9}, {MaxCompactions: -1}, {MaxCompactions: 65},
		{ErrorIfMissing: true, ErrorIfExists: true}, {ErrorIfExists: true, ReadOnly: true},
	} {
		path := dir + "/db"
		db, err := seerdb.Open(path, &o)
		if err == nil {
			_ = db.Close()
		}
		mustNameOption(t, err, o)
		if _, err := seerdb.Open(path, &seerdb.Options{ErrorIfMissing: true}); !errors.Is(err, seerdb.ErrNotExist) {
			t.Fatalf("%+v: something was made: %v", o, err)
		}
	}
	db, err := seerdb.Open(dir+"/db", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, o := range []seerdb.KeyspaceOptions{{Compression: 99}, {TTL: -1}} {
		_, err := db.Keyspace("k", &o)
		mustNameOption(t, err, o)
	}
	if names, err := db.Keyspaces(); err != nil || len(names) > 0 {
		t.Fatal(names, err)
	}
}

// mustNameOption checks that the first word of a message, and all others that
// are written like options, are fields that differ from zero.
func mustNameOption(t *testing.T, err error, options any) {
	t.Helper()
	if !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("%+v: %v", options, err)
		return
	}
	_, message, _ := strings.Cut(err.Error(), "invalid options: ")
	name, _, _ := strings.Cut(message, " ")
	if f := reflect.ValueOf(options).FieldByName(name); !f.IsValid() || f.IsZero() {
		t.Errorf("%+v: %q does not name the option", options, err)
	}
	if strings.Contains(message, " exclude ") {
		second := strings.Fields(message)[2]
		if f := reflect.ValueOf(options).FieldByName(second); !f.IsValid() || f.IsZero() {
			t.Errorf("%+v: %q names %s", options, err, second)
		}
	}
}
