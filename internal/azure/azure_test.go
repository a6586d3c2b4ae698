package azure

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/azuresim/entra"
	"github.com/lazuli-logs/lazuli/internal/config"
)

func TestClouds(t *testing.T) {
	for _, tc := range []struct{ name, authority, graph, hubs, ingestion string }{
		{"public", "https://login.microsoftonline.com/", "https://graph.microsoft.com", "servicebus.windows.net", "https://monitor.azure.com"},
		{"us_gov", "https://login.microsoftonline.us/", "https://graph.microsoft.us", "servicebus.usgovcloudapi.net", "https://monitor.azure.us"},
		{"china", "https://login.chinacloudapi.cn/", "https://microsoftgraph.chinacloudapi.cn", "servicebus.chinacloudapi.cn", "https://monitor.azure.cn"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := LookupCloud(tc.name, config.Endpoints{})
			if err != nil {
				t.Fatal(err)
			}
			if c.Authority != tc.authority || c.Graph != tc.graph || c.EventHubSuffix != tc.hubs || c.LogsIngestion != tc.ingestion {
				t.Errorf("cloud is %+v; want %+v", c, tc)
			}
			if !c.knownAuthority() {
				t.Error("the cloud's own authority is not known")
			}
			if got := c.Configuration(); got.ActiveDirectoryAuthorityHost != tc.authority || got.Services["query/azlogs"].Endpoint != c.LogsQuery {
				t.Errorf("configuration for the SDK is %+v", got)
			}
		})
	}
	c, err := LookupCloud("public", config.Endpoints{Authority: "https://127.0.0.1:8443", LogsQuery: "https://logs.example"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Authority != "https://127.0.0.1:8443" || c.LogsQuery != "https://logs.example" || c.Graph != "https://graph.microsoft.com" {
		t.Errorf("own endpoints: %+v; want the two replaced and the others kept", c)
	}
	if c.knownAuthority() {
		t.Error("a private authority is taken for one of Microsoft's: instance discovery would refuse it")
	}
	if _, err := LookupCloud("mars", config.Endpoints{}); err == nil {
		t.Error("unknown cloud: want an error")
	}
}

func TestTrust(t *testing.T) {
	authority, err := ca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	good, empty := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "empty.pem")
	if err := authority.WriteFile(good); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(empty, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := TLSConfig(""); err != nil || c.RootCAs != nil || c.MinVersion != tls.VersionTLS12 {
		t.Errorf("TLSConfig without a file = %+v, %v; want the system's authorities and TLS 1.2", c, err)
	}
	if c, err := TLSConfig(good); err != nil || c.RootCAs == nil {
		t.Errorf("TLSConfig = %+v, %v; want the file's authority", c, err)
	}
	for _, bad := range []string{empty, filepath.Join(folder, "none.pem")} {
		if _, err := TLSConfig(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("TLSConfig(%q): error %v; want one that names the file", bad, err)
		}
	}
	if _, err := HTTPClient(&tls.Config{}, "http://user:hunter2@proxy\n"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("HTTPClient with a bad proxy: error %v; want one without the password", err)
	}
}

const (
	testTenant = "5f7f3c5e-2b0e-4d3c-9a51-6b1f0c8f2a11"
	testClient = "b8a3d5f0-7c44-4f0e-8d6a-2f4b9c1e7d22"
)

// The SDK's credential, the simulated Entra, and what the operator is told.
func TestSignIn(t *testing.T) {
	authority, err := ca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := authority.WriteFile(caFile); err != nil {
		t.Fatal(err)
	}
	server, err := entra.New(entra.Options{Apps: []entra.App{{TenantID: testTenant, ClientID: testClient, Secrets: []entra.Secret{
		{Value: "good~secret"}, {Value: "old~secret", Expires: time.Now().Add(-time.Hour)},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewUnstartedServer(server)
	if listener.TLS, err = authority.ServerConfig("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	listener.StartTLS()
	t.Cleanup(listener.Close)

	for _, tc := range []struct {
		name   string
		change func(*config.Tenant)
		code   string // "" and no remedy: a token is given
		remedy string
	}{
		{name: "good"},
		{name: "wrong secret", change: func(c *config.Tenant) { c.Credential.ClientSecret = "bad~secret" }, code: "AADSTS7000215", remedy: "not its id"},
		{name: "expired secret", change: func(c *config.Tenant) { c.Credential.ClientSecret = "old~secret" }, code: "AADSTS7000222", remedy: "make a new client secret"},
		{name: "unknown application", change: func(c *config.Tenant) { c.Credential.ClientID = testTenant }, code: "AADSTS700016", remedy: "client_id"},
		{name: "unknown tenant", change: func(c *config.Tenant) { c.TenantID = testClient }, code: "AADSTS90002", remedy: "tenant_id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config.DefaultTenant()
			c.TenantID, c.CAFile, c.Endpoints.Authority = testTenant, config.Path(caFile), listener.URL
			c.Credential.ClientID, c.Credential.ClientSecret = testClient, "good~secret"
			if tc.change != nil {
				tc.change(&c)
			}
			tenant, err := NewTenant("contoso", c)
			if err != nil {
				t.Fatal(err)
			}
			token, err := tenant.Credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://eventhubs.azure.net//.default"}})
			if tc.remedy == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := server.Verify(token.Token, "https://eventhubs.azure.net/"); err != nil {
					t.Error(err)
				}
				return
			}
			p, ok := ExplainSignIn(err)
			if !ok || p.Code != tc.code || !p.Permanent || !strings.Contains(p.Remedy, tc.remedy) {
				t.Errorf("ExplainSignIn = %+v, %v; want code %q, permanent, remedy with %q; the error was %v", p, ok, tc.code, tc.remedy, err)
			}
			if strings.Contains(p.Reason+p.Remedy, c.Credential.ClientSecret.Reveal()) {
				t.Error("the explanation shows the secret")
			}
		})
	}
}

func TestWhatIsNotASignIn(t *testing.T) {
	for _, err := range []error{nil, errors.New("AADSTS7000215"), context.Canceled} {
		if p, ok := ExplainSignIn(err); ok {
			t.Errorf("ExplainSignIn(%v) = %+v; want none", err, p)
		}
	}
}

// A sign-in host that cannot be reached may be reachable again in a minute.
func TestUnreachableSignInIsNotPermanent(t *testing.T) {
	closed := httptest.NewTLSServer(http.NotFoundHandler())
	closed.Close()
	c := config.DefaultTenant()
	c.TenantID, c.Endpoints.Authority = testTenant, closed.URL
	c.Credential.ClientID, c.Credential.ClientSecret = testClient, "good~secret"
	tenant, err := NewTenant("contoso", c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // the SDK would retry for long
	defer cancel()
	_, err = tenant.Credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if p, ok := ExplainSignIn(err); ok && p.Permanent {
		t.Errorf("ExplainSignIn = %+v; want one that is worth trying again; the error was %v", p, err)
	}
	if err == nil {
		t.Error("a token came from nowhere")
	}
}

func TestTenantMistakesNameTheTenant(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*config.Tenant)
	}{
		{name: "cloud", change: func(c *config.Tenant) { c.Cloud = "mars" }},
		{name: "CA file", change: func(c *config.Tenant) { c.CAFile = "/nowhere/ca.pem" }},
		{name: "proxy", change: func(c *config.Tenant) { c.Proxy = "http://\n" }},
		{name: "credential", change: func(c *config.Tenant) { c.Credential.Type = "password" }},
		{name: "tenant id", change: func(c *config.Tenant) { c.TenantID = "a b" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config.DefaultTenant()
			c.TenantID, c.Credential.ClientID, c.Credential.ClientSecret = testTenant, testClient, "good~secret"
			tc.change(&c)
			if _, err := NewTenant("contoso", c); err == nil || !strings.Contains(err.Error(), `tenant "contoso"`) || strings.Contains(err.Error(), "good~secret") {
				t.Errorf("NewTenant: error %v; want one that names the tenant and no secret", err)
			}
		})
	}
}
