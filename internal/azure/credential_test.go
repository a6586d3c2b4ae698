package azure

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/azuresim/entra"
	"github.com/lazuli-logs/lazuli/internal/config"
)

// signIn is an Entra, reached under every cloud's name.
type signIn struct {
	server  *entra.Server
	url     string
	address string
	caFile  string
	// audience of the tokens: another each time, since MSAL keeps those of managed
	// identities for the whole process.
	audience string

	mu    sync.Mutex
	hosts []string // asked for tokens; guarded by mu
}

func newSignIn(t *testing.T) *signIn {
	t.Helper()
	s := &signIn{caFile: filepath.Join(t.TempDir(), "ca.pem"), audience: "https://" + uuid.NewString() + ".example/"}
	authority, err := ca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.WriteFile(s.caFile); err != nil {
		t.Fatal(err)
	}
	if s.server, err = entra.New(entra.Options{}); err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			s.mu.Lock()
			s.hosts = append(s.hosts, r.Host)
			s.mu.Unlock()
		}
		s.server.ServeHTTP(w, r)
	}))
	if listener.TLS, err = authority.ServerConfig("127.0.0.1", "login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn"); err != nil {
		t.Fatal(err)
	}
	listener.StartTLS()
	t.Cleanup(listener.Close)
	s.url, s.address = listener.URL, listener.Listener.Addr().String()
	return s
}

// tenant is one that signs in here with a credential.
func (s *signIn) tenant(t *testing.T, c config.Credential) *Tenant {
	t.Helper()
	tenant, err := NewTenant("contoso", s.config(c))
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

func (s *signIn) config(c config.Credential) config.Tenant {
	settings := config.DefaultTenant()
	settings.TenantID, settings.CAFile, settings.Endpoints.Authority, settings.Credential = testTenant, config.Path(s.caFile), s.url, c
	return settings
}

// wantToken fails unless the tenant gets a token that the server issued to the
// application.
func (s *signIn) wantToken(t *testing.T, tenant *Tenant, app string) {
	t.Helper()
	token, err := tenant.Token(t.Context(), s.audience+"/.default")
	if err != nil {
		t.Fatal(err)
	}
	claims, err := s.server.Claims(token, s.audience)
	if err != nil {
		t.Fatal(err)
	}
	if claims["appid"] != app {
		t.Errorf("the token is of application %v, want %s", claims["appid"], app)
	}
}

// wantProblem fails unless the sign-in is refused and explained so.
func (s *signIn) wantProblem(t *testing.T, tenant *Tenant, code, remedy string) {
	t.Helper()
	ctx := policy.WithRetryOptions(t.Context(), policy.RetryOptions{MaxRetries: -1})
	_, err := tenant.Token(ctx, s.audience+"/.default")
	p, ok := ExplainSignIn(err)
	if !ok || p.Code != code || !strings.Contains(p.Remedy, remedy) || p.Permanent != (code != "") {
		t.Errorf("ExplainSignIn = %+v, %v; want code %q and a remedy with %q; the error was %v", p, ok, code, remedy, err)
	}
}

// pair is a certificate and its key.
type pair struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newPair(t *testing.T, key crypto.Signer, end time.Time) pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "lazuli"},
		NotBefore: end.Add(-48 * time.Hour), NotAfter: end,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{key, cert}
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p pair) certificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

func (p pair) pem(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), p.certificatePEM()...)
}

