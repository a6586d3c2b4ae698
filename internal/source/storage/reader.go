package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
)

const (
	chunk = 1 << 20 // of a blob that is in memory at a time, unless a record is larger
	// turn is how much of a blob is read before another one has its turn, in one
	// request: requests cost money, and bytes do not.
	turn = 16 << 20
	// wholeBlob is the range of a gzipped blob: it has to be read from its start.
	wholeBlob = 1 << 50
	// headerSize bounds the first row of CSV.
	headerSize = 64 << 10
)

// errReplaced ends a turn when the blob is not the one that was read before,
// while records of that one are on their way.
var errReplaced = errors.New("the blob was replaced by another of its name")

// read is a blob's turn: it emits what is new, up to the size of a turn. More
// says that there is more to read right away.
func (s *Source) read(ctx context.Context, b *blob) (more bool, err error) {
	if b.part == nil {
		if b.part, more, err = s.download(ctx, b); err != nil || b.part == nil {
			return more, err
		}
	}
	p := b.part
	defer func() {
		if b.part == nil {
			p.close()
		}
	}()
	for read := int64(0); read < turn; {
		before := b.pos.offset
		again, err := s.emitChunk(ctx, b, p)
		read += b.pos.offset - before
		if err != nil {
			b.part = nil
			return false, s.damaged(ctx, b, p, err)
		}
		if !again {
			b.part = nil
			if !p.toEnd {
				return true, nil
			}
			f := framer{format: b.pos.format}
			if p.zipped {
				s.bytesRead.Add(p.size)
			}
			s.seen(b, p.size, p.etag, p.modified, b.pos.zipped || !f.rest(p.buf))
			return false, nil
		}
	}
	return true, nil
}

// download begins to read a blob behind its position. It returns no part if
// there is nothing to read; more then says whether to try again right away.
func (s *Source) download(ctx context.Context, b *blob) (_ *part, more bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var d *download
	kept := false
	defer func() {
		if !kept {
			d.close()
			cancel(nil)
		}
	}()
	unless := ""
	if b.stream == nil && !s.final(b) {
		unless = b.pos.etag // a record that is half there is worth a look only once it is final
	}
	before, count := min(printed, b.pos.offset), int64(turn)
	start := b.pos.offset - before
	if b.pos.zipped {
		before, start, count = 0, 0, wholeBlob
	}
	if d, err = s.blobs.get(ctx, b.folder.container, b.name, start, count+before, unless); err != nil {
		return nil, false, err
	}
	switch {
	case d.unchanged:
		s.mu.Lock()
		b.fresh = true
		s.mu.Unlock()
		return nil, false, nil
	case d.beyond && start > 0, !d.beyond && !b.pos.zipped && d.size < b.pos.offset:
		more, err = s.replaced(b, "it is shorter than what was read")
		return nil, more, err
	case d.beyond || d.size == 0:
		if b.pos.offset > 0 {
			more, err = s.replaced(b, "it is empty")
			return nil, more, err
		}
		s.mu.Lock()
		etag := b.listed.etag
		s.mu.Unlock()
		if d.etag != "" {
			etag = d.etag
		}
		s.seen(b, 0, etag, d.modified, true)
		return nil, false, nil
	case !b.pos.created.IsZero() && !d.created.IsZero() && !b.pos.created.Equal(d.created):
		more, err = s.replaced(b, "it was created anew")
		return nil, more, err
	}
	p := &part{
		size: d.size, etag: d.etag, created: d.created, modified: d.modified, toEnd: start+d.length >= d.size,
		body: watch(ctx, d.body, cancel), left: d.length, close: func() { d.close(); cancel(nil) },
	}
	same, err := s.position(b, p, before)
	switch {
	case err != nil:
		p.buf = nil
		return nil, false, s.damaged(ctx, b, p, err)
	case !same:
		more, err = s.replaced(b, "what was read of it is not there any more")
		return nil, more, err
	case p.zipped && !p.toEnd: // again, as a whole
		return nil, true, nil
	}
	b.pos.created = d.created
	kept = true
	return p, false, nil
}

