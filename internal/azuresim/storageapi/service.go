package storageapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Kind is a service of a storage account.
type Kind string

// The services that the simulator has.
const (
	Blob  Kind = "blob"
	Queue Kind = "queue"
)

// Role is what the principal of a bearer token may do.
type Role int32

// The roles, each with the rights of those before it.
const (
	RoleNone        Role = iota // no data role: AuthorizationPermissionMismatch
	RoleReader                  // Storage Blob (Queue) Data Reader
	RoleContributor             // Storage Blob (Queue) Data Contributor
)

// Options of a service.
type Options struct {
	// Accounts are the keys (Base64, as Azure shows them) by account name.
	Accounts map[string]string
	// VerifyToken tells whether a bearer token is valid for Storage; nil refuses all.
	VerifyToken func(token string) error
	Now         func() time.Time // nil: time.Now
}

// Service receives the requests of one service and authorizes them. It is safe
// for concurrent use.
type Service struct {
	Faults Faults
	Counts Counts

	kind   Kind
	keys   map[string][]byte
	verify func(string) error
	now    func() time.Time
	role   atomic.Int32
	route  func(*Call) (Operation, error)
}

// Call is a request that is under way.
type Call struct {
	http.ResponseWriter
	*http.Request
	Account string
	// Path is what follows the account, unescaped, without a leading slash.
	Path  string
	Query url.Values
	// Base is the URL of the account as the client wrote it, without a slash at its end.
	Base string
}

// Operation is what a request asks for.
type Operation struct {
	Name string // as in Azure's own storage logs, e.g. "GetBlob"
	Need Need
	Run  func(*Call) error
}

// New returns a service, whose operations route finds.
func New(kind Kind, options Options, route func(*Call) (Operation, error)) (*Service, error) {
	s := &Service{kind: kind, keys: map[string][]byte{}, verify: options.VerifyToken, now: options.Now, route: route}
	if s.now == nil {
		s.now = time.Now
	}
	for name, key := range options.Accounts {
		bits, err := base64.StdEncoding.DecodeString(key)
		if err != nil {
			return nil, fmt.Errorf("storage account %q: its key is not Base64: %w", name, err)
		}
		s.keys[name] = bits
	}
	s.role.Store(int32(RoleContributor))
	return s, nil
}

// SetRole sets what bearer tokens may do from now on; RoleContributor at first.
func (s *Service) SetRole(role Role) { s.role.Store(int32(role)) }

var version = regexp.MustCompile(`^20\d\d-\d\d-\d\d$`)

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString()
	h := w.Header()
	h.Set("Server", "Windows-Azure-"+strings.ToUpper(string(s.kind[:1]))+string(s.kind[1:])+"/1.0 Microsoft-HTTPAPI/2.0")
	h.Set("x-ms-request-id", id)
	if v := r.Header.Get("x-ms-version"); v != "" {
		h.Set("x-ms-version", v)
	}
	if v := r.Header.Get("x-ms-client-request-id"); v != "" {
		h.Set("x-ms-client-request-id", v)
	}
	err := s.serve(w, r)
	if err == nil {
		return
	}
	var refused *Error
	if !errors.As(err, &refused) {
		refused = Errorf(http.StatusInternalServerError, "InternalError", "Server encountered an internal error: %v", err)
	}
	for name, values := range refused.Header {
		h[name] = values
	}
	h.Set("x-ms-error-code", refused.Code)
	if r.Method == http.MethodHead || refused.Status == http.StatusNotModified {
		w.WriteHeader(refused.Status)
		return
	}
	body := refused.body(id, s.now())
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(refused.Status)
	// The client has gone if this fails; there is nobody to tell.
	_, _ = w.Write(body)
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) error {
	call := &Call{ResponseWriter: w, Request: r}
	if err := s.address(call); err != nil {
		return err
	}
	if v := r.Header.Get("x-ms-version"); v != "" && !version.MatchString(v) {
		return InvalidHeader("x-ms-version", v)
	}
	operation, err := s.route(call)
	if err != nil {
		return err
	}
	s.Counts.add(operation.Name)
	if err := s.authorize(call, operation.Need); err != nil {
		return err
	}
	writer, err := s.Faults.apply(call, operation.Name)
	if err != nil {
		return err
	}
	call.ResponseWriter = writer
	return operation.Run(call)
}

// address finds account and path, in "account.blob.core.windows.net/path" or, if
// the host is an address, in "127.0.0.1:10000/account/path" as with Azurite.
func (s *Service) address(c *Call) error {
	query, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return Errorf(http.StatusBadRequest, "InvalidUri", "The requested URI does not represent any resource on the server.")
	}
	c.Query = query
	scheme := "http://"
	if c.TLS != nil {
		scheme = "https://"
	}
	c.Base = scheme + c.Host
	host := c.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if label, rest, ok := strings.Cut(host, "."); ok && net.ParseIP(host) == nil && strings.HasPrefix(rest, string(s.kind)+".") {
		c.Account, c.Path = label, strings.TrimPrefix(c.URL.Path, "/")
	} else {
		c.Account, c.Path, _ = strings.Cut(strings.TrimPrefix(c.URL.Path, "/"), "/")
		c.Base += "/" + c.Account
	}
	if _, known := s.keys[c.Account]; !known {
		return authenticationFailed("There is no storage account %q here.", c.Account)
	}
	return nil
}

// Header is the request's header, which the answer's header would hide.
func (c *Call) Header(name string) string { return c.Request.Header.Get(name) }

// Answer is the answer's header.
func (c *Call) Answer() http.Header { return c.ResponseWriter.Header() }

// XML sends a document.
func (c *Call) XML(status int, body []byte) error {
	c.Answer().Set("Content-Type", "application/xml")
	c.Answer().Set("Content-Length", strconv.Itoa(len(body)))
	c.WriteHeader(status)
	_, _ = c.ResponseWriter.Write(body) // the client has gone if this fails
	return nil
}

// Empty sends an answer without a body.
func (c *Call) Empty(status int) error {
	if status != http.StatusNoContent {
		c.Answer().Set("Content-Length", "0")
	}
	c.WriteHeader(status)
	return nil
}

// Number returns a parameter of the URL between low and high; otherwise where it
// is missing.
func (c *Call) Number(name string, low, high, otherwise int) (int, error) {
	text := c.Query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, InvalidQuery(name, text)
	}
	if n < low || n > high {
		return 0, &Error{
			Status: http.StatusBadRequest, Code: "OutOfRangeQueryParameterValue",
			Message: "One of the query parameters specified in the request URI is outside the permissible range.",
		}
	}
	return n, nil
}
