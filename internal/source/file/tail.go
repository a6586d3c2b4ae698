package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
)

const (
	// chunk is how much is read at a time.
	chunk = 1 << 20
	// maxLine is the longest line; what is longer is emitted in pieces, which
	// become dead letters.
	maxLine = 16 << 20
)

// tail is one file that is being read.
type tail struct {
	f      *os.File
	stream source.Stream
	at     int64 // everything before it was emitted
	whole  bool
	seen   int64 // size at the last look
	head   []byte
}

// first returns the beginning of a file: its first line, or headBytes of it. It
// is not known yet (ok is false) while that may still grow.
func first(f io.ReaderAt, ended bool) (head []byte, ok bool, err error) {
	head = make([]byte, headBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	head = head[:n]
	if i := bytes.IndexByte(head, '\n'); i >= 0 {
		return head[:i+1], true, nil
	}
	return head, n == headBytes || ended && n > 0, nil
}

// resume decides where to begin, by what was read before.
func (t *tail) resume(size int64) (again bool, err error) {
	text := t.stream.Resume()
	if text == "" {
		return false, nil
	}
	c, err := parseCursor(text)
	if err != nil {
		return false, err
	}
	head := make([]byte, c.head)
	n, err := t.f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if n < c.head || hashOf(head) != c.hash || size < c.offset {
		return true, nil // truncated, or another file with the inode of a deleted one
	}
	t.at = c.offset
	return false, nil
}

// changed tells whether the file was cut or begins otherwise than it did.
func (t *tail) changed(size int64) (bool, error) {
	if size < t.at {
		return true, nil
	}
	head := make([]byte, len(t.head))
	if _, err := t.f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return !bytes.Equal(head, t.head), nil
}

func (t *tail) cursor() checkpoint.Cursor {
	return checkpoint.Cursor(cursor{offset: t.at, head: len(t.head), hash: hashOf(t.head)}.String())
}

// read emits what is there up to size. With ended, the last line needs no line
// feed.
func (t *tail) read(ctx context.Context, size int64, ended bool) error {
	if t.whole {
		return t.readWhole(ctx, size)
	}
	for room := int64(chunk); t.at < size; {
		// A new one each time: what was emitted belongs to the pipeline.
		buf := make([]byte, min(room, size-t.at))
		n, err := t.f.ReadAt(buf, t.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s: %w", t.f.Name(), err)
		}
		buf = buf[:n]
		end := bytes.LastIndexByte(buf, '\n') + 1
		atEnd := t.at+int64(n) >= size
		switch {
		case n == 0:
			return nil // it was cut meanwhile
		case atEnd && ended, end == 0 && n >= maxLine:
			end = n
		case end == 0 && atEnd:
			return nil // half a line
		case end == 0:
			room = min(2*room, maxLine)
			continue
		}
		if err := t.emit(ctx, buf[:end]); err != nil {
			return err
		}
		room = chunk
	}
	return nil
}

func (t *tail) readWhole(ctx context.Context, size int64) error {
	buf := make([]byte, size)
	n, err := t.f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", t.f.Name(), err)
	}
	t.at = size
	return t.stream.Emit(ctx, []event.Payload{{Body: buf[:n]}}, t.cursor())
}

// emit hands over the lines in buf, which stands at t.at.
func (t *tail) emit(ctx context.Context, buf []byte) error {
	batch := make([]event.Payload, 0, bytes.Count(buf, []byte{'\n'})+1)
	at := t.at
	for len(buf) > 0 {
		line, rest, _ := bytes.Cut(buf, []byte{'\n'})
		if len(bytes.TrimSpace(line)) > 0 {
			batch = append(batch, event.Payload{Body: line, Position: at})
		}
		at += int64(len(buf) - len(rest))
		buf = rest
	}
	before := t.at
	t.at = at
	if err := t.stream.Emit(ctx, batch, t.cursor()); err != nil {
		t.at = before
		return err
	}
	return nil
}
