// Package faults lets disks, files, descriptors and code of the program fail, one at a
// time or all: no answer is wrong, the outcome of every commit is what its caller got, and the
// database goes on where it can.
package faults

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
