package eventhub

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/azuresim/entra"
	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
	"github.com/lazuli-logs/lazuli/internal/status"
)

const (
	cloudNamespace = "contoso.servicebus.windows.net"
	cloudTenant    = "5f7f3c5e-2b0e-4d3c-9a51-6b1f0c8f2a11"
	cloudClient    = "b8a3d5f0-7c44-4f0e-8d6a-2f4b9c1e7d22"
	cloudSecret    = "an~invented~secret"
)

// cloud is a namespace and its tenant as they are in Azure: names of Azure's,
// TLS everywhere, tokens of Entra.
type cloud struct {
	*sim
	caFile    string
	amqp      string // address of AMQP over TLS
	https     string // address of AMQP over WebSockets
	authority string
	denied    atomic.Bool // Entra's tokens are not accepted: no role
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	authority, err := ca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := authority.ServerConfig(ca.AzureNames()...)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{caFile: filepath.Join(t.TempDir(), "ca.pem")}
	if err := authority.WriteFile(c.caFile); err != nil {
		t.Fatal(err)
	}
	signIn, err := entra.New(entra.Options{Apps: []entra.App{{TenantID: cloudTenant, ClientID: cloudClient, Secrets: []entra.Secret{{Value: cloudSecret}}}}})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := eventhubs.New(eventhubs.Options{
		Namespace: cloudNamespace, Keys: map[string]string{simPolicy: simKey},
		VerifyToken: func(jwt, _ string) error {
			if c.denied.Load() {
				return errors.New("Unauthorized access. 'Listen' claim(s) are required to perform this operation.")
			}
			return signIn.Verify(jwt, "https://eventhubs.azure.net/")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	hub, err := broker.CreateHub(simHub, 1, eventhubs.HubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.sim = &sim{broker: broker, hub: hub}

	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.amqp = plain.Addr().String()
	served := make(chan error, 1)
	go func() { served <- broker.ServeAMQP(tls.NewListener(plain, trust)) }()

	serve := func(h http.Handler) string {
		server := httptest.NewUnstartedServer(h)
		server.TLS = trust.Clone()
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are part of the test
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	c.https = serve(broker)
	c.authority = "https://" + serve(signIn)
	t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			t.Errorf("close the simulator: %v", err)
		}
		<-served
	})
	return c
}

func (c *cloud) tenant(t *testing.T, secret string) *azure.Tenant {
	t.Helper()
	tenant, err := azure.NewTenant("contoso", config.Tenant{
		TenantID: cloudTenant, Cloud: "public", CAFile: config.Path(c.caFile),
		Endpoints:  config.Endpoints{Authority: c.authority},
		Credential: config.Credential{Type: "client_secret", ClientID: cloudClient, ClientSecret: config.Secret(secret)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

func (c *cloud) config() Config {
	cfg := DefaultConfig()
	cfg.Tenant, cfg.Namespace, cfg.Hub, cfg.Endpoint = "contoso", cloudNamespace, simHub, c.amqp
	return cfg
}

func TestTransports(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(c *cloud, cfg *Config, deps *Deps)
	}{
		{name: "TLS with an Entra token", change: func(*cloud, *Config, *Deps) {}},
		{name: "TLS with a connection string", change: func(c *cloud, cfg *Config, deps *Deps) {
			cfg.Tenant, cfg.Namespace, cfg.Hub, deps.Tenant = "", "", "", nil
			cfg.ConnectionString = "Endpoint=sb://" + cloudNamespace + "/;SharedAccessKeyName=" + simPolicy + ";SharedAccessKey=" + simKey + ";EntityPath=" + simHub
			cfg.CAFile = config.Path(c.caFile)
		}},
		{name: "WebSockets with an Entra token", change: func(c *cloud, cfg *Config, _ *Deps) {
			cfg.Transport, cfg.Endpoint = "websockets", c.https
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, p, store := newCloud(t), newProbe(), sourcetest.NewStore()
			cfg, deps := c.config(), Deps{Tenant: c.tenant(t, cloudSecret), Checkpoints: store}
			tc.change(c, &cfg, &deps)
			rec := sourcetest.NewRecorder(store, sourcetest.Name)
			want := c.append(t, "0", 200)
			sourcetest.Start(t, open(t, cfg, deps, p), rec)
			rec.Wait(t, "messages", func() bool { return rec.Count("0") >= 200 })
			c.broker.Faults().CutConnections(-1)
			want = append(want, c.append(t, "0", 200)...)
			rec.Wait(t, "messages after a cut", func() bool { return rec.Count("0") >= 400 })
			wantExactly(t, rec.Bodies("0"), want)
			origin := rec.Partition("0").Origin
			if origin.Namespace != cloudNamespace+"/"+simHub+"/0" {
				t.Errorf("namespace of the origin is %q", origin.Namespace)
			}
			if deps.Tenant != nil && (origin.Tenant != "contoso" || origin.TenantID != cloudTenant) {
				t.Errorf("origin is of tenant %q %q", origin.Tenant, origin.TenantID)
			}
		})
	}
}

// With a proxy, names are resolved by the proxy, so nothing but the proxy is
// dialed: here it is what leads Azure's name to the simulator.
func TestProxy(t *testing.T) {
	c, p, store := newCloud(t), newProbe(), sourcetest.NewStore()
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") == "" {
			http.Error(w, "sign in to the proxy", http.StatusProxyAuthRequired)
			return
		}
		asked.Store(r.Host)
		onward, err := net.Dial("tcp", c.https)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer onward.Close()
		inward, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer inward.Close()
		_, _ = io.WriteString(inward, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(onward, buffered); _ = onward.Close() }()
		_, _ = io.Copy(inward, onward)
	}))
	t.Cleanup(proxy.Close)
	cfg := c.config()
	cfg.Transport, cfg.Endpoint = "websockets", ""
	cfg.Proxy = strings.Replace(proxy.URL, "http://", "http://user:hunter2@", 1)
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	want := c.append(t, "0", 50)
	running := sourcetest.Start(t, open(t, cfg, Deps{Tenant: c.tenant(t, cloudSecret), Checkpoints: store}, p), rec)
	rec.Wait(t, "messages", func() bool { return rec.Count("0") >= 50 })
	wantExactly(t, rec.Bodies("0"), want)
	if got := asked.Load(); got != cloudNamespace+":443" {
		t.Errorf("the proxy was asked for %q; want %q", got, cloudNamespace+":443")
	}
	if err := running.Stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(p.logs.String(), "hunter2") {
		t.Error("the proxy's password was logged")
	}
}

func TestCloudRefusals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, c *cloud, cfg *Config, deps *Deps)
		state  status.State
		reason string
		remedy string
	}{
		{
			name:   "wrong client secret",
			change: func(t *testing.T, c *cloud, _ *Config, deps *Deps) { deps.Tenant = c.tenant(t, "wrong~"+cloudSecret) },
			state:  status.Failed, reason: "AADSTS7000215", remedy: "secret's value",
		},
		{
			name:   "no role on the hub",
			change: func(_ *testing.T, c *cloud, _ *Config, _ *Deps) { c.denied.Store(true) },
			state:  status.Failed, reason: "not allowed to read", remedy: `grant application ` + cloudClient + ` the role "Azure Event Hubs Data Receiver"`,
		},
		{
			name: "unknown certificate authority",
			change: func(_ *testing.T, _ *cloud, cfg *Config, deps *Deps) {
				deps.Tenant = nil
				cfg.Tenant, cfg.Namespace, cfg.Hub = "", "", ""
				cfg.ConnectionString = "Endpoint=sb://" + cloudNamespace + "/;SharedAccessKeyName=" + simPolicy + ";SharedAccessKey=" + simKey + ";EntityPath=" + simHub
			},
			state: status.Failed, reason: "TLS to " + cloudNamespace, remedy: "ca_file",
		},
		{
			name: "unknown certificate authority behind WebSockets",
			change: func(_ *testing.T, c *cloud, cfg *Config, deps *Deps) {
				deps.Tenant = nil
				cfg.Tenant, cfg.Namespace, cfg.Hub = "", "", ""
				cfg.ConnectionString = "Endpoint=sb://" + cloudNamespace + "/;SharedAccessKeyName=" + simPolicy + ";SharedAccessKey=" + simKey + ";EntityPath=" + simHub
				cfg.Transport, cfg.Endpoint = "websockets", c.https
			},
			state: status.Failed, reason: "TLS to " + cloudNamespace, remedy: "ca_file",
		},
		{
			name: "WebSockets refused",
			change: func(_ *testing.T, c *cloud, cfg *Config, _ *Deps) {
				cfg.Transport, cfg.Endpoint = "websockets", strings.TrimPrefix(c.authority, "https://")
			},
			state: status.Retrying, reason: "open WebSocket wss://" + cloudNamespace,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, p, store := newCloud(t), newProbe(), sourcetest.NewStore()
			cfg, deps := c.config(), Deps{Tenant: c.tenant(t, cloudSecret), Checkpoints: store}
			tc.change(t, c, &cfg, &deps)
			rec := sourcetest.NewRecorder(store, sourcetest.Name)
			running := sourcetest.Start(t, open(t, cfg, deps, p), rec)
			r := waitStatus(t, p, tc.state, tc.reason)
			if !strings.Contains(r.Remedy, tc.remedy) {
				t.Errorf("remedy is %q; want it to hold %q", r.Remedy, tc.remedy)
			}
			if err := running.Stop(); err != nil {
				t.Error(err)
			}
			if strings.Contains(p.logs.String(), cloudSecret) {
				t.Error("the client secret was logged")
			}
		})
	}
}
