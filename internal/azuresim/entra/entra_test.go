package entra

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
)

const (
	tenantID = "5f7f3c5e-2b0e-4d3c-9a51-6b1f0c8f2a11"
	clientID = "b8a3d5f0-7c44-4f0e-8d6a-2f4b9c1e7d22"
	secret   = "correct horse~battery+staple&"
	resource = "https://eventhubs.azure.net/"
)

// start serves an Entra with one app over TLS and returns a client to which
// every host name leads to it, as with a redirected name resolution.
func start(t *testing.T, now func() time.Time) (server *Server, address string, client *http.Client) {
	t.Helper()
	authority, err := ca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	config, err := authority.ServerConfig(ca.AzureNames()...)
	if err != nil {
		t.Fatal(err)
	}
	server, err = New(Options{Now: now, Apps: []App{{
		TenantID: tenantID, ClientID: clientID, Roles: []string{"Reader"},
		Secrets: []Secret{{Value: secret}, {Value: "old", Expires: now().Add(-time.Hour)}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewUnstartedServer(server)
	listener.TLS = config
	listener.StartTLS()
	t.Cleanup(listener.Close)
	address = listener.Listener.Addr().String()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: authority.Pool()},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return server, address, &http.Client{Transport: transport}
}

func credential(t *testing.T, client *http.Client, authority, tenant, clientID, secret string, disableDiscovery bool) azcore.TokenCredential {
	t.Helper()
	cred, err := azidentity.NewClientSecretCredential(tenant, clientID, secret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: azcore.ClientOptions{
			Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: authority},
			Transport: client,
			Retry:     policy.RetryOptions{MaxRetries: 3, RetryDelay: time.Millisecond, MaxRetryDelay: 2 * time.Second},
		},
		DisableInstanceDiscovery: disableDiscovery,
	})
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

func TestOfficialClientGetsATokenThatVerifies(t *testing.T) {
	server, address, client := start(t, time.Now)
	tests := []struct {
		name             string
		authority        string
		disableDiscovery bool
	}{
		{"own host, no discovery", "https://" + address, true},
		{"own host, discovery", "https://" + address, false},
		{"Microsoft's host", "https://login.microsoftonline.com", false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			cred := credential(t, client, tc.authority, tenantID, clientID, secret, tc.disableDiscovery)
			token, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}})
			if err != nil {
				t.Fatalf("GetToken: %v", err)
			}
			if err := server.Verify(token.Token, "https://eventhubs.azure.net"); err != nil {
				t.Errorf("Verify: %v", err)
			}
			if err := server.Verify(token.Token, "https://graph.microsoft.com"); err == nil {
				t.Error("Verify accepts the token for another audience")
			}
			if left := time.Until(token.ExpiresOn); left < 59*time.Minute || left > time.Hour {
				t.Errorf("token is valid for %s, want about one hour", left)
			}
		})
	}
}

func TestOfficialClientSeesTheRefusal(t *testing.T) {
	_, address, client := start(t, time.Now)
	const other = "00000000-1111-4222-8333-444444444444"
	tests := []struct {
		name                     string
		tenant, clientID, secret string
		want                     string
	}{
		{"wrong secret", tenantID, clientID, "wrong", "AADSTS7000215"},
		{"expired secret", tenantID, clientID, "old", "AADSTS7000222"},
		{"unknown client", tenantID, other, secret, "AADSTS700016"},
		{"unknown tenant", other, clientID, secret, "AADSTS90002"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			cred := credential(t, client, "https://"+address, tc.tenant, tc.clientID, tc.secret, true)
			_, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("GetToken: %v, want %s", err, tc.want)
			}
		})
	}
}

