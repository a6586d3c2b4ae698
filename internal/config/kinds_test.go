package config

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The kinds of these tests are made up: config knows no component.

type hubSource struct {
	Tenant           string            `yaml:"tenant" doc:"The tenant to sign in to." example:"contoso"`
	Namespace        string            `yaml:"namespace" doc:"The namespace's host." example:"contoso.servicebus.windows.net"`
	Hub              string            `yaml:"hub" required:"true" doc:"The hub's name." example:"insights"`
	ConnectionString Secret            `yaml:"connection_string" doc:"Instead of tenant and namespace." example:"${env:HUB}"`
	Start            string            `yaml:"start" doc:"Where to begin: earliest, latest or a time."`
	Prefetch         int               `yaml:"prefetch" min:"1" max:"5000" doc:"How many messages to fetch ahead."`
	Batch            hubBatch          `yaml:"batch" doc:"How much is read at a time."`
	Events           []string          `yaml:"events" enum:"signin|audit" doc:"Which events." example:"[signin]"`
	Labels           map[string]string `yaml:"labels" doc:"Labels." example:"{team: blue}"`
	Ratio            float64           `yaml:"ratio" max:"1" doc:"A share."`
	CAFile           Path              `yaml:"ca_file" doc:"More authorities." example:"ca.pem"`
	Once             bool              `yaml:"once" doc:"Read once."`
}

type hubBatch struct {
	Events int      `yaml:"events" min:"1" doc:"The most events."`
	Bytes  Size     `yaml:"bytes" min:"1KiB" max:"64MiB" doc:"The most bytes."`
	Wait   Duration `yaml:"wait" min:"1ms" doc:"The longest wait."`
}

func newHubSource() Component {
	return &hubSource{Start: "earliest", Prefetch: 300, Batch: hubBatch{Events: 100, Bytes: 1 << 20, Wait: Duration(time.Second)}}
}

func (s *hubSource) Validate(r *Report) {
	if s.ConnectionString == "" && s.Tenant == "" {
		r.Add("connection_string", "required, unless tenant is given", "add connection_string: ${env:HUB}, or tenant and namespace")
	}
	if s.Tenant != "" && s.Namespace == "" {
		r.Add("namespace", "required beside tenant", "add it")
	}
	if s.Start != "earliest" && s.Start != "latest" {
		if _, err := time.Parse(time.RFC3339, s.Start); err != nil {
			r.Add("start", fmt.Sprintf("is %q; it must be earliest, latest or a time", s.Start), "write e.g. 2026-01-31T00:00:00Z")
		}
	}
	if s.Hub == "" {
		r.Add("hub", "is empty", "never shown, because the tag says it already")
	}
}

type diskSink struct {
	Path   Path       `yaml:"path" required:"true" doc:"The file." example:"events.ndjson"`
	Rotate diskRotate `yaml:"rotate" doc:"When a new file begins."`
	Rules  []diskRule `yaml:"rules" doc:"Rules."`
}

type diskRotate struct {
	Size  Size     `yaml:"size" doc:"At this size."`
	Every Duration `yaml:"every" doc:"After this time."`
}

type diskRule struct {
	Match string `yaml:"match" required:"true" doc:"What to match."`
	Keep  bool   `yaml:"keep" doc:"Whether to keep it."`
}

func (*diskRule) SetDefaults() {}

func newDiskSink() Component { return &diskSink{Rotate: diskRotate{Size: 100 << 20}} }

func (*diskSink) Validate(*Report) {}

func (*diskSink) DeliveryDefaults(d *SinkDelivery) { d.Concurrency = 1 }

type webSink struct {
	URL    string `yaml:"url" required:"true" doc:"Where to post." example:"https://siem.contoso.com/in"`
	Tenant string `yaml:"tenant" doc:"The tenant to sign in to." example:"contoso"`
	Token  Secret `yaml:"token" doc:"The bearer token." example:"${file:token}"`
}

func newWebSink() Component { return &webSink{} }

func (s *webSink) Validate(r *Report) {
	if len(s.URL) < 8 || s.URL[:8] != "https://" {
		r.Add("url", fmt.Sprintf("is %q; it must begin with https://", s.URL), "write https://host/path")
	}
}

