package isolation

import "slices"

// anomaly is one case of the isolation suite.
type anomaly struct {
	name  string
	rows  string // what is there before
	txns  []string
	shown func(*schedule) bool // whether the anomaly occurred
	skew  bool                 // snapshot isolation allows it, and it must occur there
	free  bool                 // a serializable store has no reason for a conflict
}

const oneTwo = "1=10 2=20"

// committed reports whether all transactions did.
func (s *schedule) committed() bool {
	return !slices.ContainsFunc(s.txns, func(x *scheduled) bool { return x.outcome != 'c' })
}

// read is what a step of transaction n, counted from 1, answered.
func (s *schedule) read(n int, text string) string { return s.txns[n-1].result(text, 0) }

// again is what the same step answered the second time.
func (s *schedule) again(n int, text string) string { return s.txns[n-1].result(text, 1) }

// ends reports whether a key has one of the values at the end; "" is none.
func (s *schedule) ends(key string, values ...string) bool {
	return slices.Contains(values, s.final[key])
}

// saw reports whether all of a list of transaction, step, answer hold.
func (s *schedule) saw(list ...any) bool {
	for i := 0; i < len(list); i += 3 {
		if s.read(list[i].(int), list[i+1].(string)) != list[i+2].(string) {
			return false
		}
	}
	return true
}

// anomalies are the cases. The comment of a group says what must not be.
var anomalies = slices.Concat(
	dirtyCases, snapshotCases, updateCases, skewCases, predicateCases, harmlessCases)

// Dirty writes and reads: writes of two transactions mixed (G0), reads of what
// was aborted (G1a), is not final (G1b) or flows in a circle (G1c).
var dirtyCases = []anomaly{
	{name: "G0", rows: oneTwo, txns: []string{"w1=11 w2=21 c", "w1=12 w2=22 c"}, free: true, shown: func(s *schedule) bool {
		return s.ends("1", "11") && s.ends("2", "22") || s.ends("1", "12") && s.ends("2", "21")
	}},
	{name: "G0-range", rows: oneTwo, txns: []string{"w1=11 w2=21 c", "D1-3 w1=12 c"}, free: true, shown: func(s *schedule) bool {
		return s.ends("1", "12") && s.ends("2", "21") || s.ends("1", "11") && s.ends("2", "")
	}},
	{name: "G1a", rows: oneTwo, txns: []string{"w1=101 a", "r1 s1-3 c"}, free: true, shown: func(s *schedule) bool {
		return s.saw(2, "r1", "101") || s.saw(2, "s1-3", "1=101 2=20")
	}},
	{name: "G1a-delete", rows: oneTwo, txns: []string{"D1-3 a", "r1 s1-3 w3=30 c"}, free: true, shown: func(s *schedule) bool {
		return s.saw(2, "r1", "-") || s.saw(2, "s1-3", "none")
	}},
	{name: "G1b", rows: oneTwo, txns: []string{"w1=101 w1=11 c", "r1 r1 c"}, free: true, shown: func(s *schedule) bool {
		return s.saw(2, "r1", "101") || s.again(2, "r1") == "101"
	}},
	{name: "G1c", rows: oneTwo, txns: []string{"w1=11 r2 c", "w2=22 r1 c"}, shown: func(s *schedule) bool {
		return s.saw(1, "r2", "22", 2, "r1", "11")
	}},
}

