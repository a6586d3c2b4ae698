package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// Options of a server.
type Options struct {
	// Verify checks a bearer token. An expired one gives an error that is
	// jwt.ErrTokenExpired.
	Verify func(token string) (Caller, error)
	// Retention is how long sign-ins and audits are kept: 30 days, or 7 in a
	// tenant without a premium license. Zero: 30 days.
	Retention time.Duration
	// Unlimited turns Graph's limits off.
	Unlimited bool
	// KeepBytes is how much each collection holds; what is oldest goes first.
	// Zero: 64 MiB. Negative: everything.
	KeepBytes int64
	Now       func() time.Time // nil: time.Now
}

// Caller is who sends a request.
type Caller struct {
	App   string   // client id
	Roles []string // application permissions
}

const defaultKeep = 64 << 20

// Server answers as Microsoft Graph does. It is an http.Handler for paths that
// begin with the version, and safe for concurrent use.
type Server struct {
	options Options
	now     func() time.Time

	// Faults makes the server fail on demand.
	Faults Faults

	mu          sync.Mutex // guards what follows
	collections []*collection
	throttle    throttle
	number      uint64 // of the object that arrives next
	requests    uint64
	stories     stories
}

// New returns a server without objects.
func New(options Options) *Server {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.KeepBytes == 0 {
		options.KeepBytes = defaultKeep
	}
	s := &Server{options: options, now: options.Now, throttle: throttle{granted: map[caller][]time.Time{}}}
	for _, r := range resources() {
		if r.class == reports && options.Retention != 0 {
			r.retention = options.Retention
		}
		s.collections = append(s.collections, newCollection(r))
	}
	return s
}

// Resources are the paths of the collections, e.g. "auditLogs/signIns".
func Resources() (paths []string) {
	for _, r := range resources() {
		paths = append(paths, r.path)
	}
	return paths
}

// Roles are the application permissions that reading everything needs.
func Roles() (roles []string) {
	for _, r := range resources() {
		if !slices.Contains(roles, r.roles[0]) {
			roles = append(roles, r.roles[0])
		}
	}
	return roles
}

// Put adds an object of a collection as it is, or replaces the one with the same
// id. It is visible from then on, or later if it is to be late.
func (s *Server) Put(path string, raw []byte) error { return s.PutAt(path, raw, time.Time{}) }

// PutAt adds an object that is not visible before visible.
func (s *Server) PutAt(path string, raw []byte, visible time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putLocked(path, raw, visible)
}

func (s *Server) putLocked(path string, raw []byte, visible time.Time) error {
	c := s.collection(path)
	if c == nil {
		return fmt.Errorf("put an object: there is no collection %q; there are %q", path, Resources())
	}
	if visible.IsZero() {
		visible = s.now().Add(s.Faults.delay())
	}
	s.number++
	if err := c.put(raw, s.number, visible); err != nil {
		return err
	}
	for s.options.KeepBytes > 0 && c.bytes > s.options.KeepBytes {
		c.remove(c.objects[0])
	}
	return nil
}

// Get returns an object as it is, or nil.
func (s *Server) Get(path, id string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.collection(path); c != nil && c.byID[id] != nil {
		return c.byID[id].raw
	}
	return nil
}

// Count returns how many objects a collection holds, visible or not.
func (s *Server) Count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.collection(path); c != nil {
		return len(c.objects)
	}
	return 0
}

// Requests returns how many requests came in so far, refused ones included.
func (s *Server) Requests() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *Server) collection(path string) *collection {
	for _, c := range s.collections {
		if c.same(path) {
			return c
		}
	}
	return nil
}

func (s *Server) requestID() string { return uuid.NewString() }

// reply is an answer that is ready to be sent.
type reply struct {
	status int
	header http.Header
	body   []byte
	cut    bool // ends in the middle
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := s.reply(r)
	maps.Copy(w.Header(), answer.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(answer.body)))
	w.Header().Set("request-id", s.requestID())
	w.WriteHeader(answer.status)
	// The client has gone if writing fails; there is nobody to tell.
	if answer.cut {
		_, _ = w.Write(answer.body[:len(answer.body)*2/3])
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(answer.body)
}

