// Package lint holds the rules of the house that a machine can check: who may import
// whom, sizes and words, documents that name what exists, and a public interface without
// types of internal packages.
package lint

import (
	"os"
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// TestMain runs the tests in the module's root, which they read.
func TestMain(m *testing.M) {
	if err := os.Chdir(dbtest.ModuleRoot()); err != nil {
		panic(err)
	}
	dbtest.Main(m)
}
