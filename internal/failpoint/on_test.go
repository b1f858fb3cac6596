//go:build failpoints

package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

const step Name = "test::step"

// configure sets a failpoint as the environment would, for one test.
func configure(t *testing.T, spec string) {
	t.Helper()
	if err := parse(spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Set(step, nil) })
}

func TestUnsetDoesNothing(t *testing.T) {
	if err := Hit(step); err != nil || Hits(step) != 0 {
		t.Fatalf("%v, %d hits", err, Hits(step))
	}
}

func TestSet(t *testing.T) {
	boom := errors.New("boom")
	Set(step, func() error { return boom })
	if err := Hit(step); err != boom || Hits(step) != 1 {
		t.Fatalf("%v, %d hits", err, Hits(step))
	}
	Set(step, nil)
	if err := Hit(step); err != nil {
		t.Fatal(err)
	}
}

func TestErrorAtOneHit(t *testing.T) {
	configure(t, string(step)+"=error@3")
	for i := 1; i <= 5; i++ {
		if err := Hit(step); (err != nil) != (i == 3) {
			t.Errorf("hit %d: %v", i, err)
		}
	}
	if n := Hits(step); n != 5 {
		t.Errorf("%d hits", n)
	}
}

func TestErrorAtEachHit(t *testing.T) {
	configure(t, string(step)+"=error")
	for range 2 {
		if Hit(step) == nil {
			t.Error("a hit passed")
		}
	}
}

func TestPanic(t *testing.T) {
	configure(t, string(step)+"=panic")
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_ = Hit(step)
}

func TestSleep(t *testing.T) {
	configure(t, string(step)+"=sleep:20")
	begin := time.Now()
	if err := Hit(step); err != nil || time.Since(begin) < 20*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestBadSpecs(t *testing.T) {
	for _, spec := range []string{"", "x", "=kill", "x=kill@", "x=kill@0", "x=kill@-1", "x=kill@y"} {
		if parse(spec) == nil {
			t.Errorf("%q was taken", spec)
		}
	}
}

// TestKill kills a process that is configured through its environment.
func TestKill(t *testing.T) {
	if os.Getenv("FAILPOINT_TEST_CHILD") != "" {
		_ = Hit(step)
		_ = Hit(step)
		os.Exit(0) // the second hit must not return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "FAILPOINT_TEST_CHILD=1", EnvVar+"="+string(step)+"=kill@2")
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() && exit.ExitCode() != 1 {
		t.Fatalf("the child ended with %v, not by being killed", err)
	}
	cmd = exec.Command(exe, "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "FAILPOINT_TEST_CHILD=1", EnvVar+"="+string(step)+"=kill@3")
	if err := cmd.Run(); err != nil {
		t.Fatalf("a kill at the third hit came before: %v", err)
	}
}
