package seerdb_test

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
