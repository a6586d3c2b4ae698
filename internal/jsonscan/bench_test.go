package jsonscan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// The benchmarks read records of the sizes and shapes that Azure sends
// (docs/adr/0004 holds the table). Run them on one core, all in one run, and
// read the ratios: go test -run xxx -bench . -cpu 1 ./internal/jsonscan/

// signIn is an invented record of about 2 KB: many short members, some text in
// another script, a few escapes.
const signIn = `{"time":"2026-11-22T08:00:00.1234567Z","resourceId":"/tenants/6a1f2c3d-1111-4222-8333-abcdefabcdef/providers/Microsoft.aadiam","operationName":"Sign-in activity","operationVersion":"1.0","category":"SignInLogs","tenantId":"6a1f2c3d-1111-4222-8333-abcdefabcdef","resultType":"50126","resultSignature":"None","resultDescription":"Invalid username or password","durationMs":0,"callerIpAddress":"203.0.113.%d","correlationId":"0d9d1b6e-4a0c-4f3f-9d4d-0a8b7c6d5e4f","identity":"Zoë Müller","Level":4,"location":"NL","properties":{"id":"1c0ffee0-0000-4000-8000-0000000000%02d","createdDateTime":"2026-11-22T08:00:00.1234567Z","userDisplayName":"Zoë Müller","userPrincipalName":"zoe.mueller@contoso.example","userId":"3b1f2c3d-2222-4333-9444-abcdefabcdef","appId":"c44b4083-3bb0-49c1-b47d-974e53cbdf3c","appDisplayName":"Azure Portal","ipAddress":"203.0.113.7","status":{"errorCode":50126,"failureReason":"Access blocked by \u0043onditional \"Access\"","additionalDetails":"MFA requirement satisfied by claim in the token"},"clientAppUsed":"Browser","userAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36","deviceDetail":{"deviceId":"","displayName":"LAPTOP-0042","operatingSystem":"Windows10","browser":"Edge 139.0.0","isCompliant":true,"isManaged":true,"trustType":"Azure AD joined"},"location":{"city":"Amsterdam","state":"Noord-Holland","countryOrRegion":"NL","geoCoordinates":{"latitude":52.3702161,"longitude":4.8951681}},"mfaDetail":{},"appliedConditionalAccessPolicies":[{"id":"5a1f2c3d-2222-4333-9444-abcdefabcdef","displayName":"Require MFA for admins","enforcedGrantControls":["Mfa"],"enforcedSessionControls":[],"result":"notEnabled","conditionsSatisfied":0,"conditionsNotSatisfied":0}],"isInteractive":true,"tokenIssuerName":"","processingTimeInMilliseconds":%d,"riskDetail":"none","riskLevelDuringSignIn":"none","riskState":"none","riskEventTypes":[],"resourceDisplayName":"Windows Azure Service Management API","authenticationRequirement":"singleFactorAuthentication","userType":"Member","flaggedForReview":false,"autonomousSystemNumber":64512}}`

// keyVault is an invented record of about 1 KB.
const keyVault = `{"time":"2026-11-22T08:00:01.7654321Z","category":"AuditEvent","operationName":"SecretGet","resultType":"Success","resultSignature":"OK","resultDescription":"","durationMs":"%d","callerIpAddress":"198.51.100.9","correlationId":"9e1f2c3d-2222-4333-9444-abcdefabcdef","resourceId":"/SUBSCRIPTIONS/0B1F6471-1BF0-4DDA-AEC3-111122223333/RESOURCEGROUPS/RG-SEC/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/KV-PROD-%02d","operationVersion":"7.4","identity":{"claim":{"http://schemas.microsoft.com/identity/claims/objectidentifier":"5a1f2c3d-2222-4333-9444-abcdefabcdef","appid":"04b07795-8ddb-461a-bbee-02f9e1bf7b46","xms_az_nwperimid":[]}},"properties":{"id":"https://kv-prod-%02d.vault.azure.net/secrets/sql-admin/5a1f2c3d","clientInfo":"azsdk-net-Security.KeyVault.Secrets/4.6.0 (.NET 8.0.8; Microsoft Windows 10.0.20348)","requestUri":"https://kv-prod-07.vault.azure.net/secrets/sql-admin/?api-version=7.4","httpStatusCode":200,"isAddressAuthorized":true,"vaultProperties":{"softDeleteEnabled":true,"softDeleteRetentionInDays":90,"sku":{"Family":"A","Name":"Premium"}},"tlsVersion":"TLS1_3"}}`

