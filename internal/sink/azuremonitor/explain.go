package azuremonitor

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// explain says what an answer means that concerns the whole call.
func (s *Sink) explain(a *httpsink.Answer) error {
	person := func(what, remedy string) error {
		return &sink.RemedyError{Err: fmt.Errorf("%s: Azure Monitor %w", what, a.Err()), Remedy: remedy, Person: true}
	}
	now := s.deps.Now()
	switch a.Status {
	case http.StatusForbidden:
		return person("not allowed to send to rule "+s.target.Rule, fmt.Sprintf(
			`grant %[1]s the role "Monitoring Metrics Publisher" on the data collection rule: `+
				`az role assignment create --assignee %[1]s --role "Monitoring Metrics Publisher" --scope <resource id of the rule>; `+
				`it may take 30 minutes to work`, s.deps.Tenant.Assignee()))
	case http.StatusUnauthorized:
		return person("the token was not accepted", "check the tenant's cloud (public, us_gov or china) and that the endpoint is of the same")
	case http.StatusNotFound:
		return person("rule "+s.target.Rule+" was not found at "+s.target.Endpoint,
			"check that the rule's immutable id is right, and that the endpoint is the rule's own or a data collection endpoint that the rule names")
	case http.StatusBadRequest:
		return person("stream "+s.target.Stream+" was not accepted", "write one of the streams in the rule's streamDeclarations")
	case http.StatusUnsupportedMediaType:
		return person("the compression was not accepted", "set compression: none")
	}
	err := a.Classify(now)
	var throttled *sink.ThrottledError
	if errors.As(err, &throttled) && throttled.After > 0 {
		s.deps.Limiter.pause(now.Add(throttled.After))
	}
	if errors.Is(err, sink.ErrRejected) { // not by this API's documents
		err = a.Err()
	}
	return fmt.Errorf("send to stream %s: %w", s.target.Stream, err)
}

// explainFailure says what a request without an answer means.
func (s *Sink) explainFailure(err error) error {
	if p, ok := azure.ExplainSignIn(err); ok {
		return &sink.RemedyError{Err: errors.New("sign in to Entra: " + p.Reason), Remedy: p.Remedy, Person: p.Permanent}
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return &sink.RemedyError{
			Err: fmt.Errorf("TLS to %s: %w", s.target.Endpoint, certificate.Err), Person: true,
			Remedy: "if a proxy inspects TLS or the endpoint is private, name its certificate authority in the tenant's ca_file",
		}
	}
	var network net.Error
	if errors.As(err, &network) {
		return &sink.RemedyError{
			Err:    fmt.Errorf("no answer from %s: %w", s.target.Endpoint, err),
			Remedy: "check DNS, the proxy and the firewall: outbound TCP 443 must be open to the endpoint and to the sign-in host",
		}
	}
	return fmt.Errorf("send to %s: %w", s.target.Endpoint, err)
}
