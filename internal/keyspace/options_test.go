package keyspace_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/keyspace"
)

func keep(_, _ []byte) (compaction.FilterVerdict, []byte, error) { return 0, nil, nil }

// same reports whether two options are the same, as far as functions can be compared.
func same(a, b *keyspace.Options) bool {
	return a.ValueThreshold == b.ValueThreshold && a.Codec == b.Codec && a.TTL == b.TTL && a.Merger == b.Merger && (a.Filter == nil) == (b.Filter == nil)
}

// TestInherited: a keyspace has the options of the default one that its first call does not
// choose, but for those that belong to data: merge operator, filter and time to live. So does
// one that no call opened yet.
func TestInherited(t *testing.T) {
	root := keyspace.Options{ValueThreshold: 100, Codec: compress.S2, Merger: &operator{name: "root"}, Filter: keep}
	r := newRig(t, options{root: root, syncNew: true})
	want := keyspace.Options{ValueThreshold: 100, Codec: compress.S2}
	k := r.must("plain", keyspace.Choice{})
	if o := k.Options(); !same(o, &want) || k.TTL() != 0 || k.Merger() != nil {
		t.Errorf("chosen nothing: %+v", o)
	}
	threshold, codec, m := 0, compress.None, &operator{name: "m"}
	r.must("chosen", keyspace.Choice{ValueThreshold: &threshold, Codec: &codec, TTL: time.Hour, Filter: keep})
	chosen := keyspace.Options{TTL: time.Hour, Filter: keep}
	if k := r.Named("chosen"); !same(k.Options(), &chosen) || k.TTL() != time.Hour {
		t.Errorf("chosen all: %+v", k.Options())
	}
	if k := r.must("merges", keyspace.Choice{Merger: m}); k.Merger() != base.Merger(m) {
		t.Errorf("Merger: %v", k.Merger())
	}
	if k := r.Root(); !same(k.Options(), &root) || k.Merger() != root.Merger {
		t.Errorf("the default one: %+v", k.Options())
	}
	again := newRig(t, options{mem: r.crash(), root: root})
	for _, name := range []string{"plain", "chosen", "merges"} { // options are not written down
		if k := again.Named(name); !same(k.Options(), &want) || k.TTL() != 0 || k.Merger() != nil {
			t.Errorf("%s before the first call: %+v", name, k.Options())
		}
	}
}

// TestFirstCallDecides: a later call gives the same options, or leaves them out. Others are
// refused, with the name of the option and of the keyspace, and change nothing.
func TestFirstCallDecides(t *testing.T) {
	small, large, lz4, zstd := 10, 1000, compress.LZ4, compress.Zstd
	first := keyspace.Choice{ValueThreshold: &small, Codec: &lz4, TTL: time.Minute, Merger: &operator{name: "m"}, Filter: keep}
	plain := keyspace.Choice{ValueThreshold: &small, Codec: &lz4, TTL: time.Minute}
	for _, c := range []struct {
		option string
		first  keyspace.Choice
		again  keyspace.Choice
	}{
		{"", first, first}, {"", first, keyspace.Choice{}}, {"", plain, plain}, {"", keyspace.Choice{}, keyspace.Choice{}},
		{"ValueThreshold", first, keyspace.Choice{ValueThreshold: &large}}, {"Compression", first, keyspace.Choice{Codec: &zstd}},
		{"TTL", first, keyspace.Choice{TTL: time.Second}}, {"TTL", keyspace.Choice{}, keyspace.Choice{TTL: time.Second}},
		{"CompactionFilter", plain, keyspace.Choice{Filter: keep}}, {"merge operator", first, keyspace.Choice{Merger: &operator{name: "other"}}},
	} {
		for _, how := range []string{"open", "tentative"} {
			r := newRig(t, options{})
			asked, err := c.again.Ask("space")
			r.check(err)
			var k *keyspace.Keyspace
			var again func() error
			if how == "open" {
				k = r.must("space", c.first)
				again = func() error {
					got, err := r.Open(asked, true)
					if err == nil && got != k || err != nil && got != nil {
						t.Errorf("%s: another keyspace", c.option)
					}
					return err
				}
			} else {
				first, err := c.first.Ask("space")
				r.check(err)
				k, err = r.Tentative(first)
				r.check(err)
				again = func() error { return r.Reopen(k, asked) }
			}
			before := *k.Options()
			record := k.Record()
			err = again()
			if c.option == "" {
				r.check(err)
			} else if !errors.Is(err, base.ErrInvalidOptions) || !strings.Contains(err.Error(), c.option) || !strings.Contains(err.Error(), `keyspace "space"`) {
				t.Errorf("%s, %s: %v", how, c.option, err)
			}
			if !same(k.Options(), &before) || k.Record() != record {
				t.Errorf("%s, %s: %+v, was %+v", how, c.option, k.Options(), before)
			}
		}
	}
}

