package deadletter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/event"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func all(t *testing.T, s *Store) (got []Letter) {
	t.Helper()
	if err := s.Each(t.Context(), func(l Letter) error { got = append(got, l); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLettersSurviveAsTheyWere(t *testing.T) {
	origin := &event.Origin{Source: "entra", Tenant: "contoso", TenantID: "t", Partition: "3", Namespace: "ns/hub/3"}
	severity := event.Severity{Text: "Error", ID: 4, Alert: true, Failed: true}
	want := []Letter{
		FromPayload(origin, 4711, 12, []byte("not json \xff\x00"), "not_json", `unexpected "n" at byte 0`),
		FromPayload(origin, 4712, 0, []byte("Straße <b>&\n"), "not_json", "r"),
		FromEvent(event.Event{ID: "i", Time: noon.Add(-time.Hour), LogType: "entra_signin", Schema: "ecs", Dataset: "azure.signinlogs", Severity: severity, Data: []byte(`{"a":1}`), Origin: origin}, "splunk", "rejected", "400"),
	}
	s := open(t)
	if err := s.Put(t.Context(), want...); err != nil {
		t.Fatal(err)
	}
	got := all(t, s)
	for i := range want {
		want[i].Time = noon
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("letters differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(origin, got[2].Event().Origin); diff != "" {
		t.Errorf("origin differs (-want +got):\n%s", diff)
	}
	if got := got[2].Event().Dataset; got != "azure.signinlogs" {
		t.Errorf("dataset %q is not kept", got)
	}
	if got := got[2].Event().Severity; got != severity {
		t.Errorf("severity %+v, want %+v", got, severity)
	}
}

func TestATornLetterIsCutAndCostsNoOther(t *testing.T) {
	for _, torn := range []string{`{"time":"2026`, "x", strings.Repeat("y", 200<<10)} {
		s := open(t)
		if err := s.Put(t.Context(), Letter{Class: "first"}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.Dir(), currentName)
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(torn); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got := all(t, s); len(got) != 1 {
			t.Errorf("%d letters beside a torn one of %d bytes, want 1", len(got), len(torn))
		}
		if err := s.Put(t.Context(), Letter{Class: "second"}); err != nil {
			t.Fatal(err)
		}
		if got := all(t, s); len(got) != 2 || got[1].Class != "second" {
			t.Errorf("letters after a torn one of %d bytes: %v, want first and second", len(torn), got)
		}
	}
}

func TestReplayRemovesOnlyWhatWasTakenCareOf(t *testing.T) {
	s := open(t)
	for i := range 5 {
		if err := s.Put(t.Context(), Letter{Reason: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	boom := errors.New("boom")
	calls := 0
	sent, err := s.Replay(t.Context(), 2, func(context.Context, []Letter) error {
		if calls++; calls == 2 {
			return boom
		}
		return nil
	})
	if sent != 2 || !errors.Is(err, boom) {
		t.Fatalf("Replay() = %d, %v; want 2, boom", sent, err)
	}
	if err := s.Put(t.Context(), Letter{Reason: "new"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	sent, err = s.Replay(t.Context(), 2, func(ctx context.Context, ls []Letter) error {
		for _, l := range ls {
			got = append(got, l.Reason)
			if l.Reason == "3" { // still cannot be delivered: put back
				if err := s.Put(ctx, l); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "0 1 2 3 4 new"; strings.Join(got, " ") != want || sent != 6 {
		t.Errorf("second replay sent %d: %v, want all six: the first one was cut short", sent, got)
	}
	left := all(t, s)
	if len(left) != 1 || left[0].Reason != "3" {
		t.Errorf("left %v, want the letter that was put back", left)
	}
}

func TestReplayBoundsWhatItHolds(t *testing.T) {
	s := open(t)
	large := bytes.Repeat([]byte("x"), 3<<20)
	for range 10 {
		if err := s.Put(t.Context(), Letter{Data: large}); err != nil {
			t.Fatal(err)
		}
	}
	sent, err := s.Replay(t.Context(), 1000, func(_ context.Context, ls []Letter) error {
		if len(ls) > 3 {
			t.Errorf("a batch of %d letters of 3 MiB", len(ls))
		}
		return nil
	})
	if err != nil || sent != 10 {
		t.Errorf("Replay() = %d, %v; want 10", sent, err)
	}
}

func TestReplayKeepsALineThatIsNoLetter(t *testing.T) {
	s := open(t)
	if err := os.WriteFile(filepath.Join(s.Dir(), currentName), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.Replay(t.Context(), 10, func(context.Context, []Letter) error { return nil })
	if err == nil || !strings.Contains(err.Error(), ":1 is not a dead letter") {
		t.Fatalf("Replay() = %v, want an error that names line 1", err)
	}
	files, _ := filepath.Glob(filepath.Join(s.Dir(), "*.ndjson"))
	data, err := os.ReadFile(files[0])
	if err != nil || !bytes.Equal(data, []byte("nonsense\n")) {
		t.Errorf("the line is gone: %q, %v", data, err)
	}
}

func TestOnlyOneReplayAtATime(t *testing.T) {
	s := open(t)
	if err := s.Put(t.Context(), Letter{}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Replay(t.Context(), 1, func(ctx context.Context, _ []Letter) error {
		_, err := s.Replay(ctx, 1, nil)
		return err
	})
	if !errors.Is(err, ErrReplaying) {
		t.Fatalf("a replay inside a replay: %v, want %v", err, ErrReplaying)
	}
}

func TestConcurrentPuts(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			s, err := Open(dir, time.Now) // each its own store, as processes have
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 50 {
				if err := s.Put(t.Context(), Letter{Reason: fmt.Sprint(g, i)}, Letter{Reason: "second"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s, err := Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(all(t, s)); got != 400 {
		t.Errorf("%d letters, want 400", got)
	}
}

func FuzzReplayReadsAnyFile(f *testing.F) {
	f.Add([]byte(`{"class":"x","data":"y"}` + "\n"))
	f.Add([]byte("{\"data\":{\"base64\":\"/w==\"}}\n{\"data\""))
	f.Fuzz(func(t *testing.T, content []byte) {
		s := open(t)
		if err := os.WriteFile(filepath.Join(s.Dir(), currentName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		sent, err := s.Replay(t.Context(), 3, func(context.Context, []Letter) error { return nil })
		if lines := bytes.Count(content, []byte("\n")); sent > lines {
			t.Fatalf("%d letters from %d lines, %v", sent, lines, err)
		}
	})
}
