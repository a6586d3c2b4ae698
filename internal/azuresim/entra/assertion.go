package entra

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // thumbprints of RS256 assertions, as Entra takes them
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// assertionType is what client_assertion_type must be (RFC 7523, section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// longestAssertion is how far in the future the end of an assertion may lie that
// a certificate signed.
const longestAssertion = 24 * time.Hour

// Federation is a federated identity credential of an application: whose tokens
// stand for it.
type Federation struct {
	Issuer, Subject, Audience string
	// Key verifies the issuer's tokens. The real service gets it from the issuer.
	Key crypto.PublicKey
}

// checkAssertion returns nil if the assertion proves that the application asks.
// One that the application issued itself is signed by a certificate; any other
// comes from an identity provider.
// https://learn.microsoft.com/entra/identity-platform/certificate-credentials
// https://learn.microsoft.com/graph/api/resources/federatedidentitycredential
func (s *Server) checkAssertion(app App, assertion, tokenEndpoint string) error {
	claims := jwt.MapClaims{}
	token, _, err := jwt.NewParser().ParseUnverified(assertion, claims)
	if err != nil {
		return refusal{http.StatusBadRequest, "invalid_request", 50027, "JWT token is invalid or malformed."}
	}
	issuer, _ := claims.GetIssuer()
	if strings.EqualFold(issuer, app.ClientID) {
		return s.checkSelfSigned(app, assertion, tokenEndpoint, token, claims)
	}
	return s.checkFederated(app, assertion, claims)
}

func (s *Server) checkSelfSigned(app App, assertion, tokenEndpoint string, token *jwt.Token, claims jwt.MapClaims) error {
	certificate := certificateOf(app, token.Header)
	if certificate == nil {
		return refusal{http.StatusUnauthorized, "invalid_client", 700027, fmt.Sprintf(
			"The certificate with identifier used to sign the client assertion is not registered on application. "+
				"[Reason - The key was not found. Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '%s'.]", app.ClientID)}
	}
	if now := s.now(); now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return refusal{http.StatusUnauthorized, "invalid_client", 1000502, "The provided certificate is not within its specified validity window."}
	}
	if err := s.verify(assertion, certificate.PublicKey, "PS256", "RS256"); err != nil {
		return err
	}
	if subject, _ := claims.GetSubject(); !strings.EqualFold(subject, app.ClientID) {
		return refusal{http.StatusUnauthorized, "invalid_client", 700021, "Client assertion application identifier doesn't match 'client_id' parameter."}
	}
	if audience, _ := claims.GetAudience(); !slices.Contains(audience, tokenEndpoint) {
		return refusal{http.StatusUnauthorized, "invalid_client", 700023, "Client assertion audience claim does not match Realm issuer."}
	}
	id, _ := claims["jti"].(string)
	if end, _ := claims.GetExpirationTime(); id == "" || end == nil || end.Sub(s.now()) > longestAssertion {
		return refusal{http.StatusBadRequest, "invalid_request", 50027, "JWT token is invalid or malformed: it needs jti, and an exp that is at most 24 hours away."}
	}
	return nil
}

// certificateOf finds the application's certificate whose thumbprint a header
// names, in either of the alphabets of Base64.
func certificateOf(app App, header map[string]any) *x509.Certificate {
	for _, c := range app.Certificates {
		long, short := sha256.Sum256(c.Raw), sha1.Sum(c.Raw) //nolint:gosec // see above
		for name, sum := range map[string][]byte{"x5t#S256": long[:], "x5t": short[:]} {
			text, _ := header[name].(string)
			text = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "=")
			if named, err := base64.RawURLEncoding.DecodeString(text); err == nil && bytes.Equal(named, sum) {
				return c
			}
		}
	}
	return nil
}

func (s *Server) checkFederated(app App, assertion string, claims jwt.MapClaims) error {
	issuer, _ := claims.GetIssuer()
	subject, _ := claims.GetSubject()
	audience, _ := claims.GetAudience()
	// The most that any of the records has in common with the assertion.
	no := refusal{http.StatusUnauthorized, "invalid_client", 700211, fmt.Sprintf("No matching federated identity record found for presented assertion issuer '%s'.", issuer)}
	for _, f := range app.Federations {
		switch {
		case f.Issuer != issuer:
		case f.Subject != subject:
			no.code, no.message = 700213, fmt.Sprintf("No matching federated identity record found for presented assertion subject '%s'.", subject)
		case !slices.Contains(audience, f.Audience):
			no.code, no.message = 700212, fmt.Sprintf("No matching federated identity record found for presented assertion audience '%s'.", strings.Join(audience, " "))
		default:
			return s.verify(assertion, f.Key, "RS256", "ES256")
		}
	}
	return no
}

// verify checks the signature and the time of an assertion.
func (s *Server) verify(assertion string, key crypto.PublicKey, methods ...string) error {
	_, err := jwt.Parse(assertion, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods(methods), jwt.WithTimeFunc(s.now), jwt.WithExpirationRequired(), jwt.WithLeeway(5*time.Minute))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet):
		return refusal{http.StatusUnauthorized, "invalid_client", 700024, "Client assertion is not within its valid time range."}
	}
	return refusal{http.StatusUnauthorized, "invalid_client", 50013, "Assertion failed signature validation."}
}
