package azuresim_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// TestOfficialClientReadsGraph signs in with azidentity and pages with azcore.
func TestOfficialClientReadsGraph(t *testing.T) {
	sim, err := azuresim.Start(t.Context(), azuresim.Options{Seed: 7, Prepared: -1, Graph: azuresim.GraphOptions{Unlimited: true}, Doors: func(category string) []azuresim.Door {
		if azuresim.GraphHas(category) {
			return []azuresim.Door{azuresim.Graph}
		}
		return []azuresim.Door{azuresim.EventHubs}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	if _, err := sim.Produce(t.Context(), 400, 0); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.CA.Pool(), MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	options := azcore.ClientOptions{Transport: client, Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: sim.Endpoints.AuthorityHost}}
	credential, err := azidentity.NewClientSecretCredential(sim.Endpoints.TenantID, sim.Endpoints.ClientID, sim.Endpoints.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, audience := range []string{"https://graph.microsoft.com", sim.Endpoints.Graph} {
		pipeline := runtime.NewPipeline("test", "v0", runtime.PipelineOptions{
			PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(credential, []string{audience + "/.default"}, nil)},
		}, &options)
		type page struct {
			Value []json.RawMessage `json:"value"`
			Next  *string           `json:"@odata.nextLink"`
		}
		pager := runtime.NewPager(runtime.PagingHandler[page]{
			More: func(p page) bool { return p.Next != nil },
			Fetcher: func(ctx context.Context, last *page) (next page, err error) {
				target := sim.Endpoints.Graph + "/v1.0/auditLogs/directoryAudits?$top=7"
				if last != nil {
					target = *last.Next
				}
				request, err := runtime.NewRequest(ctx, http.MethodGet, target)
				if err != nil {
					return next, err
				}
				response, err := pipeline.Do(request)
				if err != nil {
					return next, err
				}
				if !runtime.HasStatusCode(response, http.StatusOK) {
					return next, runtime.NewResponseError(response)
				}
				return next, runtime.UnmarshalAsJSON(response, &next)
			},
		})
		read := 0
		for pager.More() {
			next, err := pager.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			read += len(next.Value)
		}
		if want := sim.Graph.Count("auditLogs/directoryAudits"); read != want || want == 0 {
			t.Errorf("%d audits were read, want %d", read, want)
		}
	}
	total := 0
	for _, path := range []string{"auditLogs/signIns", "auditLogs/directoryAudits", "identityProtection/riskDetections"} {
		total += sim.Graph.Count(path)
	}
	if total < 200 {
		t.Errorf("only %d of 400 records are in Graph", total)
	}
}
