package ca

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestClientsThatTrustTheFileConnectUnderEveryName(t *testing.T) {
	authority, err := New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := authority.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	trust := x509.NewCertPool()
	if !trust.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %q", text)
	}
	config, err := authority.ServerConfig(AzureNames()...)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, serverName string
		roots            *x509.CertPool
		wantError        bool
	}{
		{"loopback address", "127.0.0.1", trust, false},
		{"localhost", "localhost", trust, false},
		{"a namespace", "contoso.servicebus.windows.net", trust, false},
		{"Entra", "login.microsoftonline.com", trust, false},
		{"pool instead of file", "localhost", authority.Pool(), false},
		{"another name", "example.com", trust, true},
		{"another authority", "localhost", x509.NewCertPool(), true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			near, far := net.Pipe()
			server := tls.Server(far, config)
			go func() {
				defer server.Close()
				if server.Handshake() == nil {
					io.Copy(io.Discard, server)
				}
			}()
			client := tls.Client(near, &tls.Config{RootCAs: tc.roots, ServerName: tc.serverName})
			defer near.Close()
			if err := client.Handshake(); (err != nil) != tc.wantError {
				t.Errorf("handshake as %q: %v, want error: %v", tc.serverName, err, tc.wantError)
			}
		})
	}
}