func (s *Server) reply(r *http.Request) reply {
	version, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	from, refused := s.authenticate(r)
	if refused != nil {
		return s.refuse(r, *refused)
	}
	c := s.collection(path)
	if c == nil || !c.in(version) {
		return s.refuse(r, refusal{status: http.StatusBadRequest, code: "BadRequest", message: fmt.Sprintf("Resource not found for the segment '%s'.", path)})
	}
	if r.Method != http.MethodGet {
		return s.refuse(r, refusal{status: http.StatusMethodNotAllowed, code: "Request_BadRequest", message: "Specified HTTP method is not allowed for the request target."})
	}
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return s.refuse(r, refusal{status: http.StatusBadRequest, code: "BadRequest", message: "The query string is not valid."})
	}
	if refused := s.authorize(c, from); refused != nil {
		return s.refuse(r, *refused)
	}
	if wait, ok := s.throttle.admit(c.class, from.App, s.now()); !ok && !s.options.Unlimited {
		if !limits()[c.class].retryAfter {
			wait = 0
		}
		return s.refuse(r, throttled(wait))
	}
	q, err := parseQuery(c.resource, given)
	if err != nil {
		return s.refuse(r, refusal{status: http.StatusBadRequest, code: "BadRequest", message: err.Error()})
	}
	if fail, ok := s.Faults.refusal(q.continues()); ok {
		return s.refuse(r, fail.refusal())
	}
	where := q.where
	if c.path == "auditLogs/signIns" && !strings.Contains(given.Get("$filter"), "signInEventTypes") {
		// Without that filter there are only those of people who are present.
		where = func(o *object) bool {
			types, _ := o.member("signInEventTypes").([]any)
			return (types == nil || slices.Contains(types, any("interactiveUser"))) && (q.where == nil || q.where(o))
		}
	} else if c.path == "auditLogs/signIns" && version == "v1.0" {
		return s.refuse(r, refusal{status: http.StatusBadRequest, code: "BadRequest", message: "Invalid filter clause: Could not find a property named 'signInEventTypes' on type 'microsoft.graph.signIn'."})
	}
	chosen := c.selection(s.now(), c.retention, where, q.order)
	p := c.cut(q, chosen, given, 0)
	wrong := s.Faults.next(p.next != nil)
	if wrong.repeat > 0 && q.continues() {
		p = c.cut(q, chosen, given, wrong.repeat)
	}
	return s.write(r, version, c, q, p, wrong)
}

func (s *Server) authenticate(r *http.Request) (Caller, *refusal) {
	denied := func(message string) (Caller, *refusal) {
		return Caller{}, &refusal{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: message}
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return denied("Access token is empty.")
	}
	from, err := s.options.Verify(token)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return denied("Lifetime validation failed, the token is expired.")
	case err != nil:
		return denied("Access token validation failure. Invalid audience.")
	}
	return from, nil
}

// authorize tells a missing role from a missing license, with the codes and
// words of answers that others have published.
func (s *Server) authorize(c *collection, from Caller) *refusal {
	allowed := slices.ContainsFunc(c.roles, func(role string) bool { return slices.Contains(from.Roles, role) })
	switch {
	case allowed:
	case c.class == reports:
		return &refusal{
			status: http.StatusForbidden, code: "Authentication_MSGraphPermissionMissing",
			message: "The principal does not have required Microsoft Graph permission(s): " + c.roles[0] + " to call this API. For more information about Microsoft Graph permissions, please visit https://learn.microsoft.com/graph/permissions-overview.",
		}
	case c.class == security:
		return &refusal{
			status: http.StatusForbidden, code: "Forbidden",
			message: "Missing application roles. API required roles: " + strings.Join(c.roles, ",") + ", application roles: " + strings.Join(from.Roles, ",") + ".",
		}
	default:
		return &refusal{status: http.StatusForbidden, code: "Authorization_RequestDenied", message: "Insufficient privileges to complete the operation."}
	}
	switch {
	case !c.premium || s.Faults.licensed():
	case c.class == reports:
		return &refusal{
			status: http.StatusForbidden, code: "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
			message: "Neither tenant is B2C or tenant doesn't have premium license",
		}
	default:
		return &refusal{status: http.StatusForbidden, code: "Forbidden", message: "Your tenant is not licensed for this feature."}
	}
	return nil
}

// refusal is an answer in the form of Graph's errors.
type refusal struct {
	status        int
	code, message string
	retryAfter    time.Duration
}

func throttled(retryAfter time.Duration) refusal {
	return refusal{
		status: http.StatusTooManyRequests, code: "TooManyRequests", retryAfter: retryAfter,
		message: "This request is throttled. Please try again after the value specified in the Retry-After header.",
	}
}

func (f failure) refusal() refusal {
	switch f.status {
	case http.StatusTooManyRequests:
		return throttled(f.retryAfter)
	case http.StatusBadRequest:
		return refusal{status: f.status, code: "BadRequest", message: "Skip token is null or has expired."}
	}
	return refusal{status: f.status, code: "UnknownError", message: http.StatusText(f.status), retryAfter: f.retryAfter}
}

func (s *Server) refuse(r *http.Request, refused refusal) reply {
	answer := reply{status: refused.status, header: http.Header{"Content-Type": {"application/json"}}}
	if refused.retryAfter > 0 {
		// Whole seconds, and never too few.
		answer.header.Set("Retry-After", strconv.Itoa(int((refused.retryAfter+time.Second-1)/time.Second)))
	}
	if refused.status == http.StatusUnauthorized {
		answer.header.Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"`)
	}
	id, client := s.requestID(), r.Header.Get("client-request-id")
	if client == "" {
		client = id
	}
	answer.body, _ = json.Marshal(map[string]any{"error": map[string]any{ // strings always can be
		"code": refused.code, "message": refused.message,
		"innerError": map[string]string{"date": s.now().UTC().Format("2006-01-02T15:04:05"), "request-id": id, "client-request-id": client},
	}})
	return answer
}

// quote returns text as a JSON string, with "&" as it is.
func quote(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always can be
	return strings.TrimSuffix(b.String(), "\n")
}
