package testkit

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/merger"
)

// Operator returns the public merge operator that m describes, or nil if m is
// nil.
func (m *Merger) Operator() base.Merger {
	switch m {
	case nil:
		return nil
	case Counter:
		return merger.Counter{}
	case Union:
		return merger.Union{}
	case Max:
		return merger.Max{}
	case Min:
		return merger.Min{}
	case AppendComma:
		return merger.Append{Sep: ", "}
	case AppendBare:
		return merger.Append{}
	}
	panic("testkit: no operator " + m.Name)
}
