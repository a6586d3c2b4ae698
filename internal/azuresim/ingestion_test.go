package azuresim_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/monitor/ingestion/azlogs"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// Microsoft's clients sign in and upload to the endpoints of a running
// simulator, and the ledger counts what arrived.
func TestLogsAreIngested(t *testing.T) {
	sim, err := azuresim.Start(t.Context(), azuresim.Options{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	e := sim.Endpoints
	options := policy.ClientOptions{
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: e.HTTPS,
			Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{"ingestion/azlogs": {Audience: "https://monitor.azure.com"}},
		},
		Transport: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.CA.Pool(), MinVersion: tls.VersionTLS12}}},
	}
	credential, err := azidentity.NewClientSecretCredential(e.TenantID, e.ClientID, e.ClientSecret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: options, DisableInstanceDiscovery: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := azlogs.NewClient(e.Ingestion.Endpoint, credential, &azlogs.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Produce(t.Context(), 50, 0); err != nil {
		t.Fatal(err)
	}
	hub, _ := sim.Broker.Hub(e.Hubs[0])
	for partition := range e.Partitions {
		messages, err := hub.Read(partition, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages { // {"records":[...]}
			body := string(m.Body)
			records := body[strings.IndexByte(body, '[') : strings.LastIndexByte(body, ']')+1]
			if _, err := client.Upload(t.Context(), e.Ingestion.Rule, e.Ingestion.Stream, []byte(records), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if report := sim.Ledger.Report(); report.Lost > 0 || report.Duplicated > 0 || report.Delivered < 50 {
		t.Errorf("the ledger says %v", report)
	}
	if n := len(sim.Ingestion.Rows(azuresim.IngestionTable)); n < 50 {
		t.Errorf("%d rows in the table, want all records", n)
	}
}
