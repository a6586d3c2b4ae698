package storage

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

// position is how far a blob has been read.
type position struct {
	// offset is the first byte that is not read. It stands behind a whole
	// record, or, while record is set, inside one that is too large. In a
	// gzipped blob it counts what comes out of the decompression.
	offset int64
	// seen and etag are the blob's size and version when it was last read to its
	// end: as long as they are the same there is nothing new behind offset.
	seen int64
	etag string
	// generation counts how often the blob was replaced by another of its name.
	generation int
	created    time.Time // of the blob; zero if not known
	format     format    // "" while there is too little of it to tell
	zipped     bool
	print      uint64 // of the bytes before offset: see fingerprint
	inside     inside // a record that is too large
}

// inside is the state in the middle of a record.
type inside struct {
	on     bool
	depth  int  // brackets that are open
	text   bool // in a string
	escape bool // behind a backslash in a string
}

// printed is how many bytes before the offset the fingerprint covers. They are
// read again with what follows, which costs no request of its own, and tell a
// blob that has grown from one that has been written anew.
const printed = 256

// fingerprint is of the bytes before an offset, at most printed of them.
func fingerprint(before []byte) uint64 {
	if len(before) > printed {
		before = before[len(before)-printed:]
	}
	h := fnv.New64a()
	_, _ = h.Write(before) // never fails
	return h.Sum64()
}

const (
	cursorVersion = "v1"
	timeForm      = "2006-01-02T15:04:05Z"
)

// cursor writes p as e.g. "v1 offset=4711 print=8f3a… format=ndjson seen=4711
// created=2026-01-02T03:00:07Z etag="0x8DC"". The etag is last, because it may
// hold anything; what is zero is left out.
func (p *position) cursor() checkpoint.Cursor {
	b := make([]byte, 0, 160)
	b = append(b, cursorVersion+" offset="...)
	b = strconv.AppendInt(b, p.offset, 10)
	b = append(b, " print="...)
	b = strconv.AppendUint(b, p.print, 16)
	if p.format != "" {
		b = append(b, " format="...)
		b = append(b, p.format...)
	}
	if p.zipped {
		b = append(b, " gzip=1"...)
	}
	if p.generation != 0 {
		b = append(b, " generation="...)
		b = strconv.AppendInt(b, int64(p.generation), 10)
	}
	if p.inside.on {
		b = append(b, " inside="...)
		b = strconv.AppendInt(b, int64(p.inside.depth), 10)
		if p.inside.text {
			b = append(b, 's')
		}
		if p.inside.escape {
			b = append(b, 'e')
		}
	}
	if p.seen != 0 {
		b = append(b, " seen="...)
		b = strconv.AppendInt(b, p.seen, 10)
	}
	if !p.created.IsZero() {
		b = append(b, " created="...)
		b = p.created.UTC().AppendFormat(b, timeForm)
	}
	b = append(b, " etag="...)
	b = append(b, p.etag...)
	return checkpoint.Cursor(b)
}

// parseCursor reads what cursor wrote.
func parseCursor(c checkpoint.Cursor) (position, error) {
	fail := func(rule string) (position, error) {
		return position{}, fmt.Errorf("read cursor %q: %s", string(c), rule)
	}
	rest, ok := strings.CutPrefix(string(c), cursorVersion+" ")
	if !ok {
		return fail("it must begin with \"" + cursorVersion + " \"; it may be of a newer Lazuli")
	}
	var p position
	has := map[string]bool{}
	for {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return fail("etag= is missing")
		}
		if has[name] {
			return fail(name + "= is there twice")
		}
		has[name] = true
		if name == "etag" {
			p.etag = after
			break
		}
		var value string
		if value, rest, ok = strings.Cut(after, " "); !ok {
			return fail("etag= is missing")
		}
		if err := p.set(name, value); err != nil {
			return fail(err.Error())
		}
	}
	if !has["offset"] {
		return fail("offset= is missing")
	}
	return p, nil
}

func (p *position) set(name, value string) error {
	number := func(to *int64) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%s must be a whole number of at least 0", name)
		}
		*to = n
		return nil
	}
	switch name {
	case "offset":
		return number(&p.offset)
	case "seen":
		return number(&p.seen)
	case "generation":
		var n int64
		err := number(&n)
		p.generation = int(n)
		return err
	case "print":
		n, err := strconv.ParseUint(value, 16, 64)
		if err != nil {
			return fmt.Errorf("print must be a hexadecimal number")
		}
		p.print = n
	case "format":
		p.format = format(value)
		if !p.format.known() {
			return fmt.Errorf("format %q is not known", value)
		}
	case "gzip":
		if value != "1" {
			return fmt.Errorf("gzip must be 1")
		}
		p.zipped = true
	case "inside":
		p.inside.on = true
		value, p.inside.escape = strings.CutSuffix(value, "e")
		value, p.inside.text = strings.CutSuffix(value, "s")
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return fmt.Errorf("inside must be a number of brackets")
		}
		p.inside.depth = int(n)
	case "created":
		t, err := time.Parse(timeForm, value)
		if err != nil {
			return fmt.Errorf("created must be a time in UTC")
		}
		p.created = t
	default:
		return fmt.Errorf("%s= is not known; it may be of a newer Lazuli", name)
	}
	return nil
}