// TestBadOptions: what makes no sense is refused before anything is made, with its name.
func TestBadOptions(t *testing.T) {
	r := newRig(t, options{})
	none := compress.Codec(200)
	for _, c := range []struct {
		name string
		keyspace.Choice
		says string
	}{
		{"", keyspace.Choice{}, "needs a name"},
		{strings.Repeat("n", 1025), keyspace.Choice{}, "1025 bytes; at most 1024"},
		{"space", keyspace.Choice{TTL: -1}, "TTL is -1ns"},
		{"space", keyspace.Choice{Codec: &none}, "Compression is 200"},
	} {
		ops := r.mem.Ops()
		_, err := r.ask(c.name, c.Choice, true)
		if !errors.Is(err, base.ErrInvalidOptions) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.says, err)
		}
		if asked, err := c.Ask(c.name); err == nil {
			if _, err := r.Tentative(asked); !errors.Is(err, base.ErrInvalidOptions) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, tentative: %v", c.says, err)
			}
			good, err := keyspace.Choice{}.Ask(c.name)
			r.check(err)
			k, err := r.Tentative(good)
			r.check(err)
			if err := r.Reopen(k, asked); !errors.Is(err, base.ErrInvalidOptions) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, again: %v", c.says, err)
			}
		}
		if names, err := r.Names(); len(names) > 0 || err != nil || r.mem.Ops() != ops {
			t.Errorf("%s: there are %q, %v", c.says, names, err)
		}
	}
	r.must(strings.Repeat("n", 1024), keyspace.Choice{})
}

// TestMergerNames: operands of one merge operator are never read with another one, or with
// none: its name is durable before an operand can be written, and an opening is held to it.
func TestMergerNames(t *testing.T) {
	a, b := &operator{name: "a"}, &operator{name: "b"}
	for _, c := range []struct {
		was, asked base.Merger
		refused    string
	}{
		{nil, nil, ""}, {nil, a, ""}, {a, a, ""}, {a, &operator{name: "a"}, ""}, {a, b, `"b"`}, {a, nil, "none"},
	} {
		for _, root := range []bool{false, true} {
			o := options{syncNew: true}
			if root {
				o.root.Merger = c.was
			}
			r := newRig(t, o)
			id := uint32(0)
			if !root {
				id = r.must("space", keyspace.Choice{Merger: c.was}).ID()
			}
			if rec := r.record(id); c.was != nil && (rec == nil || rec.Merger != "a") {
				t.Errorf("%v: the manifest says %+v", c.was, rec)
			}
			for _, readOnly := range []bool{false, true} {
				o := options{mem: r.crash(), readOnly: readOnly}
				if root {
					o.root.Merger = c.asked
				}
				var k *keyspace.Keyspace
				again, err := open(t, o)
				if err == nil && root {
					k = again.Root()
				} else if err == nil {
					k, err = again.ask("space", keyspace.Choice{Merger: c.asked}, false)
				}
				if c.refused != "" {
					if !errors.Is(err, base.ErrInvalidOptions) || !strings.Contains(err.Error(), `written with the merge operator "a", and is opened with `+c.refused) {
						t.Errorf("was %v, is %v, root %v: %v", c.was, c.asked, root, err)
					}
					continue
				}
				r.check(err)
				if k.Merger() != c.asked {
					t.Errorf("was %v, is %v, root %v, read-only %v: %v", c.was, c.asked, root, readOnly, k.Merger())
				}
				if rec := again.record(id); c.asked != nil && !readOnly && (rec == nil || rec.Merger != "a" || rec.Name != k.Name()) {
					t.Errorf("was %v, is %v, root %v: the manifest says %+v", c.was, c.asked, root, rec)
				}
			}
		}
	}
}

// TestMergerGivenLater: a keyspace that is open without a merge operator takes one, as it
// would after another Open; from then on that one stays.
func TestMergerGivenLater(t *testing.T) {
	r := newRig(t, options{})
	a := &operator{name: "a"}
	k := r.must("space", keyspace.Choice{})
	r.disk.Inject(fullOnce)
	if _, err := r.ask("space", keyspace.Choice{Merger: a}, true); !errors.Is(err, base.ErrNoSpace) {
		t.Errorf("on a full disk: %v", err)
	}
	if k.Merger() != nil || k.Record().Merger != "" {
		t.Error("it has an operator that the manifest does not have")
	}
	r.must("space", keyspace.Choice{Merger: a})
	if rec := r.record(k.ID()); k.Merger() != base.Merger(a) || rec == nil || rec.Merger != "a" || k.Record() != *rec {
		t.Errorf("%v; the manifest says %+v", k.Merger(), rec)
	}
	ops := r.mem.Ops()
	r.must("space", keyspace.Choice{Merger: &operator{name: "a"}})
	r.must("space", keyspace.Choice{})
	if k.Merger() != base.Merger(a) || r.mem.Ops() != ops {
		t.Error("it has another one of the same name, or was written down again")
	}
	asked, err := keyspace.Choice{}.Ask("tentative")
	r.check(err)
	x, err := r.Tentative(asked)
	r.check(err)
	asked, err = keyspace.Choice{Merger: a}.Ask("tentative")
	r.check(err)
	r.check(r.Reopen(x, asked))
	asked, err = keyspace.Choice{Merger: &operator{name: "a"}}.Ask("tentative")
	r.check(err)
	r.check(r.Reopen(x, asked))
	if x.Merger() != base.Merger(a) || x.Record().Merger != "a" || r.mem.Ops() != ops {
		t.Errorf("tentative: %v, %+v", x.Merger(), x.Record())
	}
}
