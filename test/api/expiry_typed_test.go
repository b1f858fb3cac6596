package api

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/typed"
	"github.com/seerdb-go/seerdb/valuecodec"
)

// TestTypedExpiry: typed values expire, and typed rows tell when.
func TestTypedExpiry(t *testing.T) {
	r, clock := expiryRig(t)
	now := clock.Now()
	view := typed.New(r.DB, keycodec.Int64, valuecodec.String)
	dbtest.Must(t, view.PutTTL(1, "one", time.Second))
	dbtest.Must(t, view.PutUntil(2, "two", now.Add(time.Minute)))
	dbtest.Must(t, view.Put(3, "three"))
	b := r.DB.NewBatch()
	dbtest.Must(t, view.Into(b).PutTTL(4, "four", time.Hour))
	dbtest.Must(t, r.DB.Apply(b, seerdb.DefaultDurability))
	dbtest.Must(t, r.DB.Update(context.Background(), func(x *seerdb.Txn) error { return view.In(x).PutTTL(5, "five", time.Second) }))
	rows := view.Rows()
	var got []string
	for k, v := range rows.All() {
		got = append(got, fmt.Sprint(k, v, lifetime(now, rows)))
	}
	for k := range rows.Backward() {
		got = append(got, fmt.Sprint(k, lifetime(now, rows)))
	}
	for k := range rows.From(2).Keys() {
		got = append(got, fmt.Sprint(k, lifetime(now, rows))) // other rows
	}
	for k := range rows.Keys() {
		for k := range rows.Backward() {
			got = append(got, fmt.Sprint(k, lifetime(now, rows)))
			break
		}
		got = append(got, fmt.Sprint(k, lifetime(now, rows)))
		if k == 2 {
			break
		}
	}
	got = append(got, "end"+lifetime(now, rows))
	want := []string{
		"1one 1s", "2two 1m0s", "3three", "4four 1h0m0s", "5five 1s", "5 1s", "4 1h0m0s", "3", "2 1m0s", "1 1s",
		"2", "3", "4", "5", "5 1s", "1 1s", "5 1s", "2 1m0s", "end",
	}
	if !slices.Equal(got, want) || rows.Err() != nil {
		t.Errorf("%q, %v; want\n%q", got, rows.Err(), want)
	}
	if at, expires, err := view.Expiry(2); !at.Equal(now.Add(time.Minute)) || !expires || err != nil {
		t.Errorf("2 expires %v, %v, %v", at, expires, err)
	}
	clock.Add(time.Second)
	if got := slices.Collect(view.Rows().Keys()); !slices.Equal(got, []int64{2, 3, 4}) {
		t.Errorf("a second later there are %v", got)
	}
}
