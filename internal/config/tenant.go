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
	return Tenant{Cloud: "public", Credential: Credential{Type: "client_secret"}}
}

// Endpoints overrides single endpoints of a cloud; empty ones are the cloud's.
type Endpoints struct {
	Authority     string `yaml:"authority" doc:"Entra sign-in host, https." example:"https://login.microsoftonline.com"`
	Graph         string `yaml:"graph" doc:"Microsoft Graph, https." example:"https://graph.microsoft.com"`
	LogsQuery     string `yaml:"logs_query" doc:"Log Analytics query API, https." example:"https://api.loganalytics.io"`
	LogsIngestion string `yaml:"logs_ingestion" doc:"Token audience of the Logs Ingestion API, https." example:"https://monitor.azure.com"`
}

// Credential is how Lazuli proves who it is to Entra.
type Credential struct {
	Type         string `yaml:"type" doc:"Kind of credential." enum:"client_secret"`
	ClientID     string `yaml:"client_id" doc:"Application (client) id of the app registration, a GUID." example:"1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b"`
	ClientSecret Secret `yaml:"client_secret" doc:"Client secret of the app registration." example:"${file:/run/secrets/contoso}"`
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

func (c *Credential) validate(r *Report) {
	if c.Type != "client_secret" {
		r.Add("credential.type", "is "+quote(c.Type)+"; it must be client_secret", "write type: client_secret")
		return
	}
	switch {
	case c.ClientID == "":
		r.Add("credential.client_id", "is empty", "copy the Application (client) id of the app registration")
	case !guid.MatchString(c.ClientID):
		r.Add("credential.client_id", "is "+quote(c.ClientID)+"; it must be a GUID", "copy the Application (client) id, not the display name")
	}
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
