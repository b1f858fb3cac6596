// Package crash loses power, or kills the process, at every step of what a database
// does: what is opened after that is a prefix of its commits, with all that were
// acknowledged as durable.
package crash

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
