package dbtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
)

// childEnv makes the test binary do a job as a child process: "job dir".
const childEnv = "SEERDB_TEST_CHILD"

// ChildJobs are the jobs of child processes.
var ChildJobs = map[string]func(dir string) error{
	"open": func(dir string) error {
		db, err := seerdb.Open(dir, nil)
		if err != nil {
			return err
		}
		return db.Close()
	},
}

// RunChild does its job if this is a child process.
func RunChild() {
	job, arg, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		return
	}
	if err := ChildJobs[job](arg); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Child returns a command that does a job in a child process.
func Child(t testing.TB, job, dir string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	Must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), childEnv+"="+job+" "+dir), env...)
	return cmd
}
