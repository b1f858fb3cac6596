package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// The signal at the parent's death comes when the thread that started the child
// ends, so the goroutine that starts them keeps the main thread.
func init() { runtime.LockOSThread() }

// dieWithParent: a stopped worker would outlive a killed parent for ever.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
