package eventhub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// problem is why a part of the source does not read, as the operator sees it.
type problem struct {
	class  string // bounded: used as a metric label
	state  status.State
	reason string
	remedy string
}

func (p problem) report() status.Problem {
	return status.Problem{State: p.state, Reason: p.reason, Remedy: p.remedy}
}

const (
	classStolen       = "stolen"
	classUnauthorized = "unauthorized"
	classSignIn       = "sign_in"
	classHub          = "hub_not_found"
	classGroup        = "consumer_group_not_found"
	classReaders      = "too_many_readers"
	classDisabled     = "disabled"
	classBusy         = "busy"
	classTLS          = "tls"
	classNetwork      = "network"
	classStore        = "store"
	classCursor       = "cursor"
	classOther        = "other"
)

// stage says what was attempted: the service answers "not found" for a hub and
// for a consumer group alike.
type stage int

const (
	atHub  stage = iota // asking $management about the hub or a partition
	atLink              // reading a partition that the hub has
)

// explain says what err, returned by the SDK, means for this source.
func (s *Source) explain(at stage, err error) problem {
	p := problem{class: classOther, state: status.Retrying, reason: err.Error()}
	hub := fmt.Sprintf("event hub %q in %s", s.target.Hub, s.target.FullyQualifiedNamespace)

	if signIn, ok := azure.ExplainSignIn(err); ok {
		p.class, p.reason, p.remedy = classSignIn, "sign in to Entra: "+signIn.Reason, signIn.Remedy
		if signIn.Permanent {
			p.state = status.Failed
		}
		return p
	}
	var hubErr *azeventhubs.Error
	code := azeventhubs.ErrorCode("")
	if errors.As(err, &hubErr) {
		code = hubErr.Code
	}
	condition := peerError(err).Condition
	rpc := rpcCode(err)
	switch {
	case code == azeventhubs.ErrorCodeOwnershipLost || condition == "amqp:link:stolen":
		p.class = classStolen
		p.reason = "another reader of consumer group " + quoted(s.target.ConsumerGroup) + " took the partition" + thief(err)
		p.remedy = "give every program a consumer group of its own; to share the work between instances of Lazuli, configure checkpoint: {type: blob}"
	case code == azeventhubs.ErrorCodeUnauthorizedAccess || condition == amqp.ErrCondUnauthorizedAccess || rpc == http.StatusUnauthorized || rpc == http.StatusForbidden:
		p.class, p.state = classUnauthorized, status.Failed
		p.reason = "not allowed to read " + hub
		p.remedy = s.accessRemedy()
	case condition == amqp.ErrCondNotFound || rpc == http.StatusNotFound:
		p.state = status.Failed
		if at == atLink {
			p.class = classGroup
			p.reason = fmt.Sprintf("consumer group %q does not exist on %s", s.target.ConsumerGroup, hub)
			p.remedy = fmt.Sprintf("create it (az eventhubs eventhub consumer-group create --name %s ...) or correct consumer_group", s.target.ConsumerGroup)
		} else {
			p.class = classHub
			p.reason = hub + " does not exist"
			p.remedy = "correct hub and namespace, or create the event hub; Lazuli goes on by itself once it exists"
		}
	case condition == amqp.ErrCondResourceLimitExceeded:
		// azure:eventhub.readers-per-group
		p.class, p.state = classReaders, status.Failed
		p.reason = fmt.Sprintf("consumer group %q has as many readers as the service allows (5 per partition)", s.target.ConsumerGroup)
		p.remedy = "stop other readers of the group, or give Lazuli a consumer group of its own"
	case condition == "com.microsoft:entity-disabled":
		p.class, p.state = classDisabled, status.Failed
		p.reason = hub + " is disabled"
		p.remedy = "set the event hub's status to Active in the portal"
	case condition == "com.microsoft:server-busy" || rpc == http.StatusServiceUnavailable || rpc == http.StatusTooManyRequests:
		p.class = classBusy
		p.reason = "the namespace is throttling or busy"
		p.remedy = "if it lasts, add throughput units or turn on auto-inflate"
	case isTLS(err):
		p.class, p.state = classTLS, status.Failed
		p.reason = "TLS to " + s.target.FullyQualifiedNamespace + ": " + rootText(err)
		p.remedy = "if a proxy inspects TLS or the hub is a private one, name its certificate authority in ca_file"
	case isNetwork(err, code):
		p.class = classNetwork
		p.reason = "no connection to " + s.target.FullyQualifiedNamespace + ": " + rootText(err)
		p.remedy = "check DNS and the firewall: outbound TCP 5671 must be open, or set transport: websockets to use 443"
		if s.cfg.Transport == "websockets" {
			p.remedy = "check DNS, the proxy and the firewall: outbound TCP 443 must be open"
		}
	}
	return p
}

