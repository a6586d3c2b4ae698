package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/azuresim/entra"
)

// TestEveryCredential reads a hub with each way to sign in that needs no secret
// of Entra's.
func TestEveryCredential(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: 21, RetainBytes: -1})
	const events = 500
	if _, err := sim.Produce(t.Context(), events, 0); err != nil {
		t.Fatal(err)
	}
	e := sim.Endpoints
	folder := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lazuli"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "https://oidc.example/", "sub": "system:serviceaccount:logs:lazuli", "aud": "api://AzureADTokenExchange", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	certificateFile, tokenFile := filepath.Join(folder, "certificate.pem"), filepath.Join(folder, "token")
	for file, content := range map[string][]byte{
		certificateFile: append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...),
		tokenFile:       []byte(token),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	app := entra.App{
		TenantID: e.TenantID, ClientID: "0a2b4c6d-8e0f-4a2b-8c4d-6e8f0a2b4c6d", Certificates: []*x509.Certificate{certificate},
		Federations: []entra.Federation{{Issuer: "https://oidc.example/", Subject: "system:serviceaccount:logs:lazuli", Audience: "api://AzureADTokenExchange", Key: key.Public()}},
	}
	sim.Entra.Register(app)
	host := httptest.NewServer(&entra.Host{Server: sim.Entra, System: &app, User: []entra.App{app}, Header: "a secret"})
	t.Cleanup(host.Close)
	identity := []string{"IDENTITY_ENDPOINT=" + host.URL, "IDENTITY_HEADER=a secret"}
	for name, tc := range map[string]struct {
		credential string
		env        []string
	}{
		"certificate":              {credential: `{type: certificate, client_id: ` + app.ClientID + `, certificate: "` + certificateFile + `"}`},
		"workload identity":        {credential: `{type: workload_identity, client_id: ` + app.ClientID + `}`, env: []string{"AZURE_FEDERATED_TOKEN_FILE=" + tokenFile}},
		"system-assigned identity": {credential: `{type: managed_identity}`, env: identity},
		"user-assigned identity":   {credential: `{type: managed_identity, client_id: ` + app.ClientID + `}`, env: identity},
	} {
		t.Run(name, func(t *testing.T) {
			text := entraConfig(t, sim, "amqp", e.AMQPS)
			begin := strings.Index(text, "{type: client_secret")
			end := begin + strings.Index(text[begin:], "\n")
			dir, file := writeConfig(t, text[:begin]+tc.credential+text[end:])
			if r := execute(t, "", tc.env, "check", "-c", file); r.status != 0 {
				t.Fatalf("check: status %d\n%s", r.status, r.stderr)
			}
			if r := execute(t, "", tc.env, "run", "-c", file, "--once"); r.status != 0 {
				t.Fatalf("run: status %d\n%s", r.status, r.stderr)
			}
			ledger := sim.Ledger.Fresh()
			if err := ledger.ReadFiles(filepath.Join(dir, "events.ndjson")); err != nil {
				t.Fatal(err)
			}
			if report := ledger.Report(); report.Lost > 0 || report.Duplicated > 0 || report.Delivered != events {
				t.Errorf("%v, want each record once", report)
			}
		})
	}
	t.Run("check names a file that cannot be used", func(t *testing.T) {
		text := entraConfig(t, sim, "amqp", e.AMQPS)
		begin := strings.Index(text, "{type: client_secret")
		end := begin + strings.Index(text[begin:], "\n")
		_, file := writeConfig(t, text[:begin]+`{type: certificate, client_id: `+app.ClientID+`, certificate: "`+tokenFile+`"}`+text[end:])
		if r := execute(t, "", nil, "check", "-c", file); r.status != 2 || !strings.Contains(r.stderr, tokenFile) || strings.Contains(r.stderr, token) {
			t.Errorf("status %d, want 2 and the file:\n%s", r.status, r.stderr)
		}
	})
}
