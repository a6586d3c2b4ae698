package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// tenantOf is a configured tenant that signs in to the simulator.
func tenantOf(e azuresim.Endpoints) string {
	return fmt.Sprintf(`
tenants:
  kestrel:
    tenant_id: %s
    ca_file: %s
    endpoints: {authority: %q, graph: %q, logs_query: %q}
    credential: {type: client_secret, client_id: %s, client_secret: "${env:SECRET}"}
`, e.TenantID, e.CAFile, e.AuthorityHost, e.Graph, e.Logs, e.ClientID)
}

// doorSources are the doors of the simulated Azure, and the source that reads
// each.
func doorSources(e azuresim.Endpoints) map[azuresim.Door]string {
	return map[azuresim.Door]string{
		azuresim.EventHubs: fmt.Sprintf(`{type: event_hub, connection_string: "${env:HUB}", hub: %s, consumer_group: lazuli}`, e.Hubs[0]),
		azuresim.Storage:   `{type: storage, connection_string: "${env:STORAGE}", containers: ["insights-logs-*"]}`,
		azuresim.LogAnalytics: fmt.Sprintf(`{type: log_analytics, tenant: kestrel, workspaces: [%s], look_back: 6h, delay: 10s,
    tables: [SigninLogs, AADNonInteractiveUserSignInLogs, AADServicePrincipalSignInLogs, AADManagedIdentitySignInLogs, ADFSSignInLogs,
      AuditLogs, AADProvisioningLogs, AADUserRiskEvents]}`, e.Workspace),
		azuresim.Graph: `{type: graph, tenant: kestrel, look_back: 6h, delay: 10s,
    feeds: [directory_audits, sign_ins, sign_ins_noninteractive, sign_ins_service_principal, sign_ins_managed_identity, provisioning, risk_detections, service_principal_risk_detections]}`,
	}
}

// TestTheSameEventsThroughEveryDoor lets the records of a tenant leave by every
// door there is, reads each with the source for it, and holds the events against
// each other: the same ids, once each, and the same kinds.
func TestTheSameEventsThroughEveryDoor(t *testing.T) {
	t.Parallel()
	sources := doorSources(azuresim.Endpoints{Hubs: []string{""}})
	var doors []azuresim.Door
	for door := range sources {
		doors = append(doors, door)
	}
	slices.Sort(doors)
	sim := startSim(t, azuresim.Options{
		Seed: seedOf(t), RetainBytes: -1,
		// Everything is some minutes old, as logs are: sources that ask for what is
		// old enough read it at once.
		Now: func() time.Time { return time.Now().Add(-5 * time.Minute) },
		Doors: func(category string) []azuresim.Door {
			if azuresim.GraphHas(category) {
				return doors
			}
			return nil // not by every door
		},
	})
	if _, err := sim.Produce(t.Context(), 1500, 0); err != nil {
		t.Fatal(err)
	}
	sources = doorSources(sim.Endpoints)
	kinds := map[azuresim.Door]map[string]string{}
	for _, door := range doors {
		dir, file := writeConfig(t, tenantOf(sim.Endpoints)+"sources:\n  door: "+sources[door]+`
sinks:
  out: {type: file, path: "%DIR%/events.ndjson"}
routes:
  - {from: [door], schema: ecs, to: [out]}
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: "127.0.0.1:0"}
`)
		ran := execute(t, "", append(hubEnv(sim), "SECRET="+sim.Endpoints.ClientSecret, "STORAGE="+sim.Endpoints.Storage.ConnectionString), "run", "--once", "-c", file)
		if ran.status != 0 {
			t.Fatalf("reading by %s ended with %d:\n%s", door, ran.status, ran.stderr)
		}
		kinds[door] = kindsByID(t, filepath.Join(dir, "events.ndjson"))
	}
	first := kinds[doors[0]]
	if len(first) < 500 {
		t.Errorf("only %d events came by %s", len(first), doors[0])
	}
	for _, door := range doors[1:] {
		for id, kind := range first {
			if got, ok := kinds[door][id]; !ok {
				t.Errorf("event %s (%s) came by %s and not by %s", id, kind, doors[0], door)
			} else if got != kind {
				t.Errorf("event %s is %s by %s and %s by %s", id, kind, doors[0], got, door)
			}
		}
		if len(kinds[door]) != len(first) {
			t.Errorf("%d events came by %s, %d by %s", len(kinds[door]), door, len(first), doors[0])
		}
	}
}

