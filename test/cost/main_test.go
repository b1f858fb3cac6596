// Package cost measures what a database costs the process: time, allocations, memory
// and descriptors. The tests are in one package so that the go command runs none of them
// beside another.
package cost

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
