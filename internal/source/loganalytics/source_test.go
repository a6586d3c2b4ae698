package loganalytics

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// counts notes what a source counts.
type counts struct {
	mu      sync.Mutex
	queries map[string]int
	repeats int
	lag     map[string]time.Duration
}

func newCounts() *counts { return &counts{queries: map[string]int{}, lag: map[string]time.Duration{}} }

func (c *counts) Lag(partition string, age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lag[partition] = age
}

func (c *counts) Queried(outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queries[outcome]++
}

func (c *counts) Owned(int) {}

func (c *counts) Repeats(rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.repeats += rows
}

func (c *counts) of(outcome string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queries[outcome]
}

// exactly fails unless the numbers 0 to n-1 are there, each once.
func exactly(t *testing.T, bodies []string, n int) {
	t.Helper()
	seen := make([]int, n)
	for _, b := range bodies {
		if i := number(t, b); i >= 0 && i < n {
			seen[i]++
		} else {
			t.Fatalf("row %s was never put in", b)
		}
	}
	lost, repeated := 0, 0
	for _, times := range seen {
		switch {
		case times == 0:
			lost++
		case times > 1:
			repeated++
		}
	}
	if lost > 0 || repeated > 0 {
		t.Errorf("of %d rows %d are lost and %d came more than once", n, lost, repeated)
	}
}

// An hour with far more rows than an answer holds, a third of them on one
// instant: all arrive, and few queries are more than it takes.
func TestLimitsOfAnswers(t *testing.T) {
	const limit, rows = 300, 6000
	w := newWorld(t, azuresim.Options{Logs: azuresim.LogsOptions{Unlimited: true, MaxRows: limit, MaxBytes: 40_000}})
	hour := time.Now().Add(-2 * time.Hour).Truncate(time.Hour).UTC()
	for n := range rows {
		at := hour.Add(time.Duration(n) * time.Hour / rows)
		if n%3 == 0 {
			at = hour.Add(time.Hour / 2)
		}
		row := fmt.Sprintf(`{"TimeGenerated":%q,"N":%d,"Text":%q}`, at.Format(time.RFC3339Nano), n, strings.Repeat("x", n%40))
		if err := w.sim.Logs.Put("T_CL", []byte(row), at, at); err != nil {
			t.Fatal(err)
		}
	}
	cfg := w.config("T_CL")
	cfg.LookBack, cfg.Limits.Rows, cfg.Limits.Bytes = config.Duration(24*time.Hour), limit, 64_000
	count := newCounts()
	rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
	s := w.source(cfg, Deps{Once: true, Metrics: count})
	s.cfg.Limits.Bytes = 40_000
	if err := sourcetest.Start(t, s, rec).Result(); err != nil {
		t.Fatal(err)
	}
	exactly(t, rec.Bodies(w.partition("T_CL")), rows)
	if n := count.of(outcomeTooMuch); n == 0 || n > 100 || count.of(outcomeOK) > 6*rows/limit+100 {
		t.Errorf("%d answers were too large and %d were not; want some, but few", n, count.of(outcomeOK))
	}
	t.Logf("%d rows in %d complete and %d truncated answers", rows, count.of(outcomeOK), count.of(outcomeTooMuch))
}

// Everything that can go wrong with an answer, while rows come, late ones too:
// nothing is lost, and nothing comes twice.
func TestPartialAnswersAreNoSuccess(t *testing.T) {
	w := newWorld(t, azuresim.Options{Logs: azuresim.LogsOptions{Unlimited: true}})
	hour := time.Now().Add(-time.Hour).UTC()
	if err := w.sim.Logs.Put("T_CL", fmt.Appendf(nil, `{"TimeGenerated":%q,"N":0}`, hour.Format(time.RFC3339)), hour, hour); err != nil {
		t.Fatal(err)
	}
	cfg := w.config("T_CL")
	cfg.LookBack = config.Duration(2 * time.Hour)
	count := newCounts()
	rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
	s := w.source(cfg, Deps{Metrics: count}, func(s *Source) { s.cfg.Overlap = config.Duration(500 * time.Millisecond) })
	running := sourcetest.Start(t, s, rec)
	const rows = 400
	faults := &w.sim.Logs.Faults
	for n := 1; n < rows; n++ {
		fault, before := n%10 == 1, rec.Count(w.partition("T_CL"))
		if fault {
			switch n / 10 % 6 {
			case 0:
				faults.Partial(2)
			case 1:
				faults.Cut(1)
			case 2:
				faults.Fail(1, 429, 0)
			case 3:
				faults.Fail(1, 503, 0)
			case 4:
				faults.Fail(1, 504, 0)
			case 5:
				faults.Fail(1, 502, 0)
			}
		}
		now := time.Now()
		visible := now
		if n%5 == 3 {
			visible = now.Add(300 * time.Millisecond)
		}
		if err := w.sim.Logs.Put("T_CL", fmt.Appendf(nil, `{"TimeGenerated":%q,"N":%d}`, now.UTC().Format(time.RFC3339Nano), n), now, visible); err != nil {
			t.Fatal(err)
		}
		if fault {
			rec.Wait(t, "some progress", func() bool { return rec.Count(w.partition("T_CL")) > before })
		}
	}
	rec.Wait(t, "all rows", func() bool { return rec.Count(w.partition("T_CL")) >= rows })
	faults.Clear()
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	exactly(t, rec.Bodies(w.partition("T_CL")), rows)
	for _, outcome := range []string{outcomeOK, outcomeTooMuch, outcomeThrottled, outcomeFailed} {
		if count.of(outcome) == 0 {
			t.Errorf("no query ended as %s: %v", outcome, count.queries)
		}
	}
	if count.repeats == 0 {
		t.Error("no row was fetched twice, so that nothing was shown of repeats")
	}
	if _, ok := count.lag[w.partition("T_CL")]; !ok {
		t.Error("the lag was not reported")
	}
}

