package azure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

// TLSConfig returns a client configuration that trusts the system's
// authorities and, if caFile is not "", those in that PEM file. Azure refuses
// anything below TLS 1.2.
func TLSConfig(caFile string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate; it must be PEM: -----BEGIN CERTIFICATE-----", caFile)
	}
	c.RootCAs = pool
	return c, nil
}

// HTTPClient returns a client with those trusted authorities. An empty proxy
// means the environment's HTTPS_PROXY and NO_PROXY. It has no overall timeout:
// callers bound each request by its context.
func HTTPClient(trust *tls.Config, proxy string) (*http.Client, error) {
	defaults, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("http.DefaultTransport was replaced")
	}
	transport := defaults.Clone()
	transport.TLSClientConfig = trust.Clone()
	transport.ResponseHeaderTimeout = 2 * time.Minute
	// As many as work on one host at a time keep their connections.
	transport.MaxIdleConnsPerHost = 32
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			// The URL may hold a password, and url.Error would quote it.
			return nil, errors.New("proxy: is not a URL; write http://host:port")
		}
		transport.Proxy = http.ProxyURL(u)
	}
	return &http.Client{Transport: transport}, nil
}
