// Package space tests what a database takes on disk: that the space of what was deleted
// comes back, that files are few, and that the figures about it are true.
package space

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
