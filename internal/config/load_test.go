package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestLoadSmallest(t *testing.T) {
	got, err := load(t, `
sources: {entra: {type: hub, hub: insights, connection_string: "${env:HUB}"}}
sinks: {out: {type: disk, path: out.ndjson}}
`)
	if err != nil {
		t.Fatal(err)
	}
	source := newHubSource().(*hubSource)
	source.Hub, source.ConnectionString = "insights", "Endpoint=sb://contoso/;SharedAccessKey=hunter2hunter2"
	sink := newDiskSink().(*diskSink)
	sink.Path = "/etc/lazuli/out.ndjson"
	delivery := DefaultSinkDelivery()
	delivery.Concurrency = 1
	want := &Config{
		Sources:     []Source{{Name: "entra", Kind: "hub", Settings: source}},
		Sinks:       []Sink{{Name: "out", Kind: "disk", Settings: sink, Delivery: delivery}},
		Routes:      []Route{{Name: "routes[0]", From: []string{"entra"}, Schema: "ecs", To: []string{"out"}}},
		Checkpoint:  Checkpoint{Type: "file", Path: "/etc/lazuli/lazuli-data/checkpoints"},
		DeadLetters: DeadLetters{Path: "/etc/lazuli/lazuli-data/dead-letters"},
		Normalize:   Normalize{KeepOriginal: true},
		Limits:      Limits{InFlight: 32 << 20},
		Telemetry:   Telemetry{Listen: "127.0.0.1:9464"},
		Shutdown:    Shutdown{Grace: Duration(30 * time.Second)},
		Log:         Log{Level: "info", Format: "auto"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestLoadGood(t *testing.T) {
	got, err := loadFile(t, "testdata/everything.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tenant := DefaultTenant()
	tenant.TenantID = "7d0c4b1e-0f5a-4b64-9a3f-2f5a6d1c8e90"
	tenant.Cloud = "us_gov"
	tenant.Credential = Credential{Type: "client_secret", ClientID: "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b", ClientSecret: "two\nlines"}
	disk := DefaultSinkDelivery()
	disk.Concurrency = 1
	disk.Delivery = "best_effort"
	web := SinkDelivery{
		Delivery:    "required",
		Batch:       Batch{Events: 5, Bytes: 500_000, Wait: Duration(250 * time.Millisecond)},
		Concurrency: 8,
		Timeout:     Duration(time.Minute),
		Retry:       Retry{Initial: Duration(time.Second), Max: Duration(2 * time.Minute)},
		SpillAfter:  Duration(12 * time.Hour),
	}
	want := &Config{
		Tenants: map[string]Tenant{"contoso": tenant},
		Sources: []Source{
			{Name: "z-first", Kind: "hub", Tenant: "contoso", Settings: &hubSource{
				Tenant: "contoso", Namespace: "contoso.servicebus.windows.net", Hub: "insights", Start: "2026-01-31T00:00:00Z", Prefetch: 5000,
				Batch:  hubBatch{Events: 7, Bytes: 1 << 20, Wait: Duration(time.Second)},
				Events: []string{"signin", "audit"}, Labels: map[string]string{"Team.Blue": "1", "on": "yes"}, Ratio: 0.5,
				CAFile: "/etc/ssl/ca.pem", Once: true,
			}},
			{Name: "a_second", Kind: "hub", Settings: &hubSource{
				Hub: "1", ConnectionString: "Endpoint=sb://contoso/;SharedAccessKey=hunter2hunter2", Start: "latest", Prefetch: 300,
				Batch: hubBatch{Events: 100, Bytes: 1 << 20, Wait: Duration(time.Second)},
			}},
		},
		Sinks: []Sink{
			{Name: "disk", Kind: "disk", Delivery: disk, Settings: &diskSink{
				Path: "/etc/lazuli/é out", Rotate: diskRotate{Size: 100 << 20, Every: Duration(7 * 24 * time.Hour)},
				Rules: []diskRule{{Match: "a: b", Keep: true}, {Match: "c"}},
			}},
			{Name: "siem", Kind: "web", Tenant: "contoso", Delivery: web, Settings: &webSink{URL: "https://siem", Tenant: "contoso", Token: "s3cr3ts3cr3t"}},
		},
		Routes: []Route{
			{Name: "routes[0]", From: []string{"z-first", "a_second"}, Schema: "raw", To: []string{"disk"}},
			{Name: "routes[1]", From: []string{"a_second"}, Schema: "ecs", To: []string{"disk", "siem"}},
		},
		Checkpoint:  Checkpoint{Type: "blob", Path: "/etc/lazuli/lazuli-data/checkpoints", Account: "https://c.blob.core.windows.net", Tenant: "contoso", Container: "lazuli-checkpoints"},
		DeadLetters: DeadLetters{Path: "/var/lib/lazuli/dead"},
		Normalize:   Normalize{KeepOriginal: false},
		Limits:      Limits{InFlight: 1 << 30},
		Telemetry:   Telemetry{Listen: ""},
		Shutdown:    Shutdown{Grace: Duration(90 * time.Second)},
		Log:         Log{Level: "debug", Format: "json"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func loadFile(t *testing.T, path string) (*Config, error) {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return load(t, string(src))
}

// TestLoadBad reads documents whose first lines say which mistakes they make:
//
//	# want: 12:5: sources.entra.hub: required; fix: add hub: insights
//	# warn: 3:1: ...
func TestLoadBad(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d bad documents, error %v", len(files), err)
	}
	more, err := filepath.Glob("testdata/*.warn.yaml")
	if err != nil || len(more) == 0 {
		t.Fatalf("found %d documents with warnings, error %v", len(more), err)
	}
	for _, file := range append(files, more...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(src)) {
				if w, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSpace(w))
				}
			}
			cfg, err := load(t, string(src))
			got := messages(t, cfg, err)
			if strings.HasSuffix(file, ".warn.yaml") != (err == nil) {
				t.Errorf("error = %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			for _, m := range got {
				for _, secret := range []string{"hunter2", "hunter3", "s3cr3t"} {
					if strings.Contains(m, secret) {
						t.Errorf("message shows a secret: %s", m)
					}
				}
			}
		})
	}
}

// messages returns what Load said, without the file's name.
func messages(t *testing.T, cfg *Config, err error) []string {
	t.Helper()
	var ms []Mistake
	var all *Errors
	switch {
	case errors.As(err, &all):
		ms = all.Mistakes
		if cfg != nil {
			t.Error("Load returned both a Config and an error")
		}
	case err != nil:
		t.Fatalf("error is a %T, want *Errors", err)
	default:
		ms = cfg.Warnings
	}
	var out []string
	for _, m := range ms {
		out = append(out, strings.TrimPrefix(m.String(), "/etc/lazuli/config.yaml:"))
	}
	return out
}

func TestEveryMistakeAtOnceOrderedByLine(t *testing.T) {
	_, err := load(t, `
sources:
  entra: {type: hub, start: yesterday, prefetch: 0}
sinks:
  out: {type: disk}
routes: [{from: [entro], to: [out]}]
limits: {in_flight: lots}
`)
	want := strings.TrimSpace(`
/etc/lazuli/config.yaml:3:3: sources.entra.hub: required; fix: add hub: insights
/etc/lazuli/config.yaml:3:3: sources.entra.connection_string: required, unless tenant is given; fix: add connection_string: ${env:HUB}, or tenant and namespace
/etc/lazuli/config.yaml:3:29: sources.entra.start: is "yesterday"; it must be earliest, latest or a time; fix: write e.g. 2026-01-31T00:00:00Z
/etc/lazuli/config.yaml:3:50: sources.entra.prefetch: is "0"; it must be from 1 to 5000; fix: write 1 or more
/etc/lazuli/config.yaml:5:3: sinks.out.path: required; fix: add path: events.ndjson
/etc/lazuli/config.yaml:6:18: routes[0].from[0]: is "entro"; there is no source of that name; fix: did you mean "entra"?
/etc/lazuli/config.yaml:7:21: limits.in_flight: "lots" is not a size (write a number and a unit: 64MiB, 500KB)
`)
	if err == nil {
		t.Fatal("Load accepted the document")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// A source that is read without a route would lose what it reads: its
// checkpoints move on although no sink has the records.
func TestWhatNoRouteTouchesIsLeftOut(t *testing.T) {
	cfg, err := loadFile(t, "testdata/unrouted.warn.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Sources) != 1 || cfg.Sources[0].Name != "entra" {
		t.Errorf("sources = %+v, want entra alone", cfg.Sources)
	}
	if len(cfg.Sinks) != 1 || cfg.Sinks[0].Name != "out" {
		t.Errorf("sinks = %+v, want out alone", cfg.Sinks)
	}
}

func TestAProgramWithoutKindsRefusesEverySource(t *testing.T) {
	src := "sources: {entra: {type: hub}}\nsinks: {out: {type: disk, path: out}}\n"
	_, err := Load("config.yaml", []byte(src), Catalog{Sinks: FakeCatalog().Sinks}, Environment{})
	want := "config.yaml:1:25: sources.entra.type: this program has no kind of source; fix: use another build"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v\nwant    %s", err, want)
	}
}
