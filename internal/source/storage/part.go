package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
)

// part is a run of bytes of a blob that is being downloaded: the text of it, if
// it is gzipped.
type part struct {
	size     int64 // of the blob
	etag     string
	created  time.Time
	modified time.Time
	toEnd    bool // it goes to the blob's end
	zipped   bool

	body  io.Reader
	left  int64 // bytes of body, -1 if not known
	buf   []byte
	eof   bool
	tail  []byte // the last bytes before buf, at most printed: what a fingerprint is of
	close func()
}

// errStalled ends a download of which nothing has come for a while.
var errStalled = fmt.Errorf("no byte of the blob came for %v", stall)

const stall = time.Minute

// watched reads a body, and cancels it when it stalls. It does not count the
// time between reads: then it is the pipeline that is slow.
type watched struct {
	body  io.Reader
	ctx   context.Context //nolint:containedctx // it is the body's
	timer *time.Timer
}

func watch(ctx context.Context, body io.Reader, cancel context.CancelCauseFunc) *watched {
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	timer.Stop()
	return &watched{body, ctx, timer}
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(stall)
	n, err := w.body.Read(p)
	w.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(w.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

// fill reads until buf has at least want bytes or the part ends.
func (p *part) fill(want int) error {
	p.eof = p.eof || p.left == 0
	for len(p.buf) < want && !p.eof {
		if len(p.buf) == cap(p.buf) {
			grown := make([]byte, len(p.buf), max(want, 2*cap(p.buf)))
			copy(grown, p.buf)
			p.buf = grown
		}
		room := p.buf[len(p.buf):cap(p.buf)]
		if p.left >= 0 && int64(len(room)) > p.left {
			room = room[:p.left]
		}
		if len(room) == 0 {
			p.eof = true
			break
		}
		n, err := p.body.Read(room)
		p.buf = p.buf[:len(p.buf)+n]
		if p.left >= 0 {
			p.left -= int64(n)
			p.eof = p.left == 0
		}
		switch {
		case errors.Is(err, io.EOF) && p.left > 0:
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			p.eof = true
		case err != nil && !p.eof:
			return err
		}
	}
	return nil
}

// room is how large a buffer has to be for what is still to come, at most want.
func (p *part) room(want int) int {
	if p.left >= 0 {
		want = int(min(int64(want), int64(len(p.buf))+p.left))
	}
	return want
}

// drop is done with the first n bytes of buf. They may be in use elsewhere: what
// follows moves to memory of its own.
func (p *part) drop(n int) {
	p.pass(p.buf[:n])
	rest := p.buf[n:]
	size := len(rest)
	if !p.eof {
		size = max(chunk, 2*len(rest))
	}
	if p.left >= 0 {
		size = int(min(int64(size), int64(len(rest))+p.left))
	}
	p.buf = append(make([]byte, 0, size), rest...)
}

// pass keeps the last bytes of what is behind.
func (p *part) pass(text []byte) {
	if len(text) > printed {
		text = text[len(text)-printed:]
	}
	if over := len(p.tail) + len(text) - printed; over > 0 {
		p.tail = append(p.tail[:0], p.tail[over:]...)
	}
	p.tail = append(p.tail, text...)
}

// isZip tells whether text begins as gzip does.
func isZip(text []byte) bool {
	return len(text) >= 3 && text[0] == 0x1f && text[1] == 0x8b && text[2] == 8
}

// damagedError is gzip that cannot be decompressed.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return "the gzip data is damaged: " + e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

// unzip makes a reader of what is in the gzip data of body. An error of the
// body itself is passed on; any other is a damagedError.
func unzip(body io.Reader) (io.Reader, error) {
	source := &errorKeeper{r: body}
	z, err := gzip.NewReader(source)
	if err != nil {
		return nil, source.tell(err)
	}
	return &unzipper{z, source}, nil
}

type unzipper struct {
	z      *gzip.Reader
	source *errorKeeper
}

func (u *unzipper) Read(p []byte) (int, error) {
	n, err := u.z.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = u.source.tell(err)
	}
	return n, err
}

// errorKeeper remembers how reading ended, since gzip wraps that up.
type errorKeeper struct {
	r   io.Reader
	err error
}

func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		k.err = err
	}
	return n, err
}

func (k *errorKeeper) tell(err error) error {
	if k.err != nil {
		return k.err
	}
	return &damagedError{err}
}
