package filestore

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.FixedZone("", 3600))

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSavedCursorsSurviveAReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	want := map[checkpoint.Key]checkpoint.Cursor{
		{Source: "entra", Partition: "0"}:                        "v1 seq=1",
		{Source: "entra", Partition: "../../etc/passwd"}:         "v1 seq=2",
		{Source: "entra", Partition: ".hidden"}:                  "v1 seq=3",
		{Source: "entra", Partition: "a/b\x00c é%2E"}:            "v1 \"quoted\"\n",
		{Source: "..", Partition: "0"}:                           "v1 seq=4",
		{Source: "archive", Partition: strings.Repeat("x", 200)}: "v1 seq=5",
	}
	for k, c := range want {
		for _, c := range []checkpoint.Cursor{"earlier", c} {
			if err := s.Save(t.Context(), k, c); err != nil {
				t.Fatalf("Save(%q) = %v", k, err)
			}
		}
	}
	s.Close()
	s = open(t, dir)
	for k, c := range want {
		if got, err := s.Load(t.Context(), k); err != nil || got != c {
			t.Errorf("Load(%q) = %q, %v; want %q", k, got, err, c)
		}
	}
	entries, err := s.List(t.Context(), "entra")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, e := range entries {
		listed = append(listed, e.Partition)
		if want[e.Key] != e.Cursor || !e.Saved.Equal(noon) {
			t.Errorf("List has %+v, want cursor %q of %v", e, want[e.Key], noon)
		}
	}
	sort.Strings(listed)
	if diff := cmp.Diff([]string{"../../etc/passwd", ".hidden", "0", "a/b\x00c é%2E"}, listed); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if err := filepath.WalkDir(filepath.Dir(dir), func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, "passwd.json") && filepath.Dir(filepath.Dir(path)) != dir {
			t.Errorf("a partition's name led out of the folder: %s", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAPartitionNeverSavedHasNoCursor(t *testing.T) {
	s := open(t, t.TempDir())
	if c, err := s.Load(t.Context(), checkpoint.Key{Source: "entra", Partition: "0"}); c != "" || err != nil {
		t.Errorf("Load = %q, %v; want nothing", c, err)
	}
	if e, err := s.List(t.Context(), "entra"); len(e) != 0 || err != nil {
		t.Errorf("List = %v, %v; want nothing", e, err)
	}
}

func TestTheFolderHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(dir, time.Now); err == nil || !strings.Contains(err.Error(), "another running process") {
		t.Fatalf("second Open = %v, want an error that names the other process", err)
	}
	s.Close()
	open(t, dir)
}

func TestACrashWhileSavingLeavesTheOldValue(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	k := checkpoint.Key{Source: "entra", Partition: "0"}
	if err := s.Save(t.Context(), k, "old"); err != nil {
		t.Fatal(err)
	}
	// What a crash before the rename leaves: a half-written temporary file.
	if err := os.WriteFile(s.path(k)+".tmp", []byte(`{"version":1,"cur`), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Load(t.Context(), k); c != "old" || err != nil {
		t.Errorf("Load = %q, %v; want old", c, err)
	}
	if e, err := s.List(t.Context(), "entra"); len(e) != 1 || err != nil {
		t.Errorf("List = %v, %v; want one entry", e, err)
	}
	if err := s.Save(t.Context(), k, "new"); err != nil {
		t.Fatal(err)
	}
	if c, _ := s.Load(t.Context(), k); c != "new" {
		t.Errorf("Load = %q, want new", c)
	}
}

func TestADamagedCheckpointIsAnErrorNotAStart(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "half": `{"version":1,"cur`, "of a later version": `{"version":2,"cursor":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			k := checkpoint.Key{Source: "entra", Partition: "0"}
			if err := s.Save(t.Context(), k, "old"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.path(k), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if c, err := s.Load(t.Context(), k); err == nil {
				t.Errorf("Load = %q and no error: the partition would start over in silence", c)
			}
		})
	}
}

func BenchmarkSave(b *testing.B) {
	s, err := Open(b.TempDir(), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		if err := s.Save(b.Context(), checkpoint.Key{Source: "entra", Partition: "0"}, "v1 seq=4711"); err != nil {
			b.Fatal(err)
		}
	}
}