func (p pair) pfx(t *testing.T, encoder *pkcs12.Encoder, password string) []byte {
	t.Helper()
	data, err := encoder.Encode(p.key, p.cert, nil, password)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSignInWithACertificate(t *testing.T) {
	s := newSignIn(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	good, unknown, old := newPair(t, rsaKey(t), tomorrow), newPair(t, rsaKey(t), tomorrow), newPair(t, rsaKey(t), time.Now().Add(-time.Hour))
	s.server.Register(entra.App{TenantID: testTenant, ClientID: testClient, Certificates: []*x509.Certificate{good.cert, old.cert}})
	file := filepath.Join(t.TempDir(), "certificate")
	c := config.Credential{Type: config.Certificate, ClientID: testClient, Certificate: config.Path(file)}
	for _, tc := range []struct {
		name         string
		data         []byte
		password     config.Secret
		code, remedy string
	}{
		{name: "PEM", data: good.pem(t)},
		{name: "PEM with others", data: append(unknown.certificatePEM(), good.pem(t)...)},
		{name: "PFX", data: good.pfx(t, pkcs12.Modern2023, "hunter2"), password: "hunter2"},
		{name: "PFX of before", data: good.pfx(t, pkcs12.LegacyRC2, "hunter2"), password: "hunter2"},
		{name: "PFX without a password", data: good.pfx(t, pkcs12.Modern2023, "")},
		{name: "not registered", data: unknown.pem(t), code: "AADSTS700027", remedy: "upload the certificate"},
		{name: "expired", data: old.pem(t), code: "AADSTS1000502", remedy: "make a new certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			write(t, file, tc.data)
			c := c
			c.CertificatePassword = tc.password
			tenant := s.tenant(t, c)
			if tc.code != "" {
				s.wantProblem(t, tenant, tc.code, tc.remedy)
				return
			}
			s.wantToken(t, tenant, testClient)
		})
	}
	t.Run("renewed while running", func(t *testing.T) {
		write(t, file, good.pem(t))
		tenant := s.tenant(t, c)
		s.wantToken(t, tenant, testClient)
		write(t, file, []byte("half a certif")) // whoever renews it is not done
		s.wantToken(t, tenant, testClient)
		s.server.Register(entra.App{TenantID: testTenant, ClientID: testClient, Certificates: []*x509.Certificate{unknown.cert}})
		_, err := tenant.Token(t.Context(), "https://graph.microsoft.com/.default")
		if p, ok := ExplainSignIn(err); !ok || p.Code != "AADSTS700027" || !strings.Contains(err.Error(), file) {
			t.Errorf("Token = %v; want Entra's refusal of the old certificate, and what is wrong with the file", err)
		}
		write(t, file, unknown.pem(t))
		s.wantToken(t, tenant, testClient)
	})
}

func TestCertificatesThatCannotBeUsed(t *testing.T) {
	s := newSignIn(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	good := newPair(t, rsaKey(t), tomorrow)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	elliptical := newPair(t, curve, tomorrow)
	strange := pair{rsaKey(t), good.cert}
	for _, tc := range []struct {
		name     string
		data     []byte
		password config.Secret
		want     string
	}{
		{name: "nothing", want: "neither PEM nor PFX"},
		{name: "no key", data: good.certificatePEM(), want: "PRIVATE KEY"},
		{name: "PEM with a password", data: good.pem(t), password: "hunter2", want: "certificate_password is for PFX"},
		{name: "another password", data: good.pfx(t, pkcs12.Modern2023, "hunter2"), password: "hunter3", want: "certificate_password is not the password"},
		{name: "no RSA", data: elliptical.pem(t), want: "RSA"},
		{name: "the key of another", data: strange.pem(t), want: "the certificate's own"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "certificate")
			write(t, file, tc.data)
			_, err := NewTenant("contoso", s.config(config.Credential{Type: config.Certificate, ClientID: testClient, Certificate: config.Path(file), CertificatePassword: tc.password}))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "hunter") {
				t.Errorf("NewTenant: %v; want the file, %q and no password", err, tc.want)
			}
		})
	}
}

