package docs_test

import (
	"os"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/filter"
)

func TestConditionsForCopyingAreRight(t *testing.T) {
	page, err := os.ReadFile("routing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(page), "```text\n")
	list, _, closed := strings.Cut(list, "```")
	if !found || !closed {
		t.Fatal("the page has no list of conditions")
	}
	for condition := range strings.Lines(list) {
		if _, err := filter.Compile(strings.TrimSpace(condition)); err != nil {
			t.Errorf("%s: %v", condition, err)
		}
	}
}
