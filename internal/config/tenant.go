package config

import (
	"net/url"
	"regexp"
	"strings"
)

// Tenant is one Entra tenant and how Lazuli signs in to it. Sources and sinks
// refer to it by its name in the document.
type Tenant struct {
	TenantID   string     `yaml:"tenant_id" doc:"Directory (tenant) id, a GUID." required:"true" example:"7d0c4b1e-0f5a-4b64-9a3f-2f5a6d1c8e90"`
	Cloud      string     `yaml:"cloud" doc:"Azure cloud the tenant lives in." enum:"public|us_gov|china"`
	Endpoints  Endpoints  `yaml:"endpoints" doc:"Endpoints that differ from those of the cloud."`
	Credential Credential `yaml:"credential" doc:"How Lazuli signs in." required:"true"`
	CAFile     Path       `yaml:"ca_file" doc:"PEM file of certificate authorities trusted beside the system's, e.g. of a TLS-inspecting proxy." example:"/etc/lazuli/ca.pem"`
	Proxy      string     `yaml:"proxy" doc:"HTTP proxy for this tenant's HTTPS requests; empty means the environment's HTTPS_PROXY and NO_PROXY." example:"http://proxy.contoso.com:3128"`
}

// DefaultTenant returns the values a tenant has before the document is read.
func DefaultTenant() Tenant {
	return Tenant{Cloud: "public", Credential: Credential{Type: ClientSecret}}
}

// Endpoints overrides single endpoints of a cloud; empty ones are the cloud's.
type Endpoints struct {
	Authority     string `yaml:"authority" doc:"Entra sign-in host, https." example:"https://login.microsoftonline.com"`
	Graph         string `yaml:"graph" doc:"Microsoft Graph, https." example:"https://graph.microsoft.com"`
	LogsQuery     string `yaml:"logs_query" doc:"Log Analytics query API, https." example:"https://api.loganalytics.io"`
	LogsIngestion string `yaml:"logs_ingestion" doc:"Token audience of the Logs Ingestion API, https." example:"https://monitor.azure.com"`
}

// Credential is how Lazuli proves who it is to Entra. Type says how; each kind
// has options of its own.
type Credential struct {
	Type                string `yaml:"type" doc:"Kind of credential: docs/credentials.md says which one to take." enum:"client_secret|certificate|workload_identity|managed_identity|azure_cli"`
	ClientID            string `yaml:"client_id" doc:"Application (client) id of the app registration, a GUID; of a managed_identity that is user-assigned, its client id, and of one that is system-assigned, nothing." example:"1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b"`
	ClientSecret        Secret `yaml:"client_secret" doc:"For client_secret: the secret of the app registration." example:"${file:/run/secrets/contoso}"`
	Certificate         Path   `yaml:"certificate" doc:"For certificate: PEM or PFX file with the certificate and its private key, RSA. It is read again when it has changed." example:"/run/secrets/contoso.pem"`
	CertificatePassword Secret `yaml:"certificate_password" doc:"For certificate: password of a PFX file." example:"${file:/run/secrets/contoso-pfx-password}"`
	TokenFile           Path   `yaml:"token_file" doc:"For workload_identity: file with a token of the identity provider that the app registration trusts; empty means the one that AZURE_FEDERATED_TOKEN_FILE names, as in AKS." example:"/var/run/secrets/azure/tokens/azure-identity-token"`
}

