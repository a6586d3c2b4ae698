package entra

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
)

// maxForm bounds a token request; a form with a certificate assertion has about 3 KB.
const maxForm = 64 << 10

// instanceDiscovery tells a client that an authority is genuine. The real
// service knows Microsoft's own hosts; this one also vouches for the host under
// which it is reached.
func (s *Server) instanceDiscovery(w http.ResponseWriter, r *http.Request) {
	if s.Faults.apply(w) {
		return
	}
	tenant := "common"
	if _, path, found := strings.Cut(r.URL.Query().Get("authorization_endpoint"), "://"); found {
		if parts := strings.Split(path, "/"); len(parts) > 1 && parts[1] != "" {
			tenant = parts[1]
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": fmt.Sprintf("https://%s/%s/v2.0/.well-known/openid-configuration", r.Host, tenant),
		"api-version":               "1.1",
		"metadata": []map[string]any{
			{
				"preferred_network": "login.microsoftonline.com", "preferred_cache": "login.windows.net",
				"aliases": []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"},
			},
			{"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host}},
		},
	})
}

func (s *Server) openIDConfiguration(w http.ResponseWriter, r *http.Request) {
	if s.Faults.apply(w) {
		return
	}
	tenant := r.PathValue("tenant")
	if !s.knownTenant(tenant) {
		_, err := s.app(tenant, "")
		var refused refusal
		errors.As(err, &refused)
		refused.kind = "invalid_tenant" // here, but not at the token endpoint
		s.refuse(w, r, refused)
		return
	}
	base := "https://" + r.Host + "/" + tenant
	writeJSON(w, http.StatusOK, map[string]any{
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		// A client compares the issuer's host with the authority's.
		"issuer":                          base + "/v2.0",
		"request_uri_parameter_supported": false,
		"authorization_endpoint":          base + "/oauth2/v2.0/authorize",
		"tenant_region_scope":             "EU",
		"cloud_instance_name":             "microsoftonline.com",
	})
}

func (s *Server) signingKeys(w http.ResponseWriter, _ *http.Request) {
	if s.Faults.apply(w) {
		return
	}
	encode := base64.RawURLEncoding.EncodeToString
	writeJSON(w, http.StatusOK, map[string]any{"keys": []map[string]any{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID, "x5t": keyID,
		"n": encode(s.key.N.Bytes()),
		"e": encode(big.NewInt(int64(s.key.E)).Bytes()),
	}}})
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if s.Faults.apply(w) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	answer, err := s.clientCredentials(r)
	var refused refusal
	switch {
	case errors.As(err, &refused):
		s.refuse(w, r, refused)
	case err != nil:
		s.refuse(w, r, refusal{http.StatusBadRequest, "invalid_request", 900144, err.Error()})
	default:
		writeJSON(w, http.StatusOK, answer)
	}
}

func (s *Server) clientCredentials(r *http.Request) (map[string]any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, fmt.Errorf("the request body is not a form: %w", err)
	}
	for _, name := range []string{"grant_type", "client_id", "scope"} {
		if r.PostForm.Get(name) == "" {
			return nil, refusal{
				http.StatusBadRequest, "invalid_request", 900144,
				fmt.Sprintf("The request body must contain the following parameter: '%s'.", name),
			}
		}
	}
	if grant := r.PostForm.Get("grant_type"); grant != "client_credentials" {
		return nil, refusal{
			http.StatusBadRequest, "unsupported_grant_type", 70003,
			fmt.Sprintf("The app requested an unsupported grant type '%s'.", grant),
		}
	}
	app, err := s.app(r.PathValue("tenant"), r.PostForm.Get("client_id"))
	if err != nil {
		return nil, err
	}
	switch assertion, secret := r.PostForm.Get("client_assertion"), r.PostForm.Get("client_secret"); {
	case assertion != "" && r.PostForm.Get("client_assertion_type") != assertionType:
		return nil, refusal{http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'client_assertion_type'."}
	case assertion != "":
		err = s.checkAssertion(app, assertion, "https://"+r.Host+r.URL.Path)
	case secret != "":
		err = s.checkSecret(app, secret)
	default:
		err = refusal{
			http.StatusUnauthorized, "invalid_client", 7000216,
			"'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
		}
	}
	if err != nil {
		return nil, err
	}
	audience, err := audienceOf(r.PostForm.Get("scope"))
	if err != nil {
		return nil, err
	}
	lifetime := s.Faults.lifetime()
	token, err := s.sign(app, audience, lifetime)
	if err != nil {
		return nil, err
	}
	seconds := int(lifetime.Seconds())
	return map[string]any{"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}, nil
}

// audienceOf returns the resource of a scope such as
// "https://eventhubs.azure.net//.default openid offline_access profile". MSAL
// adds the last three, which mean nothing for a daemon.
func audienceOf(scope string) (string, error) {
	for one := range strings.FieldsSeq(scope) {
		if resource, isDefault := strings.CutSuffix(one, "/.default"); isDefault {
			return resource, nil
		}
	}
	return "", refusal{http.StatusBadRequest, "invalid_scope", 1002012, fmt.Sprintf(
		"The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default "+
			"suffixed to the resource identifier (application ID URI).", scope)}
}