// Snapshots: what one transaction reads is one moment, between the commits of
// others (OTV, observed transaction vanishes; PMP, predicate many preceders;
// G-single, read skew).
var snapshotCases = []anomaly{
	{name: "OTV", rows: oneTwo, txns: []string{"w1=11 w2=19 c", "w1=12 w2=18 c", "r1 r2 r2 r1 c"}, free: true, shown: func(s *schedule) bool {
		pair := s.read(3, "r1") + s.read(3, "r2")
		return !slices.Contains([]string{"1020", "1119", "1218"}, pair) || s.again(3, "r1")+s.again(3, "r2") != pair
	}},
	{name: "PMP", rows: oneTwo, txns: []string{"s1-9 s1-9 c", "w3=30 c"}, free: true, shown: func(s *schedule) bool {
		return s.read(1, "s1-9") != s.again(1, "s1-9")
	}},
	{name: "PMP-reverse", rows: oneTwo, txns: []string{"S1-9 s1-9 c", "d2 c"}, free: true, shown: func(s *schedule) bool {
		return s.read(1, "S1-9") != s.read(1, "s1-9")
	}},
	{name: "PMP-range-delete", rows: oneTwo, txns: []string{"s1-9 s1-9 c", "D1-3 c"}, free: true, shown: func(s *schedule) bool {
		return s.read(1, "s1-9") != s.again(1, "s1-9")
	}},
	// The second deletes what it found. What the first adds in between must be
	// found or remain, not be deleted unseen.
	{name: "PMP-write", rows: oneTwo, txns: []string{"w15=1 c", "s1-3 D1-3 c"}, shown: func(s *schedule) bool {
		return s.committed() && s.saw(2, "s1-3", "1=10 2=20") && s.ends("15", "")
	}},
	{name: "G-single", rows: oneTwo, txns: []string{"r1 r2 c", "w1=12 w2=18 c"}, free: true, shown: func(s *schedule) bool {
		return s.saw(1, "r1", "10", 1, "r2", "18") || s.saw(1, "r1", "12", 1, "r2", "20")
	}},
	{name: "G-single-dependencies", rows: oneTwo, txns: []string{"r1 r2 c", "w1=12 c", "r1 w2=30 c"}, shown: func(s *schedule) bool {
		return s.saw(1, "r1", "10", 1, "r2", "30", 3, "r1", "12")
	}},
	{name: "G-single-ranges", rows: oneTwo, txns: []string{"s1-2 p2 c", "w1=12 w2=18 c"}, free: true, shown: func(s *schedule) bool {
		return s.saw(1, "s1-2", "1=10", 1, "p2", "2=18") || s.saw(1, "s1-2", "1=12", 1, "p2", "2=20")
	}},
	{name: "G-single-range-delete", rows: oneTwo, txns: []string{"r1 r2 c", "D1-3 c"}, free: true, shown: func(s *schedule) bool {
		return (s.read(1, "r1") == "-") != (s.read(1, "r2") == "-")
	}},
	// The first read 10, so it comes before the second, whose 18 must stay.
	{name: "G-single-write", rows: oneTwo, txns: []string{"r1 D2-3 c", "w1=12 w2=18 c"}, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "r1", "10") && s.ends("2", "")
	}},
	{name: "G-single-write-item", rows: oneTwo, txns: []string{"r1 d2 c", "w1=12 w2=18 c"}, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "r1", "10") && s.ends("2", "")
	}},
}

// both reports a lost update: both saw the old value, and both committed.
func both(text, old string) func(*schedule) bool {
	return func(s *schedule) bool { return s.committed() && s.saw(1, text, old, 2, text, old) }
}

// Lost updates (P4), however the old value was read.
var updateCases = []anomaly{
	{name: "P4", rows: oneTwo, txns: []string{"r1 w1=11 c", "r1 w1=12 c"}, shown: both("r1", "10")},
	{name: "P4-for-update", rows: oneTwo, txns: []string{"u1 w1=11 c", "u1 w1=12 c"}, shown: both("u1", "10")},
	{name: "P4-scan", rows: oneTwo, txns: []string{"s1-2 w1=11 c", "s1-2 w1=12 c"}, shown: both("s1-2", "1=10")},
	{name: "P4-insert", rows: oneTwo, txns: []string{"r5 w5=51 c", "r5 w5=52 c"}, shown: both("r5", "-")},
	{name: "P4-delete", rows: oneTwo, txns: []string{"r1 d1 c", "r1 w1=12 c"}, shown: both("r1", "10")},
	{name: "P4-range-delete", rows: oneTwo, txns: []string{"r1 D1-3 c", "r1 w1=12 c"}, shown: both("r1", "10")},
	{name: "P4-three", rows: oneTwo, txns: []string{"r1 w1=11 c", "r1 w1=12 c", "r1 w1=13 c"}, shown: func(s *schedule) bool {
		old := 0
		for _, x := range s.txns {
			if x.outcome == 'c' && x.result("r1", 0) == "10" {
				old++
			}
		}
		return old > 1
	}},
}

