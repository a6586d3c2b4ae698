package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/tenant"
)

const benchContainer = "insights-logs-bench"

// storageLoad is what the storage account was filled with.
type storageLoad struct {
	Connection string   `json:"connection"`
	Blobs      []string `json:"blobs"`
	Events     uint64   `json:"events"`
	Bytes      int64    `json:"bytes"`
}

// serveStorage runs the simulator with blobs of NDJSON until it is interrupted.
func serveStorage(setup string) error {
	var megabytes, count int
	if _, err := fmt.Sscan(setup, &megabytes, &count); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	sim, err := azuresim.Start(context.Background(), azuresim.Options{Seed: 1})
	if err != nil {
		return err
	}
	e := sim.Endpoints.Storage
	if err := sim.Blobs.CreateContainer(e.Account, benchContainer); err != nil {
		return err
	}
	l := storageLoad{Connection: e.ConnectionString}
	g := tenant.New(1, tenant.Options{Prepared: 2000})
	hour := time.Now().Add(-24 * time.Hour)
	for i := range count {
		var text []byte
		for len(text) < megabytes*1e6/count {
			text, _, _ = g.NextAtMost(text, 1)
			text = append(text, '\n')
			l.Events++
		}
		name := blobs.HourPath(fmt.Sprintf("tenantId=%04d/", i), hour, blobs.HourFile)
		if err := sim.Blobs.Put(e.Account, benchContainer, name, text); err != nil {
			return err
		}
		l.Blobs, l.Bytes = append(l.Blobs, name), l.Bytes+int64(len(text))
	}
	if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
		return err
	}
	<-ctx.Done()
	return sim.Close()
}

// downloadBare is the least that a client of Microsoft's can do: download every
// blob, eight at a time, and count its bytes.
func downloadBare(setup string) error {
	var l storageLoad
	if err := json.Unmarshal([]byte(setup), &l); err != nil {
		return err
	}
	client, err := azblob.NewClientFromConnectionString(l.Connection, nil)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var total int64
	var errs []error
	var wg sync.WaitGroup
	places := make(chan struct{}, 8)
	for _, name := range l.Blobs {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			r, err := client.DownloadStream(context.Background(), benchContainer, name, nil)
			var n int64
			if err == nil {
				n, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 1<<20))
				err = errors.Join(err, r.Body.Close())
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
			errs = append(errs, err)
		})
	}
	wg.Wait()
	if total != l.Bytes {
		errs = append(errs, fmt.Errorf("downloaded %d bytes of %d", total, l.Bytes))
	}
	return errors.Join(errs...)
}

// storageBench measures the source storage: its throughput, and what a million
// old blobs cost.
func storageBench(megabytes, rounds int) error {
	dir, err := os.MkdirTemp(fastFolder(), "lazuli-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "lazuli")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/lazuli").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	fmt.Printf("## Storage to file\n\nBlobs of NDJSON over loopback, %d MB, output in %s. Each row is the median of %d runs in turn.\n\n", megabytes, filepath.Dir(dir), rounds)
	fmt.Println("| blobs | schema | bare download MB/s | Lazuli MB/s | events/s | ratio (wall) | CPU s/GB bare | CPU s/GB Lazuli | peak MB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, count := range []int{1, 50, 1000} {
		if err := storageRows(binary, dir, megabytes, count, rounds); err != nil {
			return fmt.Errorf("%d blobs: %w", count, err)
		}
	}
	return oldBlobs(binary, dir)
}

func storageRows(binary, dir string, megabytes, count, rounds int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	server := exec.Command(self, "-role", "storage-server", "-setup", fmt.Sprintf("%d %d", megabytes, count))
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer stop(server)
	var l storageLoad
	if err := json.NewDecoder(out).Decode(&l); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	setup, err := json.Marshal(l)
	if err != nil {
		return err
	}
	schemas := []string{"ecs", "raw"}
	var bare []usage
	full := map[string][]usage{}
	for round := range rounds {
		u, err := timed(exec.Command(self, "-role", "storage-bare", "-setup", string(setup)))
		if err != nil {
			return err
		}
		bare = append(bare, u)
		for _, schema := range schemas {
			run := filepath.Join(dir, fmt.Sprintf("%d-%s-%d", count, schema, round))
			config, err := writeStorageConfig(run, schema, "earliest")
			if err != nil {
				return err
			}
			cmd := exec.Command(binary, "run", "--once", "-c", config)
			cmd.Env = append(os.Environ(), "STORAGE="+l.Connection)
			if u, err = timed(cmd); err != nil {
				return err
			}
			if n, err := countLines(filepath.Join(run, "events.ndjson")); err != nil || n != l.Events {
				return fmt.Errorf("the output holds %d events of %d (%v)", n, l.Events, err)
			}
			full[schema] = append(full[schema], u)
			if err := os.RemoveAll(run); err != nil {
				return err
			}
		}
	}
	b, mb, gb := median(bare), float64(l.Bytes)/1e6, float64(l.Bytes)/1e9
	for _, schema := range schemas {
		f := median(full[schema])
		fmt.Printf("| %d | %s | %.0f | %.0f | %.0f | %.0f %% | %.1f | %.1f | %d |\n", count, schema,
			mb/b.wall, mb/f.wall, float64(l.Events)/f.wall, 100*b.wall/f.wall, b.cpu/gb, f.cpu/gb, f.peak>>20)
	}
	return nil
}

