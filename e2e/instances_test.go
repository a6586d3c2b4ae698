package e2e

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
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
