// Package configtest holds the tests that need the real components: whoever
// has the component table runs them. It keeps the catalog, the examples and
// the pages that describe options in step.
package configtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Catalog checks the settings structs of a catalog, and that the example made
// from them can be loaded in env and is valid by the schema.
func Catalog(t *testing.T, catalog config.Catalog, env config.Environment) {
	t.Helper()
	if err := catalog.Check(); err != nil {
		t.Errorf("settings structs:\n%v", err)
	}
	example := config.Example(catalog)
	if _, err := config.Load("example.yaml", example, catalog, env); err != nil {
		t.Errorf("load the example:\n%v\n%s", err, example)
	}
	if err := Validate(t, catalog, example); err != nil {
		t.Errorf("check the example with the schema: %v", err)
	}
}

// Examples loads each file as a user would and fails on mistakes, on warnings,
// and where the schema refuses what Load accepts.
func Examples(t *testing.T, catalog config.Catalog, env config.Environment, files ...string) {
	t.Helper()
	if len(files) == 0 {
		t.Error("there is no example")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load(file, src, catalog, env)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range cfg.Warnings {
				t.Errorf("warning: %v", w)
			}
			if err := Validate(t, catalog, src); err != nil {
				t.Errorf("check with the schema: %v", err)
			}
		})
	}
}

// Pages compares what is generated from the catalog with the pages below root,
// the folder of the repository: docs/config.md, and the README.md of every kind
// in internal/source or internal/sink, in the folder of the kind's name without
// underscores. If update is set, it writes them.
func Pages(t *testing.T, catalog config.Catalog, root string, update bool) {
	t.Helper()
	Page(t, filepath.Join(root, "docs", "config.md"), config.Reference(catalog), update)
	for role, kinds := range map[string]config.Kinds{"source": catalog.Sources, "sink": catalog.Sinks} {
		for kind, settings := range kinds {
			folder := strings.ReplaceAll(kind, "_", "")
			Page(t, filepath.Join(root, "internal", role, folder, "README.md"), config.OptionTable(settings()), update)
		}
	}
}

// The marks between which a page holds generated text.
const (
	blockBegin = "<!-- begin config -->"
	blockEnd   = "<!-- end config -->"
)

// Page compares the part of the Markdown file between the marks of generated
// text with want or, if update is set, writes it.
func Page(t *testing.T, file string, want []byte, update bool) {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	got, err := replaceBlock(page, want)
	switch {
	case err != nil:
		t.Errorf("%s: %v", file, err)
	case bytes.Equal(got, page):
	case update:
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Error(err)
		}
	default:
		t.Errorf("%s differs from the code (-page +code); run go test with -update\n%s", file, cmp.Diff(string(page), string(got)))
	}
}

// replaceBlock returns the page with text between the marks.
func replaceBlock(page, text []byte) ([]byte, error) {
	before, rest, begins := bytes.Cut(page, []byte(blockBegin))
	_, after, ends := bytes.Cut(rest, []byte(blockEnd))
	if !begins || !ends {
		return nil, fmt.Errorf("has no %s ... %s", blockBegin, blockEnd)
	}
	return bytes.Join([][]byte{before, []byte(blockBegin + "\n"), bytes.TrimSpace(text), []byte("\n" + blockEnd), after}, nil), nil
}

// Validate returns what the JSON Schema of the catalog says against a document.
func Validate(t *testing.T, catalog config.Catalog, doc []byte) error {
	t.Helper()
	src, err := config.Schema(catalog)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("lazuli.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("lazuli.json")
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(instance)
}
