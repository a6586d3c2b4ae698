package eventhub

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

// position stands behind one message of a partition.
type position struct {
	sequence int64
	// offset is opaque: a number on most hubs, something else on geo-replicated
	// ones. Lazuli resumes by sequence number and keeps it for other programs.
	offset   string
	enqueued time.Time // zero if not known
}

const cursorVersion = "v1"

// cursor writes p as e.g. "v1 seq=4711 time=2026-01-02T03:04:05.678Z offset=538920".
// The offset is last, because it may hold anything.
func (p position) cursor() checkpoint.Cursor {
	b := make([]byte, 0, 80)
	b = append(b, cursorVersion+" seq="...)
	b = strconv.AppendInt(b, p.sequence, 10)
	if !p.enqueued.IsZero() {
		b = append(b, " time="...)
		b = p.enqueued.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	}
	b = append(b, " offset="...)
	b = append(b, p.offset...)
	return checkpoint.Cursor(b)
}

// parseCursor reads what cursor wrote.
func parseCursor(c checkpoint.Cursor) (position, error) {
	fail := func(rule string) (position, error) {
		return position{}, fmt.Errorf("read cursor %q: %s", string(c), rule)
	}
	rest, ok := strings.CutPrefix(string(c), cursorVersion+" seq=")
	if !ok {
		return fail("it must begin with \"" + cursorVersion + " seq=\"; it may be of a newer Lazuli")
	}
	number, rest, _ := strings.Cut(rest, " ")
	var p position
	var err error
	if p.sequence, err = strconv.ParseInt(number, 10, 64); err != nil {
		return fail("seq must be a whole number")
	}
	if after, ok := strings.CutPrefix(rest, "time="); ok {
		var text string
		text, rest, _ = strings.Cut(after, " ")
		if p.enqueued, err = time.Parse(time.RFC3339, text); err != nil {
			return fail("time must be an RFC 3339 time")
		}
	}
	if p.offset, ok = strings.CutPrefix(rest, "offset="); !ok {
		return fail("offset= is missing")
	}
	return p, nil
}