func TestTokenEndpoint(t *testing.T) {
	_, address, client := start(t, time.Now)
	good := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret},
		"scope": {resource + "/.default openid offline_access profile"},
	}
	tests := []struct {
		name       string
		tenant     string
		change     map[string]string // "" deletes
		wantStatus int
		wantError  string
		wantCode   int
	}{
		{"good", tenantID, nil, 200, "", 0},
		{"client id in capitals", tenantID, map[string]string{"client_id": strings.ToUpper(clientID)}, 200, "", 0},
		{"wrong secret", tenantID, map[string]string{"client_secret": "x"}, 401, "invalid_client", 7000215},
		{"expired secret", tenantID, map[string]string{"client_secret": "old"}, 401, "invalid_client", 7000222},
		{"unknown client", tenantID, map[string]string{"client_id": "x"}, 400, "unauthorized_client", 700016},
		{"unknown tenant", "nobody", nil, 400, "invalid_request", 90002},
		{"no secret", tenantID, map[string]string{"client_secret": ""}, 401, "invalid_client", 7000216},
		{"no grant type", tenantID, map[string]string{"grant_type": ""}, 400, "invalid_request", 900144},
		{"other grant type", tenantID, map[string]string{"grant_type": "password"}, 400, "unsupported_grant_type", 70003},
		{"scope without .default", tenantID, map[string]string{"scope": "openid"}, 400, "invalid_scope", 1002012},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			form := url.Values{}
			maps.Copy(form, good)
			for name, value := range tc.change {
				form.Set(name, value)
				if value == "" {
					form.Del(name)
				}
			}
			response, err := client.PostForm("https://"+address+"/"+tc.tenant+"/oauth2/v2.0/token", form)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			var got struct {
				Error            string `json:"error"`
				ErrorDescription string `json:"error_description"`
				ErrorCodes       []int  `json:"error_codes"`
				TraceID          string `json:"trace_id"`
				TokenType        string `json:"token_type"`
				ExpiresIn        int    `json:"expires_in"`
			}
			if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != tc.wantStatus || got.Error != tc.wantError {
				t.Fatalf("answer %d %+v, want %d %q", response.StatusCode, got, tc.wantStatus, tc.wantError)
			}
			if tc.wantCode == 0 {
				if got.TokenType != "Bearer" || got.ExpiresIn != 3599 {
					t.Errorf("answer %+v, want a Bearer token for 3599 seconds", got)
				}
				return
			}
			if len(got.ErrorCodes) != 1 || got.ErrorCodes[0] != tc.wantCode || got.TraceID == "" ||
				!strings.Contains(got.ErrorDescription, "Trace ID: "+got.TraceID) {
				t.Errorf("answer %+v, want code %d and a trace id", got, tc.wantCode)
			}
			if strings.Contains(got.ErrorDescription, secret) {
				t.Error("the refusal repeats the secret")
			}
		})
	}
}

func TestClientRetriesAfterFaults(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError} {
		server, address, client := start(t, time.Now)
		server.Faults.Fail(2, status, 0)
		cred := credential(t, client, "https://"+address, tenantID, clientID, secret, true)
		if _, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}}); err != nil {
			t.Errorf("GetToken after two answers %d: %v", status, err)
		}
	}
}

func TestFaultsInTheAnswer(t *testing.T) {
	server, _, _ := start(t, time.Now)
	ask := func() *http.Response {
		recorder := httptest.NewRecorder()
		server.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/"+tenantID+"/discovery/v2.0/keys", nil))
		return recorder.Result()
	}
	server.Faults.Fail(1, 429, 7*time.Second)
	if got := ask(); got.StatusCode != 429 || got.Header.Get("Retry-After") != "7" {
		t.Errorf("answer %d with Retry-After %q, want 429 with 7", got.StatusCode, got.Header.Get("Retry-After"))
	}
	if got := ask(); got.StatusCode != 200 {
		t.Errorf("answer after the fault: %d, want 200", got.StatusCode)
	}
	server.Faults.Fail(100, 500, 0)
	server.Faults.Clear()
	if got := ask(); got.StatusCode != 200 {
		t.Errorf("answer after Clear: %d, want 200", got.StatusCode)
	}
}

func TestTokensExpire(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	server, address, client := start(t, func() time.Time { return now })
	server.Faults.SetTokenLifetime(2 * time.Minute)
	cred := credential(t, client, "https://"+address, tenantID, clientID, secret, true)
	token, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Verify(token.Token, resource); err != nil {
		t.Errorf("Verify at once: %v", err)
	}
	now = now.Add(2*time.Minute + time.Second)
	if err := server.Verify(token.Token, resource); err == nil {
		t.Error("Verify accepts a token after its end")
	}
}

func TestVerifyRefusesForeignTokens(t *testing.T) {
	server, _, _ := start(t, time.Now)
	other, _, _ := start(t, time.Now)
	foreign, err := other.Token(tenantID, clientID, resource, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	own, err := server.Token(tenantID, clientID, resource, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(own, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
	for _, token := range []string{"", "x", foreign, unsigned, own[:len(own)-4] + "AAAA"} {
		if err := server.Verify(token, resource); err == nil {
			t.Errorf("Verify(%.20q...) accepts it", token)
		}
	}
}

func TestSigningKeysAreTheOnesThatSign(t *testing.T) {
	server, address, client := start(t, time.Now)
	response, err := client.Get("https://" + address + "/" + tenantID + "/discovery/v2.0/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []struct{ Kty, N, E string } }
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) != 1 || set.Keys[0].Kty != "RSA" {
		t.Fatalf("keys %s: %v", body, err)
	}
	modulus, err := base64.RawURLEncoding.DecodeString(set.Keys[0].N)
	if err != nil {
		t.Fatal(err)
	}
	if new(big.Int).SetBytes(modulus).Cmp(server.key.N) != 0 {
		t.Error("the published modulus is not the signing key's")
	}
}
