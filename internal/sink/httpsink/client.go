package httpsink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/config"
)

// Connection is how a destination is reached and trusted.
type Connection struct {
	CAFile   config.Path   `yaml:"ca_file" example:"/etc/lazuli/ca.pem" doc:"PEM file with certificate authorities to trust beside the system's."`
	CertFile config.Path   `yaml:"cert_file" example:"/etc/lazuli/client.pem" doc:"PEM file with the client certificate, where the destination wants one."`
	KeyFile  config.Path   `yaml:"key_file" example:"/etc/lazuli/client-key.pem" doc:"PEM file with the key of the client certificate."`
	Proxy    config.Secret `yaml:"proxy" example:"http://proxy.example.com:3128" doc:"HTTP proxy. Without it, HTTPS_PROXY and NO_PROXY of the environment count."`
}

// Validate implements config.Component.
func (c *Connection) Validate(r *config.Report) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		r.Add("cert_file", "needs key_file, and key_file needs cert_file", "give both or neither")
	}
	if c.Proxy != "" {
		if u, err := url.Parse(c.Proxy.Reveal()); err != nil || u.Host == "" {
			r.Add("proxy", "is not a URL", "write http://host:port")
		}
	}
}

// TLS returns the client's TLS settings.
func (c *Connection) TLS() (*tls.Config, error) {
	trust, err := azure.TLSConfig(string(c.CAFile))
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(string(c.CertFile), string(c.KeyFile))
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	return trust, nil
}

var headerForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // RFC 9110 5.6.2

// IsHeaderName tells whether a header can have that name.
func IsHeaderName(name string) bool { return headerForm.MatchString(name) }

// CheckHeaders reports what is wrong with an option "headers".
func CheckHeaders(r *config.Report, headers map[string]config.Secret) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at := "headers." + name
		switch {
		case !IsHeaderName(name):
			r.Add(at, "is no name of a header", "write letters, digits and hyphens")
		case slices.Contains([]string{"content-length", "content-encoding", "host", "transfer-encoding"}, strings.ToLower(name)):
			r.Add(at, "is set by Lazuli", "remove it")
		case strings.ContainsAny(headers[name].Reveal(), "\r\n\x00"):
			r.Add(at, "holds a line break", "remove it")
		}
	}
}

// Client sends requests and reads their answers whole. It may be used
// concurrently.
type Client struct {
	http *http.Client
}

// NewClient returns a client of its own for one sink.
func NewClient(c Connection) (*Client, error) {
	trust, err := c.TLS()
	if err != nil {
		return nil, err
	}
	client, err := azure.HTTPClient(trust, c.Proxy.Reveal())
	if err != nil {
		return nil, err
	}
	// A redirect would send the events, and perhaps the credential, elsewhere.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{http: client}, nil
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is a response that has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // up to the limit asked for
}

// errBodyLimit is returned for an answer that is longer than allowed.
var errBodyLimit = errors.New("the answer is too long")

// Do sends one request with the payload as its body, nil for none, and reads up
// to limit bytes of the answer; a longer one is an error, unless its status
// alone says what it means. The payload may be sent again and is not freed.
func (c *Client) Do(ctx context.Context, method, target string, header http.Header, p *Payload, limit int64) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, clean(err)
	}
	req.Header = header
	if p != nil {
		req.Body = p.Reader()
		req.GetBody = func() (io.ReadCloser, error) { return p.Reader(), nil }
		req.ContentLength = int64(p.Len())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, clean(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	switch {
	case err != nil && a.ok():
		return nil, fmt.Errorf("read the answer: %w", clean(err))
	case int64(len(body)) > limit && a.ok():
		return nil, fmt.Errorf("read the answer: %w (over %d bytes)", errBodyLimit, limit)
	}
	return a, nil
}

func (a *Answer) ok() bool { return a.Status >= 200 && a.Status < 300 }

// clean takes the URL out of an error: it may hold a token, and the sink's name
// stands beside the error anyway.
func clean(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return fmt.Errorf("%s: %w", wrapped.Op, wrapped.Err)
	}
	return err
}
