// Package spec_test keeps the specification and the tests that show it in step.
package spec_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// reference is a test as the specification names it: `package.Test/case`.
var reference = regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([^`]+))?`")

// TestEveryRuleIsShown fails on a rule without a test, and on a test that does
// not exist.
func TestEveryRuleIsShown(t *testing.T) {
	src, err := os.ReadFile("delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	all := rules(string(src))
	if len(all) < 40 {
		t.Fatalf("found %d rules; the document has more", len(all))
	}
	for _, rule := range all {
		found := reference.FindAllStringSubmatch(strings.Join(strings.Fields(rule), " "), -1)
		if len(found) == 0 {
			t.Errorf("no test shows this rule:\n%s", rule)
		}
		for _, f := range found {
			folder := filepath.Join("..", "..", "internal", filepath.FromSlash(f[1]))
			if f[1] == "e2e" {
				folder = filepath.Join("..", "..", "e2e")
			}
			if !contains(t, folder, "func "+f[2]+"(") {
				t.Errorf("%s names %s, which is not in %s", f[0], f[2], folder)
			}
			if f[3] == "" {
				continue
			}
			suites := []string{folder, filepath.Join(folder, "..", "sourcetest"), filepath.Join(folder, "..", "sinktest")}
			exists := false
			for _, s := range suites {
				exists = exists || contains(t, s, `"`+f[3]+`"`)
			}
			if !exists {
				t.Errorf("%s names a case that is in none of %v", f[0], suites)
			}
		}
	}
}

// rules returns the list items up to the chapter on what is not promised.
func rules(doc string) []string {
	doc, _, _ = strings.Cut(doc, "## What is not promised")
	item := regexp.MustCompile(`(?m)^(- |[0-9]+\. )`)
	var out []string
	starts := item.FindAllStringIndex(doc, -1)
	for i, s := range starts {
		end := len(doc)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		if heading := strings.Index(doc[s[0]:end], "\n## "); heading >= 0 {
			end = s[0] + heading
		}
		out = append(out, doc[s[0]:end])
	}
	return out
}

// contains says whether a Go file of the folder holds text.
func contains(t *testing.T, folder, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(src), text) {
			return true
		}
	}
	return false
}
