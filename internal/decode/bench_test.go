package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// benchPayload is a hub message of invented records of about 2 KB. Run the
// benchmark on one core, with -cpu 1, and read the ratios.
func benchPayload(before, between, after string, records int) []byte {
	var b bytes.Buffer
	b.WriteString(before)
	for i := range records {
		if i > 0 {
			b.WriteString(between)
		}
		fmt.Fprintf(&b, benchRecord, i%250, i, i*i)
	}
	b.WriteString(after)
	return b.Bytes()
}

const benchRecord = `{"time":"2026-11-22T08:00:00.1234567Z","resourceId":"/tenants/6a1f2c3d-1111-4222-8333-abcdefabcdef/providers/Microsoft.aadiam","operationName":"Sign-in activity","operationVersion":"1.0","category":"SignInLogs","tenantId":"6a1f2c3d-1111-4222-8333-abcdefabcdef","resultType":"50126","resultSignature":"None","resultDescription":"Invalid username or password","durationMs":0,"callerIpAddress":"203.0.113.%d","correlationId":"0d9d1b6e-4a0c-4f3f-9d4d-0a8b7c6d5e4f","identity":"Zoë Müller","Level":4,"location":"NL","properties":{"id":"1c0ffee0-0000-4000-8000-%012d","createdDateTime":"2026-11-22T08:00:00.1234567Z","userDisplayName":"Zoë Müller","userPrincipalName":"zoe.mueller@contoso.example","userId":"3b1f2c3d-2222-4333-9444-abcdefabcdef","appId":"c44b4083-3bb0-49c1-b47d-974e53cbdf3c","appDisplayName":"Azure Portal","ipAddress":"203.0.113.7","status":{"errorCode":50126,"failureReason":"Access blocked by \u0043onditional \"Access\"","additionalDetails":"MFA requirement satisfied by claim in the token"},"clientAppUsed":"Browser","userAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36","deviceDetail":{"deviceId":"","displayName":"LAPTOP-0042","operatingSystem":"Windows10","browser":"Edge 139.0.0","isCompliant":true,"isManaged":true,"trustType":"Azure AD joined"},"location":{"city":"Amsterdam","state":"Noord-Holland","countryOrRegion":"NL","geoCoordinates":{"latitude":52.3702161,"longitude":4.8951681}},"mfaDetail":{},"appliedConditionalAccessPolicies":[{"id":"5a1f2c3d-2222-4333-9444-abcdefabcdef","displayName":"Require MFA for admins","enforcedGrantControls":["Mfa"],"enforcedSessionControls":[],"result":"notEnabled","conditionsSatisfied":0,"conditionsNotSatisfied":0}],"isInteractive":true,"tokenIssuerName":"","processingTimeInMilliseconds":%d,"riskDetail":"none","riskLevelDuringSignIn":"none","riskState":"none","riskEventTypes":[],"resourceDisplayName":"Windows Azure Service Management API","authenticationRequirement":"singleFactorAuthentication","userType":"Member","flaggedForReview":false,"autonomousSystemNumber":64512}}`

func BenchmarkSplit(b *testing.B) {
	const records = 100
	wrapper := benchPayload(`{"records":[`, `,`, `]}`, records)
	late := benchPayload(`{"n":1,"records":[`, `,`, `]}`, records)
	lines := benchPayload("", "\n", "\n", records)
	quotes := bytes.ReplaceAll(lines, []byte(`"trustType":"Azure AD joined"`), []byte(`'trustType':'Azure AD joined'`))
	for _, tt := range []struct {
		name    string
		payload []byte
	}{
		{"records first", wrapper},
		{"records not first", late},
		{"NDJSON", lines},
		{"every record with single quotes", quotes},
		{"gzip", []byte(gzipped(string(wrapper)))},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.SetBytes(int64(len(wrapper)))
			b.ReportAllocs()
			var d Decoder
			for b.Loop() {
				n := 0
				d.Decode(tt.payload, func(*Record) { n++ }, func(bad Bad) { b.Fatal(bad.Reason) })
				if n != records {
					b.Fatalf("%d records", n)
				}
			}
		})
	}
	b.Run("jsontext values, not indexed", func(b *testing.B) {
		b.SetBytes(int64(len(wrapper)))
		b.ReportAllocs()
		var d jsontext.Decoder
		var in bytes.Reader
		for b.Loop() {
			in.Reset(wrapper)
			d.Reset(&in, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
			n := 0
			for range 3 {
				d.ReadToken()
			}
			for d.PeekKind() == '{' {
				if _, err := d.ReadValue(); err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != records {
				b.Fatalf("%d records", n)
			}
		}
	})
	b.Run("encoding/json raw messages, not indexed", func(b *testing.B) {
		b.SetBytes(int64(len(wrapper)))
		b.ReportAllocs()
		for b.Loop() {
			var w struct {
				Records []json.RawMessage `json:"records"`
			}
			if err := json.Unmarshal(wrapper, &w); err != nil || len(w.Records) != records {
				b.Fatalf("%d records, %v", len(w.Records), err)
			}
		}
	})
}
