package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/lazuli-logs/lazuli/internal/durable"
)

const stampFormat = "20060102T150405.000Z"

// periodOf returns the start of the rotation period that t falls in.
func (s *Sink) periodOf(t time.Time) time.Time {
	if s.cfg.Rotate.Every <= 0 {
		return time.Time{}
	}
	return t.UTC().Truncate(s.cfg.Rotate.Every.Std())
}

// rotate sets the active file aside and begins a new one; it needs mu.
func (s *Sink) rotate() error {
	aside, err := s.freeName()
	if err != nil {
		return err
	}
	if err := os.Rename(s.path(), aside); err != nil {
		return fmt.Errorf("set the output file aside: %w", err)
	}
	s.f.Close() // synced after every write
	s.f = nil
	s.signalCompressor()
	return s.open()
}

// freeName returns the name for the file that is set aside now: a clock that
// stands still or went back must not overwrite an earlier one.
func (s *Sink) freeName() (string, error) {
	dir, base := filepath.Split(s.path())
	stem, ext := splitExt(base)
	stamp := s.deps.Now().UTC().Format(stampFormat)
	for n := range 1000 {
		name := filepath.Join(dir, fmt.Sprintf("%s-%s-%03d%s", stem, stamp, n, ext))
		taken, err := filepath.Glob(escapeGlob(name) + "*")
		if err != nil {
			return "", err
		}
		if len(taken) == 0 {
			return name, nil
		}
	}
	return "", fmt.Errorf("set the output file aside: a thousand files of %s exist already", stamp)
}

func splitExt(base string) (stem, ext string) {
	ext = filepath.Ext(base)
	return strings.TrimSuffix(base, ext), ext
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// rotated lists the files set aside, oldest first.
func (s *Sink) rotated() ([]string, error) {
	dir, base := filepath.Split(s.path())
	stem, ext := splitExt(base)
	names, err := filepath.Glob(escapeGlob(filepath.Join(dir, stem)) + "-*" + escapeGlob(ext) + "*")
	if err != nil {
		return nil, err
	}
	files := names[:0]
	for _, name := range names {
		if isStamp(strings.TrimPrefix(filepath.Base(name), stem+"-")) {
			files = append(files, name)
		}
	}
	sort.Strings(files)
	return files, nil
}

// isStamp tells whether what follows the stem is a stamp of freeName: another
// sink's file may share the stem.
func isStamp(rest string) bool {
	if len(rest) < len(stampFormat)+4 {
		return false
	}
	_, err := time.Parse(stampFormat, rest[:len(stampFormat)])
	return err == nil && rest[len(stampFormat)] == '-'
}

// rotateOnTime rotates a file whose period is over even if nothing is written.
func (s *Sink) rotateOnTime(ctx context.Context) {
	every := s.cfg.Rotate.Every.Std()
	for {
		now := s.deps.Now()
		timer := time.NewTimer(s.periodOf(now).Add(every).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		s.mu.Lock()
		if s.f != nil && s.size > 0 && s.periodOf(s.deps.Now()).After(s.period) {
			if err := s.rotate(); err != nil {
				s.deps.Logger.Warn("output file not rotated: it is tried again with the next events", "file", s.path(), "error", err)
			}
		}
		s.mu.Unlock()
	}
}

func (s *Sink) signalCompressor() {
	select {
	case s.compress <- struct{}{}:
	default:
	}
}

// compressRotated compresses and prunes the files set aside, those of earlier
// runs too.
func (s *Sink) compressRotated(ctx context.Context) {
	for {
		if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
			s.deps.Logger.Warn("rotated output files not tidied: it is tried again at the next rotation", "file", s.path(), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.compress:
		}
	}
}

var suffixes = map[string]string{"gzip": ".gz", "zstd": ".zst"}

const partSuffix = ".part"

func (s *Sink) tidy(ctx context.Context) error {
	files, err := s.rotated()
	if err != nil {
		return err
	}
	_, ext := splitExt(filepath.Base(s.path()))
	var whole []string
	for _, name := range files {
		if strings.HasSuffix(name, partSuffix) { // a compression that a crash cut short
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		if suffix := suffixes[s.cfg.Compression]; suffix != "" && strings.HasSuffix(name, ext) {
			if err := compressFile(ctx, name, name+suffix, s.cfg.Compression); err != nil {
				return err
			}
			name += suffix
		}
		if len(whole) == 0 || whole[len(whole)-1] != name { // the crash came after the rename: both exist
			whole = append(whole, name)
		}
	}
	for s.cfg.Keep > 0 && len(whole) > s.cfg.Keep {
		if err := os.Remove(whole[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		whole = whole[1:]
	}
	return nil
}

// compressFile writes the compressed file under another name, syncs it, renames
// it, and only then removes the plain one: a crash leaves at least one whole.
func compressFile(ctx context.Context, from, to, method string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to+partSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer out.Close()
	var w io.WriteCloser
	if method == "gzip" {
		w, err = gzip.NewWriterLevel(out, gzip.BestSpeed)
	} else {
		w, err = zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, bufio.NewReaderSize(contextReader{ctx, in}, 1<<20)); err != nil {
		return fmt.Errorf("compress %q: %w", from, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("compress %q: %w", from, err)
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if err := os.Rename(to+partSuffix, to); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	return os.Remove(from)
}

// contextReader ends a long copy when ctx does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
