package entra

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What a client of Microsoft's never sends, and Entra refuses.
func TestAssertionsThatProveNothing(t *testing.T) {
	server, address, client := start(t, time.Now)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	server.Register(App{TenantID: tenantID, ClientID: clientID, Certificates: []*x509.Certificate{certificate}})
	endpoint := "https://" + address + "/" + tenantID + "/oauth2/v2.0/token"
	sum := sha256.Sum256(der)
	for _, tc := range []struct {
		name   string
		change func(claims jwt.MapClaims, header map[string]any)
		method jwt.SigningMethod
		key    any
		kind   string // client_assertion_type
		raw    string // instead of an assertion
		code   int    // 0: a token
	}{
		{name: "good"},
		{name: "RS256", method: jwt.SigningMethodRS256},
		{name: "no type", kind: "jwt", code: 900144},
		{name: "no JWT", raw: "nonsense", code: 50027},
		{name: "no signature", method: jwt.SigningMethodNone, key: jwt.UnsafeAllowNoneSignatureType, code: 50013},
		{name: "signed with what is public", method: jwt.SigningMethodHS256, key: der, code: 50013},
		{name: "no thumbprint", change: func(_ jwt.MapClaims, h map[string]any) { delete(h, "x5t#S256") }, code: 700027},
		{name: "for another endpoint", change: func(c jwt.MapClaims, _ map[string]any) { c["aud"] = "https://login.microsoftonline.com/other" }, code: 700023},
		{name: "about another", change: func(c jwt.MapClaims, _ map[string]any) { c["sub"] = tenantID }, code: 700021},
		{name: "expired", change: func(c jwt.MapClaims, _ map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }, code: 700024},
		{name: "not yet", change: func(c jwt.MapClaims, _ map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() }, code: 700024},
		{name: "for ever", change: func(c jwt.MapClaims, _ map[string]any) { c["exp"] = time.Now().Add(1000 * time.Hour).Unix() }, code: 50027},
		{name: "no id", change: func(c jwt.MapClaims, _ map[string]any) { delete(c, "jti") }, code: 50027},
		{name: "of an issuer that is not trusted", change: func(c jwt.MapClaims, _ map[string]any) { c["iss"] = "https://oidc.example/" }, code: 700211},
	} {
		t.Run(tc.name, func(t *testing.T) {
			claims := jwt.MapClaims{"iss": clientID, "sub": clientID, "aud": endpoint, "jti": "1", "nbf": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix()}
			method, signer, kind := tc.method, tc.key, tc.kind
			if method == nil {
				method = jwt.SigningMethodPS256
			}
			if signer == nil {
				signer = key
			}
			if kind == "" {
				kind = assertionType
			}
			token := jwt.NewWithClaims(method, claims)
			token.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(sum[:])
			if tc.change != nil {
				tc.change(claims, token.Header)
			}
			assertion, err := token.SignedString(signer)
			if err != nil {
				t.Fatal(err)
			}
			if tc.raw != "" {
				assertion = tc.raw
			}
			form := url.Values{
				"grant_type": {"client_credentials"}, "client_id": {clientID}, "scope": {resource + "/.default"},
				"client_assertion_type": {kind}, "client_assertion": {assertion},
			}
			response, err := client.PostForm(endpoint, form)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			var answer struct {
				Token string `json:"access_token"`
				Codes []int  `json:"error_codes"`
			}
			if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
				t.Fatal(err)
			}
			code := 0
			if len(answer.Codes) > 0 {
				code = answer.Codes[0]
			}
			if code != tc.code || (code == 0) != (answer.Token != "") {
				t.Errorf("status %d, code %d, a token: %v; want code %d", response.StatusCode, code, answer.Token != "", tc.code)
			}
		})
	}
}

// What must not get a token of a host's identity.
func TestHostsGiveTokensToWhoIsThere(t *testing.T) {
	server, _, _ := start(t, time.Now)
	app := App{TenantID: tenantID, ClientID: clientID}
	machine := &Host{Server: server, System: &app}
	service := &Host{Server: server, System: &app, Header: "a secret"}
	const imds = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=" + resource
	for _, tc := range []struct {
		name, path string
		host       *Host
		header     map[string]string
		status     int
	}{
		{"machine", imds, machine, map[string]string{"Metadata": "true"}, 200},
		{"no header against forged requests", imds, machine, nil, 400},
		{"through a proxy", imds, machine, map[string]string{"Metadata": "true", "X-Forwarded-For": "192.0.2.1"}, 400},
		{"no version", "/metadata/identity/oauth2/token?resource=" + resource, machine, map[string]string{"Metadata": "true"}, 400},
		{"no resource", "/metadata/identity/oauth2/token?api-version=2018-02-01", machine, map[string]string{"Metadata": "true"}, 400},
		{"another identity", imds + "&client_id=" + tenantID, machine, map[string]string{"Metadata": "true"}, 400},
		{"another path", "/metadata/instance", machine, map[string]string{"Metadata": "true"}, 404},
		{"App Service", "/?api-version=2019-08-01&resource=" + resource, service, map[string]string{"X-IDENTITY-HEADER": "a secret"}, 200},
		{"a wrong secret", "/?api-version=2019-08-01&resource=" + resource, service, map[string]string{"X-IDENTITY-HEADER": "another"}, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, tc.path, nil)
			for name, value := range tc.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			tc.host.ServeHTTP(w, r)
			body, _ := io.ReadAll(w.Body)
			if w.Code != tc.status || strings.Contains(string(body), "access_token") != (tc.status == 200) {
				t.Errorf("status %d, %.200s; want %d", w.Code, body, tc.status)
			}
		})
	}
}
