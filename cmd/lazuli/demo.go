package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/azuresim/ledger"
	"github.com/lazuli-logs/lazuli/internal/component"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

type demoCommand struct {
	Events   uint64        `placeholder:"N" help:"Stop after this many events, as fast as they go; without it, events trickle until Ctrl-C."`
	Duration time.Duration `placeholder:"D" help:"Stop after this time, e.g. 30s."`
	Rate     int           `placeholder:"N" help:"Events a second (200; with --events, as fast as they go)."`
	Schema   string        `enum:"raw,ecs,ocsf" default:"ecs" help:"What the events look like: raw, ecs or ocsf (${default})."`
	Output   string        `placeholder:"FILE" help:"Where the events go; overwritten. A temporary file by default."`
	Seed     uint64        `placeholder:"N" help:"Decides the tenant and its records; by default the time does."`

	ownFolder bool // nobody named an output
}

// Help is shown by lazuli demo --help.
func (demoCommand) Help() string {
	return `Starts the built-in Azure, lets a made-up tenant sign in, change and use things, collects its logs from an event hub, audits from a Log Analytics workspace, those of the network and of Storage from a storage account, and what Identity Protection finds from Microsoft Graph, normalizes them and writes them to a file; then reads that file back and counts by the records' own ids what is missing or there twice. The last line on standard output is that balance, as JSON; the exit status is 1 if anything was lost.

Example:
  lazuli demo
  lazuli demo --events 200000 --output events.ndjson`
}

// outstanding is how many events the hub holds that are not delivered yet, at
// most: the built-in hub has a retention too.
const outstanding = 40_000

// trickle is the rate, in events a second, at which a person can follow.
const trickle = 200

