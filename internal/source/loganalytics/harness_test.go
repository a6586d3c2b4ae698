package loganalytics

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
	"github.com/lazuli-logs/lazuli/internal/status"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// world is a simulated workspace and the source's way to it.
type world struct {
	t      *testing.T
	sim    *azuresim.Sim
	tenant *azure.Tenant
	board  *status.Board

	mu    sync.Mutex
	taken time.Time // ingestion time of the newest row; guarded by mu
	rows  int       // guarded by mu
}

func newWorld(t *testing.T, options azuresim.Options) *world {
	t.Helper()
	options.Prepared = -1
	if options.Seed == 0 {
		options.Seed = 11
	}
	sim, err := azuresim.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	w := &world{t: t, sim: sim, board: status.NewBoard(time.Now)}
	w.tenant = w.tenantWith(sim.Endpoints.ClientSecret)
	return w
}

func (w *world) tenantWith(secret string) *azure.Tenant {
	w.t.Helper()
	c := config.DefaultTenant()
	c.TenantID, c.CAFile = w.sim.Endpoints.TenantID, config.Path(w.sim.Endpoints.CAFile)
	c.Endpoints.Authority, c.Endpoints.LogsQuery = w.sim.Endpoints.AuthorityHost, w.sim.Endpoints.Logs
	c.Credential.ClientID, c.Credential.ClientSecret = w.sim.Endpoints.ClientID, config.Secret(secret)
	tenant, err := azure.NewTenant("contoso", c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(tenant.HTTP.CloseIdleConnections)
	return tenant
}

// put adds rows of a table that are taken in now, one after the other, and
// returns what the source makes of them.
func (w *world) put(table string, n int) (bodies []string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for range n {
		at := time.Now().UTC().Truncate(100 * time.Nanosecond)
		if !at.After(w.taken) {
			at = w.taken.Add(100 * time.Nanosecond)
		}
		w.taken = at
		w.rows++
		row := fmt.Sprintf(`{"TimeGenerated":%q,"Message":"row %d","Number":9007199254740993`, at.Add(-time.Minute).Format("2006-01-02T15:04:05.9999999Z"), w.rows)
		if err := w.sim.Logs.Put(table, []byte(row+"}"), at, at); err != nil {
			w.t.Fatal(err)
		}
		bodies = append(bodies, row+fmt.Sprintf(`,"Type":%q}`, table))
	}
	return bodies
}

// config reads those tables, quickly.
func (w *world) config(tables ...string) Config {
	c := DefaultConfig()
	c.Tenant, c.Workspaces, c.Tables = "contoso", []string{w.sim.Endpoints.Workspace}, tables
	c.Delay, c.Overlap = 0, 0
	return c
}

// source makes a source that does not wait.
func (w *world) source(cfg Config, deps Deps, change ...func(*Source)) *Source {
	w.t.Helper()
	if deps.Name == "" {
		deps.Name = sourcetest.Name
	}
	if deps.Tenant == nil {
		deps.Tenant = w.tenant
	}
	deps.Status = w.board.Component("source", deps.Name)
	s, err := New(cfg, deps)
	if err != nil {
		w.t.Fatal(err)
	}
	s.cfg.Poll = config.Duration(20 * time.Millisecond)
	s.timing = timing{retry: 5 * time.Millisecond, retryMax: 50 * time.Millisecond, failed: 50 * time.Millisecond, observe: 20 * time.Millisecond}
	for _, l := range s.limits {
		l.requests = 1 << 30
	}
	for _, f := range change {
		f(s)
	}
	w.t.Cleanup(s.client.close)
	return s
}

func (w *world) partition(name string) string { return w.sim.Endpoints.Workspace + "/" + name }

func (w *world) report() status.Report { return w.board.Component("source", sourcetest.Name).Report() }

func TestContract(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.Harness {
		w := newWorld(t, azuresim.Options{Logs: azuresim.LogsOptions{Unlimited: true}})
		tables := map[string]string{w.partition("First_CL"): "First_CL", w.partition("Second_CL"): "Second_CL"}
		for _, table := range tables { // a table is there before its first row that counts
			if err := w.sim.Logs.Put(table, []byte(`{"TimeGenerated":"2020-01-01T00:00:00Z","Message":"old","Number":1}`), time.Now().Add(-30*24*time.Hour), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		return sourcetest.Harness{
			Partitions: []string{w.partition("First_CL"), w.partition("Second_CL")},
			Append:     func(_ *testing.T, partition string, n int) []string { return w.put(tables[partition], n) },
			New: func(t *testing.T, _ checkpoint.Store, once bool) source.Source {
				w.t = t
				return w.source(w.config("First_CL", "Second_CL"), Deps{Once: once})
			},
		}
	})
}

// number is a row's N.
func number(t *testing.T, body string) (n int) {
	t.Helper()
	var row struct{ N *int }
	if err := json.Unmarshal([]byte(body), &row); err != nil || row.N == nil {
		t.Fatalf("row %s has no N (%v)", body, err)
	}
	return *row.N
}
