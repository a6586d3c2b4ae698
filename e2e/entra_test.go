package e2e

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// entraConfig reads the simulator's hub with a client secret, over TLS.
func entraConfig(t *testing.T, sim *azuresim.Sim, transport, endpoint string) string {
	t.Helper()
	e := sim.Endpoints
	return `
tenants:
  contoso:
    tenant_id: ` + e.TenantID + `
    credential: {type: client_secret, client_id: ` + e.ClientID + `, client_secret: "${env:SECRET}"}
    endpoints: {authority: "` + e.AuthorityHost + `"}
    ca_file: "` + e.CAFile + `"
sources:
  hub: {type: event_hub, tenant: contoso, namespace: ` + e.Namespace + `, hub: ` + e.Hubs[0] + `, consumer_group: lazuli, transport: ` + transport + `, endpoint: "` + endpoint + `"}
sinks:
  out: {type: file, path: "%DIR%/events.ndjson"}
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: ""}
`
}

func TestEntraCredentialOverTLS(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: 9, RetainBytes: -1})
	if _, err := sim.Produce(t.Context(), 1000, 0); err != nil {
		t.Fatal(err)
	}
	https, err := url.Parse(sim.Endpoints.HTTPS)
	if err != nil {
		t.Fatal(err)
	}
	for transport, endpoint := range map[string]string{"amqp": sim.Endpoints.AMQPS, "websockets": https.Host} {
		t.Run(transport, func(t *testing.T) {
			dir, file := writeConfig(t, entraConfig(t, sim, transport, endpoint))
			r := execute(t, "", []string{"SECRET=" + sim.Endpoints.ClientSecret}, "run", "-c", file, "--once")
			if r.status != 0 {
				t.Fatalf("status %d\n%s", r.status, r.stderr)
			}
			ledger := sim.Ledger.Fresh()
			if err := ledger.ReadFiles(filepath.Join(dir, "events.ndjson")); err != nil {
				t.Fatal(err)
			}
			if report := ledger.Report(); report.Lost > 0 || report.Duplicated > 0 || report.Delivered != 1000 {
				t.Errorf("%v, want each record once", report)
			}
		})
	}
	t.Run("a wrong secret is explained and not shown", func(t *testing.T) {
		_, file := writeConfig(t, entraConfig(t, sim, "amqp", sim.Endpoints.AMQPS))
		r := execute(t, "", []string{"SECRET=wrong-but-still-secret"}, "run", "-c", file, "--once")
		if r.status != 1 || !strings.Contains(r.stderr, "AADSTS7000215") || strings.Contains(r.stderr, "wrong-but-still-secret") {
			t.Errorf("status %d, want 1 and Entra's code without the secret:\n%s", r.status, r.stderr)
		}
	})
}

func TestAWrongKeyIsExplainedAndNotShown(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: 10})
	_, file := writeConfig(t, hubToFile(sim, ""))
	parts := strings.Split(sim.Endpoints.ConnectionString, "SharedAccessKey=")
	_, rest, _ := strings.Cut(parts[1], ";")
	r := execute(t, "", []string{"HUB=" + parts[0] + "SharedAccessKey=d3JvbmdrZXl3cm9uZ2tleQ==;" + rest}, "run", "-c", file, "--once")
	if r.status != 1 || !strings.Contains(r.stderr, "Listen") || strings.Contains(r.stderr, "d3JvbmdrZXl3cm9uZ2tleQ") {
		t.Errorf("status %d, want 1, the claim that is needed and not the key:\n%s", r.status, r.stderr)
	}
}
