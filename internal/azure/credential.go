package azure

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// credential is one of azidentity's, whose errors say of which kind it is.
type credential struct {
	azcore.TokenCredential
	kind string
}

// GetToken implements azcore.TokenCredential.
func (c credential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := c.TokenCredential.GetToken(ctx, options)
	if err != nil && ctx.Err() == nil {
		err = &signInError{c.kind, err}
	}
	return token, err
}

// signInError is why there is no token.
type signInError struct {
	kind string
	err  error
}

func (e *signInError) Error() string { return e.err.Error() }
func (e *signInError) Unwrap() error { return e.err }

// NonRetriable tells the SDK's pipelines, whose marker it is, not to ask again at
// once: the credential has done so already.
func (e *signInError) NonRetriable() {}

func (t *Tenant) newCredential(c config.Credential) (azcore.TokenCredential, error) {
	made, err := t.credentialOf(c)
	if err != nil {
		return nil, err
	}
	return credential{made, c.Type}, nil
}

func (t *Tenant) credentialOf(c config.Credential) (azcore.TokenCredential, error) {
	switch c.Type {
	case config.ClientSecret:
		return azidentity.NewClientSecretCredential(t.ID, c.ClientID, c.ClientSecret.Reveal(), &azidentity.ClientSecretCredentialOptions{
			ClientOptions:            t.ClientOptions(),
			DisableInstanceDiscovery: !t.Cloud.knownAuthority(),
		})
	case config.Certificate:
		return t.newCertificate(c)
	case config.WorkloadIdentity:
		file := string(c.TokenFile)
		if file == "" {
			file = os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
		}
		if file == "" {
			return nil, errors.New(`token_file is empty and AZURE_FEDERATED_TOKEN_FILE is not set; write token_file, or give the pod the label azure.workload.identity/use: "true"`)
		}
		if content, err := os.ReadFile(file); err != nil { //nolint:gosec // the operator names the file
			return nil, fmt.Errorf("token_file: %w", err)
		} else if len(content) == 0 {
			return nil, fmt.Errorf("token_file: %s is empty; it must hold a token of the identity provider", file)
		}
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: t.ClientOptions(), DisableInstanceDiscovery: !t.Cloud.knownAuthority(),
			TenantID: t.ID, ClientID: c.ClientID, TokenFilePath: file,
		})
	case config.ManagedIdentity:
		options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: t.ClientOptions()}
		options.Transport = t.host
		if c.ClientID != "" {
			options.ID = azidentity.ClientID(c.ClientID)
		}
		return azidentity.NewManagedIdentityCredential(options)
	case config.AzureCLI:
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: t.ID})
	}
	return nil, fmt.Errorf("type %q is not supported; write client_secret, certificate, workload_identity, managed_identity or azure_cli", c.Type)
}

// hostClient is for the endpoint of the machine that Lazuli runs on: it gives
// tokens to whoever is there, and so refuses what comes by a proxy.
func hostClient(client *http.Client) *http.Client {
	own := *client
	if transport, ok := client.Transport.(*http.Transport); ok {
		direct := transport.Clone()
		direct.Proxy = nil
		own.Transport = direct
	}
	return &own
}

// certificate signs in with the certificate that a file holds. The file is
// looked at whenever a token is asked for, some times an hour, so that it can be
// renewed while Lazuli runs.
type certificate struct {
	file     string
	password string
	make     func([]*x509.Certificate, crypto.PrivateKey) (azcore.TokenCredential, error)

	mu   sync.Mutex
	sum  [sha256.Size]byte      // of the file that made current; guarded by mu
	made azcore.TokenCredential // guarded by mu
}

func (t *Tenant) newCertificate(c config.Credential) (*certificate, error) {
	cert := &certificate{
		file: string(c.Certificate), password: c.CertificatePassword.Reveal(),
		make: func(certificates []*x509.Certificate, key crypto.PrivateKey) (azcore.TokenCredential, error) {
			return azidentity.NewClientCertificateCredential(t.ID, c.ClientID, certificates, key, &azidentity.ClientCertificateCredentialOptions{
				ClientOptions:            t.ClientOptions(),
				DisableInstanceDiscovery: !t.Cloud.knownAuthority(),
			})
		},
	}
	_, err := cert.current()
	return cert, err
}

// GetToken implements azcore.TokenCredential. A file that cannot be used, as one
// that is being written, leaves the certificate of before in place.
func (c *certificate) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	use, unusable := c.current()
	token, err := use.GetToken(ctx, options)
	if err != nil && unusable != nil {
		err = errors.Join(err, unusable)
	}
	return token, err
}

// current returns the credential of what the file holds, and beside an error
// that of what it held.
func (c *certificate) current() (azcore.TokenCredential, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, err := os.ReadFile(c.file)
	if err != nil {
		return c.made, fmt.Errorf("certificate: %w", err)
	}
	sum := sha256.Sum256(data)
	if c.made != nil && sum == c.sum {
		return c.made, nil
	}
	certificates, key, err := parseCertificate(data, c.password)
	if err != nil {
		return c.made, fmt.Errorf("certificate: %s: %w", c.file, err)
	}
	made, err := c.make(certificates, key)
	if err != nil {
		return c.made, fmt.Errorf("certificate: %s: %w; Entra takes RSA keys, and the key must be the certificate's own", c.file, err)
	}
	c.made, c.sum = made, sum
	return made, nil
}

// parseCertificate reads PEM or PFX. PFX is not left to azidentity, whose reader
// knows only the encryption of before OpenSSL 3 and Windows Server 2019.
func parseCertificate(data []byte, password string) ([]*x509.Certificate, crypto.PrivateKey, error) {
	if block, _ := pem.Decode(data); block == nil {
		key, own, others, err := pkcs12.DecodeChain(data, password)
		switch {
		case errors.Is(err, pkcs12.ErrIncorrectPassword):
			return nil, nil, errors.New("certificate_password is not the password of this PFX file")
		case err != nil:
			return nil, nil, fmt.Errorf("is neither PEM nor PFX with a certificate and its key: %w", err)
		}
		return append([]*x509.Certificate{own}, others...), key, nil
	}
	if password != "" {
		return nil, nil, errors.New("is PEM, and certificate_password is for PFX; remove it, and leave the PEM file's private key without a password, readable by Lazuli alone")
	}
	certificates, key, err := azidentity.ParseCertificates(data, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; the file must hold -----BEGIN CERTIFICATE----- and its -----BEGIN PRIVATE KEY-----, without a password", err)
	}
	return certificates, key, nil
}