// kindsByID reads ECS documents: the kind of each by its id, which must be there
// once.
func kindsByID(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var doc struct {
			Event struct {
				ID      string
				Dataset string
				Action  string
				Outcome string
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &doc); err != nil || doc.Event.ID == "" {
			t.Fatalf("no id (%v): %s", err, lines.Bytes())
		}
		if _, twice := kinds[doc.Event.ID]; twice {
			t.Errorf("twice in %s: %s", path, doc.Event.ID)
		}
		kinds[doc.Event.ID] = doc.Event.Dataset + " " + doc.Event.Action + " " + doc.Event.Outcome
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return kinds
}

// TestKilledWhileReadingGraph kills the collector while it reads feeds of Graph
// that fail now and then, and lets it finish: nothing is lost. In every second life
// the output takes nothing, for longer than positions take to be saved.
func TestKilledWhileReadingGraph(t *testing.T) {
	t.Parallel()
	// The collector keeps to Graph's limit of 5 requests in 10 seconds: with more
	// feeds, or windows without records before theirs, no life would come to them.
	inGraph := []string{"AuditLogs", "NonInteractiveUserSignInLogs", "UserRiskEvents"}
	sim := startSim(t, azuresim.Options{
		Seed: seedOf(t), RetainBytes: -1, Graph: azuresim.GraphOptions{Unlimited: true},
		Punctual: true, // what is late is read when it is 15 minutes old
		Doors: func(category string) []azuresim.Door {
			if slices.Contains(inGraph, category) {
				return []azuresim.Door{azuresim.Graph}
			}
			return []azuresim.Door{azuresim.EventHubs} // every record counts
		},
	})
	dir, file := writeConfig(t, tenantOf(sim.Endpoints)+`
sources:
  graph: {type: graph, tenant: kestrel, look_back: 10m, delay: 1s, poll: 1s, feeds: [directory_audits, sign_ins_noninteractive, risk_detections]}
sinks:
  out: {type: file, path: "%DIR%/events.ndjson"}
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: "127.0.0.1:0"}
`)
	env := append(hubEnv(sim), "SECRET="+sim.Endpoints.ClientSecret)
	output := filepath.Join(dir, "events.ndjson")
	const lives, records = 6, 1000
	for life := range lives {
		if _, err := sim.Produce(t.Context(), records, 0); err != nil {
			t.Fatal(err)
		}
		before, saved, asked := size(output), positions(t, dir), sim.Graph.Requests()
		if life%2 == 0 {
			sim.Graph.Faults.Cut(1)
		} else {
			sim.Graph.Faults.Fail(1, 503, 0, false)
		}
		p := start(t, env, nil, "run", "-c", file)
		switch {
		case life%2 == 1:
			limitFiles(t, p, uint64(before))
			p.eventually(t, time.Minute, "Graph is asked", func() bool { return sim.Graph.Requests() > asked })
			// Records are read at most 2 seconds after they were produced, and
			// positions are saved every second.
			pause(t, 3500*time.Millisecond)
		case life == 0: // while most are read
			p.eventually(t, time.Minute, "events in the output", func() bool { return size(output) > before })
		default: // to go on from there
			p.eventually(t, time.Minute, "positions are saved", func() bool { return size(output) > before && positions(t, dir) != saved })
		}
		p.kill()
	}
	sim.Graph.Faults.Clear()
	// The hub is read by a collector that is not killed: what is lost, Graph had.
	hubDir, hubFile := writeConfig(t, hubToFile(sim, ""))
	for _, file := range []string{file, hubFile} {
		if ran := execute(t, "", env, "run", "--once", "-c", file); ran.status != 0 {
			t.Fatalf("the last run ended with %d:\n%s", ran.status, ran.stderr)
		}
	}
	if err := sim.Ledger.ReadFiles(output, filepath.Join(hubDir, "events.ndjson")); err != nil {
		t.Fatal(err)
	}
	if r := sim.Ledger.Report(); r.Lost > 0 || r.Unknown > 0 || r.Delivered != lives*records {
		t.Errorf("%s; lost for example %q", r, sim.Ledger.Lost(5))
	} else {
		t.Log(r)
	}
}

// TestBackfillOfGraph reads a range of a feed beside the checkpoints.
func TestBackfillOfGraph(t *testing.T) {
	t.Parallel()
	sim := startSim(t, azuresim.Options{
		Seed: seedOf(t), RetainBytes: -1,
		Now: func() time.Time { return time.Now().Add(-5 * time.Minute) },
		Doors: func(category string) []azuresim.Door {
			if category == "AuditLogs" {
				return []azuresim.Door{azuresim.Graph}
			}
			return nil
		},
	})
	if _, err := sim.Produce(t.Context(), 1500, 0); err != nil {
		t.Fatal(err)
	}
	dir, file := writeConfig(t, tenantOf(sim.Endpoints)+`
sources:
  audits: {type: graph, tenant: kestrel, feeds: [directory_audits]}
sinks:
  out: {type: file, path: "%DIR%/events.ndjson"}
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
`)
	ran := execute(t, "", []string{"SECRET=" + sim.Endpoints.ClientSecret}, "backfill", "-c", file, "--source", "audits", "--from", "8h")
	if ran.status != 0 {
		t.Fatalf("the backfill ended with %d:\n%s", ran.status, ran.stderr)
	}
	if got, want := len(kindsByID(t, filepath.Join(dir, "events.ndjson"))), sim.Graph.Count("auditLogs/directoryAudits"); got != want || want == 0 {
		t.Errorf("%d events, want %d\n%s", got, want, ran.stderr)
	}
	saved, err := filepath.Glob(filepath.Join(dir, "checkpoints", "*", "*"))
	if err != nil || len(saved) > 0 {
		t.Errorf("checkpoints were saved: %q, %v", saved, err)
	}
}

// TestBackfillOfAWorkspace does the same with tables.
func TestBackfillOfAWorkspace(t *testing.T) {
	t.Parallel()
	sim := startSim(t, azuresim.Options{Seed: seedOf(t), RetainBytes: -1, Doors: workspaceDoors})
	if _, err := sim.Produce(t.Context(), 1500, 0); err != nil {
		t.Fatal(err)
	}
	dir, file := writeConfig(t, tenantOf(sim.Endpoints)+`
sources:
  rows: {type: log_analytics, tenant: kestrel, workspaces: [`+sim.Endpoints.Workspace+`], tables: [AuditLogs, SigninLogs]}
sinks:
  out: {type: file, path: "%DIR%/events.ndjson"}
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
`)
	ran := execute(t, "", []string{"SECRET=" + sim.Endpoints.ClientSecret}, "backfill", "-c", file, "--source", "rows", "--from", "8h")
	if ran.status != 0 {
		t.Fatalf("the backfill ended with %d:\n%s", ran.status, ran.stderr)
	}
	if got := len(kindsByID(t, filepath.Join(dir, "events.ndjson"))); got < 100 {
		t.Errorf("%d events\n%s", got, ran.stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "checkpoints")); !os.IsNotExist(err) {
		t.Errorf("the collector's checkpoints were opened: %v", err)
	}
}
