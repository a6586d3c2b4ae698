package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sim "github.com/lazuli-logs/lazuli/internal/azuresim/graph"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
	"github.com/lazuli-logs/lazuli/internal/source/window"
	"github.com/lazuli-logs/lazuli/internal/status"
)

func TestEveryFeedIsReadOnce(t *testing.T) {
	for _, f := range feeds() {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, sim.Options{})
				var want []string
				for i := range 30 {
					at := time.Now().Add(-time.Duration(3+40*i) * time.Minute)
					id := fmt.Sprintf("object-%02d", i)
					members := []string{f.time, at.UTC().Format(graphForm)}
					for _, other := range []string{"createdDateTime", "detectedDateTime", "activityDateTime", "lastUpdatedDateTime", "lastUpdateDateTime"} {
						if other != f.time {
							members = append(members, other, at.UTC().Format(graphForm))
						}
					}
					raw := object(id, members...)
					if f.kind != "" {
						raw = []byte(strings.TrimSuffix(string(raw), "}") + fmt.Sprintf(`,"signInEventTypes":[%q]}`, f.kind))
					}
					if err := b.graph.Put(f.path, raw); err != nil {
						t.Fatal(err)
					}
					want = append(want, string(raw))
				}
				if f.path == "auditLogs/signIns" { // of another kind
					if err := b.graph.Put(f.path, []byte(`{"id":"other","createdDateTime":"`+time.Now().Add(-time.Hour).UTC().Format(graphForm)+`","signInEventTypes":["x"]}`)); err != nil {
						t.Fatal(err)
					}
				}
				s := b.source(nil, f.name)
				s.deps.Once = true
				rec := sourcetest.NewRecorder(sourcetest.NewStore(), "audits")
				if err := s.Run(t.Context(), rec); err != nil {
					t.Fatal(err)
				}
				got := rec.Bodies(f.name)
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%d objects were read, want %d", len(got), len(want))
				}
				origin := rec.Partition(f.name).Origin
				if origin.Feed != "graph:"+f.resource() || origin.TenantID != testTenant || !strings.HasPrefix(origin.Namespace, "graph.microsoft.com/"+testTenant+"/") {
					t.Errorf("origin %+v", origin)
				}
			})
		})
	}
}

// audits puts n audits at regular times and returns their ids.
func (b *bench) audits(n int, from, step time.Duration) (ids []string) {
	for i := range n {
		id := fmt.Sprintf("audit-%03d", i)
		b.put("auditLogs/directoryAudits", id, "activityDateTime", time.Now().Add(-from+time.Duration(i)*step).UTC().Format(graphForm))
		ids = append(ids, id)
	}
	return ids
}

