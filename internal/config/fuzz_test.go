package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad holds Load to what it promises of any document: it does not panic,
// every mistake has a line and a path that is printable on one line, and what
// a reference stands for is shown nowhere.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("found %d seeds, error %v", len(files), err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte("sources: {a: {type: ${env:S}, hub: ${file:S}, ${env:S}: 1, start: \"x${env:S}y\", batch: {wait: '${env:S}'}}}\n"))
	const secret = "p4ssw0rd-of-the-fuzzer"
	env := Environment{
		LookupEnv: func(string) (string, bool) { return secret, true },
		ReadFile:  func(string) ([]byte, error) { return []byte(secret + "\n"), nil },
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if strings.Contains(string(src), secret) {
			t.Skip("the document itself holds the text searched for")
		}
		cfg, err := Load("config.yaml", src, FakeCatalog(), env)
		var all *Errors
		switch {
		case err == nil:
			if len(cfg.Sources) == 0 || len(cfg.Sinks) == 0 || len(cfg.Routes) == 0 {
				t.Errorf("accepted a document that moves nothing: %+v", cfg)
			}
			all = &Errors{cfg.Warnings}
		case !errors.As(err, &all) || len(all.Mistakes) == 0:
			t.Fatalf("error = %#v, want *Errors with mistakes", err)
		}
		lines := 1 + bytes.Count(src, []byte("\n")) + bytes.Count(src, []byte("\r")) // both break lines in YAML
		before := 0
		for _, m := range all.Mistakes {
			if m.Line < before || m.Line < 1 || m.Line > lines+1 || m.Column < 1 {
				t.Errorf("line %d, column %d of a document of %d lines, after line %d: %s", m.Line, m.Column, lines, before, m)
			}
			before = m.Line
			if m.Rule == "" || strings.Contains(m.String(), "\n") {
				t.Errorf("message %q, want one line with a rule", m)
			}
			if strings.Contains(m.String(), secret) {
				t.Errorf("message shows a secret: %s", m)
			}
		}
	})
}
