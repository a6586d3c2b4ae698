package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// allToStorage lets everything leave by the storage account, flow logs too.
func allToStorage(string) []azuresim.Door { return []azuresim.Door{azuresim.Storage} }

// quickStorage grows faster than Azure, so that tests need not wait.
func quickStorage() azuresim.StorageOptions {
	return azuresim.StorageOptions{AppendEvery: 100 * time.Millisecond, FlowEvery: time.Second}
}

func storageToFile(sim *azuresim.Sim, more string) string {
	return fmt.Sprintf(`
sources:
  archive: {type: storage, connection_string: %q, containers: ["insights-*"], poll: 1s, discover: 2s}
sinks:
  out:
    type: file
    path: "%%DIR%%/events.ndjson"
    retry: {initial: 20ms, max: 200ms}
checkpoint: {path: "%%DIR%%/checkpoints"}
dead_letters: {path: "%%DIR%%/dead-letters"}
telemetry: {listen: ""}
%s`, sim.Endpoints.Storage.ConnectionString, more)
}

// TestKilledOverStorageNothingIsLost is TestKilledAtAnyMomentNothingIsLost over
// blobs that grow: append blobs of diagnostic settings, and flow logs, which are
// rewritten.
func TestKilledOverStorageNothingIsLost(t *testing.T) {
	killAgainAndAgain(t, 12, azuresim.Options{Doors: allToStorage, Storage: quickStorage()}, storageToFile)
}

// TestBackfillLeavesTheCollectorAlone reads the same hours twice: by a collector,
// and by backfills beside it, which find everything and change nothing.
func TestBackfillLeavesTheCollectorAlone(t *testing.T) {
	sim := startSim(t, azuresim.Options{
		Seed: 11, RetainBytes: -1, Storage: quickStorage(),
		Doors: func(category string) []azuresim.Door {
			if strings.Contains(category, "Flow") {
				return []azuresim.Door{azuresim.Storage}
			}
			return []azuresim.Door{azuresim.Storage, azuresim.EventHubs}
		},
	})
	if _, err := sim.Produce(t.Context(), 3000, 0); err != nil {
		t.Fatal(err)
	}
	dir, file := writeConfig(t, storageToFile(sim, ""))
	if r := execute(t, "", nil, "run", "-c", file, "--once"); r.status != 0 {
		t.Fatalf("run --once ended with status %d:\n%s", r.status, r.stderr)
	}
	check := func(dir string) {
		t.Helper()
		ledger := sim.Ledger.Fresh()
		if err := ledger.ReadFiles(outputs(t, dir)...); err != nil {
			t.Fatal(err)
		}
		if r := ledger.Report(); r.Lost > 0 || r.Duplicated > 0 || r.Unknown > 0 || r.NoID > 0 {
			t.Errorf("%v; lost for example %v", r, ledger.Lost(5))
		}
	}
	check(dir)
	collector := start(t, nil, nil, "run", "-c", file) // it holds the checkpoints and the output

	from := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	beside, besideFile := writeConfig(t, strings.ReplaceAll(storageToFile(sim, ""), "%DIR%/checkpoints", dir+"/checkpoints"))
	r := execute(t, "", nil, "backfill", "-c", besideFile, "--source", "archive", "--from", from)
	if r.status != 0 || !strings.Contains(r.stderr, "backfill of archive") {
		t.Fatalf("backfill ended with status %d:\n%s", r.status, r.stderr)
	}
	check(beside)

	// Nothing was archived the day before.
	empty, emptyFile := writeConfig(t, storageToFile(sim, ""))
	r = execute(t, "", nil, "backfill", "-c", emptyFile, "--source", "archive", "--from", "2d", "--to", "1d")
	if r.status != 0 || size(filepath.Join(empty, "events.ndjson")) != 0 {
		t.Errorf("backfill of a day without blobs: status %d, %d bytes:\n%s", r.status, size(filepath.Join(empty, "events.ndjson")), r.stderr)
	}
	// An event hub, beside a reader that holds the consumer group's partitions.
	hub, hubFile := writeConfig(t, hubToFile(sim, ""))
	r = execute(t, "", hubEnv(sim), "backfill", "-c", hubFile, "--source", "hub", "--from", from)
	if r.status != 0 {
		t.Fatalf("backfill of the hub ended with status %d:\n%s", r.status, r.stderr)
	}
	if size(filepath.Join(hub, "events.ndjson")) == 0 {
		t.Error("backfill of the hub brought nothing")
	}
	none, noneFile := writeConfig(t, hubToFile(sim, ""))
	r = execute(t, "", hubEnv(sim), "backfill", "-c", noneFile, "--source", "hub", "--from", "2d", "--to", "1h")
	if r.status != 0 || size(filepath.Join(none, "events.ndjson")) != 0 {
		t.Errorf("backfill up to before the first message: status %d, %d bytes", r.status, size(filepath.Join(none, "events.ndjson")))
	}
	if status := collector.stop(t); status != 0 {
		t.Errorf("the collector ended with status %d:\n%s", status, collector.stderr)
	}
	check(dir)

	for _, args := range [][]string{
		{"--source", "nothing", "--from", "1h"}, {"--source", "archive", "--from", "soon"}, {"--source", "archive", "--from", "1h", "--to", "2h"},
	} {
		if r := execute(t, "", nil, append([]string{"backfill", "-c", file}, args...)...); r.status != 2 {
			t.Errorf("backfill %v: status %d, want 2:\n%s", args, r.status, r.stderr)
		}
	}
}
