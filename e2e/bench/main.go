// Command bench measures Lazuli and prints docs/benchmarks.md's tables. Every
// figure that matters is a ratio of two things measured in the same run: the
// machine's own speed cancels out.
//
//	go run ./e2e/bench [-mb 200] [-rounds 3]
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

func main() {
	megabytes := flag.Int("mb", 200, "size of the hub that is read, and of what each sink gets, in MB")
	rounds := flag.Int("rounds", 3, "runs of each; the median counts")
	only := flag.String("only", "", "memory, hub, storage, sinks or logs: only that part; sinks/kafka: only sinks with that in their name")
	profiles := flag.String("profiles", "", "folder for processor profiles of the sinks and their bare clients, of the last round")
	rows := flag.Int("rows", 500_000, "rows of the hour that is read from Log Analytics")
	corpus := flag.String("corpus", "", "folder of sample files, measured beside the log types")
	role := flag.String("role", "", "internal: what a child process does")
	setup := flag.String("setup", "", "internal: of a child process")
	flag.Parse()
	var err error
	switch *role {
	case "server":
		err = serve(*setup)
	case "bare":
		err = readBare(*setup)
	case "storage-server":
		err = serveStorage(*setup)
	case "storage-bare":
		err = downloadBare(*setup)
	default:
		err = measure(*megabytes, *rounds, *rows, *only, *corpus, *profiles)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(megabytes, rounds, rows int, only, corpus, profiles string) error {
	fmt.Printf("%s %s/%s, %d CPUs\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	part, name, _ := strings.Cut(only, "/")
	switch part {
	case "logs":
		return logAnalytics(rows)
	case "storage":
		return storageBench(megabytes, rounds)
	case "sinks":
		return sinks(megabytes, rounds, name, profiles)
	}
	if only != "hub" {
		inMemory(rounds)
		if err := logTypes(rounds, corpus); err != nil {
			return err
		}
	}
	if only == "memory" {
		return nil
	}
	if err := hubs(megabytes, rounds); err != nil || only == "hub" {
		return err
	}
	if err := storageBench(megabytes, rounds); err != nil {
		return err
	}
	if err := sinks(megabytes, rounds, "", profiles); err != nil {
		return err
	}
	return logAnalytics(rows)
}

// hubs reads hubs of different messages, with the bare client and with Lazuli
// in turn, and prints both and the ratio.
func hubs(megabytes, rounds int) error {
	dir, err := os.MkdirTemp(fastFolder(), "lazuli-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "lazuli")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/lazuli").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	fmt.Printf("## Event hub to file\n\nAMQP over loopback, %d MB of records, output in %s. Each row is the median of %d runs in turn.\n\n", megabytes, filepath.Dir(dir), rounds)
	fmt.Println("| records per message | partitions | bare client MB/s | Lazuli ECS MB/s | events/s | ratio (wall) | CPU s/GB bare | CPU s/GB Lazuli | peak MB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, records := range []int{1, 20, 200} {
		for _, partitions := range []int{1, 8} {
			row, err := hub(binary, dir, records, partitions, megabytes, rounds)
			if err != nil {
				return fmt.Errorf("%d records per message, %d partitions: %w", records, partitions, err)
			}
			fmt.Println(row)
		}
	}
	idle, err := idleMemory(binary, dir)
	if err != nil {
		return err
	}
	fmt.Printf("\nResident memory twenty seconds after a burst of 1 MB: %d MB.\n", idle>>20)
	return nil
}

// fastFolder keeps the disk out of the measurement, where there is a folder in
// memory.
func fastFolder() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// load is what the server was filled with.
type load struct {
	Endpoints azuresim.Endpoints `json:"endpoints"`
	Events    uint64             `json:"events"`
	Bytes     int64              `json:"bytes"`
	Messages  int                `json:"messages"`
}

// usage is what one run of a client took.
type usage struct {
	wall, cpu float64 // seconds
	peak      int64   // bytes
}

func hub(binary, dir string, records, partitions, megabytes, rounds int) (string, error) {
	server, l, err := startServer(records, partitions, megabytes)
	if err != nil {
		return "", err
	}
	defer stop(server)
	var bare, full []usage
	for round := range rounds {
		u, err := runBare(l)
		if err != nil {
			return "", err
		}
		bare = append(bare, u)
		if u, err = runLazuli(binary, filepath.Join(dir, fmt.Sprintf("%d-%d-%d", records, partitions, round)), l); err != nil {
			return "", err
		}
		full = append(full, u)
	}
	b, f := median(bare), median(full)
	mb, gb := float64(l.Bytes)/1e6, float64(l.Bytes)/1e9
	return fmt.Sprintf("| %d | %d | %.0f | %.0f | %.0f | %.0f %% | %.1f | %.1f | %d |", records, partitions,
		mb/b.wall, mb/f.wall, float64(l.Events)/f.wall, 100*b.wall/f.wall, b.cpu/gb, f.cpu/gb, f.peak>>20), nil
}

func median(runs []usage) usage {
	pick := func(key func(usage) float64) float64 {
		values := make([]float64, len(runs))
		for i, u := range runs {
			values[i] = key(u)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return usage{
		wall: pick(func(u usage) float64 { return u.wall }), cpu: pick(func(u usage) float64 { return u.cpu }),
		peak: int64(pick(func(u usage) float64 { return float64(u.peak) })),
	}
}

// startServer runs the simulator in a process of its own and waits until its
// hub is full.
func startServer(records, partitions, megabytes int) (*exec.Cmd, load, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, load{}, err
	}
	cmd := exec.Command(self, "-role", "server", "-setup", fmt.Sprintf("%d %d %d", records, partitions, megabytes))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, load{}, err
	}
	if err := cmd.Start(); err != nil {
		return nil, load{}, err
	}
	var l load
	if err := json.NewDecoder(out).Decode(&l); err != nil {
		return nil, load{}, fmt.Errorf("start the server: %w", err)
	}
	return cmd, l, nil
}

func stop(server *exec.Cmd) {
	_ = server.Process.Signal(os.Interrupt) // it may have ended
	_ = server.Wait()
}

func runBare(l load) (usage, error) {
	self, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	setup, err := json.Marshal(l)
	if err != nil {
		return usage{}, err
	}
	return timed(exec.Command(self, "-role", "bare", "-setup", string(setup)))
}

func runLazuli(binary, dir string, l load) (usage, error) {
	config, err := writeConfig(dir, l)
	if err != nil {
		return usage{}, err
	}
	cmd := exec.Command(binary, "run", "--once", "-c", config)
	cmd.Env = append(os.Environ(), "HUB="+l.Endpoints.ConnectionString)
	u, err := timed(cmd)
	if err != nil {
		return usage{}, err
	}
	// A fast program that loses events is not fast.
	if n, err := countLines(filepath.Join(dir, "events.ndjson")); err != nil || n != l.Events {
		return usage{}, fmt.Errorf("the output holds %d events of %d (%v)", n, l.Events, err)
	}
	return u, os.RemoveAll(dir)
}

func writeConfig(dir string, l load) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	text := strings.ReplaceAll(`
sources:
  hub: {type: event_hub, connection_string: "${env:HUB}", hub: HUBNAME, consumer_group: lazuli}
sinks:
  out: {type: file, path: "DIR/events.ndjson", rotate: {size: 1TiB}}
checkpoint: {path: "DIR/checkpoints"}
dead_letters: {path: "DIR/dead-letters"}
telemetry: {listen: ""}
log: {level: warn}
`, "DIR", dir)
	path := filepath.Join(dir, "lazuli.yaml")
	return path, os.WriteFile(path, []byte(strings.ReplaceAll(text, "HUBNAME", l.Endpoints.Hubs[0])), 0o600)
}

// timed runs a client to its end.
func timed(cmd *exec.Cmd) (usage, error) {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return usage{}, fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, stderr.String())
	}
	u := usage{wall: time.Since(start).Seconds(), cpu: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = r.Maxrss << 10 // kilobytes on Linux
	}
	return u, nil
}

func idleMemory(binary, dir string) (int64, error) {
	server, l, err := startServer(20, 4, 1)
	if err != nil {
		return 0, err
	}
	defer stop(server)
	config, err := writeConfig(filepath.Join(dir, "idle"), l)
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(binary, "run", "-c", config)
	cmd.Env = append(os.Environ(), "HUB="+l.Endpoints.ConnectionString)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer cmd.Process.Kill()
	time.Sleep(20 * time.Second)
	return residentOf(cmd.Process.Pid)
}

// residentOf returns the resident memory of a process.
func residentOf(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); err == nil {
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc")
}
