package dbtest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package. It checks that no goroutine is left behind,
// and lets the test binary run as a child process (see Child).
func Main(m *testing.M) {
	RunChild()
	goleak.VerifyTestMain(m)
}
