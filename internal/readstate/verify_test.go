package readstate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/observe"
)

// verify checks the current state, and returns what is wrong.
func verify(r *readstatetest.Rig) (rep observe.Report, bad []error) {
	r.Helper()
	s, shard := r.Store.Keep()
	defer s.LetGo(shard)
	r.Check(s.Verify(context.Background(), &rep, func(err error) error {
		if err != nil {
			bad = append(bad, err)
		}
		return nil
	}))
	return rep, bad
}

// whole makes tables, packed ones too, with range tombstones, expiries and values, that
// were all read once.
func whole(t *testing.T, packed bool) *readstatetest.Rig {
	r := newRig(t, readstatetest.Options{Packed: packed, ValuesFrom: 10, FilterBits: 10})
	for range 2 {
		r.Commit(func(b *batch.Batch) {
			for ks := range uint32(2) {
				r.Check(b.Put(ks, []byte("a"), []byte("1")))
				r.Check(b.Put(ks, []byte("b"), []byte(strings.Repeat("v", 20))))
				r.Check(b.PutTTL(ks, []byte("c"), []byte(strings.Repeat("w", 20)), r.Time()+10))
				r.Check(b.DeleteRange(ks, []byte("d"), []byte("e")))
			}
		})
		r.Rotate()
		r.Flush()
	}
	for _, tab := range r.Store.Current().Tables() {
		rd, err := tab.Use()
		r.Check(err)
		r.Check(rd.Close())
	}
	return r
}

// TestVerifyFindsNothing: what is sound is found to be, and counted.
func TestVerifyFindsNothing(t *testing.T) {
	for _, packed := range []bool{false, true} {
		r := whole(t, packed)
		rep, bad := verify(r)
		var bytes int64
		for _, tab := range r.Store.Current().Tables() {
			bytes += int64(tab.Meta.Size)
		}
		if len(bad)+len(rep.Damage) > 0 || rep.Tables != 4 || rep.ValueFiles != 4 || rep.Entries != 4*3 || rep.Pages != 4 || rep.Bytes != bytes+r.Store.Current().ValueBytes() {
			t.Errorf("found %v %v; %+v", bad, rep.Damage, rep)
		}
	}
}

// TestVerifyFindsDamage: a file that was changed, cut, made longer, or removed since it was
// opened is found, by its name and nothing else, though the readers in use see none of it.
func TestVerifyFindsDamage(t *testing.T) {
	for what, hurt := range map[string]func(r *readstatetest.Rig, name string){
		"first page": func(r *readstatetest.Rig, name string) { r.Flip(name, 40) },
		"footer":     func(r *readstatetest.Rig, name string) { r.Flip(name, -2) },
		"cut": func(r *readstatetest.Rig, name string) {
			r.Rewrite(name, func(b []byte) []byte { return b[:len(b)-1] })
		},
		"longer": func(r *readstatetest.Rig, name string) {
			r.Rewrite(name, func(b []byte) []byte { return append(b, 0) })
		},
		"missing":     func(r *readstatetest.Rig, name string) { r.Check(r.FS.Remove(name)) },
		"other bytes": func(r *readstatetest.Rig, name string) { r.Rewrite(name, func(b []byte) []byte { clear(b); return b }) },
	} {
		for _, kind := range []string{"table", "pack", "values"} {
			r := whole(t, kind == "pack")
			name := r.Store.Current().Tables()[0].Meta.FileName()
			if kind == "values" {
				name = base.FileName(base.FileTypeValues, r.Version.SortedValues()[0].Num)
			}
			hurt(r, name)
			_, bad := verify(r)
			if len(bad) == 0 {
				t.Errorf("%s of a %s: nothing is found", what, kind)
			}
			for _, err := range bad {
				var c *base.CorruptionError
				if !errors.As(err, &c) || c.File != name {
					t.Errorf("%s of a %s: %v, want damage of %s", what, kind, err, name)
				}
			}
			want(r, "a", newest, "1")
			if len(r.Damage()) > 0 {
				t.Errorf("%s of a %s: damage is reported, and not only noted", what, kind)
			}
		}
	}
}

