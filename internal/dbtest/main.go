package dbtest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package: it checks that none leaves a goroutine behind, and
// lets the test binary stand in for other processes (see Child).
func Main(m *testing.M) {
	RunChild()
	goleak.VerifyTestMain(m)
}
