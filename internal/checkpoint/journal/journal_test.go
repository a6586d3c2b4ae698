package journal

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, "archive", now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func key(partition string) checkpoint.Key {
	return checkpoint.Key{Source: "archive", Partition: partition}
}

func save(t *testing.T, s *Store, partition string, c checkpoint.Cursor) {
	t.Helper()
	if err := s.Save(t.Context(), key(partition), c); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, s *Store) map[string]checkpoint.Cursor {
	t.Helper()
	entries, err := s.List(t.Context(), "archive")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]checkpoint.Cursor{}
	for _, e := range entries {
		all[e.Partition] = e.Cursor
	}
	return all
}

func TestSavedCursorsSurviveAReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive", "journal.ndjson")
	s := open(t, path)
	save(t, s, "a", "1")
	save(t, s, "b", "1")
	save(t, s, "a", "2")
	if err := s.SaveAll(t.Context(), []checkpoint.Entry{{Key: key("c"), Cursor: "1"}, {Key: key("d"), Cursor: "<&>"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(t.Context(), []checkpoint.Key{key("b"), key("never")}); err != nil {
		t.Fatal(err)
	}
	want := map[string]checkpoint.Cursor{"a": "2", "c": "1", "d": "<&>"}
	if got := content(t, s); !maps.Equal(got, want) {
		t.Errorf("holds %v, want %v", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), key("e"), "1"); err == nil {
		t.Error("a save after Close succeeded")
	}
	again := open(t, path)
	if got := content(t, again); !maps.Equal(got, want) {
		t.Errorf("after a restart it holds %v, want %v", got, want)
	}
	if c, err := again.Load(t.Context(), key("a")); c != "2" || err != nil {
		t.Errorf("Load = %q, %v; want 2", c, err)
	}
	if c, err := again.Load(t.Context(), key("b")); c != "" || err != nil {
		t.Errorf("Load of what was forgotten = %q, %v; want nothing", c, err)
	}
}

// TestACrashWhileSavingLeavesTheOldValue cuts the file at every byte of the last save.
func TestACrashWhileSavingLeavesTheOldValue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.ndjson")
	s := open(t, path)
	save(t, s, "a", "1")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, "a", "2")
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := len(before); size <= len(after); size++ {
		torn := filepath.Join(t.TempDir(), "journal.ndjson")
		if err := os.WriteFile(torn, after[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, torn)
		want := checkpoint.Cursor("1")
		if size == len(after) {
			want = "2"
		}
		if got := content(t, s)["a"]; got != want {
			t.Fatalf("cut at byte %d of %d: %q, want %q", size, len(after), got, want)
		}
		save(t, s, "b", "3") // behind whole lines only
		_ = s.Close()
		if got := content(t, open(t, torn)); got["a"] != want || got["b"] != "3" {
			t.Fatalf("cut at byte %d of %d, after another save: %v", size, len(after), got)
		}
	}
}

func TestADamagedCheckpointIsAnErrorNotAStart(t *testing.T) {
	header := `{"version":1,"source":"archive"}` + "\n"
	for name, tc := range map[string]struct{ text, want string }{
		"no JSON":       {header + "oops\n", "line 2"},
		"no partition":  {header + "{\"cursor\":\"1\"}\n", "line 2"},
		"no cursor":     {header + "{\"partition\":\"a\"}\n", "line 2"},
		"newer version": {`{"version":2,"source":"archive"}` + "\n", "version 2"},
		"other source":  {`{"version":1,"source":"other"}` + "\n", `"other"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.ndjson")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, "archive", now); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open = %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// TestTheFileStaysSmall saves far more often than there are partitions, from
// many goroutines, while others are forgotten.
func TestTheFileStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.ndjson")
	s := open(t, path)
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for i := range 300 {
				entries := make([]checkpoint.Entry, 10)
				for k := range entries {
					entries[k] = checkpoint.Entry{Key: key(fmt.Sprintf("%d-%d", g, k)), Cursor: checkpoint.Cursor(fmt.Sprint(i))}
				}
				if err := s.SaveAll(context.Background(), entries); err != nil {
					t.Error(err)
				}
				if err := s.Forget(context.Background(), []checkpoint.Key{entries[0].Key}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Of 66,000 changes, those of 180 partitions are live.
	if lines := strings.Count(string(text), "\n"); lines > 2*180+slack+500 {
		t.Errorf("the file has %d lines", lines)
	}
	_ = s.Close()
	got := content(t, open(t, path))
	if len(got) != 180 {
		t.Errorf("%d partitions after a restart, want 180", len(got))
	}
	for partition, c := range got {
		if c != "299" {
			t.Errorf("%s is at %s, want 299", partition, c)
		}
	}
}

// TestAFullDiskLeavesWholeLines makes writes fail by closing the file below the store.
func TestAFullDiskLeavesWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.ndjson")
	s := open(t, path)
	save(t, s, "a", "1")
	_ = s.file.Close()
	if err := s.Save(t.Context(), key("a"), "2"); err == nil {
		t.Fatal("a save into a closed file succeeded")
	}
	if c, _ := s.Load(t.Context(), key("a")); c != "1" {
		t.Errorf("holds %q after a save that failed, want 1", c)
	}
	save(t, s, "a", "3") // into a new file
	_ = s.Close()
	if got := content(t, open(t, path)); got["a"] != "3" {
		t.Errorf("after a restart: %v, want 3", got)
	}
}

// The cursor of a feed that is asked for ranges of time carries identities.
func TestLongCursors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive", "journal.ndjson")
	long := checkpoint.Cursor("v1 " + strings.Repeat("x", 2<<20))
	save(t, open(t, path), "a", long)
	if got := content(t, open(t, path))["a"]; got != long {
		t.Errorf("a cursor of %d bytes came back with %d", len(long), len(got))
	}
}
