package azuresim_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/monitor/query/azlogs"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// logsClient is Microsoft's client of a simulated workspace.
func logsClient(t *testing.T, sim *azuresim.Sim, retries int32) *azlogs.Client {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.CA.Pool(), MinVersion: tls.VersionTLS12}}}
	t.Cleanup(client.CloseIdleConnections)
	options := azcore.ClientOptions{Transport: client, Retry: policy.RetryOptions{MaxRetries: retries}, Cloud: cloud.Configuration{
		ActiveDirectoryAuthorityHost: sim.Endpoints.AuthorityHost,
		Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{azlogs.ServiceName: {Audience: "https://api.loganalytics.io", Endpoint: sim.Endpoints.Logs}},
	}}
	credential, err := azidentity.NewClientSecretCredential(sim.Endpoints.TenantID, sim.Endpoints.ClientID, sim.Endpoints.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	logs, err := azlogs.NewClient(credential, &azlogs.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	return logs
}

func query(t *testing.T, client *azlogs.Client, workspace, text string, options *azlogs.QueryOptions) (azlogs.QueryWorkspaceResponse, error) {
	t.Helper()
	return client.QueryWorkspace(t.Context(), workspace, azlogs.QueryBody{Query: &text}, &azlogs.QueryWorkspaceOptions{Options: options})
}

// TestOfficialClientQueriesLogs reads the tenant's records as rows with
// Microsoft's azlogs client.
func TestOfficialClientQueriesLogs(t *testing.T) {
	produced := map[string]int{}
	sim, err := azuresim.Start(t.Context(), azuresim.Options{Seed: 7, Prepared: -1, Doors: func(category string) []azuresim.Door {
		if azuresim.LogsHas(category) {
			produced[category]++
			return []azuresim.Door{azuresim.LogAnalytics}
		}
		return []azuresim.Door{azuresim.EventHubs}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	if _, err := sim.Produce(t.Context(), 3000, 0); err != nil {
		t.Fatal(err)
	}
	client := logsClient(t, sim, -1)
	for table, category := range map[string]string{
		"SigninLogs": "SignInLogs", "AADNonInteractiveUserSignInLogs": "NonInteractiveUserSignInLogs", "AuditLogs": "AuditLogs",
		"AADManagedIdentitySignInLogs": "ManagedIdentitySignInLogs", "AADServicePrincipalSignInLogs": "ServicePrincipalSignInLogs",
	} {
		got, err := query(t, client, sim.Endpoints.Workspace, table+" | where ingestion_time() > ago(1h) | summarize rows = count(), dcount(Id) by Type", nil)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("[[%s %d %d]]", table, produced[category], produced[category])
		if rows := fmt.Sprint(got.Tables[0].Rows); rows != want || produced[category] == 0 {
			t.Errorf("%s: %s; want %s", table, rows, want)
		}
	}
	got, err := query(t, client, sim.Endpoints.Workspace, "SigninLogs | where ResultType != '0' | project TimeGenerated, Status, ResultType, IPAddress | take 1",
		&azlogs.QueryOptions{Statistics: to.Ptr(true), Wait: to.Ptr(60), Visualization: to.Ptr(true)})
	if err != nil {
		t.Fatal(err)
	}
	columns, _ := json.Marshal(got.Tables[0].Columns)
	if want := `[{"name":"TimeGenerated","type":"datetime"},{"name":"Status","type":"dynamic"},{"name":"ResultType","type":"string"},{"name":"IPAddress","type":"string"}]`; string(columns) != want {
		t.Errorf("columns %s; want %s", columns, want)
	}
	if len(got.Tables[0].Rows) != 1 || !strings.Contains(fmt.Sprint(got.Tables[0].Rows[0][1]), `"errorCode":`) || len(got.Statistics) == 0 || len(got.Visualization) == 0 {
		t.Errorf("answer %+v, statistics %s; want one row with a status as JSON, and statistics", got.Tables[0].Rows, got.Statistics)
	}
	got, err = query(t, client, sim.Endpoints.Workspace, "AzureActivity | where CategoryValue == 'Administrative' | extend C = parse_json(Claims), D = Properties_d.eventDataId | where isnotempty(Caller) and D == EventDataId | count", nil)
	if err != nil || fmt.Sprint(got.Tables[0].Rows) == "[[0]]" {
		t.Errorf("activity: %v, %v; want some", got.Tables, err)
	}
}

// TestLogsFailAsAzureDoes: limits and errors in the forms that the client knows.
func TestLogsFailAsAzureDoes(t *testing.T) {
	sim, err := azuresim.Start(t.Context(), azuresim.Options{Seed: 7, Prepared: -1, Logs: azuresim.LogsOptions{MaxRows: 10, MaxBytes: 2000, Unlimited: true, BasicTables: []string{"Cheap_CL"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	client := logsClient(t, sim, -1)
	workspace := sim.Endpoints.Workspace
	refused := func(name, text string, status int, parts ...string) {
		t.Helper()
		_, err := query(t, client, workspace, text, nil)
		var response *azcore.ResponseError
		if !errors.As(err, &response) || response.StatusCode != status {
			t.Errorf("%s: error %v; want status %d", name, err, status)
			return
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v; want it to hold %q", name, err, part)
			}
		}
	}
	if _, err := query(t, client, workspace, "print 1", nil); err == nil {
		t.Error("an empty workspace: no error, though the client takes 204 for one")
	}
	now := time.Now()
	for i := range 12 {
		row := fmt.Sprintf(`{"TimeGenerated":%q,"N":%d,"Big":9007199254740993,"Text":%q}`, now.Add(-time.Hour).Format(time.RFC3339Nano), i, strings.Repeat("x", 60*i))
		for _, table := range []string{"T_CL", "Cheap_CL"} {
			if err := sim.Logs.Put(table, []byte(row), now.Add(-time.Minute+time.Duration(i)*time.Second), now); err != nil {
				t.Fatal(err)
			}
		}
	}
	partial := func(text string, rows int, part string) {
		t.Helper()
		got, err := query(t, client, workspace, text, nil)
		if err != nil || got.Error == nil || got.Error.Code != "PartialError" || !strings.Contains(got.Error.Error(), part) || len(got.Tables[0].Rows) != rows {
			t.Errorf("%s: %d rows, %v, %v; want %d and a partial error with %q", text, len(got.Tables[0].Rows), got.Error, err, rows, part)
		}
	}
	partial("T_CL | project N", 10, "limit of 10 records")
	partial("T_CL", 7, "limit of 2000 bytes")
	if got, err := query(t, client, workspace, "T_CL | where ingestion_time() < ago(1m) or N < 3 | project N", nil); err != nil || got.Error != nil || len(got.Tables[0].Rows) != 3 {
		t.Errorf("a small answer: %+v, %v; want 3 rows", got.QueryResults, err)
	}
	refused("syntax", "T_CL | whre N", http.StatusBadRequest, "SyntaxError", `"line": 1`, `"pos": 7`, "whre")
	refused("semantics", "T_CL | where Nobody > 1", http.StatusBadRequest, "SemanticError", "Nobody")
	refused("no table", "U_CL", http.StatusBadRequest, "Failed to resolve table", "U_CL")
	refused("basic table", "Cheap_CL", http.StatusBadRequest, "Basic plan")
	sim.Logs.Faults.Fail(1, 429, 7*time.Second)
	refused("throttled", "T_CL | take 1", http.StatusTooManyRequests, "Rate limit")
	sim.Logs.Faults.Fail(1, 503, 0)
	refused("busy", "T_CL | take 1", http.StatusServiceUnavailable)
	workspace = sim.Endpoints.TenantID
	refused("wrong workspace", "T_CL", http.StatusNotFound, "WorkspaceNotFound")
	workspace = sim.Endpoints.Workspace

	sim.Logs.Faults.Partial(1)
	partial("T_CL | take 4 | project N", 2, "engine")
	sim.Logs.Faults.Cut(1)
	if _, err := query(t, client, workspace, "T_CL | project N | take 9", nil); err == nil {
		t.Error("an answer that was cut: no error")
	}
	sim.Logs.Faults.Slow(1, time.Hour)
	if _, err := query(t, client, workspace, "T_CL", &azlogs.QueryOptions{Wait: to.Ptr(1)}); err == nil || !strings.Contains(err.Error(), "504") {
		t.Errorf("a query that takes too long: %v; want 504", err)
	}
}

// TestLogsHaveLimits: so many queries in 30 seconds, by a clock that stands still.
func TestLogsHaveLimits(t *testing.T) {
	var passed atomic.Int64
	begin := time.Now()
	now := func() time.Time { return begin.Add(time.Duration(passed.Load())) }
	sim, err := azuresim.Start(t.Context(), azuresim.Options{Seed: 7, Prepared: -1, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	if err := sim.Logs.Put("T_CL", []byte(`{"N":1}`), now(), now()); err != nil {
		t.Fatal(err)
	}
	client := logsClient(t, sim, -1)
	const limit = 200
	ask := func(what string, refused bool) {
		t.Helper()
		_, err := query(t, client, sim.Endpoints.Workspace, "T_CL | count", nil)
		var response *azcore.ResponseError
		switch {
		case !refused && err != nil:
			t.Fatalf("%s: %v", what, err)
		case refused && (!errors.As(err, &response) || response.StatusCode != http.StatusTooManyRequests || response.RawResponse.Header.Get("Retry-After") == ""):
			t.Fatalf("%s: %v; want 429 and a time", what, err)
		}
	}
	for n := range limit {
		ask(fmt.Sprintf("query %d of %d", n+1, limit), false)
	}
	ask("one query more", true)
	passed.Store(int64(30*time.Second - time.Nanosecond))
	ask("just before the 30 s are over", true)
	passed.Store(int64(30 * time.Second))
	ask("after 30 s", false)
}

// TestLogsCheckWhoAsks: tokens that are wrong, for something else, or expired,
// and an application without the role.
func TestLogsCheckWhoAsks(t *testing.T) {
	sim, err := azuresim.Start(t.Context(), azuresim.Options{Seed: 7, Prepared: -1, Logs: azuresim.LogsOptions{Forbidden: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.CA.Pool(), MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	token := func(audience string, lifetime time.Duration) string {
		text, err := sim.Entra.Token(sim.Endpoints.TenantID, sim.Endpoints.ClientID, audience, lifetime)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, tc := range []struct {
		name, token, code string
		status            int
	}{
		{"none", "", "AuthenticationFailed", 401},
		{"nonsense", "x", "InvalidAuthenticationToken", 403},
		{"for something else", token("https://graph.microsoft.com", time.Hour), "InvalidAuthenticationTokenAudience", 403},
		{"expired", token("https://api.loganalytics.io", -time.Hour), "InvalidTokenError", 401},
		{"without the role", token("https://api.loganalytics.io/", time.Hour), "InsufficientAccessError", 403},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sim.Endpoints.Logs+"/v1/workspaces/"+sim.Endpoints.Workspace+"/query", strings.NewReader(`{"query":"print 1"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		if tc.token != "" {
			request.Header.Set("Authorization", "Bearer "+tc.token)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Error struct{ Code string } `json:"error"`
		}
		_ = json.NewDecoder(response.Body).Decode(&answer)
		response.Body.Close()
		if response.StatusCode != tc.status || answer.Error.Code != tc.code {
			t.Errorf("token %s: %d %s; want %d %s", tc.name, response.StatusCode, answer.Error.Code, tc.status, tc.code)
		}
	}
}
