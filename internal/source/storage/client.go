package storage

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/lazuli-logs/lazuli/internal/azure"
)

// newClient makes the client of the blob service that cfg describes.
func newClient(cfg *Config, tenant *azure.Tenant) (*service.Client, error) {
	options, err := clientOptions(cfg, tenant)
	if err != nil {
		return nil, err
	}
	blobOptions := &service.ClientOptions{ClientOptions: options}
	if cfg.ConnectionString != "" {
		client, err := service.NewClientFromConnectionString(cfg.ConnectionString.Reveal(), blobOptions)
		if err != nil {
			return nil, errors.New("read connection_string: it must have an AccountName and AccountKey, or a BlobEndpoint and SharedAccessSignature")
		}
		return client, nil
	}
	suffix := "blob.core.windows.net"
	if tenant != nil {
		suffix = tenant.Cloud.BlobSuffix
	}
	address, err := azure.StorageEndpoint(cfg.Account, suffix)
	if err != nil {
		return nil, fmt.Errorf("account is %q; %w", cfg.Account, err)
	}
	switch {
	case cfg.AccountKey != "":
		key, err := service.NewSharedKeyCredential(accountName(address), cfg.AccountKey.Reveal())
		if err != nil {
			return nil, errors.New("read account_key: it must be Base64, as Access keys in the portal shows it")
		}
		return service.NewClientWithSharedKeyCredential(address, key, blobOptions)
	case cfg.SAS != "":
		return service.NewClientWithNoCredential(address+"/?"+strings.TrimPrefix(cfg.SAS.Reveal(), "?"), blobOptions)
	case tenant == nil:
		return nil, fmt.Errorf("tenant %q was not passed", cfg.Tenant)
	}
	return service.NewClient(address, tenant.Credential, blobOptions)
}

// clientOptions are for one source: a connection for each worker is kept, since
// opening one costs more than a poll.
func clientOptions(cfg *Config, tenant *azure.Tenant) (policy.ClientOptions, error) {
	trust, err := azure.TLSConfig(string(cfg.CAFile))
	if err != nil {
		return policy.ClientOptions{}, fmt.Errorf("ca_file: %w", err)
	}
	proxy := cfg.Proxy
	var options policy.ClientOptions
	if tenant != nil {
		options = tenant.ClientOptions()
		if cfg.CAFile == "" && tenant.TLS != nil {
			trust = tenant.TLS
		}
		if proxy == "" {
			proxy = tenant.Proxy
		}
	}
	client, err := azure.HTTPClient(trust, proxy)
	if err != nil {
		return policy.ClientOptions{}, err
	}
	if transport, ok := client.Transport.(*http.Transport); ok {
		transport.MaxIdleConnsPerHost = cfg.Workers + listers
		// Ranges are counted in the bytes that are stored.
		transport.DisableCompression = true
	}
	options.Transport = client
	// Beyond these few the source itself waits and says so.
	options.Retry = policy.RetryOptions{MaxRetries: 2, RetryDelay: 500 * time.Millisecond, MaxRetryDelay: 5 * time.Second}
	return options, nil
}

// accountName is the account's name in an endpoint: the first part of the host,
// or, on an emulator, which is reached by an address, the first of the path.
func accountName(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		return path
	}
	name, _, _ := strings.Cut(u.Hostname(), ".")
	return name
}
