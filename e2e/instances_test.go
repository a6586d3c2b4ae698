package e2e

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/azuresim/ledger"
)

// instance is one of several collectors that share a hub.
type instance struct {
	*process
	dir       string
	telemetry string
}

var telemetryAddress = regexp.MustCompile(`"telemetry":"([^"]+)"`)

func startInstance(t *testing.T, sim *azuresim.Sim, storage string) *instance {
	t.Helper()
	dir, file := writeConfig(t, `
sources:
  hub: {type: event_hub, connection_string: "${env:HUB}", hub: `+sim.Endpoints.Hubs[0]+`, consumer_group: lazuli}
sinks:
  out: {type: file, path: "%DIR%/events.ndjson"}
checkpoint: {type: blob, connection_string: "${env:STORAGE}", container: lazuli-checkpoints}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: "127.0.0.1:0"}
`)
	i := &instance{process: start(t, append(hubEnv(sim), "STORAGE="+storage), nil, "run", "-c", file), dir: dir}
	eventually(t, 30*time.Second, "the instance serves metrics", func() bool {
		if m := telemetryAddress.FindStringSubmatch(i.stderr.String()); m != nil {
			i.telemetry = m[1]
		}
		return i.telemetry != ""
	})
	return i
}

// owned is how many partitions the instance reads by its own metrics, or -1.
func (i *instance) owned() int { return int(metric(i.telemetry, "lazuli_source_owned_partitions")) }

// metric returns the first value of a metric, or -1.
func metric(address, name string) float64 {
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return -1
	}
	m := regexp.MustCompile(`(?m)^` + name + `(?:\{[^}]*\})? (\S+)$`).FindSubmatch(body)
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return -1
	}
	return v
}

// TestTwoInstancesShareAHub lets two collectors balance eight partitions
// through a blob container, kills one, and counts by id what both wrote.
func TestTwoInstancesShareAHub(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a claim to run out, a minute by the SDKs' rules")
	}
	storage := azuritetest.ConnectionString(azuritetest.Blob(t), "")
	seed := seedOf(t)
	sim := startSim(t, azuresim.Options{Seed: seed, Partitions: 8, RetainBytes: -1})
	producing, stopProducing := context.WithCancel(t.Context())
	defer stopProducing()
	produced := make(chan error, 1)
	go func() {
		_, err := sim.Produce(producing, 0, 500)
		produced <- err
	}()

	first := startInstance(t, sim, storage)
	eventually(t, time.Minute, "the first instance reads all eight partitions", func() bool { return first.owned() == 8 })
	second := startInstance(t, sim, storage)
	eventually(t, 2*time.Minute, "the two instances read four partitions each", func() bool { return first.owned() == 4 && second.owned() == 4 })
	first.kill()
	eventually(t, 3*time.Minute, "the second instance takes over what the first one left", func() bool { return second.owned() == 8 })
	stopProducing()
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	// Read, not counted as seen: the ledger of the simulator stays as it is.
	eventually(t, 2*time.Minute, "everything is in the outputs", func() bool {
		l := sim.Ledger.Fresh()
		if err := l.ReadFiles(append(outputs(t, first.dir), outputs(t, second.dir)...)...); err != nil {
			t.Fatal(err)
		}
		return l.Report().Lost == 0
	})
	if status := second.stop(t); status != 0 {
		t.Errorf("the second instance ended with status %d:\n%s", status, second.stderr)
	}
	ledger := sim.Ledger.Fresh()
	if err := ledger.ReadFiles(append(outputs(t, first.dir), outputs(t, second.dir)...)...); err != nil {
		t.Fatal(err)
	}
	report := ledger.Report()
	t.Log(report)
	if report.Lost > 0 || report.Unknown > 0 {
		t.Errorf("%v; lost for example %v", report, ledger.Lost(5))
	}
}

