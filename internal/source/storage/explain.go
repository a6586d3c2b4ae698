package storage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// problem is why a part of the source does not work, as the operator sees it.
type problem struct {
	class  string // bounded
	state  status.State
	reason string
	remedy string
}

func (p *problem) Error() string { return p.reason + "; " + p.remedy }

func (p *problem) status() status.Problem {
	return status.Problem{State: p.state, Reason: p.reason, Remedy: p.remedy}
}

// The parts that the source's report is about.
const (
	partAccount = "account"
	partQueue   = "queue"
	partStore   = "checkpoints"
)

func partContainer(name string) string { return "container " + name }

func partBlobs(container string) string { return "blobs of " + container }

const (
	classGone      = "deleted"
	classArchived  = "archived"
	classSignIn    = "sign_in"
	classDenied    = "denied"
	classContainer = "container_not_found"
	classFirewall  = "firewall"
	classBusy      = "busy"
	classNetwork   = "network"
	classOther     = "other"
)

// explain says what err, an answer of the blob service about what, means.
func (s *Source) explain(what string, err error) problem {
	p := problem{class: classOther, state: status.Retrying, reason: what + ": " + withoutSecrets(err), remedy: "it is tried again"}
	if signIn, ok := azure.ExplainSignIn(err); ok {
		p.class, p.reason, p.remedy = classSignIn, what+": sign in to Entra: "+signIn.Reason, signIn.Remedy
		if signIn.Permanent {
			p.state = status.Failed
		}
		return p
	}
	var answer *azcore.ResponseError
	if !errors.As(err, &answer) {
		return s.explainNetwork(p, what, err)
	}
	failed := func(class, reason, remedy string) problem {
		return problem{class: class, state: status.Failed, reason: fmt.Sprintf("%s: %s (%s, HTTP %d)", what, reason, code(answer), answer.StatusCode), remedy: remedy}
	}
	credential := s.credentialRemedy()
	switch bloberror.Code(answer.ErrorCode) {
	case bloberror.BlobNotFound:
		return failed(classGone, "the blob was deleted", "nothing: what it held beyond this is lost")
	case bloberror.BlobArchived, "BlobBeingRehydrated":
		return failed(classArchived, "the blob is in the archive tier", "rehydrate it and read it with lazuli backfill, or let the lifecycle policy archive later")
	case bloberror.ContainerNotFound:
		return failed(classContainer, "there is no such container", "check containers; Azure makes the containers of diagnostic settings with the first record")
	case bloberror.ContainerBeingDeleted:
		return failed(classContainer, "the container is being deleted", "remove it from containers")
	case bloberror.AuthenticationFailed, "InvalidAuthenticationInfo", "NoAuthenticationInformation":
		reason := "the account key is refused"
		switch {
		case s.cfg.SAS != "":
			reason = "the shared access signature is refused: it has expired, is not valid yet, or is cut"
		case s.cfg.Tenant != "":
			reason = "the token is refused"
		}
		return failed(classDenied, reason, credential+"; and check this machine's clock")
	case "AuthorizationPermissionMismatch", "AuthorizationResourceTypeMismatch", "AuthorizationServiceMismatch", bloberror.InsufficientAccountPermissions:
		return failed(classDenied, "the credential does not allow this", credential)
	case "AuthorizationFailure", "IpAuthorizationError", "AuthorizationSourceIPMismatch":
		return failed(classFirewall, "the account's firewall does not let this address in, or the credential does not allow this",
			"add this machine's address or network under Networking of the storage account, or use a private endpoint; if the firewall is off, "+credential)
	case "KeyBasedAuthenticationNotPermitted":
		return failed(classDenied, "the account does not allow keys", "use tenant instead, and "+readerRole)
	case "PublicAccessNotPermitted":
		return failed(classDenied, "the request had no credential", "give sas, account_key or tenant")
	case bloberror.AccountIsDisabled:
		return failed(classDenied, "the account is disabled", "enable it in the portal; check its subscription's billing")
	case bloberror.ServerBusy, "OperationTimedOut", "InternalError":
		p.class, p.reason = classBusy, what+": the storage service is busy ("+code(answer)+")"
		p.remedy = "it is tried again; if this lasts, lower workers or raise poll"
		return p
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return failed(classGone, "it is not there", "check account, containers and prefix")
	case http.StatusUnauthorized, http.StatusForbidden:
		return failed(classDenied, "the request is refused", credential)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInternalServerError:
		p.class, p.reason = classBusy, fmt.Sprintf("%s: the storage service is busy (HTTP %d)", what, answer.StatusCode)
		p.remedy = "it is tried again; if this lasts, lower workers or raise poll"
	default:
		p.reason = fmt.Sprintf("%s: the storage service answered %s (HTTP %d)", what, code(answer), answer.StatusCode)
	}
	return p
}

// readerRole is the least that reads blobs, azure:storage.reader-role.
const readerRole = `grant the role "Storage Blob Data Reader": az role assignment create --role "Storage Blob Data Reader" ` +
	`--assignee CLIENT_ID --scope STORAGE_ACCOUNT_RESOURCE_ID; a new assignment takes some minutes`

// credentialRemedy says what to do if the service refuses the credential.
func (s *Source) credentialRemedy() string {
	switch {
	case s.cfg.SAS != "" || strings.Contains(s.cfg.ConnectionString.Reveal(), "SharedAccessSignature="):
		return "make a new shared access signature, which has not expired, with the permissions read and list; for containers with a * it must be of the account, with the resource types service, container and object"
	case s.cfg.Tenant != "":
		return readerRole + "; tenant must be the one that the account's subscription belongs to"
	}
	return "copy the key again from Access keys in the portal: it may have been rotated"
}

// signature is what makes a SAS a secret; errors of HTTP quote whole URLs.
var signature = regexp.MustCompile(`(?i)\b(sig=)[^&"'\s]+`)

func withoutSecrets(err error) string {
	return signature.ReplaceAllString(err.Error(), "${1}REDACTED")
}

func code(answer *azcore.ResponseError) string {
	if answer.ErrorCode == "" {
		return "no error code"
	}
	return answer.ErrorCode
}

func (s *Source) explainNetwork(p problem, what string, err error) problem {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var dial *net.OpError
	switch {
	case errors.As(err, &name):
		p.class, p.state, p.reason = classNetwork, status.Retrying, fmt.Sprintf("%s: the name %s is not known", what, name.Name)
		p.remedy = "check account, and this machine's DNS; it is tried again"
	case errors.As(err, &certificate):
		p.class, p.state, p.reason = classNetwork, status.Failed, what+": the server's certificate is not trusted: "+certificate.Err.Error()
		p.remedy = "if a proxy inspects TLS, give its authority as ca_file"
	case errors.Is(err, errStalled):
		p.class, p.reason = classNetwork, what+": "+errStalled.Error()
		p.remedy = "it is tried again; check the network"
	case errors.As(err, &dial), errors.Is(err, context.DeadlineExceeded):
		p.class = classNetwork
		p.remedy = "it is tried again; check that port 443 of the account can be reached, and proxy"
	}
	return p
}

// ofContainer tells whether the problem is likely to be that of all blobs of the
// container, so that there is no point in trying the next.
func (p *problem) ofContainer() bool {
	switch p.class {
	case classGone, classArchived, classOther:
		return false
	}
	return true
}
