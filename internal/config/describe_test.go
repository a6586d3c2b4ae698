package config

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	got = append(bytes.TrimSpace(got), '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), to accept: go test ./internal/config -update\n%s", file, diff)
	}
}

func TestGolden(t *testing.T) {
	schema, err := Schema(FakeCatalog())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/schema.golden.json", schema)
	golden(t, "testdata/example.golden.yaml", Example(FakeCatalog()))
	golden(t, "testdata/reference.golden.md", Reference(FakeCatalog()))
	golden(t, "testdata/options.golden.md", OptionTable(newDiskSink()))
}

func TestExampleCanBeLoadedAndNamesEveryOption(t *testing.T) {
	doc := Example(FakeCatalog())
	cfg, err := Load("example.yaml", doc, FakeCatalog(), exampleEnvironment())
	if err != nil {
		t.Fatalf("Load refused the example:\n%v\n%s", err, doc)
	}
	defaults := defaultConfig()
	defaults.Checkpoint.Path, defaults.DeadLetters.Path = cfg.Checkpoint.Path, cfg.DeadLetters.Path
	for _, part := range []struct {
		name      string
		got, want any
	}{
		{name: "limits", got: cfg.Limits, want: defaults.Limits},
		{name: "checkpoint", got: cfg.Checkpoint, want: defaults.Checkpoint},
		{name: "log", got: cfg.Log, want: defaults.Log},
		{name: "delivery", got: cfg.Sinks[1].Delivery, want: DefaultSinkDelivery()},
	} {
		if diff := cmp.Diff(part.want, part.got); diff != "" {
			t.Errorf("the example changes a default of %s (-default +example):\n%s", part.name, diff)
		}
	}
	// Every option that is commented out, put in, is an option.
	var all strings.Builder
	for line := range strings.Lines(string(doc)) {
		text := strings.TrimLeft(line, " ")
		if rest, ok := strings.CutPrefix(text, "#"); ok && !strings.HasPrefix(rest, " ") && rest != "\n" {
			line = line[:len(line)-len(text)] + rest
		}
		all.WriteString(line)
	}
	_, err = Load("example.yaml", []byte(all.String()), FakeCatalog(), exampleEnvironment())
	if err != nil && (strings.Contains(err.Error(), "unknown") || strings.Contains(err.Error(), "not YAML")) {
		t.Errorf("the example names an option that is none: %v\n%s", err, all.String())
	}
}
