package compaction

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

var shimRanges = map[base.FileNum][]rangedel.Fragment{}

func shimAddRange(t *openTable, f rangedel.Fragment) error {
	shimRanges[t.out.Num] = append(shimRanges[t.out.Num], f)
	return nil
}

func (t *openTable) expires(uint64) {}
