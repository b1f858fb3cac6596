// Package concurrent does everything to a database at once: readers beside changes,
// calls beside Close, code of the program that calls back, a disk that is slow.
package concurrent

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
