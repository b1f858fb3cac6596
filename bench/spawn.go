package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// workerEnv makes this program a worker. It is an environment variable and not
// an argument, so that a test binary can be a worker too.
const workerEnv = "SEERDB_BENCH_WORKER"

// process is a worker, as its parent sees it. It is stopped except in its turn.
type process struct {
	engine   string
	cmd      *exec.Cmd
	requests *json.Encoder
	replies  *json.Decoder
	stdin    io.Closer
}

// startProcess starts a worker and opens its store. The worker ends with ctx.
func startProcess(ctx context.Context, cfg WorkerConfig) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), workerEnv+"=1")
	cmd.Stderr = os.Stderr
	dieWithParent(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{
		engine: cfg.Engine, cmd: cmd, stdin: in,
		requests: json.NewEncoder(in), replies: json.NewDecoder(out),
	}
	if _, err := p.call(request{Open: &cfg}); err != nil {
		p.kill()
		return nil, err
	}
	return p, pause(cmd.Process)
}

// turn lets the worker run one step.
func (p *process) turn(step string) (*Sample, error) {
	if err := resume(p.cmd.Process); err != nil {
		return nil, err
	}
	r, err := p.call(request{Step: step})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", step, err)
	}
	return r.Sample, pause(p.cmd.Process)
}

// close closes the store and waits for the process to end.
func (p *process) close() error {
	err := resume(p.cmd.Process)
	if err == nil {
		_, err = p.call(request{})
	}
	if err != nil {
		p.kill()
		return fmt.Errorf("close: %w", err)
	}
	return p.cmd.Wait()
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) call(q request) (reply, error) {
	var r reply
	if err := p.requests.Encode(q); err != nil {
		return r, fmt.Errorf("%s: worker gone: %w", p.engine, err)
	}
	if err := p.replies.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: worker gone: %w", p.engine, err)
	}
	switch {
	case r.Error == "":
		return r, nil
	case r.Wrong:
		return r, wrongError(p.engine + ": " + r.Error)
	}
	return r, errors.New(p.engine + ": " + r.Error)
}

// wrongError is an errWrong that came from a worker.
type wrongError string

func (e wrongError) Error() string        { return string(e) }
func (e wrongError) Is(target error) bool { return target == errWrong }
