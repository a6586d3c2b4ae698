package blob

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is the settings of one sink.
type Config struct {
	Account          string        `yaml:"account" example:"contosolake" doc:"The storage account: its name, or its blob endpoint as a URL."`
	Tenant           string        `yaml:"tenant" example:"contoso" doc:"Tenant whose credential writes to the container, with account."`
	ConnectionString config.Secret `yaml:"connection_string" example:"${env:STORAGE}" doc:"Connection string, with a key or a SAS, instead of account and a credential."`
	SAS              config.Secret `yaml:"sas" example:"${env:STORAGE_SAS}" doc:"Shared access signature of the container with the permissions read, create and write, with account."`
	Container        string        `yaml:"container" required:"true" example:"security-events" doc:"The container."`
	CreateContainer  bool          `yaml:"create_container" doc:"Make the container if it is not there. The credential must be allowed to, which a role on the container alone does not do."`
	Path             string        `yaml:"path" example:"lake/{schema}/{log_type}/{date}" doc:"The folder of a blob. {schema}, {log_type}, {tenant} and {source} stand for the event's own, {date} (2026-01-31) and {hour} (00 to 23) for its time in UTC. Each combination of values in a batch becomes a blob."`
	Format           string        `yaml:"format" enum:"ndjson|parquet" doc:"ndjson: a document on each line. parquet: a row for each event, whose column data is the document."`
	Compression      string        `yaml:"compression" enum:"zstd|gzip|none" doc:"How the file is compressed; with parquet, its columns."`
	CAFile           config.Path   `yaml:"ca_file" example:"/etc/lazuli/ca.pem" doc:"PEM file of certificate authorities trusted beside the system's; empty means the tenant's."`
	Proxy            string        `yaml:"proxy" example:"http://proxy.contoso.com:3128" doc:"HTTP proxy; empty means the tenant's, else the environment's HTTPS_PROXY and NO_PROXY."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{
		Path:   "schema={schema}/log_type={log_type}/date={date}/hour={hour}",
		Format: "ndjson", Compression: "zstd",
	}
}

// DeliveryDefaults implements config.DeliveryDefaulter: files that are few and
// large. Batches of 8 MiB, two of them on their way, are what fits into the
// default of limits.in_flight; larger ones would never become full under it.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Batch = config.Batch{Events: 100_000, Bytes: 8 << 20, Wait: config.Duration(time.Minute)}
	d.Concurrency = 2
	d.Timeout = config.Duration(5 * time.Minute)
}

// https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
var containerForm = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`)

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	c.validateAccount(r)
	if c.Container != "" && (len(c.Container) > 63 || !containerForm.MatchString(c.Container)) {
		r.Add("container", fmt.Sprintf("is %q; a container's name is 3 to 63 lower-case letters, digits and single hyphens", c.Container), "write the name as the portal shows it")
	}
	if _, err := parsePath(c.Path); err != nil {
		r.Add("path", err.Error(), "write e.g. lake/{log_type}/{date}")
	}
	if c.Proxy != "" {
		if u, err := url.Parse(c.Proxy); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			r.Add("proxy", "is not an http or https URL with a host", "write http://host:port")
		}
	}
}

func (c *Config) validateAccount(r *config.Report) {
	ways := 0
	for _, set := range []bool{c.ConnectionString != "", c.SAS != "", c.Tenant != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways == 0:
		r.Add("connection_string", "is empty, and so are sas and tenant; one of them says how to sign in", "write account and tenant, or connection_string: ${env:NAME}")
		return
	case ways > 1:
		r.Add("connection_string", "connection_string, sas and tenant are three ways to sign in, and more than one is given", "keep one of them")
		return
	}
	if c.ConnectionString != "" {
		if c.Account != "" {
			r.Add("account", "is given together with connection_string, which names the account itself", "remove account")
		}
		if _, err := container.NewClientFromConnectionString(c.ConnectionString.Reveal(), "any", nil); err != nil {
			// The SDK's message may quote the string, and that is a secret.
			r.Add("connection_string", connectionRule, "copy the whole string from Access keys in the portal: DefaultEndpointsProtocol=https;AccountName=...;AccountKey=...")
		}
		return
	}
	address, err := azure.StorageEndpoint(c.Account, "blob.core.windows.net")
	switch {
	case c.Account == "":
		r.Add("account", "is empty", "write the storage account's name, or its blob endpoint")
	case err != nil:
		r.Add("account", fmt.Sprintf("is %q; %v", c.Account, err), "write the storage account's name, or its blob endpoint such as https://contosolake.blob.core.windows.net")
	case strings.HasPrefix(address, "http://"):
		r.Add("account", "begins with http://; tokens and signatures are sent over https only", "write https://")
	}
}

const connectionRule = "cannot be read; it must have an AccountName and AccountKey, or a BlobEndpoint and SharedAccessSignature"
