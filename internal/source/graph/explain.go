package graph

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// kind is what has to be done about an error.
type kind int

const (
	kindAgain     kind = iota // passes by itself: the same request again
	kindThrottled             // the same request later
	kindRestart               // the window from its beginning
	kindPerson                // a person has to act
)

// problem is why a feed is not read, as the operator sees it.
type problem struct {
	kind kind
	status.Problem
}

// roleIDs are the ids of application permissions of Microsoft Graph, for the
// command that grants them (learn.microsoft.com/graph/permissions-reference).
func roleIDs() map[string]string {
	return map[string]string{
		"AuditLog.Read.All":                      "b0afded3-3588-46d8-8b3d-9842eff778da",
		"IdentityRiskEvent.Read.All":             "6e472fd1-ad78-48da-a0f0-97ab2c6b769e",
		"IdentityRiskyUser.Read.All":             "dc5007c0-2d7d-4c42-879c-2dab87571379",
		"IdentityRiskyServicePrincipal.Read.All": "607c7344-0eed-41e5-823a-9695ebe1b7b0",
		"SecurityAlert.Read.All":                 "472e4a4d-bb4a-4026-98d1-0b0d74cb74a5",
		"SecurityIncident.Read.All":              "45cc0394-e837-488b-a098-1918f48d186c",
	}
}

const graphApp = "00000003-0000-0000-c000-000000000000"

// grant is how the feed's permission is given to the application.
func (s *Source) grant(f *feed) string {
	app := s.deps.Tenant.ClientID
	if app == "" {
		app = "CLIENT_ID"
	}
	return fmt.Sprintf("give the application the permission %s of Microsoft Graph, and an administrator's consent: "+
		"az ad app permission add --id %s --api %s --api-permissions %s=Role && az ad app permission admin-consent --id %s; it works with the next token, within an hour",
		f.role, app, graphApp, roleIDs()[f.role], app)
}

// explain says what err means for a feed.
func (s *Source) explain(f *feed, err error) problem {
	again := func(reason, remedy string) problem {
		return problem{kindAgain, status.Problem{State: status.Retrying, Reason: reason, Remedy: remedy}}
	}
	person := func(reason, remedy string) problem {
		return problem{kindPerson, status.Problem{State: status.Failed, Reason: reason, Remedy: remedy}}
	}
	if signIn, ok := azure.ExplainSignIn(err); ok {
		if signIn.Permanent {
			return person("sign in to Entra: "+signIn.Reason, signIn.Remedy)
		}
		return again("sign in to Entra: "+signIn.Reason, signIn.Remedy)
	}
	var refused *refusal
	var link *linkError
	switch {
	case errors.As(err, &refused):
		return s.explainRefusal(f, refused)
	case errors.As(err, &link):
		return problem{kindRestart, status.Problem{
			State: status.Failed, Reason: link.Error() + "; it is not followed",
			Remedy: "check that endpoints.graph of the tenant is Graph's own host, and whether a proxy rewrites answers",
		}}
	case errors.Is(err, errDamaged):
		return again(err.Error(), "nothing, if it passes; else look for a proxy that cuts or rewrites answers")
	case isTLS(err):
		return person("TLS to "+s.client.base.Host+": "+rootText(err), "if a proxy inspects TLS, name its certificate authority in ca_file of the tenant")
	case errors.Is(err, context.DeadlineExceeded), isNetwork(err):
		return again("no connection to "+s.client.base.Host+": "+rootText(err), "check DNS, the proxy and the firewall: outbound TCP 443 must be open")
	}
	return again(err.Error(), "")
}

func (s *Source) explainRefusal(f *feed, r *refusal) problem {
	p := problem{kindPerson, status.Problem{State: status.Failed, Reason: r.Error()}}
	switch {
	case r.status == http.StatusTooManyRequests:
		p.kind, p.State = kindThrottled, status.Retrying
		p.Remedy = "nothing, if it passes; else read fewer feeds, or find what else asks for this tenant's " + f.limit.String() + " data"
	case r.status >= 500, r.status == http.StatusRequestTimeout:
		p.kind, p.State = kindAgain, status.Retrying
	case r.status == http.StatusUnauthorized:
		p.kind, p.State = kindAgain, status.Retrying
		p.Remedy = "check the clock of this machine, the tenant's cloud, and that endpoints.graph is right"
	case r.status == http.StatusForbidden && isLicense(r):
		license := f.license
		if license == "" {
			license = premium
		}
		p.Reason = fmt.Sprintf("the tenant has no license for %s (%s)", f.path, r.Error())
		p.Remedy = fmt.Sprintf("this feed takes %s; remove %s from feeds if the tenant has none", license, f.name)
	case r.status == http.StatusForbidden:
		p.Reason = fmt.Sprintf("the application may not read %s (%s)", f.path, r.Error())
		p.Remedy = s.grant(f)
	case r.status == http.StatusNotFound, r.status == http.StatusBadRequest && strings.Contains(r.message, "segment"):
		p.Reason = fmt.Sprintf("this cloud's Microsoft Graph has no %s (%s)", f.path, r.Error())
		p.Remedy = fmt.Sprintf("remove %s from feeds, or check cloud and endpoints.graph of the tenant", f.name)
	}
	return p
}

// isLicense tells a missing license from a missing permission.
// azure:graph.refusals
func isLicense(r *refusal) bool {
	if r.code == "Authentication_RequestFromNonPremiumTenantOrB2CTenant" {
		return true
	}
	text := strings.ToLower(r.code + " " + r.message)
	return strings.Contains(text, "licens") || strings.Contains(text, "licenc")
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
	var network net.Error
	var operation *net.OpError
	return errors.As(err, &network) || errors.As(err, &operation)
}

// rootText is the innermost error's text: the layers above repeat it.
func rootText(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