// TestVerifyFindsWrongManifest: what the manifest says of files that are sound, and is not
// true, is found.
func TestVerifyFindsWrongManifest(t *testing.T) {
	r := newRig(t, readstatetest.Options{ValuesFrom: 10})
	flushed(r, "a", strings.Repeat("v", 20), "b", strings.Repeat("w", 20))
	tab := onlyTable(r).Meta
	values := r.Version.SortedValues()[0]
	for _, c := range []struct {
		what   string
		table  func(m *manifest.FileMeta)
		values func(m *manifest.ValueMeta)
		file   string
		says   string
	}{
		{"sound", nil, nil, "", ""},
		{"entries", func(m *manifest.FileMeta) { m.Entries++ }, nil, tab.FileName(), "entries"},
		{"ranges", func(m *manifest.FileMeta) { m.Ranges++ }, nil, tab.FileName(), "range tombstones"},
		{"smallest", func(m *manifest.FileMeta) { m.Smallest = []byte("A") }, nil, tab.FileName(), "holds keys"},
		{"largest", func(m *manifest.FileMeta) { m.Largest = []byte("c") }, nil, tab.FileName(), "holds keys"},
		{"count of references", func(m *manifest.FileMeta) { m.ValueRefs[0].Count-- }, nil, tab.FileName(), "refers to"},
		{"bytes of references", func(m *manifest.FileMeta) { m.ValueRefs[0].Bytes-- }, nil, tab.FileName(), "refers to"},
		{"count of values", nil, func(m *manifest.ValueMeta) { m.Count++ }, base.FileName(base.FileTypeValues, values.Num), "values"},
		{"size of values", nil, func(m *manifest.ValueMeta) { m.Size++ }, base.FileName(base.FileTypeValues, values.Num), "bytes"},
		{"size of table", func(m *manifest.FileMeta) { m.Size++ }, nil, tab.FileName(), "bytes"},
		{"incarnation", func(m *manifest.FileMeta) { m.Incarnation++ }, nil, tab.FileName(), ""},
	} {
		o := newRig(t, readstatetest.Options{ValuesFrom: 10})
		for _, name := range []string{tab.FileName(), base.FileName(base.FileTypeValues, values.Num)} {
			o.Adopt(r, name)
		}
		m, v := *tab, values
		m.ValueRefs = slices.Clone(tab.ValueRefs)
		if c.table != nil {
			c.table(&m)
		}
		if c.values != nil {
			c.values(&v)
		}
		o.Install(&manifest.Edit{Add: []manifest.NewFile{{Level: 1, Meta: &m}}, AddValues: []manifest.ValueMeta{v}}, nil, false)
		_, bad := verify(o)
		if c.file == "" {
			if len(bad) > 0 {
				t.Errorf("%s: %v", c.what, bad)
			}
			continue
		}
		found := false
		for _, err := range bad {
			var d *base.CorruptionError
			found = found || errors.As(err, &d) && d.File == c.file && strings.Contains(d.Detail, c.says)
		}
		if !found {
			t.Errorf("%s: found %v, want damage of %s", c.what, bad, c.file)
		}
	}
}

// TestVerifyFindsWrongPointers: a pointer to the value of another key, references that the
// manifest does not count, and pointers that lead nowhere.
func TestVerifyFindsWrongPointers(t *testing.T) {
	r := newRig(t, readstatetest.Options{ValuesFrom: 10})
	first := flushed(r, "b", strings.Repeat("v", 20))
	pointer := pointerOf(r, first, "b")
	add := func(says string, entries ...string) {
		t.Helper()
		r.Put("b", strings.Repeat("v", 20)) // a value file with room for more references
		r.Rotate()
		r.Flush()
		m := r.AddTable(2, func(w *sstable.Writer) {
			for i := 0; i < len(entries); i += 2 {
				kind := base.KindPutPointer
				if strings.HasPrefix(entries[i], "ttl") {
					kind = base.KindPutTTLPointer
				}
				r.Check(w.Add([]byte(entries[i]), base.MakeTrailer(1, kind), []byte(entries[i+1])))
			}
		}, nil)
		_, bad := verify(r)
		var c *base.CorruptionError
		if len(bad) != 1 || says != "" && (!errors.As(bad[0], &c) || !strings.Contains(c.Error(), says)) {
			t.Errorf("found %v, want %q", bad, says)
		}
		r.Install(&manifest.Edit{Remove: []manifest.OldFile{{Level: 2, Num: m.Num}}}, nil, false)
	}
	add("refers to 1 value files that its description in the manifest lacks", "b", string(pointer))
	add(`the pointer of key "a" leads to the value of key "b"`, "a", string(pointer))
	add("stored pointer into a value file is invalid", "a", "junk")
	add("", "ttl", "1234")
}

// TestVerifyFindsWrongPacks: a directory that says other than the manifest where a table
// lies.
func TestVerifyFindsWrongPacks(t *testing.T) {
	r := whole(t, true)
	o := newRig(t, readstatetest.Options{})
	var e manifest.Edit
	adopted := map[string]bool{}
	for _, tab := range r.Store.Current().Tables() {
		m := *tab.Meta
		if !adopted[m.FileName()] {
			adopted[m.FileName()] = true
			o.Adopt(r, m.FileName())
		}
		e.Add = append(e.Add, manifest.NewFile{Level: 1, Meta: &m})
	}
	wrong := e.Add[0].Meta
	wrong.Offset++
	wrong.Size--
	for _, v := range r.Version.SortedValues() {
		o.Adopt(r, base.FileName(base.FileTypeValues, v.Num))
		e.AddValues = append(e.AddValues, v)
	}
	for i := range e.Add {
		e.Add[i].Meta.Run = 1 + uint64(e.Add[i].Meta.Num)
	}
	o.Install(&e, nil, false)
	_, bad := verify(o)
	found := false
	for _, err := range bad {
		found = found || strings.Contains(err.Error(), "the directory says")
	}
	if !found {
		t.Errorf("found %v", bad)
	}
}

// TestVerifyEnds: Verify ends with its context, and with an error of the one that notes.
func TestVerifyEnds(t *testing.T) {
	r := whole(t, true)
	s, shard := r.Store.Keep()
	defer s.LetGo(shard)
	var rep observe.Report
	stop := errors.New("stop")
	ctx, cancel := context.WithCancel(context.Background())
	for after := range 4 + 2 + 4 { // tables, packs, value files
		n := 0
		err := s.Verify(ctx, &rep, func(err error) error {
			if n++; n > after {
				return stop
			}
			return err
		})
		if err != stop || n != after+1 {
			t.Errorf("after %d files: %v", n, err)
		}
	}
	cancel()
	if err := s.Verify(ctx, &rep, func(err error) error { return err }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.IndexMetrics(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	rule := r.FS.Inject(faultfs.Rule{Op: faultfs.OpStat})
	if _, bad := verify(r); rule.Count() == 0 || len(bad) == 0 || errors.Is(bad[0], base.ErrCorruption) {
		t.Errorf("a file whose size is not known: %v", bad)
	}
}
