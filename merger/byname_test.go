package merger

import "testing"

// TestByName: every operator is found by its name, and by no other.
func TestByName(t *testing.T) {
	for _, want := range []Operator{
		Counter{}, Max{}, Min{}, Union{},
		Append{}, Append{Sep: ","}, Append{Sep: "\n"}, Append{Sep: "é\xff\"\\"}, Append{Sep: "seerdb.append/"},
	} {
		if got, ok := ByName(want.Name()); !ok || got != want {
			t.Errorf("%s: %#v, %v", want.Name(), got, ok)
		}
	}
	for _, name := range []string{
		"", "counter", "seerdb.counters", "seerdb.append", "seerdb.append/", "seerdb.append/,", "seerdb.append/`,`",
		`seerdb.append/"é"`, `seerdb.append/","x`, "seerdb.append/','",
	} {
		if got, ok := ByName(name); ok {
			t.Errorf("%q: %#v", name, got)
		}
	}
}
