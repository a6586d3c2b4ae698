package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// inWorkspace are the categories that the tests read from the workspace.
var inWorkspace = []string{"SignInLogs", "NonInteractiveUserSignInLogs", "ServicePrincipalSignInLogs", "ManagedIdentitySignInLogs", "AuditLogs", "Administrative"}

// workspaceDoors sends them there, and all other records to the hub.
func workspaceDoors(category string) []azuresim.Door {
	if slices.Contains(inWorkspace, category) {
		return []azuresim.Door{azuresim.LogAnalytics}
	}
	return []azuresim.Door{azuresim.EventHubs}
}

// workspaceToFile reads the workspace and the hub.
func workspaceToFile(sim *azuresim.Sim, more string) string {
	e := sim.Endpoints
	return fmt.Sprintf(`
tenants:
  contoso:
    tenant_id: %s
    ca_file: %q
    endpoints: {authority: %q, logs_query: %q}
    credential: {type: client_secret, client_id: %s, client_secret: %q}
sources:
  hub: {type: event_hub, connection_string: "${env:HUB}", hub: insights, consumer_group: lazuli}
  workspace:
    type: log_analytics
    tenant: contoso
    workspaces: [%s]
    tables: [SigninLogs, AADNonInteractiveUserSignInLogs, AADServicePrincipalSignInLogs, AADManagedIdentitySignInLogs, AuditLogs, AzureActivity]
    poll: 1s
    delay: 0s
    overlap: 3s
sinks:
  file: {type: file, path: events.ndjson, rotate: {size: 1TiB}}
checkpoint: {path: checkpoints}
dead_letters: {path: dead-letters}
telemetry: {listen: ""}
%s`, e.TenantID, e.CAFile, e.AuthorityHost, e.Logs, e.ClientID, e.ClientSecret, e.Workspace, more)
}

// A workspace is read while rows come and queries fail; stopped cleanly and
// started again, nothing is missing and nothing came twice.
func TestAWorkspaceIsReadCompletely(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: 21, RetainBytes: -1, Doors: workspaceDoors, Logs: azuresim.LogsOptions{Unlimited: true, MaxRows: 400}})
	if _, err := sim.Produce(t.Context(), 4000, 0); err != nil {
		t.Fatal(err)
	}
	dir, file := writeConfig(t, strings.Replace(workspaceToFile(sim, ""), "    poll:", "    limits: {rows: 400}\n    poll:", 1))
	output := filepath.Join(dir, "events.ndjson")
	for life := range 3 {
		p := start(t, hubEnv(sim), nil, "run", "-c", file)
		before := size(output)
		switch life {
		case 0:
			sim.Logs.Faults.Partial(3)
		case 1:
			sim.Logs.Faults.Fail(4, 429, time.Second)
		case 2:
			sim.Logs.Faults.Cut(3)
		}
		if _, err := sim.Produce(t.Context(), 1000, 0); err != nil {
			t.Fatal(err)
		}
		p.eventually(t, 90*time.Second, "the output grows", func() bool { return size(output) > before })
		if status := p.stop(t); status != 0 {
			t.Fatalf("status %d\n%s", status, p.stderr.String())
		}
	}
	if r := execute(t, "", hubEnv(sim), "run", "-c", file, "--once"); r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.stderr)
	}
	ledger := sim.Ledger.Fresh()
	if err := ledger.ReadFiles(output); err != nil {
		t.Fatal(err)
	}
	if report := ledger.Report(); report.Lost > 0 || report.Duplicated > 0 || report.NoID > 0 || report.Delivered != 7000 {
		t.Errorf("%v, want each record once; lost for example %v", report, ledger.Lost(5))
	}
}

// TestKilledWhileAWorkspaceIsReadNothingIsLost is the kill test with a workspace
// beside the hub.
func TestKilledWhileAWorkspaceIsReadNothingIsLost(t *testing.T) {
	killAgainAndAgain(t, 5, azuresim.Options{Doors: workspaceDoors, Logs: azuresim.LogsOptions{Unlimited: true}}, func(sim *azuresim.Sim, more string) string {
		if _, err := sim.Produce(t.Context(), 2000, 0); err != nil { // tables are there
			t.Fatal(err)
		}
		return workspaceToFile(sim, more)
	})
}
