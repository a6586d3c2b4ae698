package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// TestSpilledEventsAreReplayed lets a sink stay down past spill_after: its
// events go to the dead letters, and lazuli replay delivers them later.
func TestSpilledEventsAreReplayed(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: 7, RetainBytes: -1})
	dir, file := writeConfig(t, strings.Replace(hubToFile(sim, ""), "type: file", "type: file\n    spill_after: 500ms", 1))
	output, letters := filepath.Join(dir, "events.ndjson"), filepath.Join(dir, "dead-letters", "letters.ndjson")
	if _, err := sim.Produce(t.Context(), 2000, 0); err != nil {
		t.Fatal(err)
	}
	p := start(t, hubEnv(sim), nil, "run", "-c", file)
	delivered := func() uint64 {
		l := sim.Ledger.Fresh()
		if err := l.ReadFiles(outputs(t, dir)...); err != nil {
			t.Fatal(err)
		}
		return l.Report().Delivered
	}
	eventually(t, 30*time.Second, "the first events are delivered", func() bool { return size(output) > 0 && delivered() == 2000 })

	// No file may grow beyond what the output has: only smaller ones can.
	limitFiles(t, p, uint64(size(output)))
	if _, err := sim.Produce(t.Context(), 200, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the events are dead letters", func() bool {
		data, err := os.ReadFile(letters)
		return err == nil && strings.Count(string(data), "\n") == 200
	})
	if status := p.stop(t); status != 0 {
		t.Fatalf("status %d\n%s", status, p.stderr)
	}
	if n := delivered(); n != 2000 {
		t.Errorf("%d events delivered while the sink was down, want 2000", n)
	}

	r := execute(t, "", hubEnv(sim), "replay", "-c", file, "--sink", "out")
	if r.status != 0 || !strings.Contains(r.stderr, "dead letters read: 200, still there: 0") {
		t.Fatalf("replay: status %d\n%s", r.status, r.stderr)
	}
	// What was replayed is not read again, and not replayed again.
	for _, args := range [][]string{{"replay", "-c", file}, {"run", "-c", file, "--once"}} {
		if r := execute(t, "", hubEnv(sim), args...); r.status != 0 {
			t.Fatalf("%v: status %d\n%s", args, r.status, r.stderr)
		}
	}
	ledger := sim.Ledger.Fresh()
	if err := ledger.ReadFiles(outputs(t, dir)...); err != nil {
		t.Fatal(err)
	}
	if report := ledger.Report(); report.Lost > 0 || report.Duplicated > 0 {
		t.Errorf("%v, want each event once", report)
	}
	if r := execute(t, "", hubEnv(sim), "replay", "-c", file, "--sink", "nobody"); r.status != 2 {
		t.Errorf("replay to an unknown sink: status %d, want 2", r.status)
	}
}

// TestMalformedMessagesCostNothingElse sends what Azure and collectors in
// between have been seen to send among sound messages.
func TestMalformedMessagesCostNothingElse(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: 8, RetainBytes: -1})
	hub, _ := sim.Broker.Hub(sim.Endpoints.Hubs[0])
	junk := []string{
		"", "\x00\xff\xfe", "not json", "[218 B blob data]", `{"records":[{"time":"2026-01-01T00:00:00Z","category":"AuditEvent"`,
		`{'category':'FunctionAppLogs','properties':{'appName':'it\'s'}}`, "{\"category\":\"X\",\"text\":\"raw\nline\"}", "\x1f\x8b\x08broken gzip", strings.Repeat(`{"a":`, 100_000),
	}
	for i := range 200 {
		if _, err := sim.Produce(t.Context(), 10, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := hub.Append(i%4, []byte(junk[i%len(junk)])); err != nil {
			t.Fatal(err)
		}
	}
	dir, file := writeConfig(t, hubToFile(sim, ""))
	r := execute(t, "", hubEnv(sim), "run", "-c", file, "--once")
	if r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.stderr)
	}
	ledger := sim.Ledger.Fresh()
	if err := ledger.ReadFiles(outputs(t, dir)...); err != nil {
		t.Fatal(err)
	}
	report := ledger.Report()
	if report.Lost > 0 || report.Duplicated > 0 {
		t.Errorf("%v, want each sound record once", report)
	}
	// Three of the nine can be mended and one is empty; the others are dead letters.
	if report.NoID < 60 || report.NoID > 70 {
		t.Errorf("%d mended records in the output, want about 66", report.NoID)
	}
	data, err := os.ReadFile(filepath.Join(dir, "dead-letters", "letters.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"not json", "[218 B blob data]", `"class":"too_deep"`, `"class":"gzip"`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the dead letters lack %s", want)
		}
	}
}
