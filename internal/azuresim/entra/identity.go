package entra

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// Host is a machine with managed identities: what its local endpoints give out.
// The identities are applications of the server's. It is an http.Handler.
type Host struct {
	Server *Server
	// System is the system-assigned identity; nil: there is none.
	System *App
	// User are the user-assigned identities.
	User []App
	// Header is the secret of App Service's endpoint. Empty: the endpoint is that of
	// a virtual machine, the instance metadata service.
	Header string
}

// ServeHTTP implements http.Handler, for
//
//	GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=R   of a virtual machine
//	GET /?api-version=2019-08-01&resource=R                                 of App Service
//
// https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
// https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	bad := func(status int, code, message string) {
		writeJSON(w, status, map[string]any{"error": code, "error_description": message})
	}
	switch {
	case h.Server.Faults.apply(w):
		return
	case h.Header == "" && r.URL.Path != "/metadata/identity/oauth2/token":
		http.NotFound(w, r)
		return
	case h.Header == "" && r.Header.Get("Metadata") != "true":
		bad(http.StatusBadRequest, "invalid_request", "Required metadata header not specified")
		return
	case h.Header == "" && r.Header.Get("X-Forwarded-For") != "":
		bad(http.StatusBadRequest, "invalid_request", "The request came through a proxy")
		return
	case h.Header != "" && r.Header.Get("X-IDENTITY-HEADER") != h.Header:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case h.Header == "" && query.Get("api-version") != "2018-02-01", h.Header != "" && query.Get("api-version") != "2019-08-01":
		bad(http.StatusBadRequest, "invalid_request", "api-version is missing or not supported")
		return
	case query.Get("resource") == "":
		bad(http.StatusBadRequest, "invalid_resource", "AADSTS50001: The application named  was not found in the tenant.")
		return
	}
	app, err := h.identity(query.Get("client_id"))
	if err != nil {
		bad(http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	lifetime := h.Server.Faults.lifetime()
	token, err := h.Server.sign(app, query.Get("resource"), lifetime)
	if err != nil {
		bad(http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	end := strconv.FormatInt(h.Server.now().Add(lifetime).Unix(), 10)
	answer := map[string]any{"access_token": token, "client_id": app.ClientID, "expires_on": end, "resource": query.Get("resource"), "token_type": "Bearer"}
	if h.Header == "" {
		seconds := strconv.Itoa(int(lifetime.Seconds()))
		answer["expires_in"], answer["ext_expires_in"], answer["not_before"] = seconds, seconds, strconv.FormatInt(h.Server.now().Unix(), 10)
	}
	writeJSON(w, http.StatusOK, answer)
}

func (h *Host) identity(clientID string) (App, error) {
	for _, app := range h.User {
		if clientID != "" && strings.EqualFold(app.ClientID, clientID) {
			return app, nil
		}
	}
	if clientID == "" && h.System != nil {
		return *h.System, nil
	}
	return App{}, errors.New("Identity not found") //nolint:staticcheck // the service's own words
}
