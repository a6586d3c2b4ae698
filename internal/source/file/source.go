package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// Deps is what the program passes to a source.
type Deps struct {
	Name   string // configured name of the source
	Host   string // name of this machine, a part of the records' identity
	Logger *slog.Logger
	Status *status.Component
	Once   bool          // read what is there now and return
	Grace  time.Duration // how long closing waits for what is in flight
	Now    func() time.Time
}

// Source reads files. It implements source.Source. All files are read by one
// goroutine, in turn.
type Source struct {
	cfg   Config
	deps  Deps
	files map[string]*file // by key
	begun bool             // the first look is over
}

// file is a file that is known, open or not.
type file struct {
	key     string
	path    string
	present bool
	tail    *tail     // nil while it is closed
	size    int64     // when it was closed, -1 if it was not
	from    int64     // where to begin without a checkpoint
	looked  int64     // its size when it could not be told from others yet
	grown   time.Time // when its size last changed
	skip    bool      // it cannot be read; said once
}

// New returns a source. It does not touch the files.
func New(cfg Config, deps Deps) *Source {
	return &Source{cfg: cfg, deps: deps, files: map[string]*file{}}
}

// Run implements source.Source.
func (s *Source) Run(ctx context.Context, out source.Output) error {
	defer s.closeAll(ctx)
	tick := time.NewTicker(s.cfg.Poll.Std())
	defer tick.Stop()
	for {
		err := s.look(ctx, out)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case errors.Is(err, errGone):
			return nil
		case err != nil && s.deps.Once:
			return err
		case err != nil:
			s.deps.Status.Set(status.Retrying, err.Error(), "let Lazuli's user read the files and the folder")
		case s.deps.Once:
			return nil
		default:
			s.deps.Status.Set(status.OK, "", "")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// errGone says that the pipeline takes no more.
var errGone = errors.New("the pipeline has stopped")

// look reads what is new in all files. One that fails does not stop the others.
func (s *Source) look(ctx context.Context, out source.Output) error {
	if err := s.find(); err != nil {
		return err
	}
	known := make([]*file, 0, len(s.files))
	for _, f := range s.files {
		known = append(known, f)
	}
	slices.SortFunc(known, func(a, b *file) int { return a.grown.Compare(b.grown) })
	var errs []error
	for _, f := range known {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := s.readOne(ctx, out, f)
		if errors.Is(err, errGone) {
			return err
		}
		errs = append(errs, err)
	}
	s.begun = true
	return errors.Join(errs...)
}

// find looks which files there are.
func (s *Source) find() error {
	for _, f := range s.files {
		f.present = false
	}
	paths, err := filepath.Glob(string(s.cfg.Path))
	if err != nil {
		return fmt.Errorf("look for %s: %w", s.cfg.Path, err)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue // gone again, or a folder
		}
		key := keyOf(info)
		f := s.files[key]
		if f == nil {
			f = &file{key: key, size: -1, grown: s.deps.Now()}
			if !s.begun && s.cfg.Start == "end" {
				f.from = info.Size()
			}
			s.files[key] = f
		}
		f.path, f.present = path, true
	}
	return nil
}

// keyOf identifies a file among those that exist.
func keyOf(info os.FileInfo) string {
	dev, ino, err := identity(info)
	if err != nil {
		return info.Name()
	}
	return fmt.Sprintf("%x-%d", dev, ino)
}

// readOne brings one file up to date.
func (s *Source) readOne(ctx context.Context, out source.Output, f *file) error {
	if f.tail == nil {
		if !f.present {
			delete(s.files, f.key)
			return nil
		}
		if err := s.open(ctx, out, f); err != nil || f.tail == nil {
			return err
		}
	}
	t := f.tail
	info, err := t.f.Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", f.path, err)
	}
	size, now := info.Size(), s.deps.Now()
	if size != t.seen {
		f.grown = now
	}
	still := size == t.seen
	t.seen = size
	quiet := now.Sub(f.grown) >= s.cfg.Idle.Std()
	ended := s.deps.Once || !f.present && quiet
	if changed, err := t.changed(size); err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	} else if changed {
		s.deps.Logger.Info("file was cut, or begins otherwise than before: it is read from its beginning", "file", f.path)
		return s.close(ctx, f, -1) // and opened again at the next look
	}
	if size > t.at && (!t.whole || still || ended) {
		if err := t.read(ctx, size, ended); err != nil {
			if ctx.Err() == nil && !errors.Is(err, os.ErrClosed) && !isIO(err) {
				return errGone
			}
			return err
		}
	}
	if quiet && !s.deps.Once {
		return s.close(ctx, f, size)
	}
	return nil
}