// benchRecords returns 64 records that differ a little, so that no branch
// predictor learns one of them by heart.
func benchRecords() (records [][]byte, size int64) {
	for i := range 64 {
		r := fmt.Appendf(nil, signIn, i%250, i, i*i)
		if i%3 == 0 {
			r = fmt.Appendf(nil, keyVault, i, i, i)
		}
		records = append(records, r)
		size += int64(len(r))
	}
	return records, size
}

func BenchmarkScan(b *testing.B) {
	records, size := benchRecords()
	b.Run("jsonscan", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		var x Index
		for b.Loop() {
			for _, r := range records {
				if _, err := x.Scan(r); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("jsontext tokens", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		var d jsontext.Decoder
		var in bytes.Reader
		for b.Loop() {
			for _, r := range records {
				in.Reset(r)
				d.Reset(&in, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
				for {
					if _, err := d.ReadToken(); err != nil {
						break
					}
				}
			}
		}
	})
	b.Run("encoding/json Valid", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			for _, r := range records {
				if !json.Valid(r) {
					b.Fatal("not valid")
				}
			}
		}
	})
	b.Run("encoding/json map", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			for _, r := range records {
				var m map[string]any
				if err := json.Unmarshal(r, &m); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkEscape(b *testing.B) {
	records, size := benchRecords()
	clean := bytes.Repeat([]byte("a run of text with nothing in it to be escaped, as in a message "), 32)
	for _, tt := range []struct {
		name  string
		texts [][]byte
		size  int64
	}{{"records", records, size}, {"clean", [][]byte{clean}, int64(len(clean))}} {
		b.Run("jsonscan "+tt.name, func(b *testing.B) {
			b.SetBytes(tt.size)
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				for _, r := range tt.texts {
					out = AppendEscaped(out[:0], r)
				}
			}
		})
		b.Run("jsontext "+tt.name, func(b *testing.B) {
			b.SetBytes(tt.size)
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				for _, r := range tt.texts {
					out, _ = jsontext.AppendQuote(out[:0], r)
				}
			}
		})
		b.Run("encoding/json "+tt.name, func(b *testing.B) {
			b.SetBytes(tt.size)
			for b.Loop() {
				for _, r := range tt.texts {
					if _, err := json.Marshal(string(r)); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkEscapeValue escapes whole records that are indexed already.
func BenchmarkEscapeValue(b *testing.B) {
	records, size := benchRecords()
	indexes := make([]Index, len(records))
	for i, r := range records {
		if _, err := indexes[i].Scan(r); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(size)
	b.ReportAllocs()
	var out []byte
	for b.Loop() {
		for i := range indexes {
			out = indexes[i].AppendEscapedValue(out[:0], 0)
		}
	}
}

func BenchmarkCompact(b *testing.B) {
	records, size := benchRecords()
	b.Run("jsonscan", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		var out []byte
		for b.Loop() {
			for _, r := range records {
				out = AppendCompact(out[:0], r)
			}
		}
	})
	b.Run("jsontext", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		var v jsontext.Value
		for b.Loop() {
			for _, r := range records {
				v = append(v[:0], r...)
				if err := v.Compact(jsontext.AllowDuplicateNames(true)); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.SetBytes(size)
		var out bytes.Buffer
		for b.Loop() {
			for _, r := range records {
				out.Reset()
				if err := json.Compact(&out, r); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
