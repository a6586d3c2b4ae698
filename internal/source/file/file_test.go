package file

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
)

func newSource(path string, once bool, change func(*Config)) *Source {
	cfg := DefaultConfig()
	cfg.Path, cfg.Poll = config.Path(path), config.Duration(5*time.Millisecond)
	if change != nil {
		change(cfg)
	}
	return New(*cfg, Deps{Name: sourcetest.Name, Host: "host", Logger: slog.New(slog.DiscardHandler), Once: once, Grace: time.Minute, Now: time.Now})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func partition(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return keyOf(info)
}

func TestContract(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.Harness {
		dir := t.TempDir()
		paths := map[string]string{}
		var h sourcetest.Harness
		for _, name := range []string{"a.log", "b.log", "c.log"} {
			path := filepath.Join(dir, name)
			write(t, path, "")
			p := partition(t, path)
			paths[p] = path
			h.Partitions = append(h.Partitions, p)
		}
		n := 0
		h.Append = func(t *testing.T, p string, count int) (bodies []string) {
			for range count {
				n++
				bodies = append(bodies, fmt.Sprintf(`{"n":%d,"x":%q}`, n, strings.Repeat("x", n%50)))
			}
			write(t, paths[p], strings.Join(append(bodies, ""), "\n"))
			return bodies
		}
		h.New = func(_ *testing.T, _ checkpoint.Store, once bool) source.Source {
			return newSource(filepath.Join(dir, "*.log"), once, func(c *Config) { c.Idle = config.Duration(50 * time.Millisecond) })
		}
		return h
	})
}

// follow runs a source on dir/*.log and returns what it emitted, over all files.
func follow(t *testing.T, dir string, change func(*Config)) (all func() []string, wait func(n int), stop func()) {
	t.Helper()
	return followWith(t, sourcetest.NewStore(), dir, change)
}

func followWith(t *testing.T, store *sourcetest.Store, dir string, change func(*Config)) (all func() []string, wait func(n int), stop func()) {
	t.Helper()
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	running := sourcetest.Start(t, newSource(filepath.Join(dir, "*.log*"), false, change), rec)
	all = func() (out []string) {
		for _, p := range rec.Partitions() {
			out = append(out, rec.Bodies(p)...)
		}
		slices.Sort(out)
		return out
	}
	wait = func(n int) {
		t.Helper()
		rec.Wait(t, fmt.Sprint(n, " payloads"), func() bool { return len(all()) >= n })
	}
	stop = func() {
		t.Helper()
		if err := running.Stop(); err != nil {
			t.Errorf("Run() = %v", err)
		}
	}
	return all, wait, stop
}

func TestRotation(t *testing.T) {
	for name, rotate := range map[string]func(t *testing.T, path string){
		"renamed within the pattern": func(t *testing.T, path string) { rename(t, path, path+".1") },
		"renamed out of the pattern": func(t *testing.T, path string) { rename(t, path, filepath.Join(filepath.Dir(path), "old")) },
		"copied and cut": func(t *testing.T, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		},
		"deleted": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.log")
			all, wait, stop := follow(t, dir, nil)
			var want []string
			for round := range 3 {
				for i := range 5 {
					line := fmt.Sprintf("%d-%d", round, i)
					want = append(want, line)
					write(t, path, line+"\n")
				}
				wait(len(want)) // a program that cuts its log loses what nobody has read
				rotate(t, path)
			}
			stop()
			if got := all(); !slices.Equal(got, want) {
				t.Errorf("payloads are %q, want %q", got, want)
			}
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// What a program still writes into a file that was renamed is read too, and its
// last line needs no line feed once nobody writes any more.
func TestARenamedFileIsReadToItsEnd(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "a.log"), filepath.Join(dir, "old")
	write(t, path, "a\n")
	all, wait, stop := follow(t, dir, func(c *Config) { c.Idle = config.Duration(300 * time.Millisecond) })
	wait(1)
	rename(t, path, old)
	write(t, old, "b\nhalf")
	wait(3)
	stop()
	if got := all(); !slices.Equal(got, []string{"a", "b", "half"}) {
		t.Errorf("payloads are %q", got)
	}
}

func TestHalfALineWaitsForItsEnd(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	write(t, path, "a\nhal")
	all, wait, stop := follow(t, dir, nil)
	wait(1)
	write(t, path, "f\n")
	wait(2)
	stop()
	if got := all(); !slices.Equal(got, []string{"a", "half"}) {
		t.Errorf("payloads are %q", got)
	}
}

func TestLongLines(t *testing.T) {
	dir := t.TempDir()
	long, longer := strings.Repeat("x", 3*chunk), strings.Repeat("y", maxLine+10)
	write(t, filepath.Join(dir, "a.log"), "a\n"+long+"\n"+longer+"\nb\n")
	all, wait, stop := follow(t, dir, nil)
	wait(5)
	stop()
	got := all()
	if len(got) != 5 || got[2] != long || len(got[3])+len(got[4]) != len(longer) {
		t.Errorf("%d payloads; want the long line whole and the longer one in two pieces", len(got))
	}
}

// A restart goes on behind what was read, also in a file that has another one's
// inode or was cut while nobody looked.
func TestAnotherFileAtTheSamePlaceIsReadFromItsBeginning(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	store := sourcetest.NewStore()
	write(t, path, "first a\nb\n")
	_, wait, stop := followWith(t, store, dir, nil)
	wait(2)
	stop()
	if err := os.WriteFile(path, []byte("second\nc\nd\nand more than before\n"), 0o600); err != nil { // the same inode
		t.Fatal(err)
	}
	all, wait, stop := followWith(t, store, dir, nil)
	wait(4)
	stop()
	if got := all(); len(got) != 4 || !slices.Contains(got, "second") {
		t.Errorf("payloads are %q; want all of the new file", got)
	}
}

func TestStartAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	store := sourcetest.NewStore()
	path := filepath.Join(dir, "a.log")
	write(t, path, "old\n")
	end := func(c *Config) { c.Start = "end" }
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	running := sourcetest.Start(t, newSource(path, false, end), rec)
	p := partition(t, path)
	rec.Wait(t, "the position at the end", func() bool { return len(rec.Partition(p).Cursors) > 0 })
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	write(t, path, "meanwhile\n")
	all, wait, stop := followWith(t, store, dir, end)
	wait(1)
	write(t, filepath.Join(dir, "new.log"), "new\n")
	wait(2)
	stop()
	if got := all(); !slices.Equal(got, []string{"meanwhile", "new"}) {
		t.Errorf("payloads are %q; want what came after the first start, and the whole new file", got)
	}
}

