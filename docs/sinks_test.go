package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestThePageSaysWhatEachSinkWasTriedAgainst(t *testing.T) {
	page, err := os.ReadFile("sinks.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := ""
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| `") {
			first, _, _ := strings.Cut(line[2:], "|")
			rows += first
		}
	}
	pages, err := filepath.Glob("../internal/sink/*/README.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no READMEs of sinks: %v", err)
	}
	title := regexp.MustCompile("^# Sink (`[a-z_]+`)\n")
	for _, name := range pages {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sink := title.FindSubmatch(text)
		if sink == nil {
			t.Errorf("%s has no title that names the sink", name)
		} else if !strings.Contains(rows, string(sink[1])) {
			t.Errorf("%s is not on the page", sink[1])
		}
	}
}