// FakeCatalog has one kind of source and two of sinks.
func FakeCatalog() Catalog {
	return Catalog{
		Sources: Kinds{"hub": newHubSource},
		Sinks:   Kinds{"disk": newDiskSink, "web": newWebSink},
		Where: func(condition string) error {
			if condition == "bad" {
				return errors.New("column 1: bad condition")
			}
			return nil
		},
		Redact: func(r *Redact) error {
			if len(r.Hash) > 0 && r.Key == "" {
				return errors.New("hash needs a key")
			}
			return nil
		},
	}
}

// testEnvironment answers from two maps.
func testEnvironment(variables, files map[string]string) Environment {
	return Environment{
		LookupEnv: func(name string) (string, bool) { v, ok := variables[name]; return v, ok },
		ReadFile: func(path string) ([]byte, error) {
			if path == "/etc/lazuli/locked" {
				return nil, fs.ErrPermission
			}
			if v, ok := files[path]; ok {
				return []byte(v), nil
			}
			return nil, fs.ErrNotExist
		},
	}
}

func load(t *testing.T, src string) (*Config, error) {
	t.Helper()
	return Load("/etc/lazuli/config.yaml", []byte(src), FakeCatalog(), testEnvironment(
		map[string]string{
			"HUB": "Endpoint=sb://contoso/;SharedAccessKey=hunter2hunter2", "PREFETCH": "17", "EMPTY": "",
			"REGION": "eu", "MARKS": `${env:HUB} "quoted" \ # : {`, "BAD_URL": "ftp://user:hunter3hunter3@host",
		},
		map[string]string{"/etc/lazuli/token": "s3cr3ts3cr3t\n", "/run/secrets/contoso": "two\nlines\r\n"}))
}

func TestFileReferencesAreRelativeToTheDocument(t *testing.T) {
	cfg, err := load(t, `
sources: {entra: {type: hub, hub: insights, connection_string: "${env:HUB}"}}
sinks:
  siem: {type: web, url: https://siem, token: "${file:token}"}
`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.Sinks[0].Settings.(*webSink).Token.Reveal(), "s3cr3ts3cr3t"; got != want {
		t.Errorf("token = %q, want %q", got, want)
	}
}

func TestReferencesInAnyScalar(t *testing.T) {
	for _, tc := range []struct {
		name, in string // a value of labels.x
		want     string
	}{
		{name: "whole", in: `${env:REGION}`, want: "eu"},
		{name: "part", in: `a-${env:REGION}-${env:PREFETCH}`, want: "a-eu-17"},
		{name: "quoted", in: `"${env:REGION}"`, want: "eu"},
		{name: "single quotes", in: `'${env:REGION}'`, want: "eu"},
		{name: "escaped", in: `$${env:REGION}`, want: "${env:REGION}"},
		{name: "escaped and not", in: `$${a}${env:REGION}`, want: "${a}eu"},
		{name: "a dollar alone", in: `US$ 5 $x`, want: "US$ 5 $x"},
		{name: "set but empty", in: `x${env:EMPTY}`, want: "x"},
		{name: "not expanded twice, not read as YAML", in: `${env:MARKS}`, want: `${env:HUB} "quoted" \ # : {`},
		{name: "last line end only", in: `${file:/run/secrets/contoso}`, want: "two\nlines"},
		{name: "block", in: "|\n          a ${env:REGION}\n          b", want: "a eu\nb\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, err := load(t, `
sources:
  entra:
    type: hub
    hub: insights
    connection_string: ${env:HUB}
    prefetch: ${env:PREFETCH}
    labels:
        x: `+tc.in+`
sinks: {out: {type: disk, path: out}}
`)
			if err != nil {
				t.Fatal(err)
			}
			got := cfg.Sources[0].Settings.(*hubSource)
			if diff := cmp.Diff(tc.want, got.Labels["x"]); diff != "" {
				t.Errorf("label (-want +got):\n%s", diff)
			}
			if got.Prefetch != 17 {
				t.Errorf("prefetch = %d, want 17", got.Prefetch)
			}
		})
	}
}
