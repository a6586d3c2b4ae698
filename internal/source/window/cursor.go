package window

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

// A cursor is
//
//	v1 read=<time>[,<time>...] [seen=<time>@<identities>[;<time>@<identities>...]]
//
// with one time for each pass, and the identities of rows that were emitted and
// lie behind the last of them, in unpadded URL-safe Base64 (12 bytes each,
// repeated for equal rows), grouped by the time at which they can be forgotten.
const cursorVersion = "v1 "

// encode writes a cursor with at most limit identities.
func encode(heads []time.Time, s *seen, limit int) checkpoint.Cursor {
	settled := heads[len(heads)-1].UnixNano()
	groups := map[int64][]byte{}
	n := 0
	for id, e := range s.rows {
		if e.until <= settled {
			continue
		}
		if n += int(e.emitted); n > limit {
			break
		}
		for range e.emitted {
			groups[e.until] = append(groups[e.until], id[:]...)
		}
	}
	var b strings.Builder
	b.WriteString(cursorVersion + "read=")
	for i, h := range heads {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(h.UTC().Format(time.RFC3339Nano))
	}
	separator := " seen="
	for _, until := range slices.Sorted(maps.Keys(groups)) {
		b.WriteString(separator)
		separator = ";"
		b.WriteString(time.Unix(0, until).UTC().Format("2006-01-02T15:04:05.999999999Z"))
		b.WriteByte('@')
		b.WriteString(base64.RawURLEncoding.EncodeToString(groups[until]))
	}
	return checkpoint.Cursor(b.String())
}

// decode reads a cursor for so many passes.
func decode(c checkpoint.Cursor, passes int, s *seen) (heads []time.Time, err error) {
	fail := func(format string, args ...any) error {
		text := string(c)
		if len(text) > 100 {
			text = text[:100] + "..."
		}
		return fmt.Errorf("read the cursor %q: %s; use the program that wrote it, or delete the checkpoint to start over",
			text, fmt.Sprintf(format, args...))
	}
	rest, ok := strings.CutPrefix(string(c), cursorVersion)
	if !ok {
		return nil, fail("it does not begin with %q", cursorVersion)
	}
	rest, ok = strings.CutPrefix(rest, "read=")
	if !ok {
		return nil, fail("it has no read=")
	}
	times, known, hasSeen := strings.Cut(rest, " seen=")
	for text := range strings.SplitSeq(times, ",") {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, fail("%q is not a time", text)
		}
		if len(heads) > 0 && t.After(heads[len(heads)-1]) {
			return nil, fail("its times ascend")
		}
		heads = append(heads, t.UTC())
	}
	// Other passes than before: the last, behind which all is settled, counts.
	settled := heads[len(heads)-1]
	if len(heads) > passes {
		heads = heads[:passes]
		heads[passes-1] = settled
	}
	for len(heads) < passes {
		heads = append(heads, settled)
	}
	if !hasSeen {
		return heads, nil
	}
	for group := range strings.SplitSeq(known, ";") {
		text, encoded, _ := strings.Cut(group, "@")
		until, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, fail("%q is not a time", text)
		}
		ids, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil || len(ids)%len(Identity{}) != 0 {
			return nil, fail("its identities are damaged")
		}
		for id := range slices.Chunk(ids, len(Identity{})) {
			e := s.rows[Identity(id)]
			e.emitted++
			e.until = max(e.until, until.UnixNano())
			s.rows[Identity(id)] = e
		}
	}
	return heads, nil
}
