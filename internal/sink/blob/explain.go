package blob

import (
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
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// explain says what a failure to do what means.
func (s *Sink) explain(what string, err error) error {
	if p, ok := azure.ExplainSignIn(err); ok {
		return &sink.RemedyError{Err: errors.New(what + ": sign in to Entra: " + p.Reason), Remedy: p.Remedy, Person: p.Permanent}
	}
	var answer *azcore.ResponseError
	if !errors.As(err, &answer) {
		return s.explainFailure(what, err)
	}
	code := answer.ErrorCode
	if code == "" {
		code = "no error code"
	}
	plain := fmt.Errorf("%s: the storage service answered %s (HTTP %d)", what, code, answer.StatusCode)
	person := func(remedy string) error {
		return &sink.RemedyError{Err: plain, Remedy: remedy, Person: true}
	}
	switch bloberror.Code(answer.ErrorCode) {
	case bloberror.ContainerNotFound:
		return person(fmt.Sprintf("make it: az storage container create --account-name %s --name %s --auth-mode login; or set create_container: true", s.account(), s.cfg.Container))
	case "KeyBasedAuthenticationNotPermitted":
		return person("the account does not allow keys: use account and tenant, and " + s.role())
	case "AuthorizationFailure", "IpAuthorizationError", "AuthorizationSourceIPMismatch":
		return person("add this machine's address or network under Networking of the storage account, or use a private endpoint; if its firewall is off, " + s.credential())
	case bloberror.AuthenticationFailed, bloberror.InvalidAuthenticationInfo:
		return person(s.credential() + "; and check this machine's clock")
	case bloberror.AccountIsDisabled:
		return person("enable the account in the portal; check its subscription's billing")
	}
	// 503 ServerBusy, or 500 OperationTimedOut, where an account or a partition of it
	// is over its limits.
	var after http.Header
	if answer.RawResponse != nil {
		after = answer.RawResponse.Header
	}
	wait, told := httpsink.RetryAfter(after, s.deps.Now())
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return person(s.credential())
	case http.StatusNotFound:
		return person("check account and container")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &sink.ThrottledError{After: wait, Err: plain}
	}
	if told && answer.StatusCode >= 500 {
		return &sink.ThrottledError{After: wait, Err: plain}
	}
	return plain
}

// credential says what to do where the service refuses the credential.
func (s *Sink) credential() string {
	switch {
	case s.cfg.SAS != "" || strings.Contains(s.cfg.ConnectionString.Reveal(), "SharedAccessSignature="):
		return fmt.Sprintf("make a new shared access signature, which has not expired, with the permissions read, create and write: "+
			"az storage container generate-sas --account-name %s --name %s --permissions rcw --expiry <time> --https-only", s.account(), s.cfg.Container)
	case s.cfg.Tenant != "":
		return s.role()
	}
	return "copy the connection string again from Access keys in the portal: the key may have been rotated"
}

// role is the least that writes blobs and looks at them.
func (s *Sink) role() string {
	assignee := "<client id>"
	if s.deps.Tenant != nil {
		assignee = s.deps.Tenant.Assignee()
	}
	on := "/blobServices/default/containers/" + s.cfg.Container
	if s.cfg.CreateContainer {
		on = "" // a role on a container does not create it
	}
	return fmt.Sprintf(`grant %[1]s the role "Storage Blob Data Contributor": `+
		`az role assignment create --assignee %[1]s --role "Storage Blob Data Contributor" --scope "<resource id of the storage account>%[2]s"; `+
		`it takes some minutes to work`, assignee, on)
}

// account is the account's name as a command takes it.
func (s *Sink) account() string {
	switch {
	case s.cfg.Account == "":
		return "<account>"
	case strings.Contains(s.cfg.Account, "://"):
		_, host, _ := strings.Cut(s.cfg.Account, "://")
		name, _, _ := strings.Cut(host, ".")
		return name
	}
	return s.cfg.Account
}

// signature is what makes a SAS a secret; errors of HTTP quote whole URLs.
var signature = regexp.MustCompile(`(?i)\b(sig=)[^&"'\s]+`)

// withoutSecrets is an error whose text shows no signature.
type withoutSecrets struct{ err error }

func (w withoutSecrets) Error() string {
	return signature.ReplaceAllString(w.err.Error(), "${1}REDACTED")
}

func (w withoutSecrets) Unwrap() error { return w.err }

// explainFailure says what a request without an answer means.
func (s *Sink) explainFailure(what string, err error) error {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return &sink.RemedyError{
			Err: fmt.Errorf("%s: TLS: %w", what, certificate.Err), Person: true,
			Remedy: "if a proxy inspects TLS or the endpoint is private, name its certificate authority as ca_file",
		}
	}
	err = fmt.Errorf("%s: %w", what, withoutSecrets{err})
	var network net.Error
	if errors.As(err, &network) {
		return &sink.RemedyError{Err: err, Remedy: "check account, DNS, the proxy and the firewall: outbound TCP 443 must be open to the storage account"}
	}
	return err
}
