package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// folder holds the program under test.
var folder = filepath.Join(os.TempDir(), fmt.Sprintf("lazuli-e2e-%d", os.Getpid()))

// buildFlags are those of the program under test: it has the race detector where
// the tests have it.
var buildFlags []string

// binary is the program under test, built when it is first needed.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(folder, "lazuli")
	out, err := exec.Command("go", slices.Concat([]string{"build", "-o", path}, buildFlags, []string{"../cmd/lazuli"})...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func lazuli(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// result is what a finished command left.
type result struct {
	stdout, stderr string
	status         int
}

// execute runs the program to its end.
func execute(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	var stdout bytes.Buffer
	status, stderr := executeTo(t, &stdout, stdin, env, args...)
	return result{stdout.String(), stderr, status}
}

// executeTo is execute for a program that writes much.
func executeTo(t *testing.T, stdout io.Writer, stdin string, env []string, args ...string) (status int, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lazuli(t), args...)
	var told bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), stdout, &told
	cmd.Env = append(os.Environ(), env...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), told.String()
}

// process is a program that runs in the background.
type process struct {
	cmd    *exec.Cmd
	stderr *lockedBuffer
	done   chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the program in the background; it is killed when the test ends.
func start(t *testing.T, env []string, stdout io.Writer, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), lazuli(t), args...), stderr: &lockedBuffer{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = stdout, p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the status is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

// kill ends the process as a crash does, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop asks the process to end and returns its exit status.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("the program has ended: %v\n%s", err, p.stderr)
	}
	return p.wait(t, time.Minute)
}

func (p *process) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.dump()
		t.Fatalf("the program did not end within %v:\n%s", limit, p.stderr)
	}
	return p.cmd.ProcessState.ExitCode()
}

// dump ends the process with its goroutines' stacks on stderr.
func (p *process) dump() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
	<-p.done
}

// eventually waits until what the process does makes ok say yes.
func (p *process) eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	if !within(limit, ok) {
		p.dump()
		t.Fatalf("not within %v: %s:\n%s", limit, what, p.stderr)
	}
}

// eventually waits until ok says yes.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	if !within(limit, ok) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}

// within tells whether ok says yes before the limit is over.
func within(limit time.Duration, ok func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			return false
		case <-tick.C:
		}
	}
	return true
}

func startSim(t *testing.T, options azuresim.Options) *azuresim.Sim {
	t.Helper()
	sim, err := azuresim.Start(context.WithoutCancel(t.Context()), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	return sim
}

// writeConfig writes a configuration into a folder of its own and returns the
// folder and the file. %DIR% stands for the folder.
func writeConfig(t *testing.T, text string) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "lazuli.yaml")
	text = strings.ReplaceAll(text, "%DIR%", dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

// hubToFile is a configuration from the simulator's hub to %DIR%/events.ndjson.
func hubToFile(sim *azuresim.Sim, more string) string {
	return `
sources:
  hub: {type: event_hub, connection_string: "${env:HUB}", hub: ` + sim.Endpoints.Hubs[0] + `, consumer_group: lazuli}
sinks:
  out:
    type: file
    path: "%DIR%/events.ndjson"
    retry: {initial: 20ms, max: 200ms}
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: "127.0.0.1:0"}
` + more
}

func hubEnv(sim *azuresim.Sim) []string { return []string{"HUB=" + sim.Endpoints.ConnectionString} }

// outputs are the files a file sink wrote in dir.
func outputs(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "events*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// written is how much is in them: more, also when one was rotated.
func written(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	for _, file := range outputs(t, dir) {
		bytes += size(file)
	}
	return bytes
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	if s := os.Getenv("LAZULI_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("repeat with LAZULI_SEED=%d", seed)
	return seed
}

// freePort returns a port that nobody listens on at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
