package model

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/testkit"
)

func filterRemoving(key, value []byte) (seerdb.FilterVerdict, []byte, error) {
	switch {
	case len(value) > 0 && value[0] == 'X':
		return seerdb.FilterRemove, nil, nil
	case len(value) > 0 && value[0] == 'Y':
		return seerdb.FilterChange, append([]byte("was "), value...), nil
	}
	return seerdb.FilterKeep, nil, nil
}

// filtered is the keyspace dbtest.FilteredName.
type filtered struct {
	m *testkit.Model
	g *testkit.Gen
	// gone and changed count what the filter was seen to have done.
	gone, changed int
}

func newFiltered(seed uint64) *filtered {
	f := &filtered{m: testkit.NewModel(), g: testkit.NewGen(seed, 40, 60)}
	f.g.Weights[testkit.Merge] = 0
	return f
}

// draw makes the operations of the next commit, at the time of another model.
func (f *filtered) draw(now int64) []testkit.Op {
	f.m.Advance(now - f.m.Now())
	ops := f.g.Commit(f.m)
	for i := range ops {
		if k := ops[i].Kind; k == testkit.Put || k == testkit.PutTTL {
			ops[i].Value = []string{"X", "Y", "", "kept "}[f.g.IntN(4)] + ops[i].Value
		}
	}
	return ops
}

// check compares everything.
func (f *filtered) check(src dbtest.Reader, v testkit.View) error {
	rows := f.m.Scan(v, testkit.Default, testkit.Span{NoEnd: true})
	it, err := src.NewIter(nil)
	if err != nil {
		return err
	}
	ok := it.First()
	for _, want := range rows {
		got, there := string(it.Value()), ok && string(it.Key()) == want.Key
		if v, err := src.AppendGet(nil, []byte(want.Key)); there != (err == nil) && !f.asynchronous(want.Value) || err == nil && there && string(v) != got && !f.asynchronous(want.Value) {
			return errors.Join(fmt.Errorf("filtered: get %q: %q, %v; iterator %q", want.Key, v, err, got), it.Close())
		}
		switch {
		case there && got == want.Value:
		case there && want.Value[:min(1, len(want.Value))] == "Y" && got == "was "+want.Value:
			f.changed++
		case !there && strings.HasPrefix(want.Value, "X"):
			f.gone++
			continue // the iterator stands on a later one
		default:
			return errors.Join(fmt.Errorf("filtered at %+v: %q=%q (%v), want %q=%q", v, it.Key(), it.Value(), it.Err(), want.Key, want.Value), it.Close())
		}
		ok = it.Next()
	}
	if ok {
		return errors.Join(fmt.Errorf("filtered at %+v: %q=%q is too much", v, it.Key(), it.Value()), it.Close())
	}
	return it.Close()
}

// asynchronous says whether the filter may change a value between two reads.
func (f *filtered) asynchronous(value string) bool {
	return strings.HasPrefix(value, "X") || strings.HasPrefix(value, "Y")
}

// sideRows lists what a reader shows of the filtered keyspace.
func sideRows(src dbtest.Reader) (rows []testkit.Row, err error) {
	it, err := src.NewIter(nil)
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		rows = append(rows, testkit.Row{Key: string(it.Key()), Value: string(it.Value())})
	}
	return rows, it.Close()
}