func writeStorageConfig(dir, schema, start string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	text := strings.NewReplacer("DIR", dir, "SCHEMA", schema, "START", start).Replace(`
sources:
  archive: {type: storage, connection_string: "${env:STORAGE}", containers: ["insights-logs-*"], start: START, poll: 1s, discover: 10s}
sinks:
  out: {type: file, path: "DIR/events.ndjson", rotate: {size: 1TiB}}
routes: [{from: [archive], schema: SCHEMA, to: [out]}]
checkpoint: {path: "DIR/checkpoints"}
dead_letters: {path: "DIR/dead-letters"}
telemetry: {listen: ""}
log: {level: warn}
`)
	path := filepath.Join(dir, "lazuli.yaml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// oldBlobs measures the collector at rest beside containers of different age:
// requests, memory, and how soon a new blob is noticed.
func oldBlobs(binary, dir string) error {
	const resources = 100
	fmt.Printf("\n## Old blobs\n\n%d resources, `poll: 1s`, `start: latest`; measured over a minute, with 20 new blobs.\n\n", resources)
	fmt.Println("| old blobs | listings a minute | downloads a minute | resident MB | new blob in the file after, median | longest |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, hours := range []int{10, 1000, 10_000} {
		if err := oldRow(binary, filepath.Join(dir, fmt.Sprint(hours)), resources, hours); err != nil {
			return fmt.Errorf("%d hours: %w", hours, err)
		}
	}
	return nil
}

func oldRow(binary, dir string, resources, hours int) error {
	sim, err := azuresim.Start(context.Background(), azuresim.Options{Seed: 1})
	if err != nil {
		return err
	}
	defer sim.Close()
	e := sim.Endpoints.Storage
	h := &blobs.History{From: time.Now().Add(-time.Duration(hours+12) * time.Hour), Hours: hours, Line: `{"time":"{time}","category":"AuditEvent"}`}
	for i := range resources {
		h.Prefixes = append(h.Prefixes, fmt.Sprintf("resourceId=/SUBSCRIPTIONS/0/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/V%06d/", i))
	}
	if err := errors.Join(sim.Blobs.CreateContainer(e.Account, benchContainer), sim.Blobs.SetHistory(e.Account, benchContainer, h)); err != nil {
		return err
	}
	now := time.Now()
	for _, p := range h.Prefixes { // every resource is alive
		if err := sim.Blobs.Append(e.Account, benchContainer, blobs.HourPath(p, now, blobs.HourFile), []byte("{\"category\":\"AuditEvent\",\"n\":0}\n")); err != nil {
			return err
		}
	}
	config, err := writeStorageConfig(dir, "raw", "latest")
	if err != nil {
		return err
	}
	cmd := exec.Command(binary, "run", "-c", config)
	cmd.Env = append(os.Environ(), "STORAGE="+e.ConnectionString)
	if err := cmd.Start(); err != nil {
		return err
	}
	defer stop(cmd)
	output := filepath.Join(dir, "events.ndjson")
	lines := func(n uint64) error {
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
			got, err := countLines(output)
			if err == nil && got >= n {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%d events of %d are in the file (%v)", got, n, err)
			}
		}
	}
	if err := lines(uint64(resources)); err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // until the first survey is over
	before, begun := sim.Blobs.Counts.All(), time.Now()
	var noticed []time.Duration
	for i := range 20 {
		at := time.Now()
		name := blobs.HourPath(h.Prefixes[i], now, fmt.Sprintf("new%d.json", i))
		if err := sim.Blobs.Append(e.Account, benchContainer, name, []byte("{\"category\":\"AuditEvent\",\"n\":1}\n")); err != nil {
			return err
		}
		if err := lines(uint64(resources + i + 1)); err != nil {
			return err
		}
		noticed = append(noticed, time.Since(at))
		time.Sleep(max(0, time.Until(begun.Add(time.Duration(i+1)*3*time.Second))))
	}
	after, minutes := sim.Blobs.Counts.All(), time.Since(begun).Minutes()
	resident, err := residentOf(cmd.Process.Pid)
	if err != nil {
		return err
	}
	slices.Sort(noticed)
	lists, gets := 0.0, 0.0
	for op, n := range after {
		switch d := float64(n - before[op]); {
		case strings.Contains(strings.ToLower(op), "list"):
			lists += d
		case strings.Contains(strings.ToLower(op), "get"):
			gets += d
		}
	}
	fmt.Printf("| %d | %.0f | %.0f | %d | %.1f s | %.1f s |\n", h.Len(), lists/minutes, gets/minutes, resident>>20,
		noticed[len(noticed)/2].Seconds(), noticed[len(noticed)-1].Seconds())
	return nil
}