func TestWholeFiles(t *testing.T) {
	dir := t.TempDir()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte("{\"z\":1}\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a.log"), "[\n{\"a\":1},\n{\"a\":2}\n]\n")
	write(t, filepath.Join(dir, "b.log.gz"), zipped.String())
	write(t, filepath.Join(dir, "large.log"), strings.Repeat("x", 2<<20))
	for name, change := range map[string]func(*Config){
		"once": func(c *Config) { c.Format, c.MaxFile = "whole", 1<<20 },
	} {
		rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
		if err := sourcetest.Start(t, newSource(filepath.Join(dir, "*.log*"), true, change), rec).Result(); err != nil {
			t.Fatal(err)
		}
		if got := rec.Bodies(partition(t, filepath.Join(dir, "a.log"))); len(got) != 1 || !strings.HasPrefix(got[0], "[\n") {
			t.Errorf("%s: the array came as %q", name, got)
		}
		if got := rec.Bodies(partition(t, filepath.Join(dir, "b.log.gz"))); len(got) != 1 || got[0] != zipped.String() {
			t.Errorf("%s: the gzip file came as %d payloads", name, len(got))
		}
		if n := rec.Count(partition(t, filepath.Join(dir, "large.log"))); n != 0 {
			t.Errorf("%s: a file over max_file was read", name)
		}
	}
	_, wait, stop := follow(t, dir, func(c *Config) { c.Format, c.MaxFile = "whole", 1<<20 })
	wait(2)
	stop()
}

func TestFilesThatCannotBeRead(t *testing.T) {
	rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
	if err := sourcetest.Start(t, newSource(filepath.Join(t.TempDir(), "none", "*.log"), true, nil), rec).Result(); err != nil {
		t.Errorf("Run() = %v for a pattern that matches nothing; want nil", err)
	}
}

func TestCursors(t *testing.T) {
	c := cursor{offset: 123, head: 10, hash: hashOf([]byte("0123456789"))}
	if got, err := parseCursor(checkpoint.Cursor(c.String())); err != nil || got != c {
		t.Errorf("parseCursor(%v) = %v, %v", c, got, err)
	}
	for _, bad := range []checkpoint.Cursor{"v2:1:1:a", "v1:1:1", "v1:-1:1:a", "v1:1:9999:a", "v1:1:1:a b", "1"} {
		if got, err := parseCursor(bad); err == nil {
			t.Errorf("parseCursor(%q) = %v, want an error", bad, got)
		}
	}
	store := sourcetest.NewStore()
	path := filepath.Join(t.TempDir(), "a.log")
	write(t, path, "a\n")
	if err := store.Save(t.Context(), checkpoint.Key{Source: sourcetest.Name, Partition: partition(t, path)}, "v9:1"); err != nil {
		t.Fatal(err)
	}
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	if err := sourcetest.Start(t, newSource(path, true, nil), rec).Result(); err == nil || !strings.Contains(err.Error(), "v9:1") {
		t.Errorf("Run() = %v with an unreadable position; want an error that shows it", err)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("v1:1:1:a")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := parseCursor(checkpoint.Cursor(s)); err == nil && c.String() != s {
			t.Errorf("parseCursor(%q) = %v", s, c)
		}
	})
}
