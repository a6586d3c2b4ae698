// Package azure_test holds the facts about Azure against the code that uses them.
package azure_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryFactHasAnEntryAndAUse(t *testing.T) {
	entries, used := map[string]bool{}, map[string]string{}
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no facts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^## (\S+)$`).FindAllStringSubmatch(string(text), -1) {
			entries[m[1]] = true
		}
	}
	tag := regexp.MustCompile(`\bazure:([a-z]+\.[a-z-]+)`)
	err = filepath.WalkDir("../../internal", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range tag.FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, path := range used {
		if !entries[id] {
			t.Errorf("%s names azure:%s, which has no entry here", path, id)
		}
	}
	for id := range entries {
		if used[id] == "" {
			t.Errorf("no code names azure:%s", id)
		}
	}
}
