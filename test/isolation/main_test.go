// Package isolation asks transactions for the anomalies of weak isolation: in short
// scripts under many schedules, and in concurrent histories.
package isolation

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
