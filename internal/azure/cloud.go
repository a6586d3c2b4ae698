package azure

import (
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Cloud holds the endpoints of one Azure cloud. URLs have no path.
type Cloud struct {
	Name           string // "public", "us_gov" or "china"
	Authority      string // Entra sign-in
	Graph          string // Microsoft Graph; the token audience as well
	LogsQuery      string // Log Analytics query API; the token audience as well
	LogsIngestion  string // token audience of the Logs Ingestion API
	EventHubSuffix string // of a namespace's host name
	BlobSuffix     string // of a storage account's blob host name
	QueueSuffix    string // of a storage account's queue host name
}

// clouds returns the built-in clouds. Sources: azcore's cloud package for
// sign-in, Microsoft Graph's national deployments, the azlogs clients' own
// cloud configurations, and the Azure environments of go-autorest for suffixes.
func clouds() []Cloud {
	return []Cloud{
		{
			Name:           "public",
			Authority:      cloud.AzurePublic.ActiveDirectoryAuthorityHost,
			Graph:          "https://graph.microsoft.com",
			LogsQuery:      "https://api.loganalytics.io",
			LogsIngestion:  "https://monitor.azure.com",
			EventHubSuffix: "servicebus.windows.net",
			BlobSuffix:     "blob.core.windows.net",
			QueueSuffix:    "queue.core.windows.net",
		},
		{
			Name:           "us_gov",
			Authority:      cloud.AzureGovernment.ActiveDirectoryAuthorityHost,
			Graph:          "https://graph.microsoft.us",
			LogsQuery:      "https://api.loganalytics.us",
			LogsIngestion:  "https://monitor.azure.us",
			EventHubSuffix: "servicebus.usgovcloudapi.net",
			BlobSuffix:     "blob.core.usgovcloudapi.net",
			QueueSuffix:    "queue.core.usgovcloudapi.net",
		},
		{
			Name:           "china",
			Authority:      cloud.AzureChina.ActiveDirectoryAuthorityHost,
			Graph:          "https://microsoftgraph.chinacloudapi.cn",
			LogsQuery:      "https://api.loganalytics.azure.cn",
			LogsIngestion:  "https://monitor.azure.cn",
			EventHubSuffix: "servicebus.chinacloudapi.cn",
			BlobSuffix:     "blob.core.chinacloudapi.cn",
			QueueSuffix:    "queue.core.chinacloudapi.cn",
		},
	}
}

// LookupCloud returns the cloud of that name with the given endpoints in place
// of its own.
func LookupCloud(name string, own config.Endpoints) (Cloud, error) {
	for _, c := range clouds() {
		if c.Name != name {
			continue
		}
		replace := func(endpoint *string, with string) {
			if with != "" {
				*endpoint = with
			}
		}
		replace(&c.Authority, own.Authority)
		replace(&c.Graph, own.Graph)
		replace(&c.LogsQuery, own.LogsQuery)
		replace(&c.LogsIngestion, own.LogsIngestion)
		return c, nil
	}
	return Cloud{}, fmt.Errorf("look up cloud %q: it must be public, us_gov or china", name)
}

// Configuration is the cloud as the SDK's HTTP clients take it.
func (c Cloud) Configuration() cloud.Configuration {
	return cloud.Configuration{
		ActiveDirectoryAuthorityHost: c.Authority,
		Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			"query/azlogs":     {Audience: c.LogsQuery, Endpoint: c.LogsQuery},
			"ingestion/azlogs": {Audience: c.LogsIngestion},
		},
	}
}

// knownAuthority reports whether Entra's instance discovery can vouch for the
// authority; a private one would be asked about on the internet and refused.
func (c Cloud) knownAuthority() bool {
	for _, known := range clouds() {
		if c.Authority == known.Authority {
			return true
		}
	}
	return false
}
