package testkit

import "testing"

// TestVerdicts holds the anomalies by name. In each the database has a=1 and
// b=2, the transaction does something, then another commit is made.
func TestVerdicts(t *testing.T) {
	put := func(key, value string) Op { return Op{Key: key, Value: value} }
	all := Span{NoEnd: true}
	cases := []struct {
		name   string
		txn    func(tx *Txn)
		others [][]Op
		ser    Verdict
		si     Verdict
	}{
		{"nothing happened", func(tx *Txn) { tx.Lookup(0, "a"); tx.Write(put("a", "9")) }, nil, MustCommit, MustCommit},
		{"lost update", func(tx *Txn) { tx.Lookup(0, "a"); tx.Write(put("a", "9")) }, [][]Op{{put("a", "5")}}, MustConflict, MustConflict},
		{"write skew", func(tx *Txn) { tx.Lookup(0, "a"); tx.Write(put("b", "9")) }, [][]Op{{put("a", "5")}}, MustConflict, MustCommit},
		{"write skew, for update", func(tx *Txn) { tx.LookupForUpdate(0, "a"); tx.Write(put("b", "9")) }, [][]Op{{put("a", "5")}}, MustConflict, MustConflict},
		{"blind writes", func(tx *Txn) { tx.Write(put("a", "9")) }, [][]Op{{put("a", "5")}}, MustCommit, MustConflict},
		{"blind merges", func(tx *Txn) { tx.Write(Op{Kind: Merge, Key: "a", Value: "9"}) }, [][]Op{{{Kind: Merge, Key: "a", Value: "8"}}}, MustCommit, MayConflict},
		{"merge after reading", func(tx *Txn) { tx.Lookup(0, "a"); tx.Write(Op{Kind: Merge, Key: "a", Value: "9"}) }, [][]Op{{{Kind: Merge, Key: "a", Value: "8"}}}, MustConflict, MayConflict},
		{"read only", func(tx *Txn) { tx.Lookup(0, "a"); tx.Scan(Read{Span: all}) }, [][]Op{{put("a", "5")}}, MustCommit, MustCommit},
		{"read only in the end", func(tx *Txn) { tx.Lookup(0, "a"); s := tx.Savepoint(); tx.Write(put("a", "")); tx.RollbackTo(s) }, [][]Op{{put("a", "5")}}, MustCommit, MustCommit},
		{"absent key", func(tx *Txn) { tx.Lookup(0, "c"); tx.Write(put("d", "")) }, [][]Op{{put("c", "")}}, MustConflict, MustCommit},
		{"absent keyspaces are others", func(tx *Txn) { tx.Lookup(1, "a"); tx.Write(put("d", "")) }, [][]Op{{put("a", "")}}, MustCommit, MustCommit},
		{"phantom", func(tx *Txn) { tx.Scan(Read{Span: all}); tx.Write(put("z", "")) }, [][]Op{{put("c", "")}}, MustConflict, MustCommit},
		{"phantom, reverse", func(tx *Txn) { tx.Scan(Read{Span: all, Reverse: true, Limit: 1}); tx.Write(put("z", "")) }, [][]Op{{put("c", "")}}, MustConflict, MustCommit},
		{"beyond the limit", func(tx *Txn) { tx.Scan(Read{Span: all, Limit: 1}); tx.Write(put("z", "")) }, [][]Op{{put("b", "")}}, MustCommit, MustCommit},
		{"before the limit", func(tx *Txn) { tx.Scan(Read{Span: all, Limit: 1}); tx.Write(put("z", "")) }, [][]Op{{put("0", "")}}, MustConflict, MustCommit},
		{"prefix", func(tx *Txn) { tx.Scan(Read{Span: PrefixSpan("a")}); tx.Write(put("z", "")) }, [][]Op{{put("b", "")}}, MustCommit, MustCommit},
		{"phantom in a prefix", func(tx *Txn) { tx.Scan(Read{Span: PrefixSpan("a")}); tx.Write(put("z", "")) }, [][]Op{{put("ab", "")}}, MustConflict, MustCommit},
		{"range deleted under a read", func(tx *Txn) { tx.Lookup(0, "a"); tx.Write(put("z", "")) }, [][]Op{{{Kind: DeleteRange, Hi: "b"}}}, MustConflict, MustCommit},
		{"empty range deleted under a read", func(tx *Txn) { tx.Lookup(0, "a0"); tx.Write(put("z", "")) }, [][]Op{{{Kind: DeleteRange, Key: "a0", Hi: "b"}}}, MayConflict, MustCommit},
		{"range deleted and an insert", func(tx *Txn) { tx.Write(Op{Kind: DeleteRange, NoEnd: true}) }, [][]Op{{put("c", "")}}, MustCommit, MustConflict},
		{"same value again", func(tx *Txn) { tx.Lookup(0, "a"); tx.Write(put("a", "9")) }, [][]Op{{put("a", "1")}}, MayConflict, MayConflict},
		{"there and back", func(tx *Txn) { tx.Lookup(0, "a"); tx.Write(put("a", "9")) }, [][]Op{{put("a", "5")}, {put("a", "1")}}, MayConflict, MayConflict},
		{"reads what it wrote", func(tx *Txn) { tx.Write(put("a", "9")); tx.Lookup(0, "a") }, [][]Op{{put("a", "5")}}, MayConflict, MustConflict},
		{"reads what it merged", func(tx *Txn) { tx.Write(Op{Kind: Merge, Key: "a", Value: "0"}); tx.Lookup(0, "a") }, [][]Op{{put("a", "5")}}, MustConflict, MayConflict},
		{"keys only", func(tx *Txn) { tx.Scan(Read{Span: all, KeysOnly: true}); tx.Write(put("z", "")) }, [][]Op{{put("a", "5")}}, MayConflict, MustCommit},
		{"cursor stopped short", func(tx *Txn) { tx.Cursor(0, all, false).First(); tx.Write(put("z", "")) }, [][]Op{{put("b", "5")}}, MustCommit, MustCommit},
		{"cursor passed by", func(tx *Txn) { c := tx.Cursor(0, all, false); c.Last(); c.Prev(); tx.Write(put("z", "")) }, [][]Op{{put("aa", "")}}, MustConflict, MustCommit},
		{"deletes nothing", func(tx *Txn) { tx.Lookup(0, "a"); tx.Write(Op{Kind: DeleteRange, Key: "b", Hi: "a"}) }, [][]Op{{put("a", "5")}}, MustCommit, MustCommit},
	}
	for _, c := range cases {
		m := NewModel()
		m.UseMerger(Default, Max)
		m.CreateKeyspace("other", nil)
		m.Commit([]Op{put("a", "1"), put("b", "2")})
		tx := m.Begin()
		c.txn(tx)
		m.Advance(5)
		for _, ops := range c.others {
			m.Commit(ops)
		}
		if ser, si := tx.Serializable(), tx.SnapshotIsolation(); ser != c.ser || si != c.si {
			t.Errorf("%s: verdicts %d and %d, want %d and %d", c.name, ser, si, c.ser, c.si)
		}
	}
}