// open opens a file that has something new and is known well enough to be told
// from others.
func (s *Source) open(ctx context.Context, out source.Output, f *file) error {
	opened, err := os.Open(f.path)
	if err != nil {
		return err
	}
	keep := false
	defer func() {
		if !keep {
			opened.Close()
		}
	}()
	info, err := opened.Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", f.path, err)
	}
	if keyOf(info) != f.key || info.Size() == f.size || info.Size() == 0 {
		return nil // replaced since it was found, which the next look sees; or nothing new
	}
	head, ok, err := first(opened, s.deps.Once)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	whole := s.cfg.Format == "whole" || len(head) > 1 && head[0] == 0x1f && head[1] == 0x8b
	if grows := f.looked != info.Size(); !ok && (grows || !whole) {
		f.looked = info.Size()
		return nil
	}
	if whole && info.Size() > int64(s.cfg.MaxFile) {
		if !f.skip {
			s.deps.Logger.Error("file is not read: it is larger than max_file", "file", f.path, "bytes", info.Size(), "max_file", s.cfg.MaxFile.String())
		}
		f.skip = true
		return nil
	}
	stream, err := out.Open(ctx, event.Origin{
		Source: s.deps.Name, Partition: f.key,
		Namespace: "file/" + s.deps.Host + "/" + f.key + "/" + hashOf(head),
	})
	if err != nil {
		return err
	}
	t := &tail{f: opened, stream: stream, whole: whole, head: slices.Clone(head), seen: -1}
	again, err := t.resume(info.Size())
	if err == nil && again {
		s.deps.Logger.Info("file is another one than before, or was cut: it is read from its beginning", "file", f.path)
	}
	if err == nil && stream.Resume() == "" && f.from > 0 {
		t.at = lineStart(opened, f.from)
		if err := stream.Emit(ctx, nil, t.cursor()); err != nil { // a restart goes on from here
			return errors.Join(errGone, stream.Close(ctx))
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("file %s: %w", f.path, err), stream.Close(ctx))
	}
	f.tail, keep = t, true
	return nil
}

// lineStart returns where the line begins that a file of that size ends in.
func lineStart(f io.ReaderAt, size int64) int64 {
	buf := make([]byte, min(size, maxLine))
	n, _ := f.ReadAt(buf, size-int64(len(buf)))
	for i := n - 1; i >= 0; i-- {
		if buf[i] == '\n' {
			return size - int64(len(buf)) + int64(i) + 1
		}
	}
	return size
}

// close closes a file. It is opened again when its size is another than that.
func (s *Source) close(ctx context.Context, f *file, size int64) error {
	t := f.tail
	f.tail, f.size = nil, size
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.deps.Grace)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(s.deps.Grace, cancel) })
	defer stop()
	return errors.Join(t.stream.Close(limit), t.f.Close())
}

func (s *Source) closeAll(ctx context.Context) {
	var wg sync.WaitGroup
	for _, f := range s.files {
		if f.tail != nil {
			wg.Go(func() {
				if err := s.close(ctx, f, 0); err != nil {
					s.deps.Logger.Warn("file closed with an error", "file", f.path, "error", err)
				}
			})
		}
	}
	wg.Wait()
}

func isIO(err error) bool {
	var path *os.PathError
	return errors.As(err, &path)
}
