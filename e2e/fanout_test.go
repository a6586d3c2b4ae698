package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// TestFanOut delivers one hub to a slow sink, to one that fails now and then and
// to a dead one at best effort: the first two get everything, the slow one in the
// order of the partitions, and memory does not grow with what waits.
func TestFanOut(t *testing.T) {
	const (
		events  = 40_000
		maxPeak = 200 << 20
	)
	sim := startSim(t, azuresim.Options{Seed: seedOf(t), RetainBytes: -1})
	if _, err := sim.Produce(t.Context(), events, 0); err != nil {
		t.Fatal(err)
	}
	slow := &endpoint{}
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pause(t, 20*time.Millisecond)
		slow.ServeHTTP(w, r)
	}))
	t.Cleanup(listener.Close)
	failing := otlp(t)
	_, file := writeConfig(t, fmt.Sprintf(`
sources:
  hub: {type: event_hub, connection_string: "${env:HUB}", hub: %s, consumer_group: lazuli}
sinks:
  slow: {type: http, url: %q, concurrency: 1}
  dead: {type: http, url: "http://127.0.0.1:%d", delivery: best_effort, retry: {initial: 20ms, max: 200ms}}
  failing:
%s    retry: {initial: 20ms, max: 200ms}
checkpoint: {path: "%%DIR%%/checkpoints"}
dead_letters: {path: "%%DIR%%/dead-letters"}
telemetry: {listen: ""}
limits: {in_flight: 16MiB}
`, sim.Endpoints.Hubs[0], listener.URL, freePort(t), failing.sink))

	p := start(t, hubEnv(sim), nil, "run", "-c", file)
	arrived := func() (n int) { slow.set(func() { n = len(slow.lines) })(); return n }
	failures, next := 0, 0
	deadline := time.Now().Add(4 * time.Minute)
	for arrived() < events || len(failing.arrived()) < events {
		if time.Now().After(deadline) {
			t.Fatalf("%d and %d of %d events arrived:\n%s", arrived(), len(failing.arrived()), events, p.stderr)
		}
		if n := len(failing.arrived()); n >= next {
			failing.disturb[failures%len(failing.disturb)]()
			failures++
			next = n + 2000
		}
		pause(t, 50*time.Millisecond)
	}
	peak := peakMemory(t, p.cmd.Process.Pid)
	if status := p.stop(t); status != 0 {
		t.Errorf("status %d:\n%s", status, p.stderr)
	}
	for name, lines := range map[string][][]byte{"slow": slow.lines, "failing": failing.arrived()} {
		ledger := sim.Ledger.Fresh()
		for _, line := range lines {
			ledger.SeenLine(line)
		}
		report := ledger.Report()
		t.Logf("%s: %v", name, report)
		if report.Lost > 0 || report.Unknown > 0 || report.NoID > 0 || name == "slow" && report.Duplicated > 0 {
			t.Errorf("%s: %v; lost for example %v", name, report, ledger.Lost(5))
		}
	}
	volume := int64(0)
	for _, line := range slow.lines {
		volume += int64(len(line))
	}
	t.Logf("%d failures, at most %d MB resident of %d MB of events", failures, peak>>20, volume>>20)
	if volume < maxPeak {
		t.Errorf("%d MB of events are too few to tell whether memory is bounded", volume>>20)
	}
	if peak > maxPeak && buildFlags == nil { // the race detector's memory comes on top
		t.Errorf("%d MB were resident, more than %d", peak>>20, maxPeak>>20)
	}
	wantOrder(t, sim, slow.lines)
}

// peakMemory is the most memory that a process had resident, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	text, _, found := strings.Cut(rest, "kB")
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || !found {
		t.Fatalf("no VmHWM in %s", data)
	}
	return n << 10
}

// wantOrder checks that events came in the order of the partition they are in.
func wantOrder(t *testing.T, sim *azuresim.Sim, lines [][]byte) {
	t.Helper()
	type place struct{ partition, at int }
	places := map[uint64]place{}
	hub, _ := sim.Broker.Hub(sim.Endpoints.Hubs[0])
	for partition := range hub.Partitions() {
		messages, err := hub.Read(partition, 0, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for _, m := range messages {
			var body struct{ Records []json.RawMessage }
			if err := json.Unmarshal(m.Body, &body); err != nil {
				t.Fatal(err)
			}
			for _, record := range body.Records {
				if numbers, _ := sim.Ledger.IDs(nil, record); len(numbers) == 1 {
					places[numbers[0]] = place{partition, at}
					at++
				}
			}
		}
	}
	last := map[int]int{}
	checked := 0
	for i, line := range lines {
		numbers, _ := sim.Ledger.IDs(nil, line)
		if len(numbers) != 1 {
			continue
		}
		p, known := places[numbers[0]]
		if !known {
			continue // e.g. one of several flows of a record
		}
		if before, begun := last[p.partition]; begun && p.at <= before {
			t.Fatalf("line %d is number %d of partition %d and comes after %d", i, p.at, p.partition, before)
		}
		last[p.partition] = p.at
		checked++
	}
	if checked < len(lines)/2 || len(last) != hub.Partitions() {
		t.Errorf("only %d of %d events of %d partitions could be checked", checked, len(lines), len(last))
	}
}
