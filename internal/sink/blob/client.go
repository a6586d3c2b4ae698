package blob

import (
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/lazuli-logs/lazuli/internal/azure"
)

// newClient makes the client of the container that cfg names.
func newClient(cfg *Config, tenant *azure.Tenant) (*container.Client, error) {
	options, err := clientOptions(cfg, tenant)
	if err != nil {
		return nil, err
	}
	if cfg.ConnectionString != "" {
		client, err := container.NewClientFromConnectionString(cfg.ConnectionString.Reveal(), cfg.Container, options)
		if err != nil {
			return nil, errors.New("connection_string " + connectionRule)
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
	address += "/" + cfg.Container
	switch {
	case cfg.SAS != "":
		return container.NewClientWithNoCredential(address+"?"+strings.TrimPrefix(cfg.SAS.Reveal(), "?"), options)
	case tenant == nil:
		return nil, fmt.Errorf("tenant %q was not passed", cfg.Tenant)
	}
	return container.NewClient(address, tenant.Credential, options)
}

func clientOptions(cfg *Config, tenant *azure.Tenant) (*container.ClientOptions, error) {
	trust, err := azure.TLSConfig(string(cfg.CAFile))
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
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
	if options.Transport, err = azure.HTTPClient(trust, proxy); err != nil {
		return nil, err
	}
	options.Retry.MaxRetries = -1 // the runner retries
	return &container.ClientOptions{ClientOptions: options}, nil
}