func TestSignInWithAFederatedToken(t *testing.T) {
	s := newSignIn(t)
	issuer, stranger := rsaKey(t), rsaKey(t)
	const audience = "api://AzureADTokenExchange"
	s.server.Register(entra.App{TenantID: testTenant, ClientID: testClient, Federations: []entra.Federation{
		{Issuer: "https://oidc.example/", Subject: "system:serviceaccount:logs:lazuli", Audience: audience, Key: issuer.Public()},
	}})
	file := filepath.Join(t.TempDir(), "token")
	for _, tc := range []struct {
		name         string
		change       func(jwt.MapClaims)
		key          *rsa.PrivateKey
		code, remedy string
	}{
		{name: "good"},
		{name: "another issuer", change: func(c jwt.MapClaims) { c["iss"] = "https://other.example/" }, code: "AADSTS700211", remedy: "federated-credential"},
		{name: "another service account", change: func(c jwt.MapClaims) { c["sub"] = "system:serviceaccount:logs:default" }, code: "AADSTS700213", remedy: "federated-credential"},
		{name: "another audience", change: func(c jwt.MapClaims) { c["aud"] = "api://other" }, code: "AADSTS700212", remedy: "federated-credential"},
		{name: "expired", change: func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Hour).Unix() }, code: "AADSTS700024", remedy: "token file is renewed"},
		{name: "forged", key: stranger, code: "AADSTS50013", remedy: "the token file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			claims := jwt.MapClaims{
				"iss": "https://oidc.example/", "sub": "system:serviceaccount:logs:lazuli", "aud": []string{audience},
				"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			}
			if tc.change != nil {
				tc.change(claims)
			}
			key := issuer
			if tc.key != nil {
				key = tc.key
			}
			token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
			if err != nil {
				t.Fatal(err)
			}
			write(t, file, []byte(token))
			tenant := s.tenant(t, config.Credential{Type: config.WorkloadIdentity, ClientID: testClient, TokenFile: config.Path(file)})
			if tc.code != "" {
				s.wantProblem(t, tenant, tc.code, tc.remedy)
				return
			}
			s.wantToken(t, tenant, testClient)
			t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
			s.wantToken(t, s.tenant(t, config.Credential{Type: config.WorkloadIdentity, ClientID: testClient}), testClient)
		})
	}
	t.Run("no file", func(t *testing.T) {
		t.Setenv("AZURE_FEDERATED_TOKEN_FILE", "")
		for path, want := range map[string]string{"": "AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token": "/nowhere/token"} {
			_, err := NewTenant("contoso", s.config(config.Credential{Type: config.WorkloadIdentity, ClientID: testClient, TokenFile: config.Path(path)}))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("NewTenant with token_file %q: %v; want one that names %s", path, err, want)
			}
		}
	})
}

func identity() entra.App { return entra.App{TenantID: testTenant, ClientID: uuid.NewString()} }

func TestSignInAsAManagedIdentity(t *testing.T) {
	s := newSignIn(t)
	first, second, system := identity(), identity(), identity()
	user := func(id entra.App) config.Credential {
		return config.Credential{Type: config.ManagedIdentity, ClientID: id.ClientID}
	}
	t.Run("App Service", func(t *testing.T) {
		host := httptest.NewServer(&entra.Host{Server: s.server, System: &system, User: []entra.App{first}, Header: "a secret"})
		t.Cleanup(host.Close)
		t.Setenv("IDENTITY_ENDPOINT", host.URL+"/msi/token")
		t.Setenv("IDENTITY_HEADER", "a secret")
		s.wantToken(t, s.tenant(t, user(first)), first.ClientID)
		s.wantToken(t, s.tenant(t, config.Credential{Type: config.ManagedIdentity}), system.ClientID)
		s.wantProblem(t, s.tenant(t, user(identity())), "", "client_id is the client id of one of them")
	})
	t.Run("virtual machine", func(t *testing.T) {
		host := httptest.NewServer(&entra.Host{Server: s.server, User: []entra.App{second}})
		t.Cleanup(host.Close)
		// Its address is fixed. What it is connected to is not.
		var asked []string
		there := func(tenant *Tenant) *Tenant {
			transport, ok := tenant.host.Transport.(*http.Transport)
			if !ok {
				t.Fatal("the transport is another")
			}
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				asked = append(asked, address)
				return new(net.Dialer).DialContext(ctx, network, host.Listener.Addr().String())
			}
			return tenant
		}
		settings := s.config(user(second))
		settings.Proxy = "http://127.0.0.1:1" // not for this
		tenant, err := NewTenant("contoso", settings)
		if err != nil {
			t.Fatal(err)
		}
		s.wantToken(t, there(tenant), second.ClientID)
		if len(asked) == 0 || asked[0] != "169.254.169.254:80" {
			t.Errorf("asked %v, want the machine's own address", asked)
		}
		s.wantProblem(t, there(s.tenant(t, user(identity()))), "", "client_id is the client id of one of them")
		_, err = there(s.tenant(t, config.Credential{Type: config.ManagedIdentity})).Token(t.Context(), "https://"+uuid.NewString()+".example/.default")
		if p, ok := ExplainSignIn(err); !ok || p.Permanent || !strings.Contains(p.Remedy, "has a managed identity") {
			t.Errorf("ExplainSignIn = %+v, %v where there is no system-assigned identity; the error was %v", p, ok, err)
		}
	})
}

