// Package model drives databases with random operations, crashes and reopenings
// included, under many sets of options, and compares every answer with a model: plain
// operations, the whole data model, transactions, and operations that a fuzzer draws.
package model

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
