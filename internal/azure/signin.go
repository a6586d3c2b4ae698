package azure

import (
	"errors"
	"regexp"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// SignInProblem says why Entra refused a token and what the operator can do.
type SignInProblem struct {
	Code   string // "AADSTS7000222", "" if Entra gave none
	Reason string
	Remedy string
	// Permanent says that only a person can cure it; otherwise it is worth
	// trying again.
	Permanent bool
}

// aadsts finds Entra's error code.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
var aadsts = regexp.MustCompile(`AADSTS\d{5,7}`)

// ExplainSignIn reports whether err is a failed sign-in, and what it means.
func ExplainSignIn(err error) (SignInProblem, bool) {
	var failed *azidentity.AuthenticationFailedError
	var own *signInError
	kind := config.ClientSecret
	switch {
	case errors.As(err, &own):
		kind = own.kind
	case !errors.As(err, &failed):
		return SignInProblem{}, false
	}
	p := SignInProblem{Code: aadsts.FindString(err.Error()), Permanent: true}
	switch p.Code {
	case "AADSTS7000222":
		p.Reason = "the client secret has expired"
		p.Remedy = "make a new client secret for the app registration and put its value in place of the old one"
	case "AADSTS7000215":
		p.Reason = "the client secret is wrong"
		p.Remedy = "use the secret's value, not its id; if it is lost, make a new client secret for the app registration"
	case "AADSTS700027":
		p.Reason = "the app registration does not have this certificate"
		p.Remedy = "upload the certificate, without its key, to the app registration (Certificates & secrets), or put the one that is there into the file"
	case "AADSTS1000502":
		p.Reason = "the certificate is not valid at this time"
		p.Remedy = "make a new certificate, upload it to the app registration, and replace the file: Lazuli reads it again"
	case "AADSTS700024":
		p.Reason = "the token that was to prove who signs in is not valid at this time"
		p.Remedy = "set this machine's clock right (NTP); with workload_identity see that the token file is renewed"
	case "AADSTS70021", "AADSTS700211", "AADSTS700212", "AADSTS700213":
		p.Reason = "the app registration does not trust the token of the token file"
		p.Remedy = "give it a federated credential with the issuer, the subject and the audience of that token, letter by letter: az ad app federated-credential create"
	case "AADSTS700016":
		p.Reason = "the tenant knows no application with this client_id"
		p.Remedy = "check client_id, and that the app registration is in this tenant or an administrator has consented to it"
	case "AADSTS90002", "AADSTS900023":
		p.Reason = "there is no tenant with this tenant_id in this cloud"
		p.Remedy = "check tenant_id, and cloud (public, us_gov or china)"
	case "AADSTS7000112":
		p.Reason = "the application is disabled in the tenant"
		p.Remedy = "enable sign-in of the enterprise application in Entra"
	case "AADSTS53003":
		p.Reason = "a conditional access policy blocks the application"
		p.Remedy = "exclude the workload identity from the policy, or run Lazuli where the policy allows it"
	default:
		p.Reason = "Entra did not give a token"
		p.Remedy = remedies[kind]
		// Without an error of Entra's own it was the way there, or a proxy's
		// answer, that failed.
		p.Permanent = p.Code != ""
	}
	if p.Code != "" {
		p.Reason += " (" + p.Code + ")"
	}
	return p, true
}

// remedies are by the kind of credential, for what Entra has no code for.
var remedies = map[string]string{
	config.ClientSecret:     "check tenant_id, client_id, client_secret and cloud, and that the sign-in host can be reached",
	config.Certificate:      "check tenant_id, client_id, the certificate file and cloud, and that the sign-in host can be reached",
	config.WorkloadIdentity: "check tenant_id, client_id, the token file and cloud, and that the sign-in host can be reached",
	config.ManagedIdentity: "check that this machine, app or pod has a managed identity, and if it has several, that client_id is the client id of one of them; " +
		"outside Azure choose another type of credential",
	config.AzureCLI: "run az login --tenant with the tenant_id, as the user that Lazuli runs as; az must be on the PATH",
}