func TestSignInAsTheAzureCLI(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in for az is a shell script")
	}
	s := newSignIn(t)
	s.server.Register(entra.App{TenantID: testTenant, ClientID: testClient})
	token, err := s.server.Token(testTenant, testClient, s.audience, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	az := func(script string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "az"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", folder+":/bin:/usr/bin")
	tenant := s.tenant(t, config.Credential{Type: config.AzureCLI})
	az(fmt.Sprintf(`[ "$*" = "account get-access-token -o json --resource %s --tenant %s" ] || { echo "arguments: $*" >&2; exit 1; }
echo '{"accessToken": "%s", "expires_on": %d}'`, s.audience, testTenant, token, time.Now().Add(time.Hour).Unix()))
	s.wantToken(t, tenant, testClient)
	az(`echo "Please run 'az login' to setup account." >&2; exit 1`)
	s.wantProblem(t, tenant, "", "az login")
	if err := os.Remove(filepath.Join(folder, "az")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder)
	s.wantProblem(t, tenant, "", "on the PATH")
}

// Each cloud has a sign-in host of its own.
func TestSignInOfEveryCloud(t *testing.T) {
	s := newSignIn(t)
	good, issuer := newPair(t, rsaKey(t), time.Now().Add(24*time.Hour)), rsaKey(t)
	s.server.Register(entra.App{
		TenantID: testTenant, ClientID: testClient, Secrets: []entra.Secret{{Value: "good~secret"}}, Certificates: []*x509.Certificate{good.cert},
		Federations: []entra.Federation{{Issuer: "https://oidc.example/", Subject: "lazuli", Audience: "api://AzureADTokenExchange", Key: issuer.Public()}},
	})
	folder := t.TempDir()
	certificate, tokenFile := filepath.Join(folder, "certificate"), filepath.Join(folder, "token")
	write(t, certificate, good.pem(t))
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "https://oidc.example/", "sub": "lazuli", "aud": "api://AzureADTokenExchange", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(issuer)
	if err != nil {
		t.Fatal(err)
	}
	write(t, tokenFile, []byte(token))
	for cloud, host := range map[string]string{"public": "login.microsoftonline.com", "us_gov": "login.microsoftonline.us", "china": "login.chinacloudapi.cn"} {
		for _, c := range []config.Credential{
			{Type: config.ClientSecret, ClientID: testClient, ClientSecret: "good~secret"},
			{Type: config.Certificate, ClientID: testClient, Certificate: config.Path(certificate)},
			{Type: config.WorkloadIdentity, ClientID: testClient, TokenFile: config.Path(tokenFile)},
		} {
			t.Run(cloud+" "+c.Type, func(t *testing.T) {
				settings := s.config(c)
				settings.Cloud, settings.Endpoints.Authority = cloud, ""
				tenant, err := NewTenant("contoso", settings)
				if err != nil {
					t.Fatal(err)
				}
				transport, ok := tenant.HTTP.Transport.(*http.Transport)
				if !ok {
					t.Fatal("the transport is another")
				}
				transport.Proxy = nil
				transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, s.address)
				}
				s.wantToken(t, tenant, testClient)
				s.mu.Lock()
				defer s.mu.Unlock()
				if last := s.hosts[len(s.hosts)-1]; last != host {
					t.Errorf("the token came from %s, want %s", last, host)
				}
			})
		}
	}
}