func (s *Source) accessRemedy() string {
	if s.cfg.ConnectionString != "" {
		return "check that the connection string is of this namespace, that its key was not rotated, and that the policy has the Listen claim"
	}
	who := "the application of tenant " + quoted(s.cfg.Tenant)
	if s.deps.Tenant != nil && s.deps.Tenant.ClientID != "" {
		who = "application " + s.deps.Tenant.ClientID
	}
	return "grant " + who + ` the role "Azure Event Hubs Data Receiver" on the hub or the namespace (az role assignment create --role "Azure Event Hubs Data Receiver" ...); it may take 5 minutes to work`
}

// peerError returns the error a peer sent, however it is wrapped: on its own,
// or as the reason that a link, session or connection ended.
func peerError(err error) amqp.Error {
	var own *amqp.Error
	var link *amqp.LinkError
	var session *amqp.SessionError
	var conn *amqp.ConnError
	switch {
	case errors.As(err, &own) && own != nil:
		return *own
	case errors.As(err, &link) && link.RemoteErr != nil:
		return *link.RemoteErr
	case errors.As(err, &session) && session.RemoteErr != nil:
		return *session.RemoteErr
	case errors.As(err, &conn) && conn.RemoteErr != nil:
		return *conn.RemoteErr
	}
	// azeventhubs.Error cannot be unwrapped: what it holds is only in its text,
	// in the form of go-amqp's Error.
	if m := amqpErrorText.FindStringSubmatch(err.Error()); m != nil {
		return amqp.Error{Condition: amqp.ErrCond(m[1]), Description: m[2]}
	}
	return amqp.Error{}
}

var amqpErrorText = regexp.MustCompile(`\*Error\{Condition: ([^,]+), Description: (.*), Info: `)

// rpcCode returns the status of a refused $cbs or $management request, or 0.
// The SDK's error type is internal; its method is not.
func rpcCode(err error) int {
	var refused interface{ RPCCode() int }
	if errors.As(err, &refused) {
		return refused.RPCCode()
	}
	return 0
}

// thief names the reader that took a partition, from the service's text: "New
// receiver 'X' with higher epoch of '0' is created hence current receiver ...".
func thief(err error) string {
	_, after, ok := strings.Cut(peerError(err).Description, "New receiver '")
	if !ok {
		return ""
	}
	name, _, ok := strings.Cut(after, "'")
	if !ok || name == "" || len(name) > 100 {
		return ""
	}
	return " (its name is " + quoted(name) + ")"
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

func isNetwork(err error, code azeventhubs.ErrorCode) bool {
	var netErr net.Error
	var conn *amqp.ConnError
	return code == azeventhubs.ErrorCodeConnectionLost || errors.As(err, &netErr) || errors.As(err, &conn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, errManagement) || errors.Is(err, context.DeadlineExceeded)
}

// rootText is the innermost error's text: the layers above repeat it.
func rootText(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return strings.TrimPrefix(err.Error(), "("+string(azeventhubs.ErrorCodeConnectionLost)+"): ")
		}
		err = inner
	}
}

func quoted(s string) string { return `"` + s + `"` }
