package azuremonitor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/azuresim/entra"
	"github.com/lazuli-logs/lazuli/internal/azuresim/ingestion"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

const (
	tenantID = "5f7f3c5e-2b0e-4d3c-9a51-6b1f0c8f2a11"
	clientID = "b8a3d5f0-7c44-4f0e-8d6a-2f4b9c1e7d22"
	ruleID   = "dcr-0123456789abcdef0123456789abcdef"
)

type counter struct{ atomic.Int64 }

func (c *counter) Truncated(n int) { c.Add(int64(n)) }

// bench is a sink and the simulated Azure that it sends to.
type bench struct {
	sink      *Sink
	azure     *ingestion.Server
	entra     *entra.Server
	server    *sinktest.Server
	truncated counter
}

func open(t testing.TB, change func(*Config), options func(*ingestion.Options)) *bench {
	t.Helper()
	authority, err := ca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := authority.WriteFile(caFile); err != nil {
		t.Fatal(err)
	}
	b := &bench{}
	if b.entra, err = entra.New(entra.Options{Apps: []entra.App{{TenantID: tenantID, ClientID: clientID, Secrets: []entra.Secret{{Value: "good"}}}}}); err != nil {
		t.Fatal(err)
	}
	o := ingestion.Options{
		Rules: []ingestion.Rule{{ID: ruleID, Streams: []ingestion.Stream{
			{Name: "Custom-A_CL", Table: "A_CL"}, {Name: "Custom-Aux_CL", Table: "Aux_CL", Auxiliary: true},
		}}},
		VerifyToken: func(token string) error { return b.entra.Verify(token, "https://monitor.azure.com") },
		KeepBytes:   -1,
	}
	if options != nil {
		options(&o)
	}
	b.azure = ingestion.New(o)
	routes := http.NewServeMux()
	routes.Handle(ingestion.Path, b.azure)
	routes.Handle("/", b.entra)
	var serverTLS *tls.Config
	if serverTLS, err = authority.ServerConfig("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	b.server = sinktest.NewServer(t, routes, serverTLS)
	tenantConfig := config.DefaultTenant()
	tenantConfig.TenantID, tenantConfig.CAFile, tenantConfig.Endpoints.Authority = tenantID, config.Path(caFile), b.server.URL
	tenantConfig.Credential.ClientID, tenantConfig.Credential.ClientSecret = clientID, "good"
	tenant, err := azure.NewTenant("contoso", tenantConfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Tenant, cfg.Endpoint, cfg.Rule, cfg.Stream = "contoso", b.server.URL, ruleID, "Custom-A_CL"
	if change != nil {
		change(cfg)
	}
	b.sink, err = New(*cfg, Deps{
		Tenant: tenant, Limiter: NewLimiter(cfg.Limits), Logger: slog.New(slog.DiscardHandler), Metrics: &b.truncated, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) received() (out []string) {
	for _, r := range b.azure.Rows("") {
		out = append(out, string(r.Data))
	}
	return out
}

// row is how the suite's events look as rows.
func row(e event.Event) string {
	return `{"TimeGenerated":"` + e.Time.UTC().Format(timeForm) + `",` + string(e.Data[1:])
}

func TestContract(t *testing.T) {
	for _, compression := range []string{"gzip", "none"} {
		t.Run(compression, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				b := open(t, func(c *Config) { c.Compression = compression }, nil)
				faults := &b.azure.Faults
				return sinktest.Harness{
					Sink: b.sink, Form: row, Repeats: true,
					Limit:    maxCall - len(`[]`) - len(`"TimeGenerated":"2026-01-02T12:00:00.1234567Z",`),
					Received: func(*testing.T) []string { return b.received() },
					Faults: sinktest.Faults{
						Throttle: func(n int, after time.Duration) { faults.Fail(n, http.StatusTooManyRequests, after) },
						Fail:     func(n int) { faults.Fail(n, http.StatusInternalServerError, 0) },
						Refuse:   func(prefix string) { faults.Refuse(`"id":"` + prefix) },
						Hang:     faults.Hang,
						Cut:      faults.Cut,
						Down:     b.server.Down,
					},
				}
			})
		})
	}
}

// Calls are filled to the last byte that Azure takes.
func TestCallsAreExactlyFull(t *testing.T) {
	b := open(t, func(c *Config) { c.Compression = "none"; c.MaxField = 1 << 20 }, nil)
	at := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	overhead := len(`{"TimeGenerated":"2026-01-02T12:00:00Z","A":""}`)
	sized := func(id string, row int) event.Event {
		return event.Event{ID: event.ID(id), Time: at, Data: []byte(`{"A":"` + id + strings.Repeat("x", row-overhead-len(id)) + `"}`)}
	}
	const half = maxCall/2 - 2 // two of them, a comma and the brackets: one byte less than a call
	for _, tc := range []struct {
		name  string
		rows  []int
		calls int64
	}{
		{"a byte of room", []int{half, half}, 1},
		{"full", []int{half + 1, half}, 1},
		{"a byte too many", []int{half + 1, half + 1}, 2},
		{"one full row", []int{maxCall - 2}, 1},
		{"one full row among others", []int{1000, maxCall - 2, 1000}, 3},
	} {
		before := b.azure.Totals()
		var events []event.Event
		for i, size := range tc.rows {
			events = append(events, sized(fmt.Sprint(i), size))
		}
		if err := b.sink.Deliver(t.Context(), events); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		after := b.azure.Totals()
		if calls := after.Calls - before.Calls; calls != tc.calls || after.Accepted-before.Accepted != tc.calls {
			t.Errorf("%s: %d calls, %d accepted; want %d", tc.name, calls, after.Accepted-before.Accepted, tc.calls)
		}
	}
	if err := b.sink.Deliver(t.Context(), []event.Event{sized("a", maxCall-1)}); !rejected(err, 0) {
		t.Errorf("a row of a byte too many: %v; want it rejected without a call", err)
	}
	if n := b.azure.Totals().Refused; len(n) > 0 {
		t.Errorf("refused %v; the sink must know the limit", n)
	}
}

func rejected(err error, index int) bool {
	var partial *sink.PartialError
	return errors.As(err, &partial) && errors.Is(partial.Failed[index], sink.ErrRejected)
}

// A gateway may have a lower limit than Azure.
func TestCallsAreHalvedOn413(t *testing.T) {
	b := open(t, nil, nil)
	b.azure.Faults.Fail(3, http.StatusRequestEntityTooLarge, 0)
	events := sinktest.Events("a", 8, 300)
	if err := b.sink.Deliver(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	// 8 refused, 4 refused, 2 refused, 1, 1, 2, 4
	if n := b.azure.Totals(); n.Accepted != 4 || len(b.received()) != 8 {
		t.Errorf("%d calls accepted with %d rows; want 4 and 8", n.Accepted, len(b.received()))
	}
	b.azure.Faults.Fail(1, http.StatusRequestEntityTooLarge, 0)
	if err := b.sink.Deliver(t.Context(), events[:1]); !rejected(err, 0) {
		t.Errorf("a lone row with 413: %v; want it rejected", err)
	}
}

func TestOneBadRecordCostsFewCalls(t *testing.T) {
	b := open(t, nil, nil)
	b.azure.Faults.Refuse(`"id":"a-700"`)
	events := sinktest.Events("a", 1000, 300)
	err := b.sink.Deliver(t.Context(), events)
	var partial *sink.PartialError
	if !errors.As(err, &partial) || len(partial.Failed) != 1 || !rejected(err, 700) {
		t.Fatalf("Deliver() = %v; want event 700 alone rejected", err)
	}
	if text := partial.Failed[700].Error(); !strings.Contains(text, "cannot be converted") {
		t.Errorf("the reason is %q; want Azure's", text)
	}
	if n := len(b.received()); n != 999 {
		t.Errorf("%d rows, want 999", n)
	}
	if calls := b.azure.Totals().Calls; calls > 21 {
		t.Errorf("%d calls to find one of 1000; 21 are enough", calls)
	}
}

func TestAuxiliaryTables(t *testing.T) {
	at := time.Now().UTC().Add(-5 * time.Hour).Truncate(time.Second)
	var events []event.Event
	for i := range 40 { // out of order, over 4 hours
		e := sinktest.Events(fmt.Sprint("a", i), 1, 300)[0]
		e.Time = at.Add(time.Duration(i*7%40) * 6 * time.Minute)
		events = append(events, e)
	}
	for name, configured := range map[string]bool{"configured": true, "learned": false} {
		t.Run(name, func(t *testing.T) {
			b := open(t, func(c *Config) { c.Stream, c.Auxiliary = "Custom-Aux_CL", configured }, nil)
			for range 2 {
				if err := b.sink.Deliver(t.Context(), events); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(b.azure.Rows("Aux_CL")); n != 80 {
				t.Errorf("%d rows, want 80", n)
			}
			want := int64(1)
			if configured {
				want = 0
			}
			n := b.azure.Totals()
			if got := n.Refused["RecordsTimeRangeIsMoreThan30Minutes"]; got != want {
				t.Errorf("refused %d times for the time range, want %d", got, want)
			}
			if n.Accepted != 2*8 { // 5 rows, 24 minutes apart, in a call
				t.Errorf("%d calls, want 16", n.Accepted)
			}
		})
	}
}

func TestRows(t *testing.T) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 123456789, time.UTC)
	origin := &event.Origin{Source: "hub", Tenant: "contoso", TenantID: tenantID}
	long := strings.Repeat("é", 600)
	columns := map[string]string{
		"User": "user.name", "Ip": "source.ip", "Whole": "$document", "Text": "$text", "EventId": "$id", "LogType": "$log_type",
		"Shape": "$schema", "Origin": "$source", "Customer": "$tenant", "CustomerId": "$tenant_id", "Deep": "a.b.c",
	}
	for _, tc := range []struct {
		name, data, want string
		columns          map[string]string
		large            string // "" is truncate
		rejected         bool
		truncated        int64
	}{
		{name: "document", data: `{"a":1}`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","a":1}`},
		{name: "empty document", data: `{}`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z"}`},
		{name: "large numbers stay", data: `{"a":9007199254740993,"b":1e400}`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","a":9007199254740993,"b":1e400}`},
		{name: "its own time", data: `{"a":1,"TimeGenerated":"2026-01-02T10:00:00+02:00","b":2}`, want: `{"TimeGenerated":"2026-01-02T08:00:00Z","a":1,"b":2}`},
		{name: "its own time, twice", data: `{"TimeGenerated":"2026-01-01T00:00:00Z","a":1,"TimeGenerated":"2026-01-02T08:00:00Z"}`, want: `{"TimeGenerated":"2026-01-02T08:00:00Z","a":1}`},
		{name: "its own, no time", data: `{"a":1,"TimeGenerated":7}`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","a":1}`},
		{name: "deeper TimeGenerated", data: `{"a":{"TimeGenerated":7}}`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","a":{"TimeGenerated":7}}`},
		{name: "no document", data: `"text"`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","RawData":"\"text\""}`},
		{name: "long text", data: `{"a":"` + long + `","b":1}`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","a":"` + long[:1024] + `","b":1}`, truncated: 1},
		{name: "long text, odd", data: `{"a":"x` + long + `"}`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","a":"x` + long[:1022] + `"}`, truncated: 1},
		{name: "escapes do not count", data: `{"a":"` + strings.Repeat(`\u0041`, 1000) + `"}`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","a":"` + strings.Repeat(`\u0041`, 1000) + `"}`},
		{name: "long text rejected", data: `{"a":"` + long + `","b":1}`, large: "reject", rejected: true},
		{name: "long object", data: `{"a":{"b":"` + long + `"}}`, want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","a":{"b":"` + long + `"}}`, truncated: 1},
		{name: "long object rejected", data: `{"a":{"b":"` + long + `"}}`, large: "reject", rejected: true},
		{
			name: "columns", data: `{"user":{"name":"Zoë","id":1},"a":{"b":{"c":[1,2]}},"source":"x"}`, columns: columns,
			want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","Customer":"contoso","CustomerId":"` + tenantID + `","Deep":[1,2],"EventId":"id-1","LogType":"entra_signin",` +
				`"Origin":"hub","Shape":"ecs","Text":"{\"user\":{\"name\":\"Zoë\",\"id\":1},\"a\":{\"b\":{\"c\":[1,2]}},\"source\":\"x\"}","User":"Zoë",` +
				`"Whole":{"user":{"name":"Zoë","id":1},"a":{"b":{"c":[1,2]}},"source":"x"}}`,
		},
		{
			name: "columns without a document", data: `not JSON`, columns: map[string]string{"User": "user.name", "Whole": "$document", "Text": "$text"},
			want: `{"TimeGenerated":"2026-01-02T12:00:00.1234567Z","Text":"not JSON"}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := open(t, func(c *Config) {
				c.Columns, c.MaxField = tc.columns, 1024
				if tc.large != "" {
					c.LargeFields = tc.large
				}
			}, nil)
			err := b.sink.Deliver(t.Context(), []event.Event{{ID: "id-1", Time: at, LogType: "entra_signin", Schema: "ecs", Data: []byte(tc.data), Origin: origin}})
			if tc.rejected {
				if !rejected(err, 0) {
					t.Errorf("Deliver() = %v; want the event rejected", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := b.received(); len(got) != 1 || got[0] != tc.want {
				t.Errorf("row is\n%s\nwant\n%s", got, tc.want)
			}
			if !json.Valid([]byte(tc.want)) {
				t.Error("the row that is wanted is no JSON")
			}
			if n := b.truncated.Load(); n != tc.truncated {
				t.Errorf("counted %d truncated values, want %d", n, tc.truncated)
			}
		})
	}
}

func TestEventsWithoutATimeGetOne(t *testing.T) {
	b := open(t, nil, nil)
	if err := b.sink.Deliver(t.Context(), []event.Event{{Data: []byte(`{"a":1}`)}}); err != nil {
		t.Fatal(err)
	}
	if at := b.azure.Rows("")[0].TimeGenerated; time.Since(at) > time.Hour {
		t.Errorf("TimeGenerated is %v, want now", at)
	}
}

// After a 429 nobody sends until the time that Azure asked for has passed.
func TestThrottlingHoldsForTheWholeRule(t *testing.T) {
	b := open(t, nil, nil)
	b.azure.Faults.Fail(1, http.StatusTooManyRequests, 2*time.Minute)
	for range 3 {
		err := b.sink.Deliver(t.Context(), sinktest.Events("a", 1, 300))
		var throttled *sink.ThrottledError
		if !errors.As(err, &throttled) || throttled.After < time.Minute || throttled.After > 2*time.Minute {
			t.Fatalf("Deliver() = %v; want to wait for about two minutes", err)
		}
	}
	if n := len(b.received()); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

func TestTheRateIsKept(t *testing.T) {
	b := open(t, func(c *Config) { c.Limits = Limits{BytesPerMinute: 1 << 40, RequestsPerMinute: 40} }, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // a burst of two; the next in 1.5 s
	defer cancel()
	var errs []error
	for range 4 {
		if err := b.sink.Deliver(ctx, sinktest.Events("a", 1, 300)); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < 2 || errors.Is(errs[0], sink.ErrRejected) {
		t.Errorf("errors are %v; want the calls over the rate held back", errs)
	}
}

func TestRefusalsNameTheRemedy(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		fault  func(*bench)
		remedy string
		person bool
	}{
		{name: "no role", fault: func(b *bench) { b.azure.Faults.Deny(true) }, remedy: `az role assignment create --assignee ` + clientID + ` --role "Monitoring Metrics Publisher"`, person: true},
		{name: "unknown rule", change: func(c *Config) { c.Rule = "dcr-00000000000000000000000000000000" }, remedy: "immutable id", person: true},
		{name: "unknown stream", change: func(c *Config) { c.Stream = "Custom-None_CL" }, remedy: "streamDeclarations", person: true},
		{name: "token for another audience", fault: func(b *bench) { b.azure.Faults.Fail(1, 401, 0) }, remedy: "cloud", person: true},
		{name: "down", fault: func(b *bench) { b.server.Addr = "" }, remedy: "TCP 443"},
		{name: "no sign-in", fault: func(b *bench) { b.entra.Faults.Fail(100, 401, 0) }, remedy: "client_secret", person: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := open(t, tc.change, nil)
			if tc.fault != nil {
				tc.fault(b)
			}
			if tc.name == "down" {
				if err := b.sink.Deliver(t.Context(), sinktest.Events("a", 1, 300)); err != nil {
					t.Fatal(err)
				}
				b.server.Down(t)
			}
			err := b.sink.Deliver(t.Context(), sinktest.Events("a", 1, 300))
			var known *sink.RemedyError
			if !errors.As(err, &known) || !strings.Contains(known.Remedy, tc.remedy) || known.Person != tc.person {
				t.Errorf("Deliver() = %v, %+v; want the remedy to name %q", err, known, tc.remedy)
			}
			if errors.Is(err, sink.ErrRejected) || strings.Contains(fmt.Sprint(err), "good") {
				t.Errorf("Deliver() = %v; want no rejection, and no secret", err)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	const whole = "https://a-1.westeurope-1.ingest.monitor.azure.com/dataCollectionRules/" + ruleID + "/streams/Custom-A_CL?api-version=2023-01-01"
	for _, tc := range []struct {
		name   string
		change func(*Config)
		at     string
	}{
		{"nothing", func(c *Config) {}, "endpoint"},
		{"url", func(c *Config) { c.URL = whole }, ""},
		{"url and rule", func(c *Config) { c.URL, c.Rule = whole, ruleID }, "url"},
		{"url without a stream", func(c *Config) { c.URL = strings.Replace(whole, "/streams/Custom-A_CL", "", 1) }, "url"},
		{"url over http", func(c *Config) { c.URL = strings.Replace(whole, "https", "http", 1) }, "url"},
		{"parts", func(c *Config) { c.Endpoint, c.Rule, c.Stream = "https://a.example/", ruleID, "Custom-A_CL" }, ""},
		{"the rule's name", func(c *Config) { c.Endpoint, c.Rule, c.Stream = "https://a.example", "dcr-contoso", "Custom-A_CL" }, "rule"},
		{"the table's name", func(c *Config) { c.Endpoint, c.Rule, c.Stream = "https://a.example", ruleID, "A_CL" }, "stream"},
		{"no host", func(c *Config) { c.Endpoint, c.Rule, c.Stream = "a.example", ruleID, "Custom-A_CL" }, "endpoint"},
		{"reserved column", func(c *Config) { c.URL, c.Columns = whole, map[string]string{"Type": "a"} }, "columns.Type"},
		{"the time", func(c *Config) { c.URL, c.Columns = whole, map[string]string{"TimeGenerated": "a"} }, "columns.TimeGenerated"},
		{"column that is none", func(c *Config) { c.URL, c.Columns = whole, map[string]string{"a.b": "a"} }, "columns.a.b"},
		{"path that is none", func(c *Config) { c.URL, c.Columns = whole, map[string]string{"A": "a..b"} }, "columns.A"},
		{"special that is none", func(c *Config) { c.URL, c.Columns = whole, map[string]string{"A": "$x"} }, "columns.A"},
	} {
		c := DefaultConfig()
		c.Tenant = "contoso"
		tc.change(c)
		var r config.Report
		c.Validate(&r)
		if tc.at == "" && len(r.Problems) > 0 || tc.at != "" && (len(r.Problems) == 0 || r.Problems[0].Path != tc.at) {
			t.Errorf("%s: problems %+v, want one at %q", tc.name, r.Problems, tc.at)
		}
	}
	c := &Config{URL: whole}
	if got, err := c.Target(); err != nil || got != (Target{"https://a-1.westeurope-1.ingest.monitor.azure.com", ruleID, "Custom-A_CL"}) {
		t.Errorf("Target() = %+v, %v", got, err)
	}
}

func FuzzRow(f *testing.F) {
	f.Add([]byte(`{"a":1,"TimeGenerated":"2026-01-02T12:00:00Z"}`), true)
	f.Add([]byte(`{"a":{"b":"`+strings.Repeat("é", 100)+`"}}`), false)
	f.Add([]byte(`[`), true)
	f.Fuzz(func(t *testing.T, data []byte, mapped bool) {
		fr := &former{maxField: 64, truncate: true, now: time.Now}
		if mapped {
			fr.columns = []column{{name: "A", path: []string{"a", "b"}}, {name: "T", special: "$text"}, {name: "D", special: "$document"}}
		}
		// What is no JSON is not in an event, but may be in a dead letter.
		valid := json.Valid(data) && len(data) > 0 && data[0] == '{'
		r, err := fr.form(0, &event.Event{Data: data})
		if err != nil {
			t.Fatalf("form(%q) = %v", data, err)
		}
		if row := append(append([]byte{}, r.head...), r.tail...); valid && !json.Valid(row) {
			t.Errorf("form(%q) = %q, no JSON", data, row)
		}
	})
}
