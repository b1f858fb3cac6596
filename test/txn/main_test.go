// Package txn tests transactions: what they see, what conflicts, keyspaces that they
// create and drop, and many at once. The model of transactions is in package model, the
// anomalies of weak isolation in package isolation, what they cost in package cost.
package txn

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
