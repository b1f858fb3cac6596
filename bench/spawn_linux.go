package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// The signal at the parent's death comes when the thread that started the child
// ends, so the goroutine that starts children keeps the main thread.
func init() { runtime.LockOSThread() }

// dieWithParent makes a worker end with its parent: a stopped worker would
// outlive a killed one for ever.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
