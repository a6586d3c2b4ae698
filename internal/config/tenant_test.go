package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testClient = "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b"

// with gives a tenant this credential.
func with(c Credential) func(*Tenant) { return func(t *Tenant) { t.Credential = c } }

func goodTenant() Tenant {
	t := DefaultTenant()
	t.TenantID = "7d0c4b1e-0f5a-4b64-9a3f-2f5a6d1c8e90"
	t.Credential.ClientID = "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b"
	t.Credential.ClientSecret = "an~invented~secret"
	return t
}

func TestTenantValidateNamesEveryMistake(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Tenant)
		want   []string // paths
	}{
		{name: "good", change: func(*Tenant) {}},
		{name: "no tenant id", change: func(t *Tenant) { t.TenantID = "" }, want: []string{"tenant_id"}},
		{name: "domain as tenant id", change: func(t *Tenant) { t.TenantID = "contoso.com" }, want: []string{"tenant_id"}},
		{name: "unknown cloud", change: func(t *Tenant) { t.Cloud = "azure" }, want: []string{"cloud"}},
		{name: "http authority", change: func(t *Tenant) { t.Endpoints.Authority = "http://login" }, want: []string{"endpoints.authority"}},
		{name: "unknown credential", change: func(t *Tenant) { t.Credential.Type = "password" }, want: []string{"credential.type"}},
		{name: "client name", change: func(t *Tenant) { t.Credential.ClientID = "lazuli" }, want: []string{"credential.client_id"}},
		{name: "id instead of secret", change: func(t *Tenant) { t.Credential.ClientSecret = "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b" }, want: []string{"credential.client_secret"}},
		{name: "secret with line feed", change: func(t *Tenant) { t.Credential.ClientSecret = "abc\n" }, want: []string{"credential.client_secret"}},
		{name: "certificate", change: with(Credential{Type: Certificate, ClientID: testClient, Certificate: "a.pfx", CertificatePassword: "x"})},
		{name: "certificate without a file", change: with(Credential{Type: Certificate, ClientID: testClient}), want: []string{"credential.certificate"}},
		{name: "certificate without an application", change: with(Credential{Type: Certificate, Certificate: "a.pem"}), want: []string{"credential.client_id"}},
		{name: "two kinds", change: func(t *Tenant) { t.Credential.Certificate = "a.pem" }, want: []string{"credential.certificate"}},
		{
			name: "options of every other kind", change: with(Credential{Type: ManagedIdentity, ClientSecret: "an~invented~secret", Certificate: "c", CertificatePassword: "p", TokenFile: "t"}),
			want: []string{"credential.client_secret", "credential.certificate", "credential.certificate_password", "credential.token_file"},
		},
		{name: "workload identity", change: with(Credential{Type: WorkloadIdentity, ClientID: testClient})},
		{name: "workload identity with a file", change: with(Credential{Type: WorkloadIdentity, ClientID: testClient, TokenFile: "token"})},
		{name: "workload identity without an application", change: with(Credential{Type: WorkloadIdentity}), want: []string{"credential.client_id"}},
		{name: "system-assigned identity", change: with(Credential{Type: ManagedIdentity})},
		{name: "user-assigned identity", change: with(Credential{Type: ManagedIdentity, ClientID: testClient})},
		{name: "name of an identity", change: with(Credential{Type: ManagedIdentity, ClientID: "id-lazuli"}), want: []string{"credential.client_id"}},
		{name: "azure cli", change: with(Credential{Type: AzureCLI})},
		{name: "azure cli as somebody", change: with(Credential{Type: AzureCLI, ClientID: testClient}), want: []string{"credential.client_id"}},
		{name: "proxy without scheme", change: func(t *Tenant) { t.Proxy = "proxy:3128" }, want: []string{"proxy"}},
		{name: "all at once", change: func(t *Tenant) { *t = Tenant{} }, want: []string{"tenant_id", "cloud", "credential.type"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tenant := goodTenant()
			tc.change(&tenant)
			var r Report
			tenant.Validate(&r)
			var got []string
			for _, p := range r.Problems {
				got = append(got, p.Path)
				if p.Rule == "" || p.Fix == "" {
					t.Errorf("problem at %q: rule %q, fix %q; both must be given", p.Path, p.Rule, p.Fix)
				}
				if secret := tenant.Credential.ClientSecret.Reveal(); secret != "" && strings.Contains(p.Rule+p.Fix, secret) {
					t.Errorf("problem at %q shows the secret", p.Path)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("problem paths (-want +got):\n%s", diff)
			}
		})
	}
}
