package azure

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Tenant is a configured tenant, ready for use: one credential, whose tokens
// are cached and shared, and one HTTP client. It may be used concurrently.
type Tenant struct {
	Name       string // in the configuration
	ID         string // Entra tenant id
	ClientID   string // of the app registration or managed identity that signs in; "" where the credential does not say
	Cloud      Cloud
	Credential azcore.TokenCredential
	HTTP       *http.Client // trusts the tenant's CA file and uses its proxy
	Proxy      string       // of HTTP; "" means the environment's
	TLS        *tls.Config  // what HTTP trusts, for protocols other than HTTP; clone before changing it

	host *http.Client // for the endpoint of the machine that gives tokens of managed identities
}

// NewTenant reads the tenant's CA file and prepares its credential, whose files
// must be there. It does not touch the network.
func NewTenant(name string, c config.Tenant) (*Tenant, error) {
	cloud, err := LookupCloud(c.Cloud, c.Endpoints)
	if err != nil {
		return nil, fmt.Errorf("tenant %q: %w", name, err)
	}
	tlsConfig, err := TLSConfig(string(c.CAFile))
	if err != nil {
		return nil, fmt.Errorf("tenant %q: ca_file: %w", name, err)
	}
	client, err := HTTPClient(tlsConfig, c.Proxy)
	if err != nil {
		return nil, fmt.Errorf("tenant %q: %w", name, err)
	}
	t := &Tenant{
		Name: name, ID: c.TenantID, ClientID: c.Credential.ClientID,
		Cloud: cloud, HTTP: client, Proxy: c.Proxy, TLS: tlsConfig, host: hostClient(client),
	}
	if t.Credential, err = t.newCredential(c.Credential); err != nil {
		return nil, fmt.Errorf("tenant %q: credential: %w", name, err)
	}
	return t, nil
}

// Assignee is who is given a role, as commands of the remedies take it.
func (t *Tenant) Assignee() string {
	if t.ClientID == "" {
		return "<client or object id>"
	}
	return t.ClientID
}

// ClientOptions are the options every HTTP client of the SDK takes.
func (t *Tenant) ClientOptions() policy.ClientOptions {
	return policy.ClientOptions{Cloud: t.Cloud.Configuration(), Transport: t.HTTP}
}

// Token returns a token of the tenant for a scope, for protocols other than
// HTTP. The credential keeps it until shortly before it ends.
func (t *Tenant) Token(ctx context.Context, scope string) (string, error) {
	token, err := t.Credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	return token.Token, err
}
