package recordid

import (
	"regexp"
	"testing"
)

func TestEveryNumberComesBack(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, seed := range []uint64{0, 1, 42, 1 << 63, ^uint64(0)} {
		s := New(seed)
		for _, n := range []uint64{0, 1, 2, 4095, 4096, 1 << 24, 123456789, MaxNumber - 1, MaxNumber} {
			id := s.Append(nil, n)
			if !form.Match(id) {
				t.Errorf("seed %d: id of %d is %q, which is not a version 4 GUID", seed, n, id)
			}
			if got, ok := s.Parse(id); !ok || got != n {
				t.Errorf("seed %d: Parse(%q) = %d, %v, want %d, true", seed, id, got, ok, n)
			}
		}
	}
}

func TestParseRefusesWhatWasNotMade(t *testing.T) {
	s := New(7)
	id := string(s.Append(nil, 99))
	for i := range id {
		changed := []byte(id)
		if changed[i] == '0' {
			changed[i] = '1'
		} else {
			changed[i] = '0'
		}
		if n, ok := s.Parse(changed); ok {
			t.Errorf("Parse(%q) = %d, true: digit %d was changed", changed, n, i)
		}
	}
	for _, text := range []string{"", id[:35], id + "0", string(New(8).Append(nil, 99))} {
		if n, ok := s.Parse([]byte(text)); ok {
			t.Errorf("Parse(%q) = %d, true", text, n)
		}
	}
}

func TestCutWalksOverALine(t *testing.T) {
	s := New(7)
	line := append([]byte(`{"id":"Directory_`), s.Append(nil, 5)...)
	line = append(line, `_X","o":"{\"a\":\"`...)
	line = s.Append(line, 6)
	line = append(line, `\"}","cut":"`...)
	line = append(line, s.Append(nil, 7)[:20]...)

	var got []uint64
	bad := 0
	for id, rest := s.Cut(line); id != nil; id, rest = s.Cut(rest) {
		if n, ok := s.Parse(id); ok {
			got = append(got, n)
		} else {
			bad++
		}
	}
	if len(got) != 2 || got[0] != 5 || got[1] != 6 || bad != 1 {
		t.Errorf("found %v and %d cut ids, want [5 6] and 1", got, bad)
	}
}

func TestOtherGUIDsAreNotIDs(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	s := New(7)
	distinct := map[string]bool{}
	for x := range uint64(10_000) {
		id := s.AppendOther(nil, x)
		if !form.Match(id) {
			t.Fatalf("AppendOther(%d) = %q, which is not a version 4 GUID", x, id)
		}
		if candidate, _ := s.Cut(id); candidate != nil {
			t.Fatalf("AppendOther(%d) = %q begins as an id does", x, id)
		}
		distinct[string(id)] = true
	}
	if len(distinct) != 10_000 {
		t.Errorf("10,000 numbers gave %d GUIDs", len(distinct))
	}
}