var guid = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Validate reports every rule that the tenant breaks. It does not touch the
// network or the disk.
func (t *Tenant) Validate(r *Report) {
	const whereID = "copy the value from Entra admin center > Overview"
	switch {
	case t.TenantID == "":
		r.Add("tenant_id", "is empty", whereID)
	case !guid.MatchString(t.TenantID):
		r.Add("tenant_id", "is "+quote(t.TenantID)+"; it must be a GUID such as 7d0c4b1e-0f5a-4b64-9a3f-2f5a6d1c8e90", whereID)
	}
	switch t.Cloud {
	case "public", "us_gov", "china":
	default:
		r.Add("cloud", "is "+quote(t.Cloud)+"; it must be public, us_gov or china", "write public, or give single endpoints under endpoints")
	}
	t.Endpoints.validate(r)
	t.Credential.validate(r)
	if t.Proxy != "" {
		if u, err := url.Parse(t.Proxy); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			r.Add("proxy", "is not an http or https URL with a host", "write http://host:port")
		}
	}
}

func (e *Endpoints) validate(r *Report) {
	for _, f := range []struct{ path, value string }{
		{"endpoints.authority", e.Authority},
		{"endpoints.graph", e.Graph},
		{"endpoints.logs_query", e.LogsQuery},
		{"endpoints.logs_ingestion", e.LogsIngestion},
	} {
		if f.value == "" {
			continue
		}
		// The SDK refuses to send a token to anything but https.
		if u, err := url.Parse(f.value); err != nil || u.Scheme != "https" || u.Host == "" {
			r.Add(f.path, "is "+quote(f.value)+"; it must be an https URL with a host", "write https://host, without a path")
		}
	}
}

// The kinds of credentials.
const (
	ClientSecret     = "client_secret"
	Certificate      = "certificate"
	WorkloadIdentity = "workload_identity"
	ManagedIdentity  = "managed_identity"
	AzureCLI         = "azure_cli"
)

func (c *Credential) validate(r *Report) {
	switch c.Type {
	case ClientSecret, Certificate, WorkloadIdentity, ManagedIdentity, AzureCLI:
	default:
		r.Add("credential.type", "is "+quote(c.Type)+"; it must be client_secret, certificate, workload_identity, managed_identity or azure_cli", "write one of them, e.g. type: client_secret")
		return
	}
	for _, option := range []struct {
		name  string
		given bool
		of    string
	}{
		{"client_secret", c.ClientSecret != "", ClientSecret},
		{"certificate", c.Certificate != "", Certificate},
		{"certificate_password", c.CertificatePassword != "", Certificate},
		{"token_file", c.TokenFile != "", WorkloadIdentity},
	} {
		if option.given && option.of != c.Type {
			r.Add("credential."+option.name, "belongs to type "+option.of+", and type is "+c.Type, "remove it, or write type: "+option.of)
		}
	}
	switch {
	case c.Type == AzureCLI:
		if c.ClientID != "" {
			r.Add("credential.client_id", "has no effect with type azure_cli, which signs in as whoever az does", "remove it, or choose another type")
		}
	case c.ClientID == "" && c.Type == ManagedIdentity: // the system-assigned one
	case c.ClientID == "":
		r.Add("credential.client_id", "is empty", "copy the Application (client) id of the app registration")
	case !guid.MatchString(c.ClientID):
		r.Add("credential.client_id", "is "+quote(c.ClientID)+"; it must be a GUID", "copy the Application (client) id, not the display name")
	}
	if c.Type == Certificate && c.Certificate == "" {
		r.Add("credential.certificate", "is empty", "write the path of a PEM or PFX file with the certificate and its private key")
	}
	if c.Type == ClientSecret {
		c.validateSecret(r)
	}
}

func (c *Credential) validateSecret(r *Report) {
	switch s := c.ClientSecret.Reveal(); {
	case s == "":
		r.Add("credential.client_secret", "is empty", "write ${file:/path} or ${env:NAME}")
	case guid.MatchString(s):
		// A secret's value is never a GUID, but its id is, and the portal
		// shows the two side by side.
		r.Add("credential.client_secret", "has the form of a secret's id", "use the secret's value; the portal shows it once, when the secret is made")
	case s != strings.TrimSpace(s):
		r.Add("credential.client_secret", "begins or ends with white space", "remove it")
	}
}

func quote(s string) string { return `"` + s + `"` }