// TestTimeIsNoConflict lets what a transaction read expire: that is no write.
func TestTimeIsNoConflict(t *testing.T) {
	m := NewModel()
	m.Commit([]Op{{Kind: PutTTL, Key: "a", Value: "1", Expiry: 10}})
	tx := m.Begin()
	m.Advance(10)
	if _, ok, _ := tx.Lookup(Default, "a"); !ok || m.Has(m.View(), Default, "a") {
		t.Error("a transaction must read at its own time, others at theirs")
	}
	tx.Write(Op{Key: "b"})
	if v := tx.Serializable(); v != MustCommit {
		t.Errorf("verdict %d", v)
	}
	m.Commit([]Op{{Delete: true, Key: "a"}})
	if v := tx.Serializable(); v != MustConflict {
		t.Errorf("verdict %d once it was deleted", v)
	}
}

// TestDroppedIsNoConflict drops the keyspace that a transaction read: that is
// none, but what was committed to it before is.
func TestDroppedIsNoConflict(t *testing.T) {
	for _, written := range []bool{false, true} {
		m := NewModel()
		id := m.CreateKeyspace("a", nil)
		tx := m.Begin()
		tx.LookupForUpdate(id, "k")
		tx.Write(Op{Key: "other"})
		want := MustCommit
		if written {
			m.Commit([]Op{{Keyspace: id, Key: "k"}})
			want = MustConflict
		}
		m.DropKeyspace(id)
		if a, b := tx.Serializable(), tx.SnapshotIsolation(); a != want || b != want {
			t.Errorf("written %v: verdicts %d, %d", written, a, b)
		}
	}
}

// TestAskedForVerdicts lets a transaction that reads a key for update commit
// before one that writes it.
func TestAskedForVerdicts(t *testing.T) {
	m := NewModel()
	asker, writer, reader, deleter := m.Begin(), m.Begin(), m.Begin(), m.Begin()
	asker.LookupForUpdate(Default, "k")
	asker.Write(Op{Key: "a"})
	writer.Write(Op{Key: "k"})
	reader.LookupForUpdate(Default, "k")
	reader.Write(Op{Key: "b"})
	deleter.Write(Op{Kind: DeleteRange, Key: "j", Hi: "l"})
	asker.Commit()
	later := m.Begin()
	later.Write(Op{Key: "k"})
	for i, c := range []struct {
		tx      *Txn
		ser, si Verdict
	}{{writer, MustCommit, MustConflict}, {reader, MustCommit, MustCommit}, {deleter, MustCommit, MustConflict}, {later, MustCommit, MustCommit}} {
		if ser, si := c.tx.Serializable(), c.tx.SnapshotIsolation(); ser != c.ser || si != c.si {
			t.Errorf("%d: verdicts %d and %d, want %d and %d", i, ser, si, c.ser, c.si)
		}
	}
}

// TestErrorIsAnAnswer ends an error with a value that is as empty as what one
// reads beside an error.
func TestErrorIsAnAnswer(t *testing.T) {
	m := NewModel()
	m.UseMerger(Default, Counter)
	m.Commit([]Op{{Kind: Merge, Key: "a", Value: "x"}})
	tx := m.Begin()
	if _, ok, err := tx.Lookup(Default, "a"); !ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
	tx.Write(Op{Key: "b"})
	m.Commit([]Op{{Key: "a"}})
	if v := tx.Serializable(); v != MustConflict {
		t.Errorf("verdict %d", v)
	}
}
