package window

import (
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

func TestCursorRoundTrip(t *testing.T) {
	at := time.Date(2026, 1, 31, 8, 0, 0, 1200, time.UTC)
	heads := []time.Time{at.Add(time.Minute), at}
	s := newSeen(false)
	s.begin()
	for range 3 {
		s.see(Identify([]byte("thrice")), at.Add(time.Minute))
	}
	s.see(Identify([]byte("once")), at.Add(time.Second))
	s.see(Identify([]byte("settled")), at)
	text := encode(heads, s, 100)
	if !strings.HasPrefix(string(text), "v1 read=2026-01-31T08:01:00.0000012Z,2026-01-31T08:00:00.0000012Z seen=2026-01-31T08:00:01.0000012Z@") {
		t.Errorf("cursor is %q", text)
	}
	again := newSeen(false)
	got, err := decode(text, 2, again)
	if err != nil || len(got) != 2 || !got[0].Equal(heads[0]) || !got[1].Equal(heads[1]) {
		t.Fatalf("decode = %v, %v; want %v", got, err, heads)
	}
	if len(again.rows) != 2 || again.rows[Identify([]byte("thrice"))].emitted != 3 {
		t.Errorf("remembered %v; want two identities, one of them three times", again.rows)
	}
	again.begin()
	for n := range uint32(4) {
		if nth, fresh := again.see(Identify([]byte("thrice")), at); nth != n || fresh != (n == 3) {
			t.Errorf("row %d is number %d, new: %v", n, nth, fresh)
		}
	}
	if again.forget(at.Add(time.Second)); len(again.rows) != 1 {
		t.Errorf("%d identities are left; want the one that is not settled", len(again.rows))
	}
	if few := encode(heads, s, 2); strings.Count(string(few), "@")*16 > len(few) || len(few) >= len(text) {
		t.Errorf("a cursor for 2 identities is %q", few)
	}
}

// Another number of passes than when the cursor was written: nothing is settled
// that was not.
func TestCursorOfOtherPasses(t *testing.T) {
	const c = "v1 read=2026-01-31T08:03:00Z,2026-01-31T08:02:00Z,2026-01-31T08:01:00Z"
	for passes, want := range map[int]string{1: "08:01", 2: "08:03 08:01", 3: "08:03 08:02 08:01", 4: "08:03 08:02 08:01 08:01"} {
		heads, err := decode(c, passes, newSeen(true))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range heads {
			got = append(got, h.Format("15:04"))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%d passes: %v; want %s", passes, got, want)
		}
	}
}

func TestCursorsThatAreRefused(t *testing.T) {
	for _, c := range []checkpoint.Cursor{
		"v2 read=2026-01-31T08:00:00Z", "v1 2026-01-31T08:00:00Z", "v1 read=", "v1 read=yesterday", "v1 read=2026-01-31T08:00:00Z,",
		"v1 read=2026-01-31T08:00:00Z,2026-01-31T08:00:01Z",
		"v1 read=2026-01-31T08:00:00Z seen=", "v1 read=2026-01-31T08:00:00Z seen=2026-01-31T08:00:00Z@AAAA",
		"v1 read=2026-01-31T08:00:00Z seen=2026-01-31T08:00:00Z@AAAAAAAAAAAAAAA!", "123", " ",
	} {
		if heads, err := decode(c, 1, newSeen(true)); err == nil || !strings.Contains(err.Error(), "delete the checkpoint") {
			t.Errorf("decode(%q) = %v, %v; want an error with the way out", c, heads, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("v1 read=2026-01-31T08:03:00Z,2026-01-31T08:02:00.0000001Z seen=2026-01-31T08:04:00Z@AAAAAAAAAAAAAAAA", 2)
	f.Add("v1 read=2026-01-31T08:03:00Z", 1)
	f.Fuzz(func(t *testing.T, text string, passes int) {
		passes = 1 + passes&3
		s := newSeen(false)
		heads, err := decode(checkpoint.Cursor(text), passes, s)
		if err != nil {
			return
		}
		if len(heads) != passes {
			t.Fatalf("%d positions for %d passes", len(heads), passes)
		}
		again := newSeen(false)
		c := encode(heads, s, 1<<30)
		heads2, err := decode(c, passes, again)
		if err != nil {
			t.Fatalf("%q was written and is refused: %v", c, err)
		}
		for i := range heads {
			if !heads[i].Equal(heads2[i]) {
				t.Fatalf("%q became %q", text, c)
			}
		}
		for id, e := range s.rows {
			if e.until > heads[passes-1].UnixNano() && again.rows[id].emitted != e.emitted {
				t.Fatalf("%q became %q", text, c)
			}
		}
	})
}
