package graph

import (
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/azuresim/entra"
	sim "github.com/lazuli-logs/lazuli/internal/azuresim/graph"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
)

// TestContract reads over TLS, with tokens of Entra, in real time.
func TestContract(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	authority, err := ca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := authority.WriteFile(caFile); err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, func(t *testing.T) sourcetest.Harness { return newDoor(t, authority, caFile) })
}

func newDoor(t *testing.T, authority *ca.Authority, caFile string) sourcetest.Harness {
	signIn, err := entra.New(entra.Options{Apps: []entra.App{{
		TenantID: testTenant, ClientID: testClient, Secrets: []entra.Secret{{Value: "a~secret"}}, Roles: sim.Roles(),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var address string
	graph := sim.New(sim.Options{Unlimited: true, KeepBytes: -1, Verify: func(token string) (caller sim.Caller, err error) {
		claims, err := signIn.Claims(token, address)
		if err != nil {
			return caller, err
		}
		for _, role := range claims["roles"].([]any) {
			caller.Roles = append(caller.Roles, fmt.Sprint(role))
		}
		return caller, nil
	}})
	serve := func(server *httptest.Server) string {
		if server.TLS, err = authority.ServerConfig("127.0.0.1"); err != nil {
			t.Fatal(err)
		}
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL
	}
	address = serve(httptest.NewUnstartedServer(graph))

	c := config.DefaultTenant()
	c.TenantID, c.CAFile = testTenant, config.Path(caFile)
	c.Endpoints.Graph, c.Endpoints.Authority = address, serve(httptest.NewUnstartedServer(signIn))
	c.Credential.ClientID, c.Credential.ClientSecret = testClient, "a~secret"

	door := &door{graph: graph}
	return sourcetest.Harness{
		Partitions: []string{"directory_audits", "provisioning"},
		Append:     door.add,
		New: func(t *testing.T, store checkpoint.Store, once bool) source.Source {
			tenant, err := azure.NewTenant("contoso", c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(tenant.HTTP.CloseIdleConnections)
			cfg := DefaultConfig()
			cfg.Tenant, cfg.Feeds, cfg.Delay = "contoso", []string{"directory_audits", "provisioning"}, 0
			fast := newPace(100, -clockStep)
			s, err := New(cfg, Deps{Name: sourcetest.Name, Tenant: tenant, Once: once, Limits: &Limits{[limitClasses]*pace{fast, fast, fast}}})
			if err != nil {
				t.Fatal(err)
			}
			s.cfg.Poll = config.Duration(20 * time.Millisecond)
			s.timing.retry, s.timing.step = 10*time.Millisecond, time.Microsecond
			return s
		},
	}
}

// door adds audits. Their times never lie before a moment that was read already,
// so that they are found in their order, without a sweep.
type door struct {
	graph *sim.Server

	mu   sync.Mutex
	n    int
	last time.Time
}

func (d *door) add(t *testing.T, partition string, n int) (bodies []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := feedNamed(partition).path
	// All at once and shortly ahead, as far as a reader is concerned.
	at := time.Now().Add(100 * time.Millisecond)
	if at.Before(d.last) {
		at = d.last
	}
	for range n {
		d.n++
		at = at.Add(time.Microsecond)
		body := object(fmt.Sprint("object-", d.n), "activityDateTime", at.UTC().Format(graphForm))
		if err := d.graph.Put(path, body); err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(body))
	}
	d.last = at
	// A source that reads once must find them in the past.
	time.Sleep(time.Until(at.Add(time.Millisecond)))
	return bodies
}
