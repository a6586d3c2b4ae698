package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/azuresim/logs/kql"
)

// hourOfRows is a table that is computed: so many rows in one hour, an eighth of
// them taken in at one instant.
type hourOfRows struct {
	n     int
	begin int64 // in ticks
}

const hour = 3600 * 1e7 // in ticks

func (h hourOfRows) Columns() []kql.Column {
	return []kql.Column{{Name: "TimeGenerated", Type: "datetime"}, {Name: "N", Type: "long"}, {Name: "Message", Type: "string"}, {Name: "Details", Type: "dynamic"}}
}

// ingested is when row i was taken in: it ascends with i.
func (h hourOfRows) ingested(i int) int64 {
	half, tied := h.n/2, h.n/8
	switch {
	case i < half:
		return h.begin + int64(i)*hour/int64(h.n)
	case i < half+tied:
		return h.begin + int64(half)*hour/int64(h.n)
	default:
		return h.begin + int64(i)*hour/int64(h.n)
	}
}

func (h hourOfRows) Rows(from, to int64, yield func(kql.Row) bool) {
	for i := sort.Search(h.n, func(i int) bool { return h.ingested(i) >= from }); i < h.n; i++ {
		at := h.ingested(i)
		if at >= to {
			return
		}
		cells := [][]byte{
			kql.Time(at-600e7).AppendFormat(nil, `"2006-01-02T15:04:05.0000000Z"`),
			strconv.AppendInt(nil, int64(i), 10),
			fmt.Appendf(nil, `"connection %08x from 10.%d.%d.%d was accepted by rule allow-internal-%d"`, i*2654435761%(1<<32), i>>16&255, i>>8&255, i&255, i%97),
			[]byte(`"{\"protocol\":\"TCP\",\"direction\":\"inbound\",\"bytes\":4242,\"packets\":17}"`),
		}
		if !yield(kql.Row{Cells: cells, Ingested: at}) {
			return
		}
	}
}

// logAnalytics reads an hour of so many rows with the limits of Azure: all have
// to arrive, each once.
func logAnalytics(rows int) error {
	dir, err := os.MkdirTemp("", "lazuli-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "lazuli")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/lazuli").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	sim, err := azuresim.Start(context.Background(), azuresim.Options{Seed: 1})
	if err != nil {
		return err
	}
	defer sim.Close()
	sim.Logs.Mount("Hour_CL", hourOfRows{rows, kql.Ticks(time.Now().Add(-3 * time.Hour))})
	config := filepath.Join(dir, "lazuli.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
tenants:
  bench:
    tenant_id: %s
    ca_file: %s
    endpoints: {authority: %q, logs_query: %q}
    credential: {type: client_secret, client_id: %s, client_secret: %q}
sources:
  hour: {type: log_analytics, tenant: bench, workspaces: [%s], tables: [Hour_CL], look_back: 4h}
sinks:
  out: {type: stdout}
routes:
  - {from: [hour], schema: raw, to: [out]}
checkpoint: {path: %s}
dead_letters: {path: %s}
telemetry: {listen: "127.0.0.1:0"}
`, sim.Endpoints.TenantID, sim.Endpoints.CAFile, sim.Endpoints.AuthorityHost, sim.Endpoints.Logs, sim.Endpoints.ClientID, sim.Endpoints.ClientSecret,
		sim.Endpoints.Workspace, filepath.Join(dir, "state"), filepath.Join(dir, "letters")), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(binary, "run", "--once", "-c", config)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	lost, repeated, size, err := balance(out, rows)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	peak := int64(0)
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		peak = u.Maxrss >> 10
	}
	cpu := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	fmt.Printf("## Log Analytics to standard output\n\n%d rows in one hour, %d of them on one instant, answers of 500,000 rows and 64 MB at most.\n\n", rows, rows/8)
	fmt.Println("| rows | MB of rows | lost | repeated | queries | seconds | rows/s | CPU s | peak MB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	fmt.Printf("| %d | %d | %d | %d | %d | %.0f | %.0f | %.0f | %d |\n", rows, size/1e6, lost, repeated, sim.Logs.Requests(), took, float64(rows)/took, cpu, peak)
	if lost > 0 || repeated > 0 {
		return fmt.Errorf("%d rows are lost, %d came twice", lost, repeated)
	}
	return nil
}

// balance counts rows by their numbers.
func balance(in io.Reader, rows int) (lost, repeated int, size int64, err error) {
	seen := make([]bool, rows)
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil {
			return 0, 0, 0, fmt.Errorf("read the output: %w", err)
		}
		size += int64(len(line))
		_, after, found := bytes.Cut(line, []byte(`"N":`))
		digits := after
		if i := bytes.IndexFunc(after, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
			digits = after[:i]
		}
		n, err := strconv.Atoi(string(digits))
		if !found || err != nil || n < 0 || n >= rows {
			return 0, 0, 0, fmt.Errorf("line %.200q is no row", line)
		}
		if seen[n] {
			repeated++
		}
		seen[n] = true
	}
	for _, s := range seen {
		if !s {
			lost++
		}
	}
	return lost, repeated, size, nil
}