// Write skew (G2-item): antidependencies between keys in a circle, and what a
// reader sees of it (Fekete, O'Neil and O'Neil, 2004). A key that is asked for
// with the intent to write is protected under snapshot isolation too.
var skewCases = []anomaly{
	{name: "G2-item", rows: oneTwo, txns: []string{"r1 r2 w1=11 c", "r1 r2 w2=21 c"}, skew: true, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "r2", "20", 2, "r1", "10")
	}},
	{name: "G2-item-absent", txns: []string{"r5 w6=1 c", "r6 w5=1 c"}, skew: true, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "r5", "-", 2, "r6", "-")
	}},
	{name: "G2-item-delete", rows: oneTwo, txns: []string{"r2 d1 c", "r1 d2 c"}, skew: true, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "r2", "20", 2, "r1", "10")
	}},
	{name: "G2-item-three", rows: "1=10 2=20 3=30", txns: []string{"r1 w2=21 c", "r2 w3=31 c", "r3 w1=11 c"}, skew: true, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "r1", "10", 2, "r2", "20", 3, "r3", "30")
	}},
	{name: "G2-item-for-update", rows: oneTwo, txns: []string{"u1 u2 w1=11 c", "u1 u2 w2=21 c"}, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "u2", "20", 2, "u1", "10")
	}},
	{name: "G2-item-for-update-by-one", rows: oneTwo, txns: []string{"u1 w2=21 c", "r2 w1=11 c"}, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "u1", "10", 2, "r2", "20")
	}},
	{name: "G2-range-delete-for-update", rows: oneTwo, txns: []string{"u1 w5=50 c", "r5 D1-3 c"}, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "u1", "10", 2, "r5", "-")
	}},
	{name: "read-only", rows: oneTwo, txns: []string{"r2 w2=40 c", "r1 r2 w1=9 c", "r1 r2 c"}, skew: true, shown: func(s *schedule) bool {
		return s.committed() && s.saw(2, "r2", "20", 3, "r2", "40", 3, "r1", "10")
	}},
}

// unseen reports that both committed and neither saw a row of the other.
func unseen(first, second string) func(*schedule) bool {
	return func(s *schedule) bool { return s.committed() && s.saw(1, first, "none", 2, second, "none") }
}

// Phantoms (G2): antidependencies over ranges, however the range was read.
var predicateCases = []anomaly{
	{name: "G2", rows: oneTwo, txns: []string{"s3-5 w3=30 c", "s3-5 w4=42 c"}, skew: true, shown: unseen("s3-5", "s3-5")},
	{name: "G2-reverse", rows: oneTwo, txns: []string{"S3-5 w3=30 c", "S3-5 w4=42 c"}, skew: true, shown: unseen("S3-5", "S3-5")},
	{name: "G2-prefix", rows: oneTwo, txns: []string{"p3 w31=30 c", "p3 w32=42 c"}, skew: true, shown: unseen("p3", "p3")},
	{name: "G2-apart", rows: oneTwo, txns: []string{"s3-5 w7=70 c", "p7 w4=42 c"}, skew: true, shown: unseen("s3-5", "p7")},
	{name: "G2-range-delete", rows: oneTwo, txns: []string{"s1-3 w5=50 c", "s5-7 D1-3 c"}, skew: true, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "s1-3", "1=10 2=20", 2, "s5-7", "none")
	}},
	{name: "G2-range-delete-get", rows: oneTwo, txns: []string{"r1 w5=50 c", "r5 D1-3 c"}, skew: true, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "r1", "10", 2, "r5", "-")
	}},
	{name: "G2-two-edges", rows: oneTwo, txns: []string{"s1-3 w1=0 c", "r2 w2=25 c", "s1-3 c"}, skew: true, shown: func(s *schedule) bool {
		return s.committed() && s.saw(1, "s1-3", "1=10 2=20", 3, "s1-3", "1=10 2=25")
	}},
}

// What must not be taken for a conflict, and a transaction's own writes.
var harmlessCases = []anomaly{
	{name: "blind-writes", rows: oneTwo, txns: []string{"w1=11 d2 c", "D1-3 c", "w1=13 w2=23 c"}, free: true},
	{name: "disjoint", rows: oneTwo, txns: []string{"r1 s1-2 w1=11 c", "r2 p2 w2=21 c", "r5 w5=50 c"}, free: true},
	{name: "readers", rows: oneTwo, txns: []string{"w1=11 c", "r1 s1-9 c", "S1-9 u2 r7 c"}, free: true},
	{name: "neighbours", rows: oneTwo, txns: []string{"s1-2 w1=11 c", "r2 w2=21 c", "r0 D0-1 c"}, free: true},
	{name: "own-writes", rows: oneTwo, txns: []string{
		"w1=11 r1 d2 s1-9 D1-2 S1-9 w15=1 p1 w2=5 r2 c", "w3=30 r3 D1-9 s1-9 w2=6 r2 S1-9 c"}},
	{name: "own-writes-aborted", rows: oneTwo, txns: []string{"D1-9 w4=1 s1-9 a", "s1-9 w3=30 p3 c"}, free: true},
}
