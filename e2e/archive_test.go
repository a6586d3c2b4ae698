package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// archived lets everything a tenant does be archived, and returns the blobs as
// files.
func archived(t *testing.T, sim *azuresim.Sim, events uint64) (files []string) {
	t.Helper()
	if _, err := sim.Produce(t.Context(), events, 0); err != nil {
		t.Fatal(err)
	}
	dir, account := t.TempDir(), sim.Endpoints.Storage.Account
	for _, container := range sim.Blobs.Containers(account) {
		for i, name := range sim.Blobs.Names(account, container) {
			data, err := sim.Blobs.Read(account, container, name)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, fmt.Sprintf("%s-%d.json", container, i))
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
	}
	return files
}

// TestEveryArchivedRecordIsOneEvent holds the built-in tenant's log types, flow
// logs by tuple among them, against decoding and every schema, by the ids that
// only the simulator knows.
func TestEveryArchivedRecordIsOneEvent(t *testing.T) {
	t.Parallel()
	sim := startSim(t, azuresim.Options{Seed: seedOf(t), Doors: func(string) []azuresim.Door { return []azuresim.Door{azuresim.Storage} }})
	const events = 6000
	files := archived(t, sim, events)
	for _, schema := range []string{"raw", "ecs", "ocsf"} {
		r := execute(t, "", nil, append([]string{"normalize", "--strict", "--schema", schema}, files...)...)
		if r.status != 0 {
			t.Fatalf("%s: status %d: %s", schema, r.status, r.stderr)
		}
		books := sim.Ledger.Fresh()
		if err := books.Read(strings.NewReader(r.stdout)); err != nil {
			t.Fatal(err)
		}
		if got := books.Report(); got.Produced != events || got.Lost != 0 || got.Duplicated != 0 || got.Unknown != 0 || got.NoID != 0 {
			t.Errorf("%s: %v; lost %q", schema, got, books.Lost(5))
		}
		if schema == "raw" {
			continue
		}
		// Without the record itself, what is left must tell the flows apart too.
		books = sim.Ledger.Fresh()
		flows, found := 0, 0
		ids := map[string]bool{}
		for line := range bytes.Lines([]byte(r.stdout)) {
			ids[eventID(t, line)] = true
			if !bytes.Contains(line, []byte("flowTuples")) {
				continue
			}
			flows++
			numbers, _ := books.IDs(nil, line)
			bare := withoutOriginal(t, line)
			if got, _ := books.IDs(nil, bare); len(got) == 1 && len(numbers) == 1 && got[0] == numbers[0] {
				found++
			} else {
				t.Logf("%s: %v, without the record %v: %s", schema, numbers, got, bare)
			}
		}
		if len(ids) != events {
			t.Errorf("%s: %d different ids of %d events", schema, len(ids), events)
		}
		if flows < events/10 || found != flows {
			t.Errorf("%s: %d of %d flows are known by their ends", schema, found, flows)
		}
	}
}

// withoutOriginal returns an event as it is where the original is turned off.
func withoutOriginal(t *testing.T, line []byte) []byte {
	t.Helper()
	var event map[string]json.RawMessage
	if err := json.Unmarshal(line, &event); err != nil {
		t.Fatal(err)
	}
	delete(event, "raw_data")
	delete(event, "unmapped")
	delete(event, "azure")
	delete(event, "azure_network_watcher_nsg")
	delete(event, "azure_network_watcher_vnet")
	var inner map[string]json.RawMessage
	if err := json.Unmarshal(event["event"], &inner); err == nil {
		delete(inner, "original")
		event["event"], err = json.Marshal(inner)
		if err != nil {
			t.Fatal(err)
		}
	}
	bare, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return bare
}

// eventID returns the id of an event in ECS or OCSF.
func eventID(t *testing.T, line []byte) string {
	t.Helper()
	var event struct {
		Event    struct{ ID string }
		Metadata struct{ UID string }
	}
	if err := json.Unmarshal(line, &event); err != nil {
		t.Fatal(err)
	}
	return event.Event.ID + event.Metadata.UID
}
