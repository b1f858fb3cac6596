// Package files changes what lies in the directory of a database, and where the
// directory is: a database is refused with every byte left alone, or whole.
package files

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