// TestInstancesTakeTurnsAtFeeds lets two collectors share feeds that are asked
// for ranges of time, one of Graph and one of a workspace, kills the one that
// reads, and lets its leases run out.
func TestInstancesTakeTurnsAtFeeds(t *testing.T) {
	t.Parallel()
	sim := startSim(t, azuresim.Options{
		Seed: seedOf(t), Punctual: true, // the overlap is too short for late records
		RetainBytes: -1, Graph: azuresim.GraphOptions{Unlimited: true}, Logs: azuresim.LogsOptions{Unlimited: true},
		Doors: func(category string) []azuresim.Door {
			switch category {
			case "AuditLogs":
				return []azuresim.Door{azuresim.Graph}
			case "SignInLogs", "NonInteractiveUserSignInLogs":
				return []azuresim.Door{azuresim.LogAnalytics}
			}
			return []azuresim.Door{azuresim.EventHubs} // read in the end: every record counts
		},
	})
	if _, err := sim.Produce(t.Context(), 500, 0); err != nil { // tables are there
		t.Fatal(err)
	}
	e := sim.Endpoints
	launch := func() *instance {
		dir, file := writeConfig(t, tenantOf(e)+`
sources:
  graph: {type: graph, tenant: kestrel, feeds: [directory_audits], look_back: 6h, delay: 1s, poll: 1s, overlap: 20s}
  workspace: {type: log_analytics, tenant: kestrel, workspaces: [`+e.Workspace+`], tables: [SigninLogs, AADNonInteractiveUserSignInLogs], look_back: 6h, delay: 1s, poll: 1s, overlap: 20s}
sinks:
  out: {type: file, path: "%DIR%/events.ndjson"}
checkpoint: {type: blob, connection_string: "${env:STORAGE}", container: lazuli-checkpoints}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: "127.0.0.1:0"}
`)
		i := &instance{process: start(t, []string{"SECRET=" + e.ClientSecret, "STORAGE=" + e.Storage.ConnectionString}, nil, "run", "-c", file), dir: dir}
		eventually(t, 30*time.Second, "the instance serves metrics", func() bool {
			if m := telemetryAddress.FindStringSubmatch(i.stderr.String()); m != nil {
				i.telemetry = m[1]
			}
			return i.telemetry != ""
		})
		return i
	}
	read := func(i *instance) int64 { return size(filepath.Join(i.dir, "events.ndjson")) }
	first := launch()
	eventually(t, time.Minute, "the first instance reads", func() bool { return read(first) > 0 })
	second := launch()
	eventually(t, time.Minute, "the second instance waits for both sources", func() bool {
		return strings.Count(readiness(second.telemetry), "another instance reads this source") == 2
	})
	eventually(t, time.Minute, "the first instance saves where it is", func() bool {
		return metric(first.telemetry, "lazuli_checkpoint_saves_total") >= 2 // of graph, the first by its name
	})
	before := read(first)
	if _, err := sim.Produce(t.Context(), 500, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the first instance reads on", func() bool { return read(first) > before })
	if n := read(second); n > 0 {
		t.Errorf("both instances read: the second has %d bytes", n)
	}
	first.kill()
	killed := sim.Ledger.Fresh()
	if err := killed.ReadFiles(outputs(t, first.dir)...); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Produce(t.Context(), 500, 0); err != nil {
		t.Fatal(err)
	}
	// A minute passes, as far as the leases are concerned.
	client, err := container.NewClientFromConnectionString(e.Storage.ConnectionString, "lazuli-checkpoints", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"graph", "workspace"} {
		l, err := lease.NewBlobClient(client.NewBlockBlobClient("lazuli/"+source+"/journal.ndjson"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.BreakLease(t.Context(), &lease.BlobBreakOptions{BreakPeriod: new(int32)}); err != nil {
			t.Fatal(err)
		}
	}
	hub, file := writeConfig(t, hubToFile(sim, ""))
	if r := execute(t, "", hubEnv(sim), "run", "--once", "-c", file); r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.stderr)
	}
	files := func() []string {
		return slices.Concat(outputs(t, first.dir), outputs(t, second.dir), outputs(t, hub))
	}
	delivered := func() *ledger.Ledger {
		l := sim.Ledger.Fresh()
		if err := l.ReadFiles(files()...); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if !within(2*time.Minute, func() bool { return delivered().Report().Lost == 0 }) {
		second.dump()
		t.Fatalf("not everything is in the outputs: %v; for example %v\n%s", delivered().Report(), delivered().Lost(5), second.stderr)
	}
	if status := second.stop(t); status != 0 {
		t.Errorf("the second instance ended with status %d:\n%s", status, second.stderr)
	}
	got := delivered()
	if report := got.Report(); report.Lost > 0 || report.Unknown > 0 || report.Delivered != 1500 {
		t.Errorf("%v; lost for example %v", report, got.Lost(5))
	} else if all := killed.Report().Delivered; report.Duplicated >= all {
		t.Errorf("%v; the second instance began anew: the first had read %d", report, all)
	} else {
		t.Logf("%v; the first instance had read %d", report, all)
	}
}

// readiness is what /readyz says.
func readiness(address string) string {
	resp, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}
