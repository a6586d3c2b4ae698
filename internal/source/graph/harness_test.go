package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/golang-jwt/jwt/v5"

	"github.com/lazuli-logs/lazuli/internal/azure"
	sim "github.com/lazuli-logs/lazuli/internal/azuresim/graph"
	"github.com/lazuli-logs/lazuli/internal/status"
)

const (
	testTenant = "7d0c4b1e-0f5a-4b64-9a3f-2f5a6d1c8e90"
	testClient = "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b"
)

// wire sends requests to a handler without a network, so that time can stand
// still meanwhile.
type wire struct {
	handler http.Handler
	sent    atomic.Int64
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	w.sent.Add(1)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer := httptest.NewRecorder()
	cut := false
	func() {
		defer func() {
			if p := recover(); p == http.ErrAbortHandler {
				cut = true
			} else if p != nil {
				panic(p)
			}
		}()
		r.RequestURI = r.URL.RequestURI()
		w.handler.ServeHTTP(answer, r)
	}()
	response := answer.Result()
	response.Request = r
	if cut {
		response.Body = io.NopCloser(io.MultiReader(response.Body, failingReader{}))
	}
	return response, nil
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// credential gives tokens that name what they may.
type credential struct{ err error }

func (c *credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "a.token", ExpiresOn: time.Now().Add(time.Hour)}, c.err
}

// bench is a simulated Graph and what a source of it needs.
type bench struct {
	t      testing.TB
	graph  *sim.Server
	wire   *wire
	cred   *credential
	tenant *azure.Tenant
	report *status.Component
	roles  []string
	verify atomic.Pointer[error] // what a token is refused with
	counts *counts
}

func newBench(t testing.TB, options sim.Options) *bench {
	b := &bench{t: t, cred: &credential{}, roles: sim.Roles(), counts: &counts{requests: map[string]int{}}}
	options.KeepBytes = -1
	options.Verify = func(string) (sim.Caller, error) {
		caller := sim.Caller{App: testClient, Roles: b.roles}
		if err := b.verify.Load(); err != nil {
			return caller, *err
		}
		return caller, nil
	}
	b.graph = sim.New(options)
	b.wire = &wire{handler: b.graph}
	b.tenant = &azure.Tenant{
		Name: "contoso", ID: testTenant, ClientID: testClient, Credential: b.cred,
		Cloud: azure.Cloud{Graph: "https://graph.microsoft.com"}, HTTP: &http.Client{Transport: roundTripper{b.wire}},
	}
	b.report = status.NewBoard(time.Now).Component("source", "audits")
	return b
}

// refuseTokens refuses tokens with err; nil takes them again.
func (b *bench) refuseTokens(err error) {
	if err == nil {
		b.verify.Store(nil)
		return
	}
	b.verify.Store(&err)
}

type roundTripper struct{ w *wire }

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	return r.w.Do(request)
}

// counts is Metrics.
type counts struct {
	mu       sync.Mutex
	requests map[string]int
	gaps     int
	repeats  int
	lag      time.Duration
}

func (c *counts) count(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *counts) Request(outcome string)          { c.count(func() { c.requests[outcome]++ }) }
func (c *counts) Lag(_ string, age time.Duration) { c.count(func() { c.lag = age }) }
func (c *counts) Repeats(_ string, objects int)   { c.count(func() { c.repeats += objects }) }
func (c *counts) Gap(string)                      { c.count(func() { c.gaps++ }) }
func (c *counts) Owned(int)                       {}

// source returns a source of some feeds.
func (b *bench) source(change func(*Config), feeds ...string) *Source {
	b.t.Helper()
	cfg := DefaultConfig()
	cfg.Tenant, cfg.Feeds = "contoso", feeds
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, Deps{Name: "audits", Tenant: b.tenant, Status: b.report, Metrics: b.counts})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// put adds an object with an id, a time, and as much more as is wanted.
func (b *bench) put(path, id string, members ...string) {
	b.t.Helper()
	if err := b.graph.Put(path, object(id, members...)); err != nil {
		b.t.Fatal(err)
	}
}

func object(id string, members ...string) []byte {
	var s strings.Builder
	fmt.Fprintf(&s, `{"id":%q`, id)
	for i := 0; i < len(members); i += 2 {
		value, _ := json.Marshal(members[i+1])
		fmt.Fprintf(&s, `,%q:%s`, members[i], value)
	}
	return []byte(s.String() + "}")
}

const graphForm = "2006-01-02T15:04:05.9999999Z"

var errExpired = fmt.Errorf("verify: %w", jwt.ErrTokenExpired)