// ids are those of the emitted objects, in order.
func ids(bodies []string) (out []string) {
	for _, b := range bodies {
		_, rest, _ := strings.Cut(b, `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		out = append(out, id)
	}
	return out
}

// TestFaultsWhilePaging lets everything go wrong between the pages of one
// window: nothing is lost, and nothing comes twice.
func TestFaultsWhilePaging(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault func(*bench)
		state status.State // shown meanwhile; "": not looked for
	}{
		{"none", func(*bench) {}, ""},
		{"one 500", func(b *bench) { b.graph.Faults.Fail(1, 500, 0, true) }, ""},
		{"more 503 than a page is tried", func(b *bench) { b.graph.Faults.Fail(9, 503, 0, true) }, status.Retrying},
		{"503 with Retry-After", func(b *bench) { b.graph.Faults.Fail(2, 503, 40*time.Second, true) }, ""},
		{"429 with a long Retry-After", func(b *bench) { b.graph.Faults.Fail(2, 429, 20*time.Minute, true) }, status.Retrying},
		{"429 without Retry-After", func(b *bench) { b.graph.Faults.Fail(6, 429, 0, true) }, status.Retrying},
		{"429 on the first page", func(b *bench) { b.graph.Faults.Fail(1, 429, 3*time.Second, false) }, status.Retrying},
		{"answers are cut", func(b *bench) { b.graph.Faults.Cut(3) }, ""},
		{"tokens of pages expire", func(b *bench) { b.graph.Faults.ExpireTokens(2) }, status.Failed},
		{"nextLinks in a circle", func(b *bench) { b.graph.Faults.Loop(2) }, status.Failed},
		{"nextLinks to another host", func(b *bench) { b.graph.Faults.Foreign(2, "evil.example") }, status.Failed},
		{"pages repeat objects", func(b *bench) { b.graph.Faults.Repeat(2) }, ""},
		{"links behind the objects", func(b *bench) { b.graph.Faults.LinksLast(true) }, ""},
		{"access token expired", func(b *bench) {
			b.refuseTokens(errExpired)
			time.AfterFunc(30*time.Second, func() { b.refuseTokens(nil) })
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, sim.Options{})
				want := b.audits(40, 20*time.Minute, time.Second)
				s := b.source(nil, "directory_audits")
				s.feeds[0].top = 3
				tc.fault(b)
				store := sourcetest.NewStore()
				rec := sourcetest.NewRecorder(store, "audits")
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- s.Run(ctx, rec) }()
				seen := map[status.State]bool{}
				for range 3 * 3600 {
					time.Sleep(time.Second)
					synctest.Wait()
					seen[b.report.Report().State] = true
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if got := ids(rec.Bodies("directory_audits")); !slices.Equal(got, want) {
					t.Errorf("read %q", got)
				}
				if tc.state != "" && !seen[tc.state] {
					t.Errorf("states shown: %v; want %s among them", seen, tc.state)
				}
				if !seen[status.OK] || b.report.Report().State != status.Stopped {
					t.Errorf("states shown: %v, at last %s", seen, b.report.Report().State)
				}
			})
		})
	}
}

// TestGraphIsNeverAskedTooOften reads all feeds of a busy tenant at once, with
// Graph's limits on: not one request is refused for them.
func TestGraphIsNeverAskedTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sim.Options{})
		for i := range 1000 {
			at := time.Now().Add(-time.Duration(i) * time.Minute).UTC().Format(graphForm)
			b.put("auditLogs/signIns", fmt.Sprint("s", i), "createdDateTime", at)
			b.put("auditLogs/directoryAudits", fmt.Sprint("a", i), "activityDateTime", at)
			b.put("security/alerts_v2", fmt.Sprint("x", i), "createdDateTime", at, "lastUpdateDateTime", at)
			b.put("identityProtection/riskDetections", fmt.Sprint("r", i), "detectedDateTime", at, "lastUpdatedDateTime", at, "activityDateTime", at)
		}
		var names []string
		for _, f := range feeds() {
			names = append(names, f.name)
		}
		s := b.source(nil, names...)
		for _, f := range s.feeds {
			f.top = min(f.top, 50)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		rec := sourcetest.NewRecorder(sourcetest.NewStore(), "audits")
		if err := s.Run(ctx, rec); err != nil {
			t.Fatal(err)
		}
		if b.counts.requests["throttled"] > 0 || rec.Count("sign_ins") != 1000 || rec.Count("alerts") != 1000 || rec.Count("risk_detections") != 1000 {
			t.Errorf("requests %v; %d sign-ins, %d alerts, %d risk detections", b.counts.requests, rec.Count("sign_ins"), rec.Count("alerts"), rec.Count("risk_detections"))
		}
	})
}

func TestRefusalsNameTheRemedy(t *testing.T) {
	for _, tc := range []struct {
		name, feed     string
		change         func(*bench)
		reason, remedy []string
		state          status.State
	}{
		{"no role for reports", "sign_ins", func(b *bench) { b.roles = nil }, []string{"may not read auditLogs/signIns"}, []string{"AuditLog.Read.All", "b0afded3-3588-46d8-8b3d-9842eff778da=Role", testClient, "admin-consent"}, status.Failed},
		{"no role for risk", "risk_detections", func(b *bench) { b.roles = nil }, []string{"may not read"}, []string{"IdentityRiskEvent.Read.All"}, status.Failed},
		{"no role for alerts", "alerts", func(b *bench) { b.roles = []string{"User.Read.All"} }, []string{"may not read"}, []string{"SecurityAlert.Read.All"}, status.Failed},
		{"no role for incidents", "incidents", func(b *bench) { b.roles = []string{"SecurityAlert.Read.All"} }, nil, []string{"SecurityIncident.Read.All"}, status.Failed},
		{"no license for reports", "sign_ins", func(b *bench) { b.graph.Faults.Unlicensed(true) }, []string{"no license"}, []string{"P1 or P2", "remove sign_ins from feeds"}, status.Failed},
		{"no license for risk", "risky_service_principals", func(b *bench) { b.graph.Faults.Unlicensed(true) }, []string{"no license"}, []string{"Workload ID Premium"}, status.Failed},
		{"no such collection", "alerts", func(b *bench) { b.wire.handler = http.NotFoundHandler() }, []string{"has no security/alerts_v2"}, []string{"cloud"}, status.Failed},
		{"token refused", "alerts", func(b *bench) { b.refuseTokens(errors.New("no")) }, []string{"401", "audience"}, []string{"clock"}, status.Retrying},
		{"a proxy's page", "alerts", func(b *bench) {
			b.wire.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
		}, []string{"damaged"}, []string{"proxy"}, status.Retrying},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, sim.Options{})
				tc.change(b)
				s := b.source(nil, tc.feed)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- s.Run(ctx, sourcetest.NewRecorder(sourcetest.NewStore(), "audits")) }()
				time.Sleep(30 * time.Second)
				synctest.Wait()
				r := b.report.Report()
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				ok := r.State == tc.state
				for _, part := range tc.reason {
					ok = ok && strings.Contains(r.Reason, part)
				}
				for _, part := range tc.remedy {
					ok = ok && strings.Contains(r.Remedy, part)
				}
				if !ok {
					t.Errorf("report %+v\nwant %s, reason with %q, remedy with %q", r, tc.state, tc.reason, tc.remedy)
				}
			})
		})
	}
}

// Told to read once, a feed that needs a person is an error, and the others are
// read all the same.
func TestOnceReportsWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sim.Options{})
		want := b.audits(5, 20*time.Minute, time.Minute)
		b.graph.Faults.Unlicensed(true)
		s := b.source(nil, "sign_ins", "directory_audits")
		s.deps.Once = true
		rec := sourcetest.NewRecorder(sourcetest.NewStore(), "audits")
		err := s.Run(t.Context(), rec)
		if err == nil || !strings.Contains(err.Error(), "sign_ins: the tenant has no license") || strings.Contains(err.Error(), "directory_audits") {
			t.Errorf("Run returned %v", err)
		}
		if got := ids(rec.Bodies("directory_audits")); !slices.Equal(got, want) {
			t.Errorf("audits: %q", got)
		}
	})
}

func TestRetentionGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sim.Options{Retention: 7 * day})
		b.audits(20, 20*day, day)
		s := b.source(func(c *Config) {
			c.LookBack, c.Retention = config.Duration(10*day), config.Duration(7*day)
		}, "directory_audits")
		ctx, cancel := context.WithCancel(t.Context())
		rec, done := sourcetest.NewRecorder(sourcetest.NewStore(), "audits"), make(chan error)
		go func() { done <- s.Run(ctx, rec) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		report := b.report.Report()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := rec.Count("directory_audits"); n != 7 {
			t.Errorf("%d audits", n)
		}
		if b.counts.gaps != 1 {
			t.Errorf("%d gaps were reported", b.counts.gaps)
		}
		// With what is left it is well: the gap is a note.
		if report.State != status.OK || !strings.Contains(report.Reason, "not retained") {
			t.Errorf("report %+v", report)
		}
	})
}

func TestBackfillReadsItsWindowOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sim.Options{})
		all := b.audits(48, 48*time.Hour, time.Hour)
		begin := time.Now()
		s := b.source(nil, "directory_audits")
		s.deps.Window = &source.Window{From: begin.Add(-30 * time.Hour), To: begin.Add(-20 * time.Hour)}
		rec := sourcetest.NewRecorder(sourcetest.NewStore(), "audits")
		if err := s.Run(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if got := ids(rec.Bodies("directory_audits")); !slices.Equal(got, all[18:28]) {
			t.Errorf("read %q, want %q", got, all[18:28])
		}
	})
}

// What is updated in place comes again, with another identity; what is not, does
// not.
func TestUpdatesComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sim.Options{})
		now := func() string { return time.Now().UTC().Format(graphForm) }
		b.put("security/alerts_v2", "a", "createdDateTime", now(), "lastUpdateDateTime", now(), "status", "new")
		b.put("auditLogs/directoryAudits", "d", "activityDateTime", now())
		s := b.source(nil, "alerts", "directory_audits")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		time.AfterFunc(10*time.Minute, func() {
			if err := b.graph.Update("security/alerts_v2", "a", map[string]string{"status": "resolved", "lastUpdateDateTime": now()}); err != nil {
				t.Error(err)
			}
			b.put("auditLogs/directoryAudits", "d", "activityDateTime", now()) // the same id again
		})
		rec := sourcetest.NewRecorder(sourcetest.NewStore(), "audits")
		if err := s.Run(ctx, rec); err != nil {
			t.Fatal(err)
		}
		alerts := rec.Partition("alerts").Payloads
		if len(alerts) != 2 || alerts[0].Key == alerts[1].Key || !strings.Contains(string(alerts[1].Body), "resolved") {
			t.Errorf("alerts: %q", rec.Bodies("alerts"))
		}
		if n := rec.Count("directory_audits"); n != 1 {
			t.Errorf("%d audits", n)
		}
	})
}

// An alert that is updated while its window is read leaves it, and all behind it
// move up by one place: the one that moves onto a page that was read already is
// found in a second pass.
func TestPagesThatShiftAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sim.Options{})
		at := func(i int) string {
			return time.Now().Add(-5*time.Hour + time.Duration(i)*time.Second).UTC().Format(graphForm)
		}
		for i := range 30 {
			b.put("security/alerts_v2", fmt.Sprintf("alert-%02d", i), "createdDateTime", at(i), "lastUpdateDateTime", at(i))
		}
		s := b.source(nil, "alerts")
		s.feeds[0].top = 10
		s.deps.Window = &source.Window{From: time.Now().Add(-6 * time.Hour), To: time.Now().Add(-4 * time.Hour)}
		served := b.wire.handler
		pages := 0
		b.wire.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.RawQuery, "skip=") {
				if pages++; pages == 1 { // of the first page, the newest
					if err := b.graph.Update("security/alerts_v2", "alert-29", map[string]string{"lastUpdateDateTime": time.Now().UTC().Format(graphForm)}); err != nil {
						t.Error(err)
					}
				}
			}
			served.ServeHTTP(w, r)
		})
		rec := sourcetest.NewRecorder(sourcetest.NewStore(), "audits")
		if err := s.Run(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		got := ids(rec.Bodies("alerts"))
		slices.Sort(got)
		if len(slices.Compact(slices.Clone(got))) != 30 || len(got) != 30 {
			t.Errorf("%d alerts were read, want 30 once each: %q", len(got), got)
		}
	})
}

// What lies at the edges of two windows is asked for twice and emitted once,
// whichever operators the feed has.
func TestEdgesOfWindows(t *testing.T) {
	for _, name := range []string{"directory_audits", "provisioning"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, sim.Options{})
			begin := time.Now().Add(-3 * time.Hour)
			f := feedNamed(name)
			var want []string
			for i := range 41 { // around the end of the first window
				id := fmt.Sprint("edge-", i)
				b.put(f.path, id, f.time, begin.Add(firstWindow+time.Duration(i-20)*100*time.Millisecond).UTC().Format(graphForm))
				want = append(want, id)
			}
			s := b.source(nil, name)
			s.deps.Window = &source.Window{From: begin, To: begin.Add(2 * time.Hour)}
			rec := sourcetest.NewRecorder(sourcetest.NewStore(), "audits")
			if err := s.Run(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			if got := ids(rec.Bodies(name)); !slices.Equal(got, want) {
				t.Errorf("%s: read %q", name, got)
			}
		})
	}
}

func TestQueries(t *testing.T) {
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, want := range map[string]string{
		"directory_audits":        "/v1.0/auditLogs/directoryAudits $filter=activityDateTime ge 2026-01-02T03:04:05Z and activityDateTime le 2026-01-02T04:04:05Z $orderby=activityDateTime asc $top=1000",
		"sign_ins":                "/v1.0/auditLogs/signIns $filter=createdDateTime ge 2026-01-02T03:04:05Z and createdDateTime le 2026-01-02T04:04:05Z $top=1000",
		"sign_ins_noninteractive": "/beta/auditLogs/signIns $filter=createdDateTime ge 2026-01-02T03:04:05Z and createdDateTime le 2026-01-02T04:04:05Z and signInEventTypes/any(t: t eq 'nonInteractiveUser') $top=1000",
		"provisioning":            "/v1.0/auditLogs/provisioning $filter=activityDateTime gt 2026-01-02T03:04:04Z and activityDateTime lt 2026-01-02T04:04:05Z $orderby=activityDateTime asc $top=1000",
		"alerts":                  "/v1.0/security/alerts_v2 $filter=lastUpdateDateTime gt 2026-01-02T03:04:04Z and lastUpdateDateTime lt 2026-01-02T04:04:05Z $top=100",
	} {
		u, err := url.Parse(feedNamed(name).first("https://graph.microsoft.com", window.Span{From: from, To: from.Add(time.Hour)}))
		if err != nil {
			t.Fatal(err)
		}
		got := u.Path
		for _, option := range []string{"$filter", "$orderby", "$top"} {
			if v := u.Query().Get(option); v != "" {
				got += " " + option + "=" + v
			}
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestPaceLetsNoPeriodHaveMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewLimits().paces[limitReports]
		// What Graph sees is somewhere between the sending and the answer.
		seen := make(chan time.Time, 100)
		for worker := range 3 {
			go func() {
				for i := range 8 {
					answered, err := p.wait(t.Context(), time.Now)
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Duration(i*worker) * 100 * time.Millisecond)
					seen <- time.Now()
					time.Sleep(time.Duration(i) * 50 * time.Millisecond)
					answered()
				}
			}()
		}
		var at []time.Time
		for range 24 {
			at = append(at, <-seen)
		}
		slices.SortFunc(at, time.Time.Compare)
		for i := 5; i < len(at); i++ {
			if d := at[i].Sub(at[i-5]); d < 10*time.Second {
				t.Errorf("requests %d to %d within %v", i-5, i, d)
			}
		}
		if d := at[23].Sub(at[0]); d > 50*time.Second {
			t.Errorf("24 requests took %v: the limit is not used", d)
		}
		synctest.Wait()
		p.hold(time.Now().Add(time.Hour))
		before := time.Now()
		answered, err := p.wait(t.Context(), time.Now)
		if err != nil || time.Since(before) < time.Hour {
			t.Fatalf("it waited %v, error %v", time.Since(before), err)
		}
		answered()
		// A wait that is given up costs no token.
		p.hold(time.Now().Add(time.Hour))
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := p.wait(ctx, time.Now); err == nil {
				t.Error("it waited beyond the end of its context")
			}
			cancel()
		}
		if answered, err = p.wait(t.Context(), time.Now); err != nil {
			t.Fatal(err)
		}
		answered()
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": time.Millisecond, "3600": time.Hour, "x": 0, "-1": 0, "1e99": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:00:05 GMT": time.Millisecond,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", value, got, want)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	b := newBench(t, sim.Options{})
	good := DefaultConfig()
	good.Tenant, good.Feeds = "contoso", []string{"sign_ins"}
	for name, change := range map[string]func(*Config, *Deps){
		"no tenant":         func(_ *Config, d *Deps) { d.Tenant = nil },
		"no feeds":          func(c *Config, _ *Deps) { c.Feeds = nil },
		"unknown feed":      func(c *Config, _ *Deps) { c.Feeds = []string{"signins"} },
		"a feed twice":      func(c *Config, _ *Deps) { c.Feeds = []string{"sign_ins", "sign_ins"} },
		"overlap too small": func(c *Config, _ *Deps) { c.Overlap = config.Duration(time.Minute) },
		"retention":         func(c *Config, _ *Deps) { c.Retention = config.Duration(time.Minute) },
		"look back":         func(c *Config, _ *Deps) { c.LookBack = -1 },
		"poll":              func(c *Config, _ *Deps) { c.Poll = 0 },
		"endpoint":          func(_ *Config, d *Deps) { d.Tenant.Cloud.Graph = "http://graph" },
	} {
		c, d := good, Deps{Name: "x", Tenant: new(*b.tenant)}
		change(&c, &d)
		if _, err := New(c, d); err == nil || !strings.Contains(err.Error(), `source "x"`) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
