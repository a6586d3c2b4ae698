package elasticsearch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/elasticsearch/elastictest"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest/victoriatest"
)

func open(t testing.TB, change func(*Config)) (*Sink, *elastictest.Server, *sinktest.Server) {
	t.Helper()
	elastic := elastictest.New()
	server := sinktest.NewServer(t, elastic, nil)
	cfg := DefaultConfig()
	cfg.URLs = []string{server.URL}
	if change != nil {
		change(cfg)
	}
	var r config.Report
	if cfg.Validate(&r); len(r.Problems) > 0 {
		t.Fatalf("the configuration of the test is wrong: %+v", r.Problems)
	}
	s, err := New(*cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s, elastic, server
}

func TestContract(t *testing.T) {
	for _, compression := range []string{"gzip", "none"} {
		t.Run(compression, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				s, elastic, server := open(t, func(c *Config) { c.Compression = compression })
				return sinktest.Harness{
					Sink: s, // no Repeats: an event is there once, whatever happens
					Received: func(*testing.T) (out []string) {
						for _, d := range elastic.Documents() {
							out = append(out, strings.Replace(string(d.Source), `"data_stream":{"type":"logs","dataset":"azure.entra_signin","namespace":"default"},`, "", 1))
						}
						return out
					},
					Faults: sinktest.Faults{
						Throttle: func(n int, after time.Duration) { elastic.Fail(n, http.StatusTooManyRequests, after) },
						Fail:     func(n int) { elastic.Fail(n, http.StatusBadGateway, 0) },
						Refuse:   elastic.Refuse,
						Hang:     elastic.Hang,
						Cut:      elastic.Cut,
						Down:     server.Down,
					},
				}
			})
		})
	}
}

func TestItemsFailAlone(t *testing.T) {
	s, elastic, _ := open(t, nil)
	for _, status := range []int{429, 503} {
		events := sinktest.Events(fmt.Sprint("a", status), 10, 300)
		elastic.FailItems(4, status)
		err := s.Deliver(t.Context(), events)
		var partial *sink.PartialError
		if !errors.As(err, &partial) || len(partial.Failed) != 4 || errors.Is(partial.Failed[0], sink.ErrRejected) {
			t.Fatalf("status %d: Deliver() = %v; want 4 to be tried again", status, err)
		}
		if err := s.Deliver(t.Context(), events); err != nil { // six come again
			t.Fatal(err)
		}
	}
	if stored, conflicts := elastic.Count(); stored != 20 || conflicts != 12 {
		t.Errorf("%d documents, %d conflicts; want 20 and 12", stored, conflicts)
	}
}

// A field that is an object here and a text there costs only its own document.
func TestMappingConflicts(t *testing.T) {
	s, elastic, _ := open(t, nil)
	doc := func(id, x string) event.Event {
		return event.Event{ID: event.ID(id), Schema: "ecs", LogType: "a", Data: []byte(`{"@timestamp":"2026-01-02T12:00:00Z","x":` + x + `}`)}
	}
	err := s.Deliver(t.Context(), []event.Event{doc("1", `{"y":1}`), doc("2", `"text"`), doc("3", `{"y":2}`)})
	var partial *sink.PartialError
	if !errors.As(err, &partial) || len(partial.Failed) != 1 || !errors.Is(partial.Failed[1], sink.ErrRejected) || !strings.Contains(partial.Failed[1].Error(), "object mapping") {
		t.Fatalf("Deliver() = %v; want the second rejected, with the reason", err)
	}
	if n := len(elastic.Documents()); n != 2 {
		t.Errorf("%d documents, want 2", n)
	}
}

// A request that is refused as a whole costs only the event that is to blame, once
// the server has shown that it takes bulk requests.
func TestARequestIsBad(t *testing.T) {
	s, elastic, _ := open(t, nil)
	elastic.Unreadable = "bad-7\""
	events := sinktest.Events("bad", 20, 300)
	if err := s.Deliver(t.Context(), events); err == nil || errors.Is(err, sink.ErrRejected) {
		t.Fatalf("Deliver() = %v; want to be tried again, since it can be a server without a bulk API", err)
	}
	if err := s.Deliver(t.Context(), sinktest.Events("good", 1, 300)); err != nil {
		t.Fatal(err)
	}
	err := s.Deliver(t.Context(), events)
	var partial *sink.PartialError
	if !errors.As(err, &partial) || len(partial.Failed) != 1 || !errors.Is(partial.Failed[7], sink.ErrRejected) || !strings.Contains(partial.Failed[7].Error(), "cannot read") {
		t.Fatalf("Deliver() = %v; want one rejected, with the reason", err)
	}
	if stored, conflicts := elastic.Count(); stored != 20 || conflicts != 0 {
		t.Errorf("%d documents, %d conflicts; want 20 and 0", stored, conflicts)
	}
}

