package blob

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// scopes is a credential that keeps what it was asked for.
type scopes struct {
	azcore.TokenCredential
	mu    sync.Mutex
	asked []string
}

func (s *scopes) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	s.mu.Lock()
	s.asked = append(s.asked, strings.Join(options.Scopes, " "))
	s.mu.Unlock()
	return s.TokenCredential.GetToken(ctx, options)
}

// withToken opens a sink that signs in at the built-in Azure's Entra.
func withToken(t *testing.T, secret string, change func(*Config)) (*Sink, *azuresim.Sim, *scopes) {
	t.Helper()
	sim, err := azuresim.Start(context.WithoutCancel(t.Context()), azuresim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	e := sim.Endpoints
	if secret == "" {
		secret = e.ClientSecret
	}
	tenant, err := azure.NewTenant("contoso", config.Tenant{
		Cloud: "public", TenantID: e.TenantID, CAFile: config.Path(e.CAFile), Endpoints: config.Endpoints{Authority: e.HTTPS},
		Credential: config.Credential{Type: "client_secret", ClientID: e.ClientID, ClientSecret: config.Secret(secret)},
	})
	if err != nil {
		t.Fatal(err)
	}
	asked := &scopes{TokenCredential: tenant.Credential}
	tenant.Credential = asked
	cfg := DefaultConfig()
	cfg.Account, cfg.Tenant, cfg.Container = e.Storage.BlobTLS, "contoso", lake
	if change != nil {
		change(cfg)
	}
	var report config.Report
	if cfg.Validate(&report); len(report.Problems) > 0 {
		t.Fatal(report.Problems)
	}
	if !cfg.CreateContainer {
		if err := sim.Blobs.CreateContainer(e.Storage.Account, lake); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(*cfg, Deps{Tenant: tenant, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s, sim, asked
}

func TestATokenWritesBlobs(t *testing.T) {
	for _, create := range []bool{false, true} {
		s, sim, asked := withToken(t, "", func(c *Config) { c.CreateContainer = create })
		events := sinktest.Events("a", 10, 300)
		for range 2 { // the second finds the first one's blob
			if err := s.Deliver(t.Context(), events); err != nil {
				t.Fatal(err)
			}
		}
		names := sim.Blobs.Names(sim.Endpoints.Storage.Account, lake)
		if len(names) != 1 {
			t.Fatalf("blobs %v; want one", names)
		}
		content, err := sim.Blobs.Read(sim.Endpoints.Storage.Account, lake, names[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := documents(t, map[string][]byte{names[0]: content}); len(got) != len(events) {
			t.Errorf("%d documents, want %d", len(got), len(events))
		}
		if got := slices.Compact(asked.asked); len(got) != 1 || got[0] != "https://storage.azure.com/.default" {
			t.Errorf("tokens were asked for %q; want them for Storage and nothing else", got)
		}
	}
}

// TestAMissingRoleIsNamed: with no role or one that only reads, the error names
// the role that is needed, for whom and where; once it is granted, the same sink
// delivers.
func TestAMissingRoleIsNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		role   storageapi.Role
		create bool
		scope  string
	}{
		"none":              {storageapi.RoleNone, false, `<resource id of the storage account>/blobServices/default/containers/lake"`},
		"reader":            {storageapi.RoleReader, false, `<resource id of the storage account>/blobServices/default/containers/lake"`},
		"makes a container": {storageapi.RoleReader, true, `<resource id of the storage account>"`},
	} {
		t.Run(name, func(t *testing.T) {
			s, sim, _ := withToken(t, "", func(c *Config) { c.CreateContainer = tc.create })
			sim.Blobs.SetRole(tc.role)
			events := sinktest.Events("a", 3, 300)
			err := s.Deliver(t.Context(), events)
			var remedy *sink.RemedyError
			if !errors.As(err, &remedy) || !remedy.Person || errors.Is(err, sink.ErrRejected) {
				t.Fatalf("Deliver() = %v; want an error that a person has to act on", err)
			}
			for _, want := range []string{`"Storage Blob Data Contributor"`, "--assignee " + sim.Endpoints.ClientID, tc.scope} {
				if !strings.Contains(remedy.Remedy, want) {
					t.Errorf("the remedy is %q; want %q in it", remedy.Remedy, want)
				}
			}
			if !strings.Contains(err.Error(), "AuthorizationPermissionMismatch") {
				t.Errorf("the error is %q; want what Azure answered in it", err)
			}
			sim.Blobs.SetRole(storageapi.RoleContributor)
			if err := s.Deliver(t.Context(), events); err != nil {
				t.Errorf("Deliver() once the role is granted = %v", err)
			}
		})
	}
}

func TestASignInThatFailsIsExplained(t *testing.T) {
	s, sim, _ := withToken(t, "wr0ng~secret", nil)
	err := s.Deliver(t.Context(), sinktest.Events("a", 3, 300))
	var remedy *sink.RemedyError
	if !errors.As(err, &remedy) || !remedy.Person || !strings.Contains(err.Error(), "sign in to Entra") || !strings.Contains(remedy.Remedy, "the secret's value") {
		t.Errorf("Deliver() = %v; want a remedy for the secret", err)
	}
	if strings.Contains(err.Error(), "wr0ng~secret") {
		t.Errorf("the error shows the secret: %v", err)
	}
	if names := sim.Blobs.Names(sim.Endpoints.Storage.Account, lake); len(names) > 0 {
		t.Errorf("blobs %v were written without a token", names)
	}
}