// position brings p to the blob's position, and tells whether what stands
// before that is what was read.
func (s *Source) position(b *blob, p *part, before int64) (same bool, err error) {
	if b.pos.offset == 0 && !b.pos.zipped {
		p.buf = make([]byte, 0, p.room(chunk))
		if err := p.fill(min(3, cap(p.buf))); err != nil {
			return false, err
		}
		if !isZip(p.buf) {
			return true, nil
		}
		b.pos.zipped = true
	}
	if !b.pos.zipped {
		p.tail = make([]byte, before)
		n, err := io.ReadFull(p.body, p.tail)
		p.left -= int64(n)
		return fingerprint(p.tail) == b.pos.print, err
	}
	p.zipped, p.left = true, -1
	if !p.toEnd {
		return true, nil
	}
	if p.body, err = unzip(io.MultiReader(bytes.NewReader(p.buf), p.body)); err != nil {
		return false, err
	}
	p.buf, p.eof = nil, false
	// What was read is decompressed again: there is no other way into gzip.
	for passed := int64(0); passed < b.pos.offset; {
		p.buf, p.eof = p.buf[:0], false
		want := int(min(chunk, b.pos.offset-passed))
		if cap(p.buf) < want {
			p.buf = make([]byte, 0, want)
		}
		n, err := io.ReadFull(p.body, p.buf[:want])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if passed == 0 && b.pos.format == formatCSV {
			b.takeHeader(p.buf[:n], true)
		}
		p.pass(p.buf[:n])
		passed += int64(n)
	}
	p.buf, p.eof = nil, false
	return b.pos.offset == 0 || fingerprint(p.tail) == b.pos.print, nil
}

// replaced begins a new generation of the blob, unless its records of before
// are still on their way: then those come first.
func (s *Source) replaced(b *blob, how string) (more bool, err error) {
	if b.stream != nil {
		return false, errReplaced
	}
	s.log.Warn("blob was replaced by another of its name: it is read from its start", "container", b.folder.container, "blob", b.name,
		"reason", how, "generation", b.pos.generation+1, "read_before", b.pos.offset)
	s.metrics.Generation()
	b.pos = position{generation: b.pos.generation + 1}
	b.header = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	b.clean = false
	return true, nil
}

// seen notes what the blob looked like when there was nothing more in it.
func (s *Source) seen(b *blob, size int64, etag string, modified time.Time, clean bool) {
	b.pos.seen, b.pos.etag = size, etag
	s.mu.Lock()
	defer s.mu.Unlock()
	b.listed.size, b.listed.etag, b.clean, b.fresh = size, etag, clean, true
	if modified.After(b.listed.modified) {
		b.listed.modified = modified
	}
}

// isFinal tells whether a blob that last changed at that time will not be added
// to in the middle of a record.
func (s *Source) isFinal(modified time.Time) bool {
	return s.deps.Now().Sub(modified) >= s.cfg.Settle.Std()
}

// final tells whether the blob's last bytes wait to be read as they are.
func (s *Source) final(b *blob) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !b.clean && s.isFinal(b.listed.modified)
}

// emitChunk reads the next chunk of a part and emits its records. Again says
// that the part has more.
func (s *Source) emitChunk(ctx context.Context, b *blob, p *part) (again bool, err error) {
	want := p.room(max(chunk, 2*len(p.buf)))
	if p.buf == nil {
		p.buf = make([]byte, 0, want)
	}
	// What came before the body broke off counts, as if there were no more yet.
	broken := p.fill(want)
	again = !p.eof && broken == nil
	last := p.toEnd && p.eof && broken == nil
	final := last && s.isFinal(p.modified)
	if b.pos.format == "" {
		b.pos.format = format(s.cfg.Format)
		if s.cfg.Format == "auto" {
			b.pos.format = detect(b.name, p.buf, final)
		}
		if b.pos.format == "" {
			return again, broken
		}
	}
	skip := 0
	if b.pos.format == formatCSV && b.header == nil {
		if b.pos.offset > 0 {
			if err := s.readHeader(ctx, b); err != nil {
				return false, err
			}
		} else if skip = b.takeHeader(p.buf, final || len(p.buf) >= headerSize); skip == 0 {
			return again, broken
		}
	}
	f := framer{format: b.pos.format, max: int(s.cfg.MaxRecord), inside: b.pos.inside}
	out := newBatch(b, p, skip)
	taken := skip + f.cut(p.buf[skip:], final, func(start, end int, tooLarge bool) {
		out.add(skip+start, skip+end, tooLarge, f.max)
	})
	if taken == 0 {
		return again, broken
	}
	old := b.pos
	b.pos.offset += int64(taken)
	b.pos.inside = f.inside
	if !p.zipped {
		s.bytesRead.Add(int64(taken))
	}
	p.drop(taken)
	b.pos.print = fingerprint(p.tail)
	if last {
		b.pos.seen, b.pos.etag = p.size, p.etag
	}
	if err := s.hand(ctx, b, out.payloads); err != nil {
		b.pos = old
		return false, err
	}
	return again, broken
}

