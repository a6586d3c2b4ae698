package splunkhec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
	"github.com/lazuli-logs/lazuli/internal/sink/splunkhec/splunktest"
)

const token = "8a7c0f5e-hunter2"

func open(t testing.TB, change func(*Config)) (*Sink, *splunktest.Server, *sinktest.Server) {
	t.Helper()
	splunk := splunktest.New(token)
	server := sinktest.NewServer(t, splunk, nil)
	cfg := DefaultConfig()
	cfg.URL, cfg.Token, cfg.AckPoll = server.URL, token, config.Duration(10*time.Millisecond)
	if change != nil {
		change(cfg)
	}
	splunk.Acks = cfg.Ack
	var r config.Report
	if cfg.Validate(&r); len(r.Problems) > 0 {
		t.Fatalf("the configuration of the test is wrong: %+v", r.Problems)
	}
	s, err := New(*cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s, splunk, server
}

func TestContract(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"event": nil,
		"raw":   func(c *Config) { c.Endpoint, c.Compression = "raw", "none" },
		"ack":   func(c *Config) { c.Ack = true },
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				s, splunk, server := open(t, change)
				splunk.AckAfter = 2
				h := sinktest.Harness{
					Sink: s, Repeats: true,
					Received: func(*testing.T) (out []string) {
						for _, e := range splunk.Events() {
							out = append(out, string(e.Event))
						}
						return out
					},
					Faults: sinktest.Faults{
						Throttle: func(n int, after time.Duration) { splunk.Fail(n, 503, 9, after) },
						Fail:     func(n int) { splunk.Fail(n, 500, 8, 0) },
						Refuse:   splunk.Refuse,
						Hang:     splunk.Hang,
						Cut:      splunk.Cut,
						Down:     server.Down,
					},
				}
				if name == "raw" {
					h.Faults.Refuse = nil
					h.Lacks = map[sinktest.Fault]string{sinktest.Refuse: "the endpoint raw takes any bytes"}
				}
				return h
			})
		})
	}
}

// What the indexer lost before it was on its disk is not confirmed, and is sent
// again.
func TestWhatIsNotAcknowledgedIsSentAgain(t *testing.T) {
	s, splunk, _ := open(t, func(c *Config) { c.Ack = true })
	splunk.Lose(1)
	events := sinktest.Events("a", 5, 300)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Deliver(ctx, events); err == nil || errors.Is(err, sink.ErrRejected) {
		t.Fatalf("Deliver() = %v although nothing was acknowledged", err)
	}
	if n := splunk.Count(); n != 0 {
		t.Fatalf("%d events are indexed", n)
	}
	if err := s.Deliver(t.Context(), events); err != nil || splunk.Count() != 5 {
		t.Errorf("Deliver() again = %v, %d events; want 5", err, splunk.Count())
	}
}

func TestEvents(t *testing.T) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 123456789, time.UTC)
	e := event.Event{ID: `q"1`, Time: at, LogType: "azure_activity", Data: []byte(`{"é":9007199254740993}`), Origin: &event.Origin{Source: "hub"}}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"event": {want: `1767355200.123456||azure:lazuli|hub||map[event_id:q"1 log_type:azure_activity]|{"é":9007199254740993}`},
		"configured": {
			change: func(c *Config) {
				c.Index, c.Source, c.Host = "azure", "lazuli", "h1"
				c.Sourcetypes = map[string]string{"azure_activity": "azure:monitor:activity"}
			},
			want: `1767355200.123456|azure|azure:monitor:activity|lazuli|h1|map[event_id:q"1 log_type:azure_activity]|{"é":9007199254740993}`,
		},
		"raw": {
			change: func(c *Config) { c.Endpoint, c.Index, c.Host = "raw", "azure", "a b&c" },
			want:   `|azure|azure:lazuli||a b&c|map[]|{"é":9007199254740993}`,
		},
	} {
		s, splunk, _ := open(t, tc.change)
		if err := s.Deliver(t.Context(), []event.Event{e}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		g := splunk.Events()[0]
		if got := fmt.Sprintf("%s|%s|%s|%s|%s|%v|%s", g.Time, g.Index, g.Sourcetype, g.Source, g.Host, g.Fields, g.Event); got != tc.want {
			t.Errorf("%s: %s\nwant %s", name, got, tc.want)
		}
	}
}

func TestCodesNameTheRemedy(t *testing.T) {
	for _, tc := range []struct {
		status, code int
		remedy       string
		person       bool
	}{
		{403, 1, "enable the token", true},
		{403, 4, "check token", true},
		{400, 7, "index", true},
		{400, 10, "acknowledgement", true},
		{503, 18, "queues", false},
		{503, 20, "queues", false},
		{404, 404, "URL", true},
	} {
		s, splunk, _ := open(t, nil)
		splunk.Fail(1, tc.status, tc.code, 0)
		err := s.Deliver(t.Context(), sinktest.Events("a", 2, 300))
		var known *sink.RemedyError
		if !errors.As(err, &known) || !strings.Contains(known.Remedy, tc.remedy) || known.Person != tc.person || errors.Is(err, sink.ErrRejected) {
			t.Errorf("status %d, code %d: %v, %+v; want a remedy with %q", tc.status, tc.code, err, known, tc.remedy)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("status %d: %v shows the token", tc.status, err)
		}
	}
	s, splunk, _ := open(t, func(c *Config) { c.Ack = true })
	splunk.Acks = false
	var known *sink.RemedyError
	if err := s.Deliver(t.Context(), sinktest.Events("a", 1, 300)); !errors.As(err, &known) || !strings.Contains(known.Remedy, "ack: false") {
		t.Errorf("without acknowledgement: %v, want the remedy", err)
	}
	s, splunk, _ = open(t, func(c *Config) { c.Token = "wrong-hunter2" })
	if err := s.Deliver(t.Context(), sinktest.Events("a", 1, 300)); !errors.As(err, &known) || strings.Contains(err.Error(), "hunter2") || splunk.Count() > 0 {
		t.Errorf("with a wrong token: %v", err)
	}
}

func TestRequestsAreHalved(t *testing.T) {
	s, splunk, _ := open(t, nil)
	splunk.Fail(3, 413, 27, 0)
	if err := s.Deliver(t.Context(), sinktest.Events("a", 8, 300)); err != nil || splunk.Count() != 8 {
		t.Errorf("after 413: %v, %d events; want 8", err, splunk.Count())
	}
	splunk.Fail(2, 400, 6, 0) // without saying which
	if err := s.Deliver(t.Context(), sinktest.Events("b", 8, 300)); err != nil || splunk.Count() != 16 {
		t.Errorf("after 400: %v, %d events; want 16", err, splunk.Count())
	}
}

func TestMistakes(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"":            func(*Config) {},
		"url":         func(c *Config) { c.URL = "https://a:8088/services/collector" },
		"sourcetypes": func(c *Config) { c.Endpoint, c.Sourcetypes = "raw", map[string]string{"a": "b"} },
	} {
		c := DefaultConfig()
		c.URL, c.Token = "https://a:8088", "t"
		change(c)
		var r config.Report
		c.Validate(&r)
		if want == "" && len(r.Problems) > 0 || want != "" && (len(r.Problems) != 1 || r.Problems[0].Path != want) {
			t.Errorf("problems %+v, want one at %q", r.Problems, want)
		}
	}
}
