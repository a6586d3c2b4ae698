package sinktest

import (
	"os"
	"path/filepath"
	"testing"
)

// Program returns the path of a real server that "make NAME" builds in a module
// of its own, e2e/NAME, so that nothing of it becomes a dependency of Lazuli. Where
// it was not built, the test is skipped.
func Program(t testing.TB, name, file string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test runs outside of the repository")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "e2e", name, file)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not built: make %s", file, name)
	}
	return path
}
