package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// people are sign-ins of three users and some storage reads, each one payload.
func people(n int) (list []string) {
	for i := range n {
		user := []string{"ann", "bob", "eve"}[i%3]
		body := fmt.Sprintf(`{"time":"2026-01-01T00:00:00Z","category":"SignInLogs","resultType":"%d","properties":{"id":"id-%d","userPrincipalName":"%s@contoso.example","ipAddress":"192.0.2.%d"}}`,
			i%2*50126, i, user, i%200)
		if i%4 == 3 {
			body = fmt.Sprintf(`{"time":"2026-01-01T00:00:00Z","category":"StorageRead","durationMs":%d,"n":%d}`, i, i)
		}
		list = append(list, body)
	}
	return list
}

// routed runs people through routes and returns the world afterwards. Every
// position must have been saved: what a rule leaves out is taken care of.
func routed(t *testing.T, n int, sinks []string, routes []config.Route, change func(w *world)) *world {
	t.Helper()
	w := newWorld(t, sinks...)
	if change != nil {
		change(w)
	}
	positions := &memory{}
	for i := range routes {
		routes[i].From, routes[i].Name = []string{"hub"}, fmt.Sprintf("routes[%d]", i)
		if routes[i].Schema == "" {
			routes[i].Schema = "raw"
		}
	}
	if err := w.pipeline(t, &hub{once: true, partitions: [][]string{people(n)}}, positions, routes, nil).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, cursor := range positions.saved {
		if string(cursor) != fmt.Sprint(n) {
			t.Errorf("the position of %v is %s, want %d: a record that goes nowhere must not hold it back", key, cursor, n)
		}
	}
	if len(positions.saved) == 0 {
		t.Error("no position was saved")
	}
	if w.budget.Used() != 0 {
		t.Errorf("%d bytes are still in flight", w.budget.Used())
	}
	return w
}

func count(t *testing.T, all []string, part string) (n int) {
	t.Helper()
	for _, data := range all {
		if strings.Contains(data, part) {
			n++
		}
	}
	return n
}

func (w *world) outcomes(route string) string {
	var text []string
	for _, outcome := range []string{"taken", "dropped", "sampled_out", "error"} {
		text = append(text, fmt.Sprint(telemetry.Sum(w.metrics.RouteEvents.WithLabelValues(route, outcome))))
	}
	return strings.Join(text, " ")
}

func TestRoutesTakeWhatMeetsTheirCondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := routed(t, 120, []string{"signins", "failures", "slow"}, []config.Route{
			{Where: `log_type == "entra_signin"`, To: []string{"signins"}},
			{Where: `record.resultType == 50126`, To: []string{"failures"}},
			{Where: `log_type == "storage_read" and record.durationMs >= 60`, To: []string{"slow", "failures"}},
			{Where: `record.properties.userPrincipalName startsWith "eve" and log_type == "entra_signin"`, To: []string{"signins"}},
		}, nil)
		signins, failures, slow := w.sinks["signins"].data(), w.sinks["failures"].data(), w.sinks["slow"].data()
		if len(signins) != 90 || count(t, signins, "SignInLogs") != 90 {
			t.Errorf("%d sign-ins, want 90, each once", len(signins))
		}
		if len(slow) != 15 || count(t, slow, "StorageRead") != 15 {
			t.Errorf("%d slow reads, want 15", len(slow))
		}
		// Odd numbers fail; those of them that are 3 of 4 are reads.
		if got := count(t, failures, `"resultType":"50126"`); got != 30 || len(failures) != 45 {
			t.Errorf("%d failures among %d events, want 30 among 45", got, len(failures))
		}
		if got := telemetry.Sum(w.metrics.SourceUnrouted); got != 15 {
			t.Errorf("%v events without a route, want the 15 quick reads", got)
		}
		if got := w.outcomes("routes[0]"); got != "90 0 0 0" {
			t.Errorf("outcomes of the first route %s", got)
		}
	})
}

func TestDropEndsTheWayOfAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := routed(t, 120, []string{"all", "rest"}, []config.Route{
			{Where: `true`, To: []string{"all"}},
			{Where: `log_type == "storage_read"`, Drop: true},
			{Where: `event.user.name == "eve"`, Schema: "ecs", Drop: true},
			{To: []string{"rest"}},
		}, nil)
		if got := len(w.sinks["all"].data()); got != 120 {
			t.Errorf("%d events above the drop, want 120", got)
		}
		rest := w.sinks["rest"].data()
		if count(t, rest, "StorageRead") != 0 || count(t, rest, "eve@") != 0 || len(rest) != 60 {
			t.Errorf("%d events below the drops, want the 60 sign-ins of ann and bob", len(rest))
		}
		if got := telemetry.Sum(w.metrics.SourceUnrouted); got != 0 {
			t.Errorf("%v events count as without a route; they were dropped", got)
		}
		if got := w.outcomes("routes[1]"); got != "0 30 0 0" {
			t.Errorf("outcomes of the drop %s", got)
		}
	})
}

func TestSampleTreatsARepeatAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func() []string {
			w := routed(t, 2000, []string{"few"}, []config.Route{{Sample: 10, To: []string{"few"}}}, nil)
			list := w.sinks["few"].data()
			slices.Sort(list)
			return list
		}
		first, second := run(), run()
		if len(first) < 140 || len(first) > 260 {
			t.Errorf("%d of 2000 events, want about one in ten", len(first))
		}
		if !slices.Equal(first, second) {
			t.Error("the second run chose other events")
		}
	})
}

func TestRedactedEventsHoldNothingPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := routed(t, 40, []string{"private", "open"}, []config.Route{
			{
				Where: `event.user.email endsWith "@contoso.example"`, Schema: "ecs", To: []string{"private"},
				Redact: config.Redact{
					Remove: []string{"user.name", "related", "azure", "source.ip", "client.ip", "source.address"},
					Hash:   []string{"user.email"}, Key: "k",
				},
			},
			{Schema: "ecs", To: []string{"open"}},
		}, nil)
		private, open := w.sinks["private"].data(), w.sinks["open"].data()
		if len(private) != 30 || len(open) != 40 {
			t.Fatalf("%d private and %d open events, want 30 and 40", len(private), len(open))
		}
		for _, data := range private {
			if strings.Contains(data, "contoso.example") && !strings.Contains(data, `"domain":"contoso.example"`) || strings.Contains(data, "192.0.2.") || strings.Contains(data, `"original"`) || !strings.Contains(data, `"email":"hmac:`) {
				t.Fatalf("not redacted: %s", data)
			}
		}
		if count(t, open, "192.0.2.") != 30 || count(t, open, `"original"`) != 40 {
			t.Error("what is redacted on one route is gone on another")
		}
	})
}

func TestAConditionWithoutAnAnswerKeepsTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := routed(t, 8, []string{"out"}, []config.Route{
			{Where: `record.category * 2 > 1`, Drop: true},
			{Where: `record.category * 2 > 1`, To: []string{"out"}},
		}, nil)
		if got := len(w.sinks["out"].data()); got != 8 {
			t.Errorf("%d events, want 8", got)
		}
		if got := w.outcomes("routes[0]"); got != "0 0 0 8" {
			t.Errorf("outcomes %s, want 8 errors", got)
		}
	})
}

func TestSelectedEventsSurviveAFailingSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		w := routed(t, 400, []string{"a", "b"}, []config.Route{
			{Where: `record.resultType == "0"`, To: []string{"a"}},
			{Where: `log_type == "storage_read"`, To: []string{"a", "b"}},
		}, func(w *world) {
			w.sinks["a"].fail = func([]event.Event) error {
				if tries++; tries%3 != 0 {
					return errors.New("not now")
				}
				return nil
			}
		})
		if a, b := len(w.sinks["a"].data()), len(w.sinks["b"].data()); a != 300 || b != 100 {
			t.Errorf("%d and %d events, want 300 and 100", a, b)
		}
	})
}

func TestAnEventTooDeepToRedactStaysHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "out")
		deep := `{"time":"2026-01-01T00:00:00Z","category":"Odd","a":` + strings.Repeat(`{"a":`, 511) + `"secret"` + strings.Repeat(`}`, 511) + `}`
		routes := []config.Route{{
			Name: "private", From: []string{"hub"}, Schema: "ecs", To: []string{"out"}, Redact: config.Redact{Remove: []string{"user.name"}},
		}}
		if err := w.pipeline(t, &hub{once: true, partitions: [][]string{{deep, `{"category":"Odd"}`}}}, &memory{}, routes, nil).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.sinks["out"].data(); len(got) != 1 || strings.Contains(got[0], "secret") {
			t.Errorf("delivered %.300q", got)
		}
		if letters := w.lettersLeft(t); len(letters) != 1 || letters[0].Class != "too_deep" {
			t.Errorf("dead letters %+v, want the deep one", letters)
		}
	})
}
