package loganalytics

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/source/window"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// problem is why a feed is not read, as the operator sees it.
type problem struct {
	class string // one of a dozen words, for the log
	status.Problem
}

func (p problem) outcome() string {
	switch {
	case p.class == classThrottled:
		return outcomeThrottled
	case p.State == status.Failed:
		return outcomeRefused
	}
	return outcomeFailed
}

// The classes of problems.
const (
	classThrottled = "throttled"
	classTooMuch   = "too_much"
	classSignIn    = "sign_in"
	classRole      = "unauthorized"
	classWorkspace = "workspace_not_found"
	classTable     = "table_not_found"
	classQuery     = "query"
	classBusy      = "busy"
	classPartial   = "partial"
	classTLS       = "tls"
	classNetwork   = "network"
	classStore     = "store"
	classOther     = "other"
)

// explain says what an error means for a feed.
func (s *Source) explain(f *feed, err error) problem {
	p := problem{class: classOther, Problem: status.Problem{State: status.Retrying, Reason: err.Error()}}
	if signIn, ok := azure.ExplainSignIn(err); ok {
		p.class, p.Reason, p.Remedy = classSignIn, "sign in to Entra: "+signIn.Reason, signIn.Remedy
		if signIn.Permanent {
			p.State = status.Failed
		}
		return p
	}
	var refused *statusError
	switch {
	case errors.As(err, &refused):
		s.explainRefusal(f, refused, &p)
	case errors.Is(err, window.ErrTooMuch):
		p.class, p.State = classTooMuch, status.Failed
		p.Reason = fmt.Sprintf("%s: %v", f.name, err)
		p.Remedy = "a window of fixed size and a query that runs as it is cannot be cut into smaller pieces: make window smaller, or filter more in the query"
		if f.query == nil {
			p.Remedy = "Azure gives no complete answer even for a part of one instant; the text of the error is its own"
		}
	case errors.As(err, new(*partialError)):
		p.class = classPartial
		p.Remedy = "Lazuli takes no partial answer for success and asks again; if it lasts, the text of the error is Azure's"
	case isTLS(err):
		p.class, p.State = classTLS, status.Failed
		p.Reason = "TLS to " + s.client.endpoint + ": " + rootText(err)
		p.Remedy = "if a proxy inspects TLS, name its certificate authority in the tenant's ca_file"
	case isNetwork(err):
		p.class = classNetwork
		p.Reason = "no answer from " + s.client.endpoint + ": " + rootText(err)
		p.Remedy = "check DNS, the proxy and the firewall: outbound TCP 443 must be open; with a private link scope the name must resolve to its address"
	case errors.Is(err, errDamaged):
		p.class = classNetwork
		p.Remedy = "something between Lazuli and Azure cuts or changes answers; Lazuli asks again"
	}
	return p
}

func (s *Source) explainRefusal(f *feed, refused *statusError, p *problem) {
	api := refused.api
	if api == nil {
		api = &apiError{}
	}
	said := refused.Error()
	switch {
	case refused.status == http.StatusTooManyRequests:
		p.class = classThrottled
		p.Reason = "Azure throttles the queries of workspace " + f.workspace
		p.Remedy = "if it lasts, raise poll, or lower limits where others query with the same application"
	case api.has("NspValidationFailed"):
		p.class, p.State = classRole, status.Failed
		p.Reason = "workspace " + f.workspace + " does not accept queries from this network: " + said
		p.Remedy = "allow public network access for queries in the workspace's network isolation, or run Lazuli inside its private link scope"
	case refused.status == http.StatusUnauthorized, api.has("InvalidAuthenticationToken"):
		p.class, p.State = classSignIn, status.Failed
		p.Reason = "the query API does not accept the token: " + said
		p.Remedy = "check cloud of tenant " + quoted(s.cfg.Tenant) + " (public, us_gov or china), and its endpoints if there are own ones"
	case refused.status == http.StatusForbidden:
		p.class, p.State = classRole, status.Failed
		p.Reason = "not allowed to query workspace " + f.workspace + ": " + said
		p.Remedy = fmt.Sprintf(`grant %s the role "Log Analytics Reader" on the workspace (az role assignment create --assignee %s --role "Log Analytics Reader" --scope "$(az monitor log-analytics workspace list --query "[?customerId=='%s'].id" -o tsv)"); it may take some minutes to work`,
			s.who(), s.assignee(), f.workspace)
	case api.has("Failed to resolve table", "could not be resolved", "SEM0100") && f.query == nil:
		p.class, p.State = classTable, status.Failed
		p.Reason = fmt.Sprintf("workspace %s has no table %q: %s", f.workspace, f.name, said)
		p.Remedy = "check the name in tables, and that a diagnostic setting or connector sends there: a table comes with its first row; Lazuli goes on by itself"
	case api.has("Basic", "Auxiliary") && refused.status == http.StatusBadRequest:
		p.class, p.State = classQuery, status.Failed
		p.Reason = fmt.Sprintf("%s cannot be queried so: %s", f.name, said)
		p.Remedy = "name tables of the plans Basic and Auxiliary in basic_tables; their queries are limited to one table and few operators"
	case api.has("SyntaxError", "SemanticError", "BadArgumentError", "SYN", "SEM") && refused.status == http.StatusBadRequest:
		p.class, p.State = classQuery, status.Failed
		p.Reason = fmt.Sprintf("Azure does not take the query of %s: %s", f.name, said)
		p.Remedy = "correct it; try it in the workspace's Logs blade with datetime values in place of {from} and {to}"
	case refused.status == http.StatusNotFound || api.has("PathNotFound", "WorkspaceNotFound", "ResourceNotFound"):
		p.class, p.State = classWorkspace, status.Failed
		p.Reason = "there is no workspace " + f.workspace + " in this cloud: " + said
		p.Remedy = "check workspaces: it is the Workspace ID (a GUID) of the workspace's overview, not its name or the tenant's id; and cloud of the tenant"
	case refused.status >= 500 || refused.status == http.StatusRequestTimeout:
		p.class = classBusy
		p.Reason = "the query API is busy or failing: " + said
		p.Remedy = "if it lasts, look at Azure's service health"
	default:
		p.State = status.Failed
		p.Remedy = "the text of the error is Azure's"
	}
}

func (s *Source) who() string {
	if id := s.deps.Tenant.ClientID; id != "" {
		return "application " + id
	}
	return "the identity of tenant " + quoted(s.cfg.Tenant)
}

func (s *Source) assignee() string {
	if id := s.deps.Tenant.ClientID; id != "" {
		return id
	}
	return "<its client or object id>"
}

func isTLS(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		host         x509.HostnameError
		record       tls.RecordHeaderError
	)
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &record)
}

func isNetwork(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errIdle) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}

// rootText is the innermost error's text: the layers above repeat it.
func rootText(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return strings.TrimSpace(err.Error())
		}
		err = inner
	}
}

func quoted(s string) string { return `"` + s + `"` }