// A wait of more than a minute that Azure asks for is kept, by all queries of the
// workspace.
func TestLongWaitsAreKept(t *testing.T) {
	l := newLimiter(DefaultConfig().Limits, time.Now)
	l.hold(2 * time.Minute)
	if at := l.place(); time.Until(at) < time.Minute {
		t.Errorf("the next query may pass at %v", at)
	}
	r := &reader{s: &Source{limits: map[string]*limiter{"w": l}, health: status.NewGroup(nil), deps: Deps{Metrics: noMetrics{}}, timing: timing{retry: time.Second, retryMax: time.Minute}}, f: &feed{workspace: "w"}}
	if wait, end := r.failed(&statusError{status: 429, after: 5 * time.Minute}, 1); end != nil || wait != 5*time.Minute {
		t.Errorf("after Retry-After: 300 the wait is %v, %v", wait, end)
	}
	if at := l.place(); time.Until(at) < 4*time.Minute {
		t.Errorf("another query of the workspace may pass at %v", at)
	}
}

// No more queries in a period, and at a time, than there may be.
func TestLimiter(t *testing.T) {
	now := time.Now()
	l := newLimiter(Limits{Requests: 3, Concurrent: 1, BasicConcurrent: 1}, func() time.Time { return now })
	var places []time.Duration
	for range 7 {
		places = append(places, l.place().Sub(now))
	}
	want := []time.Duration{0, 0, 0, period, period, period, 2 * period}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}

func TestRefusalsNameTheRemedy(t *testing.T) {
	for _, tc := range []struct {
		name   string
		sim    azuresim.LogsOptions
		change func(w *world, c *Config, d *Deps)
		state  status.State
		reason []string
		remedy []string
	}{
		{
			name: "no role", sim: azuresim.LogsOptions{Forbidden: true}, state: status.Failed, reason: []string{"not allowed", "InsufficientAccessError"},
			remedy: []string{`"Log Analytics Reader"`, "az role assignment create --assignee"},
		},
		{name: "wrong workspace", change: func(w *world, c *Config, _ *Deps) { c.Workspaces[0] = w.sim.Endpoints.TenantID }, state: status.Failed, reason: []string{"no workspace"}, remedy: []string{"Workspace ID"}},
		{name: "wrong secret", change: func(w *world, _ *Config, d *Deps) { d.Tenant = w.tenantWith("wrong~secret") }, state: status.Failed, reason: []string{"AADSTS7000215"}, remedy: []string{"secret"}},
		{name: "no table", change: func(_ *world, c *Config, _ *Deps) { c.Tables[0] = "Missing_CL" }, state: status.Failed, reason: []string{`no table "Missing_CL"`, "Failed to resolve"}, remedy: []string{"diagnostic setting"}},
		{
			name: "invalid KQL", change: func(_ *world, c *Config, _ *Deps) {
				c.Tables, c.Queries = nil, []Query{{Name: "bad", Query: "T_CL\n| whre ingestion_time() > {from} and ingestion_time() < {to}", Windowed: true}}
			}, state: status.Failed, reason: []string{"bad", "could not be parsed at 'whre'", "line 2, position 2"}, remedy: []string{"Logs blade"},
		},
		{name: "basic table", sim: azuresim.LogsOptions{BasicTables: []string{"T_CL"}}, state: status.Failed, reason: []string{"Basic plan"}, remedy: []string{"basic_tables"}},
		{name: "busy", change: func(w *world, _ *Config, _ *Deps) { w.sim.Logs.Faults.Fail(1<<30, 503, 0) }, state: status.Retrying, reason: []string{"busy"}, remedy: []string{"service health"}},
		{name: "network", change: func(w *world, _ *Config, d *Deps) { d.Tenant.Cloud.LogsQuery = "https://127.0.0.1:1" }, state: status.Retrying, reason: []string{"no answer from https://127.0.0.1:1"}, remedy: []string{"443"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.sim.Unlimited = true
			w := newWorld(t, azuresim.Options{Logs: tc.sim})
			w.put("T_CL", 1)
			cfg, deps := w.config("T_CL"), Deps{Tenant: w.tenant}
			if tc.change != nil {
				tc.change(w, &cfg, &deps)
			}
			rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
			running := sourcetest.Start(t, w.source(cfg, deps), rec)
			deadline := time.After(sourcetest.Patience)
			for w.report().State != tc.state {
				select {
				case <-deadline:
					t.Fatalf("the report is %+v; want %s", w.report(), tc.state)
				case <-time.After(5 * time.Millisecond):
				}
			}
			report := w.report()
			for _, part := range tc.reason {
				if !strings.Contains(report.Reason, part) {
					t.Errorf("reason %q; want it to hold %q", report.Reason, part)
				}
			}
			for _, part := range tc.remedy {
				if !strings.Contains(report.Remedy, part) {
					t.Errorf("remedy %q; want it to hold %q", report.Remedy, part)
				}
			}
			if err := running.Stop(); err != nil {
				t.Fatal(err)
			}
			// Told to read once, the source ends with what a person has to do.
			if tc.state == status.Failed {
				rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
				deps.Once = true
				err := sourcetest.Start(t, w.source(cfg, deps), rec).Result()
				if err == nil || !strings.Contains(err.Error(), tc.remedy[0]) {
					t.Errorf("read once: %v; want the remedy", err)
				}
			}
		})
	}
}