// damaged gives a gzipped blob up that cannot be decompressed, once it will not
// be mended by what is still to be written; other errors it returns.
func (s *Source) damaged(ctx context.Context, b *blob, p *part, err error) error {
	var damage *damagedError
	if !errors.As(err, &damage) {
		return err
	}
	if errors.Is(damage, io.ErrUnexpectedEOF) && !s.isFinal(p.modified) { // it is being written
		s.seen(b, p.size, p.etag, p.modified, false)
		return nil
	}
	reason := fmt.Sprintf("blob %s: %v; %d bytes of text came before that, and %d of them are no whole record", b.partition(), damage, b.pos.offset+int64(len(p.buf)), len(p.buf))
	s.log.Error("blob cannot be read to its end", "container", b.folder.container, "blob", b.name, "reason", reason,
		"remedy", "the blob is left as it is: repair it under another name and read that")
	s.metrics.Missing("damaged")
	b.pos.seen, b.pos.etag = p.size, p.etag
	err = s.hand(ctx, b, []event.Payload{{
		Body: p.buf, Position: b.pos.offset, Enqueued: p.modified, Defect: &event.Defect{Class: "gzip", Reason: reason},
	}})
	if err == nil {
		s.seen(b, p.size, p.etag, p.modified, true)
	}
	return err
}

// batch collects the payloads of a chunk.
type batch struct {
	blob     *blob
	buf      []byte
	offset   int64 // of buf in the blob
	modified time.Time
	text     []byte // where the records of text and CSV are made
	payloads []event.Payload
}

func newBatch(b *blob, p *part, skip int) *batch {
	c := &batch{blob: b, buf: p.buf, offset: b.pos.offset, modified: p.modified}
	size := len(p.buf) - skip
	c.payloads = make([]event.Payload, 0, 16+size/1024)
	if b.pos.format == formatText || b.pos.format == formatCSV {
		c.text = make([]byte, 0, size+size/2)
	}
	return c
}

func (c *batch) add(start, end int, tooLarge bool, limit int) {
	body := c.buf[start:end:end]
	p := event.Payload{Body: body, Position: c.offset + int64(start), Enqueued: c.modified}
	begin := len(c.text)
	switch {
	case tooLarge:
		p.Defect = &event.Defect{Class: "too_large", Reason: fmt.Sprintf(
			"the record is larger than max_record (%d bytes): this is the piece of it at byte %d of blob %s", limit, p.Position, c.blob.partition())}
	case c.blob.pos.format == formatText:
		c.text = appendText(c.text, body)
		p.Body = c.text[begin:len(c.text):len(c.text)]
	case c.blob.pos.format == formatCSV:
		c.text = appendRow(c.text, c.blob.header, body)
		p.Body = c.text[begin:len(c.text):len(c.text)]
	}
	c.payloads = append(c.payloads, p)
}

// takeHeader reads the header of CSV at the blob's start and returns where the
// first row begins, or 0 if the header is not whole.
func (b *blob) takeHeader(text []byte, final bool) int {
	var s inside
	end, next := s.row(text), 0
	switch {
	case end >= 0:
		next = end + 1
	case final:
		end, next = len(text), len(text)
	default:
		return 0
	}
	f := framer{format: formatCSV}
	start, end := f.trim(text, 0, end)
	b.header, _ = parseRow(text[start:end])
	if b.header == nil {
		b.header = []string{}
	}
	return next
}

// readHeader reads the header of a blob that is gone on with.
func (s *Source) readHeader(ctx context.Context, b *blob) error {
	d, err := s.blobs.get(ctx, b.folder.container, b.name, 0, min(b.pos.offset, headerSize), "")
	if err != nil {
		return err
	}
	defer d.close()
	var text []byte
	if d.body != nil {
		if text, err = io.ReadAll(d.body); err != nil {
			return err
		}
	}
	b.takeHeader(text, true)
	return nil
}
