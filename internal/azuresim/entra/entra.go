// Package entra simulates the parts of Microsoft Entra ID that a daemon meets:
// instance discovery, OpenID metadata, signing keys, the token endpoint for
// client credentials (secrets, certificates, federated tokens), and the endpoints
// of hosts with managed identities. Its answers have the forms and AADSTS codes of the real
// service.
//
// Invariant: a token verifies only if this server signed it for that audience
// and it has not expired. The package must not know what the audiences are for.
package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// DefaultTokenLifetime is what the real service gives a daemon, less the second
// that has passed when the answer is read.
const DefaultTokenLifetime = 3599 * time.Second

const keyID = "lazuli-simulator-1"

// App is a registered application: a service principal in one tenant.
type App struct {
	TenantID string // GUID
	ClientID string // GUID
	ObjectID string // GUID of the service principal; made if empty
	Secrets  []Secret
	// Certificates and Federations are other ways to sign in.
	Certificates []*x509.Certificate
	Federations  []Federation
	// Roles are the application permissions put into tokens, for every audience.
	Roles []string
}

// Secret is a client secret.
type Secret struct {
	Value   string
	Expires time.Time // zero: never
}

// Options configure a server.
type Options struct {
	Apps []App
	Now  func() time.Time // nil: time.Now
}

// Server answers as Entra does. It is an http.Handler, to be served over TLS
// (clients refuse anything else), and safe for concurrent use.
type Server struct {
	now    func() time.Time
	key    *rsa.PrivateKey
	routes *http.ServeMux

	// Faults makes the server fail on demand.
	Faults Faults

	mu   sync.RWMutex // guards apps
	apps []App
}

// New returns a server with a new signing key.
func New(options Options) (*Server, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make the token signing key: %w", err)
	}
	s := &Server{now: options.Now, key: key, routes: http.NewServeMux()}
	for _, app := range options.Apps {
		s.Register(app)
	}
	s.routes.HandleFunc("GET /common/discovery/instance", s.instanceDiscovery)
	s.routes.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.openIDConfiguration)
	s.routes.HandleFunc("GET /{tenant}/discovery/v2.0/keys", s.signingKeys)
	s.routes.HandleFunc("POST /{tenant}/oauth2/v2.0/token", s.token)
	return s, nil
}

// Register adds an application, or replaces the one with the same tenant and
// client id.
func (s *Server) Register(app App) {
	if app.ObjectID == "" {
		app.ObjectID = uuid.NewString()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, known := range s.apps {
		if strings.EqualFold(known.TenantID, app.TenantID) && strings.EqualFold(known.ClientID, app.ClientID) {
			s.apps[i] = app
			return
		}
	}
	s.apps = append(s.apps, app)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// Verify checks a token that this server issued: signature, validity, and that
// it is meant for audience, where a trailing slash makes no difference.
func (s *Server) Verify(token, audience string) error {
	_, err := s.Claims(token, audience)
	return err
}

// Claims does what Verify does, and returns what the token says. An error for a
// token that has expired is jwt.ErrTokenExpired.
func (s *Server) Claims(token, audience string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return s.key.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(s.now), jwt.WithExpirationRequired())
	if err != nil {
		return nil, fmt.Errorf("verify token: %w", err)
	}
	issuedFor, _ := claims["aud"].(string)
	if strings.TrimRight(issuedFor, "/") != strings.TrimRight(audience, "/") {
		return nil, fmt.Errorf("verify token: it is for audience %q, not %q", issuedFor, audience)
	}
	return claims, nil
}

// Token issues a token without a request, for tests of what consumes tokens.
// A lifetime of zero or less gives one that has expired.
func (s *Server) Token(tenantID, clientID, audience string, lifetime time.Duration) (string, error) {
	app, err := s.app(tenantID, clientID)
	if err != nil {
		return "", err
	}
	return s.sign(app, audience, lifetime)
}

func (s *Server) sign(app App, audience string, lifetime time.Duration) (string, error) {
	now := s.now()
	issuer := "https://sts.windows.net/" + app.TenantID + "/"
	claims := jwt.MapClaims{
		"aud": audience, "iss": issuer, "idp": issuer,
		// The real service lets tokens begin five minutes before they are issued.
		"iat": now.Unix(), "nbf": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(lifetime).Unix(),
		"appid": app.ClientID, "appidacr": "1", "idtyp": "app",
		"oid": app.ObjectID, "sub": app.ObjectID, "tid": app.TenantID,
		"uti": strings.ReplaceAll(uuid.NewString(), "-", "")[:22], "ver": "1.0",
	}
	if len(app.Roles) > 0 {
		claims["roles"] = app.Roles
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = keyID
	text, err := token.SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return text, nil
}

// app finds an application, or the refusal that the real service would send.
func (s *Server) app(tenantID, clientID string) (App, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := refusal{http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf(
		"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. "+
			"Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", tenantID)}
	for _, app := range s.apps {
		if !strings.EqualFold(app.TenantID, tenantID) {
			continue
		}
		if strings.EqualFold(app.ClientID, clientID) {
			return app, nil
		}
		err = refusal{http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf(
			"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been "+
				"installed by the administrator of the tenant or consented to by any user in the tenant.", clientID, tenantID)}
	}
	return App{}, err
}

// checkSecret returns nil if one of the secrets has this value and is valid.
func (s *Server) checkSecret(app App, value string) error {
	for _, secret := range app.Secrets {
		if subtle.ConstantTimeCompare([]byte(secret.Value), []byte(value)) == 0 {
			continue
		}
		if !secret.Expires.IsZero() && !s.now().Before(secret.Expires) {
			return refusal{http.StatusUnauthorized, "invalid_client", 7000222, fmt.Sprintf(
				"The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app: "+
					"https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.", app.ClientID)}
		}
		return nil
	}
	return refusal{http.StatusUnauthorized, "invalid_client", 7000215, fmt.Sprintf(
		"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "+
			"not the client secret ID, for a secret added to app '%s'.", app.ClientID)}
}

// knownTenant reports whether any application is in the tenant.
func (s *Server) knownTenant(tenantID string) bool {
	_, err := s.app(tenantID, "")
	var refused refusal
	return !errors.As(err, &refused) || refused.code != 90002
}

// refusal is an answer with an AADSTS code.
type refusal struct {
	status  int
	kind    string // OAuth's "error"
	code    int
	message string
}

func (r refusal) Error() string { return fmt.Sprintf("AADSTS%d: %s", r.code, r.message) }

// refuse sends a refusal in the service's form.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, refused refusal) {
	correlation := r.Header.Get("client-request-id")
	if correlation == "" {
		correlation = uuid.NewString()
	}
	trace, now := uuid.NewString(), s.now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, refused.status, map[string]any{
		"error": refused.kind,
		"error_description": fmt.Sprintf("%s Trace ID: %s Correlation ID: %s Timestamp: %s",
			refused.Error(), trace, correlation, now),
		"error_codes":    []int{refused.code},
		"timestamp":      now,
		"trace_id":       trace,
		"correlation_id": correlation,
		"error_uri":      fmt.Sprintf("https://%s/error?code=%d", r.Host, refused.code),
	})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.WriteHeader(status)
	// The client has gone if this fails; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(value)
}