// Tokens that end within seconds are renewed in time.
func TestTokensEnd(t *testing.T) {
	w := newWorld(t, azuresim.Options{Logs: azuresim.LogsOptions{Unlimited: true}})
	w.sim.Entra.Faults.SetTokenLifetime(2 * time.Second)
	w.put("T_CL", 1)
	cfg := w.config("T_CL")
	cfg.LookBack = config.Duration(time.Hour)
	rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
	running := sourcetest.Start(t, w.source(cfg, Deps{}), rec)
	for n := range 5 {
		rec.Wait(t, "rows", func() bool { return rec.Count(w.partition("T_CL")) > n })
		w.put("T_CL", 1)
	}
	rec.Wait(t, "the last row", func() bool { return rec.Count(w.partition("T_CL")) == 6 })
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestBasicTables(t *testing.T) {
	w := newWorld(t, azuresim.Options{Logs: azuresim.LogsOptions{Unlimited: true, BasicTables: []string{"Cheap_CL"}}})
	want := w.put("Cheap_CL", 20)
	cfg := w.config()
	cfg.BasicTables = []string{"Cheap_CL"}
	rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
	if err := sourcetest.Start(t, w.source(cfg, Deps{Once: true}), rec).Result(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rec.Bodies(w.partition("Cheap_CL"))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// A backfill reads what was taken in within its range, and nothing else.
func TestBackfill(t *testing.T) {
	w := newWorld(t, azuresim.Options{Logs: azuresim.LogsOptions{Unlimited: true}})
	day := time.Now().UTC().Truncate(24 * time.Hour).Add(-72 * time.Hour)
	for n := range 24 {
		at := day.Add(time.Duration(n) * time.Hour)
		if err := w.sim.Logs.Put("T_CL", fmt.Appendf(nil, `{"TimeGenerated":%q,"N":%d}`, at.Add(-30*time.Hour).Format(time.RFC3339), n), at, at); err != nil {
			t.Fatal(err)
		}
	}
	rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
	s := w.source(w.config("T_CL"), Deps{Window: &source.Window{From: day.Add(5 * time.Hour), To: day.Add(9 * time.Hour)}})
	if err := sourcetest.Start(t, s, rec).Result(); err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, b := range rec.Bodies(w.partition("T_CL")) {
		got = append(got, number(t, b))
	}
	if !slices.Equal(got, []int{5, 6, 7, 8}) {
		t.Errorf("rows %v; want 5 to 8", got)
	}
}

func TestQueries(t *testing.T) {
	w := newWorld(t, azuresim.Options{Logs: azuresim.LogsOptions{Unlimited: true}})
	hour := time.Now().UTC().Truncate(time.Hour).Add(-6 * time.Hour)
	for n := range 360 {
		at := hour.Add(time.Duration(n) * time.Minute)
		row := fmt.Sprintf(`{"TimeGenerated":%q,"N":%d,"User":"u%d"}`, at.Format(time.RFC3339), n, n%3)
		if err := w.sim.Logs.Put("T_CL", []byte(row), at, at); err != nil {
			t.Fatal(err)
		}
	}
	cfg := w.config()
	cfg.LookBack = config.Duration(8 * time.Hour)
	cfg.Queries = []Query{
		{Name: "rows", Query: "let keep = 'u1';\nT_CL | where ingestion_time() >= {from} and ingestion_time() < {to} // {from}\n| where User == keep | project N, User", Table: "T_CL", Windowed: true},
		{Name: "hourly", Query: "T_CL | where ingestion_time() >= {from} and ingestion_time() < {to} | summarize Rows = count() by User | extend At = {from} | sort by User asc", Windowed: true, Window: config.Duration(time.Hour)},
		{Name: "now", Query: "T_CL | summarize Rows = count()", Poll: config.Duration(time.Hour)},
	}
	rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
	if err := sourcetest.Start(t, w.source(cfg, Deps{Once: true}), rec).Result(); err != nil {
		t.Fatal(err)
	}
	rows := rec.Bodies(w.partition("rows"))
	if len(rows) != 120 || rows[1] != `{"N":4,"User":"u1","Type":"T_CL"}` {
		t.Errorf("%d rows, the second is %s; want 120", len(rows), rows[min(1, len(rows)-1)])
	}
	if origin := rec.Partition(w.partition("rows")).Origin; origin.Feed != "log_analytics:T_CL" {
		t.Errorf("feed %q", origin.Feed)
	}
	hourly := rec.Bodies(w.partition("hourly"))
	if len(hourly) != 18 || hourly[0] != fmt.Sprintf(`{"User":"u0","Rows":20,"At":%q}`, hour.Format(time.RFC3339)) {
		t.Errorf("%d hourly rows: %s; want 3 for each of 6 hours", len(hourly), strings.Join(hourly, "\n"))
	}
	if got := rec.Bodies(w.partition("now")); len(got) != 1 || got[0] != `{"Rows":360}` {
		t.Errorf("a query as it is gave %v", got)
	}
	// Runs that were missed are not made up for, and equal rows keep their key.
	first := rec.Partition(w.partition("now")).Payloads[0].Key
	cfg.Queries = cfg.Queries[2:]
	store := sourcetest.NewStore()
	again := sourcetest.NewRecorder(store, sourcetest.Name)
	s := w.source(cfg, Deps{Once: true, Now: func() time.Time { return time.Now().Add(48 * time.Hour) }})
	if err := sourcetest.Start(t, s, again).Result(); err != nil {
		t.Fatal(err)
	}
	if p := again.Partition(w.partition("now")); len(p.Payloads) != 1 || p.Payloads[0].Key != first {
		t.Errorf("two days later: %d rows, key %x; want one with key %x", len(p.Payloads), p.Payloads[0].Key, first)
	}
}

// The tenant's own records arrive as rows of their tables, with the ids that they
// have in every form.
func TestTheTenantsRecordsArrive(t *testing.T) {
	var tables []string
	w := newWorld(t, azuresim.Options{Logs: azuresim.LogsOptions{Unlimited: true}, Doors: func(category string) []azuresim.Door {
		if azuresim.LogsHas(category) {
			return []azuresim.Door{azuresim.LogAnalytics}
		}
		return nil
	}})
	if _, err := w.sim.Produce(t.Context(), 2000, 0); err != nil {
		t.Fatal(err)
	}
	tables = w.sim.Logs.Tables()
	cfg := w.config(tables...)
	cfg.LookBack = config.Duration(time.Hour)
	rec := sourcetest.NewRecorder(sourcetest.NewStore(), sourcetest.Name)
	if err := sourcetest.Start(t, w.source(cfg, Deps{Once: true}), rec).Result(); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, table := range tables {
		for _, b := range rec.Bodies(w.partition(table)) {
			total++
			w.sim.Ledger.SeenLine([]byte(b))
			if ids, _ := w.sim.Ledger.IDs(nil, []byte(b)); len(ids) == 0 {
				t.Errorf("no id of the record is in row %s", b)
			}
			var row map[string]any
			if err := json.Unmarshal([]byte(b), &row); err != nil || row["Type"] != table {
				t.Fatalf("row of %s: %v, Type %v", table, err, row["Type"])
			}
		}
	}
	r := w.sim.Ledger.Report()
	if r.Duplicated != 0 || r.Unknown != 0 || r.NoID != 0 || r.Delivered != uint64(total) || total < 1500 {
		t.Errorf("%d rows: %v", total, r)
	}
}