// VictoriaLogs refuses a request as a whole for one line that is too long for it.
func TestALineTooLongForVictoriaLogs(t *testing.T) {
	server := victoriatest.Start(t)
	s, _, _ := open(t, func(c *Config) {
		c.URLs = []string{server.URL + "/insert/elasticsearch"}
		c.Headers = map[string]config.Secret{"VL-Time-Field": "@timestamp", "VL-Msg-Field": "message"}
	})
	events := sinktest.Events("a", 20, 300)
	events[12] = sinktest.Events("long", 1, 300_000)[0]
	if err := s.Deliver(t.Context(), events[:1]); err != nil {
		t.Fatal(err)
	}
	err := s.Deliver(t.Context(), events[1:])
	var partial *sink.PartialError
	if !errors.As(err, &partial) || len(partial.Failed) != 1 || !errors.Is(partial.Failed[11], sink.ErrRejected) {
		t.Fatalf("Deliver() = %v; want the long one rejected", err)
	}
	server.Wait(t, 19)
}

func TestDocuments(t *testing.T) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 1, time.UTC)
	long := strings.Repeat("x", 600)
	for _, tc := range []struct {
		name          string
		e             event.Event
		index         string
		wantIndex, id string
		data          string
	}{
		{
			name: "ECS", e: event.Event{ID: "1", Schema: "ecs", LogType: "entra_signin", Dataset: "azure.signinlogs", Data: []byte(`{"@timestamp":"2026-01-02T12:00:00Z","a":1}`)},
			wantIndex: "logs-azure.signinlogs-default", id: "1", data: `{"data_stream":{"type":"logs","dataset":"azure.signinlogs","namespace":"default"},"@timestamp":"2026-01-02T12:00:00Z","a":1}`,
		},
		{
			name: "the user's data stream", e: event.Event{ID: "1", Schema: "ecs", LogType: "a", Data: []byte(`{"@timestamp":"2026-01-02T12:00:00Z","data_stream":{"dataset":"b"}}`)},
			wantIndex: "logs-azure.a-default", id: "1", data: `{"@timestamp":"2026-01-02T12:00:00Z","data_stream":{"dataset":"b"}}`,
		},
		{
			name: "what is only called alike", e: event.Event{ID: "1", Schema: "ecs", LogType: "a", Data: []byte(`{"_":"_","data_streams":1,"a_data_stream":"data_stream","@timestamp":"2026-01-02T12:00:00Z"}`)},
			wantIndex: "logs-azure.a-default", id: "1",
			data: `{"data_stream":{"type":"logs","dataset":"azure.a","namespace":"default"},"_":"_","data_streams":1,"a_data_stream":"data_stream","@timestamp":"2026-01-02T12:00:00Z"}`,
		},
		{
			name: "known to lack one", e: event.Event{ID: "1", Schema: "ecs", LogType: "a", LacksDataStream: true, Data: []byte(`{"@timestamp":"2026-01-02T12:00:00Z","a":{"data_stream":1}}`)},
			wantIndex: "logs-azure.a-default", id: "1",
			data: `{"data_stream":{"type":"logs","dataset":"azure.a","namespace":"default"},"@timestamp":"2026-01-02T12:00:00Z","a":{"data_stream":1}}`,
		},
		{
			name: "no data stream", e: event.Event{ID: "1", Schema: "ecs", LogType: "a", Data: []byte(`{"@timestamp":"2026-01-02T12:00:00Z"}`)},
			index: "logs-azure-of-{tenant}", wantIndex: "logs-azure-of-none", id: "1", data: `{"@timestamp":"2026-01-02T12:00:00Z"}`,
		},
		{
			name: "OCSF", e: event.Event{ID: "1", Schema: "ocsf", LogType: "a", Data: []byte(`{"@timestamp":"2026-01-02T12:00:00Z"}`)},
			wantIndex: "logs-azure.a-default", id: "ocsf:1", data: `{"@timestamp":"2026-01-02T12:00:00Z"}`,
		},
		{
			name: "timestamp elsewhere", e: event.Event{ID: "1", Schema: "ecs", LogType: "A-b C", Data: []byte(`{"a":1,"@timestamp":"2026-01-02T12:00:00Z"}`)},
			wantIndex: "logs-azure.a_b_c-default", id: "1", data: `{"data_stream":{"type":"logs","dataset":"azure.a_b_c","namespace":"default"},"a":1,"@timestamp":"2026-01-02T12:00:00Z"}`,
		},
		{
			name: "raw", e: event.Event{ID: `q"1`, Time: at, Schema: "raw", LogType: "unknown", Data: []byte(`{"a":{"@timestamp":1}}`), Origin: &event.Origin{Source: "Hub/1"}},
			index: "x-{schema}-{source}-{tenant}", wantIndex: "x-raw-hub_1-none", id: `raw:q"1`, data: `{"@timestamp":"2026-01-02T12:00:00.000000001Z","a":{"@timestamp":1}}`,
		},
		{
			name: "empty document, long id", e: event.Event{ID: event.ID(long), Time: at, Schema: "ecs", LogType: "a", Data: []byte(`{}`)},
			wantIndex: "logs-azure.a-default", id: "", data: `{"data_stream":{"type":"logs","dataset":"azure.a","namespace":"default"},"@timestamp":"2026-01-02T12:00:00.000000001Z"}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, elastic, _ := open(t, func(c *Config) {
				if tc.index != "" {
					c.Index = tc.index
				}
			})
			if err := s.Deliver(t.Context(), []event.Event{tc.e}); err != nil {
				t.Fatal(err)
			}
			got := elastic.Documents()[0]
			if got.Index != tc.wantIndex || string(got.Source) != tc.data || tc.id != "" && got.ID != tc.id || tc.id == "" && len(got.ID) != 64 {
				t.Errorf("document is %s %s %s\nwant %s %s %s", got.Index, got.ID, got.Source, tc.wantIndex, tc.id, tc.data)
			}
		})
	}
}

// One record in two schemas is two documents, also in one index.
func TestSchemasAreNoRepeats(t *testing.T) {
	s, elastic, _ := open(t, nil)
	ecs, raw := sinktest.Events("a", 1, 300)[0], sinktest.Events("a", 1, 300)[0]
	raw.Schema = "raw"
	if err := s.Deliver(t.Context(), []event.Event{ecs, raw}); err != nil {
		t.Fatal(err)
	}
	if n := len(elastic.Documents()); n != 2 {
		t.Errorf("%d documents, want 2", n)
	}
}

func TestRequestsAreHalvedOn413(t *testing.T) {
	s, elastic, _ := open(t, func(c *Config) { c.Compression = "none" })
	elastic.MaxBody = 3000
	events := sinktest.Events("a", 20, 300)
	events[7] = sinktest.Events("large", 1, 5000)[0]
	err := s.Deliver(t.Context(), events)
	var partial *sink.PartialError
	if !errors.As(err, &partial) || len(partial.Failed) != 1 || !errors.Is(partial.Failed[7], sink.ErrRejected) {
		t.Fatalf("Deliver() = %v; want the large one rejected", err)
	}
	if n := len(elastic.Documents()); n != 19 {
		t.Errorf("%d documents, want 19", n)
	}
}

func TestTheTemplateIsInstalledFirst(t *testing.T) {
	s, elastic, _ := open(t, func(c *Config) { c.InstallTemplate = true })
	elastic.Fail(1, 403, 0)
	err := s.Deliver(t.Context(), sinktest.Events("a", 1, 300))
	var known *sink.RemedyError
	if !errors.As(err, &known) || !strings.Contains(known.Remedy, "manage_index_templates") {
		t.Errorf("Deliver() = %v; want the privilege named", err)
	}
	if err := s.Deliver(t.Context(), sinktest.Events("a", 1, 300)); err != nil {
		t.Fatal(err)
	}
	var template struct {
		IndexPatterns []string        `json:"index_patterns"`
		DataStream    *map[string]any `json:"data_stream"`
	}
	if err := json.Unmarshal(elastic.Template("lazuli"), &template); err != nil || fmt.Sprint(template.IndexPatterns) != "[logs-azure*-* logs-m365_*-* logs-microsoft_*-*]" || template.DataStream == nil {
		t.Errorf("template is %s, %v", elastic.Template("lazuli"), err)
	}
}

// The names of data streams are those that Elastic's rules and dashboards look
// in, and the template is for all of them.
func TestTemplateIsForEveryDataset(t *testing.T) {
	tables, err := filepath.Glob("../../normalize/mappings/ecs/*.yaml")
	if err != nil || len(tables) == 0 {
		t.Fatalf("found %d tables: %v", len(tables), err)
	}
	s, _, _ := open(t, nil)
	for _, name := range tables {
		table, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`to: event\.dataset, value: ([^,} ]+)`).FindAllSubmatch(table, -1) {
			index := s.target(&event.Event{Dataset: string(m[1])}).index
			if want := "logs-" + string(m[1]) + "-default"; index != want {
				t.Errorf("%s: index %s, want %s", filepath.Base(name), index, want)
			}
			if !slices.ContainsFunc(s.patterns(), func(p string) bool { ok, _ := path.Match(p, index); return ok }) {
				t.Errorf("%s: %s fits none of %v", filepath.Base(name), index, s.patterns())
			}
		}
	}
}

// An integration's own pipeline expects records, not events.
func TestPipeline(t *testing.T) {
	for _, want := range []string{DefaultConfig().Pipeline, "geo & more", ""} {
		s, elastic, _ := open(t, func(c *Config) { c.Pipeline = want })
		if err := s.Deliver(t.Context(), sinktest.Events("a", 1, 300)); err != nil {
			t.Fatal(err)
		}
		if got := elastic.Documents()[0].Pipeline; got != want {
			t.Errorf("pipeline %q, want %q", got, want)
		}
	}
	if DefaultConfig().Pipeline != "_none" {
		t.Errorf("the default pipeline is %q", DefaultConfig().Pipeline)
	}
}

func TestNodesAreTriedInTurn(t *testing.T) {
	s, elastic, server := open(t, nil)
	s.cfg.URLs = []string{"http://127.0.0.1:1", server.URL}
	if err := s.Deliver(t.Context(), sinktest.Events("a", 1, 300)); err == nil {
		t.Error("Deliver() to a node that is not there = nil")
	}
	for range 3 {
		if err := s.Deliver(t.Context(), sinktest.Events("a", 1, 300)); err != nil {
			t.Errorf("Deliver() = %v; want the other node used", err)
		}
	}
	if stored, _ := elastic.Count(); stored != 1 {
		t.Errorf("%d documents, want 1", stored)
	}
}

func TestCredentials(t *testing.T) {
	for name, tc := range map[string]struct {
		header string
		change func(*Config)
	}{
		"API key": {"ApiKey a2V5", func(c *Config) { c.APIKey = "a2V5" }},
		"basic":   {"Basic dXNlcjpodW50ZXIy", func(c *Config) { c.Username, c.Password = "user", "hunter2" }},
		"header":  {"Bearer hunter2", func(c *Config) { c.Headers = map[string]config.Secret{"Authorization": "Bearer hunter2"} }},
	} {
		s, elastic, _ := open(t, tc.change)
		elastic.Authorization = tc.header
		if err := s.Deliver(t.Context(), sinktest.Events("a", 1, 300)); err != nil {
			t.Errorf("%s: Deliver() = %v", name, err)
		}
		elastic.Authorization = "other"
		err := s.Deliver(t.Context(), sinktest.Events("b", 1, 300))
		var known *sink.RemedyError
		if !errors.As(err, &known) || !known.Person || strings.Contains(fmt.Sprint(err), "hunter2") || strings.Contains(fmt.Sprint(err), "a2V5") {
			t.Errorf("%s: a wrong credential: %v; want a person to act, and no secret", name, err)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, body := range []string{``, `{}`, `<html>`, `{"errors":true}`, `{"errors":true,"items":[{"index":{"status":201}}]}`, `{"errors":true,"items":[]}`} {
		if failed, err := readAnswer([]byte(body), 1); err == nil {
			t.Errorf("readAnswer(%q) = %v; want an error", body, failed)
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"errors":true,"items":[{"create":{"status":400,"error":{"type":"a","reason":"b"}}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if failed, err := readAnswer(body, 1); err == nil && len(failed) > 1 {
			t.Errorf("readAnswer(%q) = %v for one document", body, failed)
		}
	})
}

func TestMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		at     string
	}{
		"good":             {func(*Config) {}, ""},
		"password in URL":  {func(c *Config) { c.URLs = []string{"https://u:p@a:9200"} }, "urls[0]"},
		"two credentials":  {func(c *Config) { c.APIKey, c.Username, c.Password = "a", "b", "c" }, "api_key"},
		"half a pair":      {func(c *Config) { c.Username = "b" }, "username"},
		"placeholder":      {func(c *Config) { c.Index = "a-{day}" }, "index"},
		"a header's name":  {func(c *Config) { c.Headers = map[string]config.Secret{"a b": "c"} }, "headers.a b"},
		"upper case":       {func(c *Config) { c.Index = "Logs" }, "index"},
		"hidden":           {func(c *Config) { c.Index = "_logs" }, "index"},
		"no index":         {func(c *Config) { c.Index = "" }, "index"},
		"namespace hyphen": {func(c *Config) { c.Namespace = "a-b" }, "namespace"},
	} {
		c := DefaultConfig()
		c.URLs = []string{"https://a:9200"}
		tc.change(c)
		var r config.Report
		c.Validate(&r)
		if tc.at == "" && len(r.Problems) > 0 || tc.at != "" && (len(r.Problems) == 0 || r.Problems[0].Path != tc.at) {
			t.Errorf("%s: problems %+v, want one at %q", name, r.Problems, tc.at)
		}
	}
}