// balance is the demo's last line. Other programs read it.
type balance struct {
	Produced        uint64  `json:"produced"`
	Delivered       uint64  `json:"delivered"`
	Lost            uint64  `json:"lost"`
	Duplicated      uint64  `json:"duplicated"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
}

// Run implements the command.
func (d *demoCommand) Run(ctx context.Context, t terminal) error {
	if d.Seed == 0 {
		d.Seed = uint64(time.Now().UnixNano())
	}
	state, err := os.MkdirTemp("", "lazuli-demo-")
	if err != nil {
		return err
	}
	if d.Output == "" {
		d.Output, d.ownFolder = filepath.Join(state, "events.ndjson"), true
	} else {
		defer os.RemoveAll(state)
		if err := removeOutput(d.Output); err != nil {
			return &usageError{fmt.Errorf("lazuli: --output: %w", err)}
		}
	}
	sim, err := azuresim.Start(context.WithoutCancel(ctx), azuresim.Options{
		Seed: d.Seed, Partitions: 4, Doors: demoDoors,
		// Quicker than Azure, which adds to flow logs every minute, and without what
		// Azure writes late, into an hour that is looked at every other minute: a demo
		// is watched.
		Storage: azuresim.StorageOptions{AppendEvery: time.Second, FlowEvery: 5 * time.Second, Keep: 3 * time.Hour, LateShare: -1},
	})
	if err != nil {
		return err
	}
	defer sim.Close()
	secrets := map[string]string{
		"HUB": sim.Endpoints.ConnectionString, "STORAGE": sim.Endpoints.Storage.ConnectionString, "SECRET": sim.Endpoints.ClientSecret,
	}
	cfg, err := parseConfig("demo", d.config(sim.Endpoints, state), func(name string) (string, bool) {
		value, known := secrets[name]
		return value, known
	})
	if err != nil {
		return err
	}
	c, err := newCollector(cfg, t, false, component.Build)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.err, "built-in Azure: tenant %s, event hub %s with %d partitions, storage account %s, workspace %s, Microsoft Graph\nevents as %s: %s\n",
		sim.Endpoints.TenantID, sim.Endpoints.Hubs[0], sim.Endpoints.Partitions, sim.Endpoints.Storage.Account, sim.Endpoints.Workspace, d.Schema, d.Output)

	collecting, stopCollecting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCollecting()
	collected := make(chan error, 1)
	go func() { collected <- c.run(collecting) }()

	show := d.watch(t, c.metrics)
	start := time.Now()
	produceErr := d.produce(ctx, sim, c.metrics)
	d.settle(collected, sim, c.metrics)
	took := time.Since(start).Seconds()
	stopCollecting()
	err = <-collected
	show()
	if err = errors.Join(produceErr, err); err != nil {
		return err
	}
	outputs, err := d.outputs()
	if err != nil {
		return err
	}
	if err := sim.Ledger.ReadFiles(outputs...); err != nil {
		return err
	}
	return d.report(t, sim.Ledger, c, took)
}

// demoDoors lets logs leave as they would: flow logs can only be archived, those
// of Storage are too many for most to stream, Sentinel has the audits, and what
// Identity Protection finds is little enough to ask Graph for.
func demoDoors(category string) []azuresim.Door {
	switch category {
	case "FlowLogFlowEvent", "NetworkSecurityGroupFlowEvent", "StorageRead", "StorageWrite", "StorageDelete":
		return []azuresim.Door{azuresim.Storage}
	case "AuditLogs":
		return []azuresim.Door{azuresim.LogAnalytics}
	case "UserRiskEvents":
		return []azuresim.Door{azuresim.Graph}
	}
	return []azuresim.Door{azuresim.EventHubs}
}

// report prints the balance. Records that are dead letters are not lost, but a
// demo should have none.
func (d *demoCommand) report(t terminal, l *ledger.Ledger, c *collector, took float64) error {
	r := l.Report()
	line, err := json.Marshal(balance{
		Produced: r.Produced, Delivered: r.Delivered, Lost: r.Lost, Duplicated: r.Duplicated,
		Seconds: took, EventsPerSecond: float64(r.Delivered) / max(took, 1e-9),
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(t.out, "%s\n", line); err != nil {
		return err
	}
	if n := telemetry.Sum(c.metrics.DeadLetters); n > 0 {
		fmt.Fprintf(t.err, "lazuli: %v dead letters in %s\n", n, c.letters.Dir())
	}
	if r.Lost > 0 {
		fmt.Fprintf(t.err, "lazuli: lost, for example: %s\n", strings.Join(l.Lost(5), " "))
		return errReported
	}
	return nil
}

// config is what a user would write for this hub, this storage account and this
// tenant, but for times that are shorter: a demo is watched.
func (d *demoCommand) config(e azuresim.Endpoints, state string) []byte {
	return fmt.Appendf(nil, `
tenants:
  kestrel:
    tenant_id: %s
    credential: {type: client_secret, client_id: %s, client_secret: "${env:SECRET}"}
    endpoints: {authority: %q, graph: %q, logs_query: %q}
    ca_file: %s
sources:
  insights:
    type: event_hub
    connection_string: ${env:HUB}
    hub: %s
    consumer_group: %s
  archive:
    type: storage
    connection_string: ${env:STORAGE}
    containers: ["insights-logs-*"]
    poll: 1s
    discover: 1s
  identity:
    type: graph
    tenant: kestrel
    feeds: [risk_detections]
    poll: 1s
    delay: 2s
    overlap: 20s
  sentinel:
    type: log_analytics
    tenant: kestrel
    workspaces: [%s]
    tables: [AuditLogs]
    poll: 1s
    delay: 0s
    overlap: 5s
sinks:
  file:
    type: file
    path: %s
    rotate: {size: %s}
    compression: zstd
routes:
  - {from: [insights, archive, identity, sentinel], schema: %s, to: [file]}
checkpoint: {type: file, path: %s}
dead_letters: {path: %s}
telemetry: {listen: "127.0.0.1:0"}
log: {level: warn}
`, e.TenantID, e.ClientID, e.AuthorityHost, e.Graph, e.Logs, strconv.Quote(e.CAFile), e.Hubs[0], e.ConsumerGroups[0], e.Workspace,
		strconv.Quote(absolute(d.Output)), d.rotateSize(), d.Schema,
		strconv.Quote(filepath.Join(state, "checkpoints")), strconv.Quote(filepath.Join(state, "dead-letters")))
}

// rotateSize keeps a demo that runs for days small by compression, and leaves
// a named file whole.
func (d *demoCommand) rotateSize() string {
	if d.ownFolder {
		return "64MiB"
	}
	return "1TiB"
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// produce fills hub and storage, no further ahead of the deliveries than a hub
// can hold.
func (d *demoCommand) produce(ctx context.Context, sim *azuresim.Sim, m *telemetry.Metrics) error {
	if d.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Duration)
		defer cancel()
	}
	if d.Events == 0 {
		if d.Rate == 0 {
			d.Rate = trickle
		}
		_, err := sim.Produce(ctx, 0, d.Rate)
		return err
	}
	const step = 5000
	for left := d.Events; left > 0 && ctx.Err() == nil; {
		if float64(sim.Ledger.Report().Produced)-finished(m) > outstanding-step {
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Millisecond):
			}
			continue
		}
		n, err := sim.Produce(ctx, min(step, left), d.Rate)
		if left -= n; err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// finished is how many events were delivered or became dead letters.
func finished(m *telemetry.Metrics) float64 {
	return telemetry.Sum(m.SinkEvents) + telemetry.Sum(m.DeadLetters)
}

// settle waits until everything produced has come out, or nothing has moved for
// a minute and a half, or the collector has ended.
func (d *demoCommand) settle(collected chan error, sim *azuresim.Sim, m *telemetry.Metrics) {
	const patience = 90 * time.Second
	produced := float64(sim.Ledger.Report().Produced)
	last, moved := finished(m), time.Now()
	for last < produced && time.Since(moved) < patience {
		select {
		case err := <-collected:
			collected <- err
			return
		case <-time.After(5 * time.Millisecond):
		}
		if now := finished(m); now != last {
			last, moved = now, time.Now()
		}
	}
}

// outputs are the files written: in a folder of its own a demo's file rotates.
func (d *demoCommand) outputs() ([]string, error) {
	if !d.ownFolder {
		return []string{d.Output}, nil
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(d.Output), "events*.ndjson*"))
	// What was being compressed at the end is still there uncompressed.
	return slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, ".part") }), err
}

// removeOutput makes room for a new demo: what an earlier one wrote would count
// as delivered twice or as foreign.
func removeOutput(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file; name one, it will be read back", path)
	}
	return os.Remove(path)
}
