package normalize

import (
	"fmt"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// The benchmarks index a record and append its event, as the pipeline does for
// every record; MB/s are of the record's bytes. Run them on one core:
//
//	go test -run xxx -bench . -cpu 1 ./internal/normalize
//
// The records are invented, in the shape and size that Azure writes.
const (
	benchSignIn   = `{ "time": "2026-03-04T05:06:07.1234567Z", "resourceId": "/tenants/11111111-2222-3333-4444-555555555555/providers/Microsoft.aadiam", "operationName": "Sign-in activity", "operationVersion": "1.0", "category": "SignInLogs", "tenantId": "11111111-2222-3333-4444-555555555555", "resultType": "0", "resultSignature": "SUCCESS", "durationMs": 0, "callerIpAddress": "192.0.2.%d", "correlationId": "aaaaaaaa-0000-0000-0000-0000000000%02d", "identity": "Ada Example", "Level": 4, "location": "SE", "properties": {"id":"bbbbbbbb-0000-0000-0000-0000000000%02d","createdDateTime":"2026-03-04T05:06:07.1234567+00:00","userDisplayName":"Ada Example","userPrincipalName":"ada@example.org","userId":"cccccccc-0000-0000-0000-000000000003","appId":"dddddddd-0000-0000-0000-000000000004","appDisplayName":"Example Portal","ipAddress":"192.0.2.10","status":{"errorCode":0},"clientAppUsed":"Browser","userAgent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/135.0.0.0 Safari/537.36","deviceDetail":{"deviceId":"","operatingSystem":"MacOs","browser":"Chrome 135.0.0"},"location":{"city":"Uppsala","state":"Uppsala Lan","countryOrRegion":"SE","geoCoordinates":{"latitude":59.85856246948242,"longitude":17.638900756835938}},"correlationId":"aaaaaaaa-0000-0000-0000-000000000001","conditionalAccessStatus":"notApplied","appliedConditionalAccessPolicies":[{"id":"eeeeeeee-0000-0000-0000-000000000005","displayName":"Require a second factor","enforcedGrantControls":["Mfa"],"enforcedSessionControls":[],"result":"notEnabled","conditionsSatisfied":0,"conditionsNotSatisfied":0}],"authenticationContextClassReferences":[],"originalRequestId":"bbbbbbbb-0000-0000-0000-000000000002","isInteractive":true,"tokenIssuerName":"","tokenIssuerType":"AzureAD","authenticationProcessingDetails":[{"key":"Legacy TLS (TLS 1.0, 1.1, 3DES)","value":"False"},{"key":"Is CAE Token","value":"False"}],"networkLocationDetails":[],"clientCredentialType":"none","processingTimeInMilliseconds":58,"riskDetail":"none","riskLevelAggregated":"none","riskLevelDuringSignIn":"none","riskState":"none","riskEventTypes":[],"riskEventTypes_v2":[],"resourceDisplayName":"Example Resource Manager","resourceId":"ffffffff-0000-0000-0000-000000000006","resourceTenantId":"11111111-2222-3333-4444-555555555555","homeTenantId":"11111111-2222-3333-4444-555555555555","authenticationDetails":[{"authenticationStepDateTime":"2026-03-04T05:06:07.1234567+00:00","authenticationMethod":"Previously satisfied","succeeded":true,"authenticationStepResultDetail":"First factor requirement satisfied by claim in the token","StatusSequence":0,"RequestSequence":0}],"authenticationRequirement":"singleFactorAuthentication","servicePrincipalId":"","userType":"Member","flaggedForReview":false,"isTenantRestricted":false,"autonomousSystemNumber":64496,"crossTenantAccessType":"none","privateLinkDetails":{},"uniqueTokenIdentifier":"AAECAwQFBgcICQoLDA0ODw","incomingTokenType":"none","authenticationProtocol":"none"}}`
	benchAudit    = `{ "time": "2026-03-04T05:06:07.1234567Z", "resourceId": "/tenants/11111111-2222-3333-4444-555555555555/providers/Microsoft.aadiam", "operationName": "Update user", "operationVersion": "1.0", "category": "AuditLogs", "tenantId": "11111111-2222-3333-4444-555555555555", "resultSignature": "None", "durationMs": 0, "callerIpAddress": "192.0.2.%d", "correlationId": "aaaaaaaa-0000-0000-0000-0000000000%02d", "identity": "Ada Example", "Level": 4, "properties": {"tenantId":"11111111-2222-3333-4444-555555555555","resultType":"","resultDescription":"","operationName":"Update user","identity":"","tenantGeo":"EU","id":"Directory_aaaaaaaa-0000-0000-0000-000000000001_AAAAA_%08d","category":"UserManagement","correlationId":"aaaaaaaa-0000-0000-0000-000000000001","result":"success","resultReason":"","activityDisplayName":"Update user","activityDateTime":"2026-03-04T05:06:07.1234567+00:00","loggedByService":"Core Directory","operationType":"Update","userAgent":null,"initiatedBy":{"user":{"id":"cccccccc-0000-0000-0000-000000000003","displayName":null,"userPrincipalName":"ada@example.org","ipAddress":"192.0.2.10","roles":[]}},"targetResources":[{"id":"cccccccc-0000-0000-0000-000000000007","displayName":null,"type":"User","userPrincipalName":"grace@example.org","modifiedProperties":[{"displayName":"StrongAuthenticationMethod","oldValue":"[]","newValue":"[{\"MethodType\":7,\"Default\":true}]"},{"displayName":"StrongAuthenticationRequirement","oldValue":"[{\"RelyingParty\":\"*\",\"State\":1}]","newValue":"[]"},{"displayName":"Included Updated Properties","oldValue":null,"newValue":"\"StrongAuthenticationMethod, StrongAuthenticationRequirement\""},{"displayName":"TargetId.UserType","oldValue":null,"newValue":"\"Member\""}],"administrativeUnits":[]}],"additionalDetails":[{"key":"UserType","value":"Member"},{"key":"User-Agent","value":"Mozilla/5.0 (Windows NT 10.0; Win64; x64)"}]}}`
	benchActivity = `{"RoleLocation":"West Europe","Stamp":"FDWeb","ReleaseVersion":"6.2026.9.1","time":"2026-03-04T05:06:07.1234567Z","resourceId":"/SUBSCRIPTIONS/22222222-0000-0000-0000-000000000001/RESOURCEGROUPS/EXAMPLE-RG/PROVIDERS/MICROSOFT.COMPUTE/VIRTUALMACHINES/EXAMPLE-VM-%02d","operationName":"MICROSOFT.COMPUTE/VIRTUALMACHINES/RUNCOMMAND/ACTION","category":"Administrative","resultType":"Success","resultSignature":"Succeeded.","durationMs":"%d","callerIpAddress":"192.0.2.10","correlationId":"aaaaaaaa-0000-0000-0000-%012d","identity":{"authorization":{"scope":"/subscriptions/22222222-0000-0000-0000-000000000001/resourceGroups/example-rg/providers/Microsoft.Compute/virtualMachines/example-vm","action":"Microsoft.Compute/virtualMachines/runCommand/action","evidence":{"role":"Owner","roleAssignmentScope":"/subscriptions/22222222-0000-0000-0000-000000000001","roleAssignmentId":"33333333333333333333333333333333","roleDefinitionId":"44444444444444444444444444444444","principalId":"55555555555555555555555555555555","principalType":"User"}},"claims":{"aud":"https://management.core.windows.net/","iss":"https://sts.windows.net/11111111-2222-3333-4444-555555555555/","iat":"1772600767","nbf":"1772600767","exp":"1772604667","ipaddr":"192.0.2.10","name":"Ada Example","appid":"dddddddd-0000-0000-0000-000000000004","ver":"1.0","http://schemas.microsoft.com/identity/claims/objectidentifier":"cccccccc-0000-0000-0000-000000000003","http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name":"ada@example.org","http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn":"ada@example.org","http://schemas.microsoft.com/identity/claims/tenantid":"11111111-2222-3333-4444-555555555555"}},"level":"Information","location":"global","properties":{"statusCode":"OK","serviceRequestId":"66666666-0000-0000-0000-000000000001","eventCategory":"Administrative","entity":"/subscriptions/22222222-0000-0000-0000-000000000001/resourceGroups/example-rg/providers/Microsoft.Compute/virtualMachines/example-vm","message":"Microsoft.Compute/virtualMachines/runCommand/action","hierarchy":"11111111-2222-3333-4444-555555555555/22222222-0000-0000-0000-000000000001"}}`
)

// benchRecords returns records that differ a little, so that no branch
// predictor learns one of them by heart.
func benchRecords(template string) (records [][]byte, size int64) {
	for i := range 64 {
		r := fmt.Appendf(nil, template, i, i, i)
		records = append(records, r)
		size += int64(len(r))
	}
	return records, size
}

func benchmark(b *testing.B, schema Schema, template string) {
	w := compile(b, schema, DefaultOptions()).Worker()
	records, size := benchRecords(template)
	origin := &event.Origin{Namespace: "ns.servicebus.windows.net/insights/3"}
	var x jsonscan.Index
	var out []byte
	b.SetBytes(size)
	b.ReportAllocs()
	events := 0
	for b.Loop() {
		out = out[:0]
		for i, r := range records {
			if _, err := x.Scan(r); err != nil {
				b.Fatal(err)
			}
			out, _ = w.Append(out, Input{Index: &x, Raw: r, Origin: origin, Number: i})
		}
		events += len(records)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
	b.ReportMetric(float64(len(out))/float64(size), "out/in")
}

var benchCases = []struct{ name, template string }{{"signin", benchSignIn}, {"audit", benchAudit}, {"activity", benchActivity}}

func BenchmarkECS(b *testing.B) {
	for _, c := range benchCases {
		b.Run(c.name, func(b *testing.B) { benchmark(b, ECS, c.template) })
	}
}

func BenchmarkOCSF(b *testing.B) {
	for _, c := range benchCases {
		b.Run(c.name, func(b *testing.B) { benchmark(b, OCSF, c.template) })
	}
}

func BenchmarkRaw(b *testing.B) {
	for _, c := range benchCases {
		b.Run(c.name, func(b *testing.B) { benchmark(b, Raw, c.template) })
	}
}
