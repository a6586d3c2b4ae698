package storage

import (
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

func TestCursorRoundTrip(t *testing.T) {
	for _, p := range []position{
		{},
		{offset: 4711, print: 0xfeed, format: formatNDJSON, seen: 4711, etag: `"0x8DC, =v1"`, created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{offset: 1, format: formatJSON, generation: 3, zipped: true, inside: inside{on: true, depth: 2, text: true, escape: true}},
		{offset: 1, format: formatText, inside: inside{on: true}},
	} {
		c := p.cursor()
		back, err := parseCursor(c)
		if err != nil || back != p {
			t.Errorf("%q reads as %+v (%v), want %+v", c, back, err, p)
		}
	}
}

func TestCursorsThatAreRefused(t *testing.T) {
	for _, c := range []checkpoint.Cursor{
		"", "v2 offset=1 etag=", "v1 seen=1 etag=", "v1 offset=-1 etag=", "v1 offset=1", "v1 offset=1 offset=2 etag=", "v1 offset=1 new=1 etag=",
		"v1 offset=1 format=xml etag=", "v1 offset=1 gzip=2 etag=", "v1 offset=1 inside=x etag=", "v1 offset=1 created=now etag=", "v1 offset=1 print=x etag=",
	} {
		if p, err := parseCursor(c); err == nil {
			t.Errorf("%q reads as %+v, want an error", c, p)
		}
	}
	for _, c := range []checkpoint.Cursor{"", "v2 low=2026-01-02T03:04:05Z layout=flat", "v1 low=now layout=flat", "v1 low=2026-01-02T03:04:05Z layout=", "v1 low=2026-01-02T03:04:05Z"} {
		if low, flat, err := parseMark(c); err == nil {
			t.Errorf("%q reads as %v %v, want an error", c, low, flat)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(`v1 offset=4711 print=feed format=ndjson gzip=1 generation=2 inside=2se seen=5000 created=2026-01-02T03:04:05Z etag="0x8D"`)
	f.Add("v1 low=2026-01-02T03:04:05Z layout=dated")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parseCursor(checkpoint.Cursor(text)); err == nil {
			if back, err := parseCursor(p.cursor()); err != nil || back != p {
				t.Fatalf("%q reads as %+v, which is written as %q and reads as %+v (%v)", text, p, p.cursor(), back, err)
			}
		}
		if low, flat, err := parseMark(checkpoint.Cursor(text)); err == nil {
			f := folder{flat: flat}
			if back, _, err := parseMark(f.mark(low)); err != nil || !back.Equal(low) {
				t.Fatalf("%q reads as %v, which is written as %q", text, low, f.mark(low))
			}
		}
	})
}
