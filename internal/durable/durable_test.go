package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCutTornLine(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for name, tc := range map[string]struct{ before, after string }{
		"empty":            {"", ""},
		"whole":            {"a\nb\n", "a\nb\n"},
		"half a line":      {"a\nb", "a\n"},
		"only half a line": {"b", ""},
		"a long half line": {"a\n" + long, "a\n"},
		"a long whole one": {long + "\n", long + "\n"},
		"zeros":            {"a\n\x00\x00", "a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte(tc.before), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			size, cut, err := CutTornLine(f)
			got, readErr := os.ReadFile(path)
			if err != nil || readErr != nil || string(got) != tc.after || size != int64(len(tc.after)) || size+cut != int64(len(tc.before)) {
				t.Errorf("CutTornLine = %d, %d, %v; left %.20q, want %.20q", size, cut, err, got, tc.after)
			}
		})
	}
}

func TestLockHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := OpenLock(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLock(path, false); !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock: %v, want %v", err, ErrLocked)
	}
	first.Close()
	second, err := OpenLock(path, true)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

func TestReplaceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"one", "two"} {
		if err := ReplaceFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("file holds %q (%v), want %q", got, err, content)
		}
	}
	if err := ReplaceFile(filepath.Join(path, "under a file"), nil, 0o600); err == nil {
		t.Error("ReplaceFile below a file = nil")
	}
}
