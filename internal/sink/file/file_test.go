package file

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time  { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) set(t time.Time) { c.mu.Lock(); defer c.mu.Unlock(); c.now = t }

func newSink(t *testing.T, path string, change func(*Config), now func() time.Time) *Sink {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Path = config.Path(path)
	if change != nil {
		change(cfg)
	}
	s, err := New(*cfg, Deps{Logger: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ev(data string) []event.Event { return []event.Event{{Data: []byte(data)}} }

// contents returns every line of the sink's files, oldest file first.
func contents(t *testing.T, path string) (lines []string, files []string) {
	t.Helper()
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Name())
	}
	sort.Slice(files, func(i, j int) bool { // the active file is the newest
		if (files[i] == filepath.Base(path)) != (files[j] == filepath.Base(path)) {
			return files[j] == filepath.Base(path)
		}
		return files[i] < files[j]
	})
	for _, name := range files {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = f
		switch filepath.Ext(name) {
		case ".gz":
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		case ".zst":
			d, err := zstd.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			r = d
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f.Close()
		if len(data) > 0 && data[len(data)-1] != '\n' {
			t.Errorf("%s ends in half a line", name)
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")...)
	}
	return lines, files
}

func TestContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Harness {
		path := filepath.Join(t.TempDir(), "events.ndjson")
		s := newSink(t, path, func(c *Config) { c.Rotate.Size = 1 << 20 }, time.Now)
		t.Cleanup(func() { s.Close(context.Background()) })
		return sinktest.Harness{
			Sink: s, Lacks: sinktest.Local(),
			Received: func(t *testing.T) []string { l, _ := contents(t, path); return l },
		}
	})
}

func TestATornTailIsCutAtStart(t *testing.T) {
	for name, tc := range map[string]struct{ before, want string }{
		"empty":              {"", ""},
		"whole":              {"{\"a\":1}\n", "{\"a\":1}\n"},
		"half a line":        {"{\"a\":1}\n{\"b\"", "{\"a\":1}\n"},
		"only half a line":   {"{\"b\"", ""},
		"a long half line":   {"{\"a\":1}\n" + strings.Repeat("x", 200<<10), "{\"a\":1}\n"},
		"a hole after crash": {"{\"a\":1}\n" + strings.Repeat("\x00", 4096), "{\"a\":1}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.ndjson")
			if err := os.WriteFile(path, []byte(tc.before), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newSink(t, path, nil, time.Now)
			if err := s.Deliver(t.Context(), ev(`{"new":1}`)); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if want := tc.want + "{\"new\":1}\n"; string(got) != want {
				t.Errorf("file holds %.60q, want %.60q", got, want)
			}
		})
	}
}

func TestRotationBySize(t *testing.T) {
	for _, compression := range []string{"none", "gzip", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.ndjson")
			frozen := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) // all rotations in one instant
			s := newSink(t, path, func(c *Config) { c.Rotate.Size = 100; c.Compression = compression }, func() time.Time { return frozen })
			var want []string
			for i := range 20 {
				line := fmt.Sprintf(`{"n":%d,"x":"%s"}`, i, strings.Repeat("x", 30))
				want = append(want, line)
				if err := s.Deliver(t.Context(), ev(line)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			// A second start compresses what the first left undone.
			s = newSink(t, path, func(c *Config) { c.Compression = compression }, time.Now)
			waitForTidy(s)
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, files := contents(t, path)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if len(files) != 10 {
				t.Errorf("%d files, want 10 of two lines each: %v", len(files), files)
			}
			for _, f := range files[:len(files)-1] {
				if ext := suffixes[compression]; ext != "" && filepath.Ext(f) != ext {
					t.Errorf("%s is not compressed", f)
				}
			}
		})
	}
}

// waitForTidy runs the compressor's work in the foreground.
func waitForTidy(s *Sink) {
	s.stop()
	s.background.Wait()
	if err := s.tidy(context.Background()); err != nil {
		panic(err)
	}
}

func TestOldFilesAreDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	other := filepath.Join(filepath.Dir(path), "events-mine.ndjson") // shares the stem, is not ours
	if err := os.WriteFile(other, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &clock{now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	s := newSink(t, path, func(cfg *Config) { cfg.Rotate.Size = 1; cfg.Keep = 2 }, c.Now)
	for i := range 6 {
		c.set(c.Now().Add(time.Second))
		if err := s.Deliver(t.Context(), ev(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	waitForTidy(s)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines, _ := contents(t, path)
	if diff := cmp.Diff([]string{"3", "4", "mine", "5"}, lines); diff != "" {
		t.Errorf("lines kept (-want +got):\n%s", diff)
	}
}

func TestRotationByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "events.ndjson")
		s := newSink(t, path, func(c *Config) { c.Rotate.Every = config.Duration(time.Hour) }, time.Now)
		if err := s.Deliver(t.Context(), ev("first hour")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Minute) // nothing is written, and still the file is set aside
		synctest.Wait()
		if _, files := contents(t, path); len(files) != 2 {
			t.Errorf("files after an hour: %v, want the rotated and the active one", files)
		}
		if err := s.Deliver(t.Context(), ev("second hour")); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines, _ := contents(t, path)
		if diff := cmp.Diff([]string{"first hour", "second hour"}, lines); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

func TestAnInterruptedCompressionIsDoneAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	aside := strings.TrimSuffix(path, ".ndjson") + "-20260304T050607.000Z-000.ndjson"
	for name, content := range map[string]string{
		aside:               "old\n",
		aside + ".zst.part": "half a frame",
		aside + ".zst":      "renamed, but the plain file was still there",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newSink(t, path, func(c *Config) { c.Compression = "zstd" }, time.Now)
	waitForTidy(s)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines, files := contents(t, path); len(files) != 2 || lines[0] != "old" {
		t.Errorf("files %v with %q, want the compressed old line and the active file", files, lines)
	}
}

func TestAFullDiskLeavesNoHalfBatch(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	path := filepath.Join(t.TempDir(), "events.ndjson")
	s := newSink(t, path, nil, time.Now)
	if err := s.Deliver(t.Context(), ev("before")); err != nil {
		t.Fatal(err)
	}
	good := s.f
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.f = full
	if err := s.Deliver(t.Context(), ev("lost?")); err == nil {
		t.Fatal("Deliver to a full disk = nil")
	}
	s.f = good
	if err := s.Deliver(t.Context(), ev("after")); err != nil {
		t.Fatal(err)
	}
	full.Close()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines, _ := contents(t, path); cmp.Diff([]string{"before", "after"}, lines) != "" {
		t.Errorf("lines %q, want before and after", lines)
	}
}

func TestTwoProcessesCannotShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	s := newSink(t, path, nil, time.Now)
	defer s.Close(t.Context())
	cfg := DefaultConfig()
	cfg.Path = config.Path(path)
	if _, err := New(*cfg, Deps{Logger: slog.New(slog.DiscardHandler), Now: time.Now}); err == nil || !strings.Contains(err.Error(), "written by another process") {
		t.Fatalf("second sink on one file: %v, want an error that says so", err)
	}
}

func BenchmarkDeliver(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Path = config.Path(filepath.Join(b.TempDir(), "events.ndjson"))
	cfg.Keep = 1
	s, err := New(*cfg, Deps{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(context.Background())
	batch := make([]event.Event, 2000)
	for i := range batch {
		batch[i].Data = bytes.Repeat([]byte("x"), 4096)
	}
	b.SetBytes(int64(len(batch)) * 4097)
	for b.Loop() {
		if err := s.Deliver(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAHalfWrittenBatchIsTakenBack fails a write in its middle, as a disk does
// that fills up, and writes less after that: nothing of the batch may stay.
func TestAHalfWrittenBatchIsTakenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	s := newSink(t, path, nil, time.Now)
	if err := s.Deliver(t.Context(), ev("before")); err != nil {
		t.Fatal(err)
	}
	var room unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &room); err != nil {
		t.Fatal(err)
	}
	full := unix.Rlimit{Cur: 100, Max: room.Max} // of this process; the write stops at byte 100
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &full); err != nil {
		t.Fatal(err)
	}
	err := s.Deliver(t.Context(), ev(strings.Repeat("x", 500)))
	if back := unix.Setrlimit(unix.RLIMIT_FSIZE, &room); back != nil {
		t.Fatal(back)
	}
	if err == nil {
		t.Fatal("Deliver over the limit = nil")
	}
	if err := s.Deliver(t.Context(), ev("after")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "before\nafter\n" {
		t.Errorf("file holds %q (%v), want before and after", got, err)
	}
}
