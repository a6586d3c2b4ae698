// Package ca is the certificate authority of the simulator: made anew in memory
// at every start, it signs the certificates of the simulated endpoints. A
// client trusts it through a PEM file (SSL_CERT_FILE, or RootCAs).
//
// Invariant: its private key never leaves the process. It must not know which
// endpoints exist.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

const (
	validity = 365 * 24 * time.Hour
	// backdate covers clients whose clock runs behind.
	backdate = 24 * time.Hour
)

// Authority is a root certificate with its key. It is immutable and may be
// shared.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	now         func() time.Time
}

// AzureNames are the names and addresses under which clients reach the
// simulator: loopback, and Azure's own names for clients whose name resolution
// is redirected.
func AzureNames() []string {
	return []string{
		"127.0.0.1", "::1", "localhost", "*.localhost",
		"*.servicebus.windows.net", "login.microsoftonline.com", "graph.microsoft.com", "management.azure.com",
		"*.blob.core.windows.net", "*.queue.core.windows.net", "*.ingest.monitor.azure.com", "api.loganalytics.io",
	}
}

// New makes an authority that is valid for one year from now().
func New(now func() time.Time) (*Authority, error) {
	a := &Authority{now: now}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make the root key: %w", err)
	}
	template, err := a.template("Azure simulator root")
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the root certificate: %w", err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("read back the root certificate: %w", err)
	}
	return a, nil
}

// ServerConfig returns a TLS configuration with a new certificate for names,
// which are DNS names (also with a leading "*.") or IP addresses.
func (a *Authority) ServerConfig(names ...string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a server key: %w", err)
	}
	template, err := a.template("Azure simulator")
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %q: %w", names, err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der, a.certificate.Raw}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
	}, nil
}

// Pool returns the root certificate in a pool, for a client in this process.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// PEM returns the root certificate, without its key.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// WriteFile writes PEM() to a file that everyone may read.
func (a *Authority) WriteFile(path string) error {
	if err := os.WriteFile(path, a.PEM(), 0o644); err != nil {
		return fmt.Errorf("write the root certificate: %w", err)
	}
	return nil
}

func (a *Authority) template(commonName string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName, Organization: []string{"Simulated, do not trust"}},
		NotBefore:    a.now().Add(-backdate),
		NotAfter:     a.now().Add(validity),
	}, nil
}
