package tenant

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// graphActivity writes a request that a program made to Microsoft Graph.
func (s *stage) graphActivity() {
	p := &s.services[s.rng.IntN(len(s.services))]
	s.graphRequest(p, pick(s.rng, []string{
		"GET https://graph.microsoft.com/v1.0/users?$select=id,displayName&$top=100", "GET https://graph.microsoft.com/v1.0/groups/delta",
		"GET https://graph.microsoft.com/beta/deviceManagement/managedDevices", "POST https://graph.microsoft.com/v1.0/$batch",
		"PATCH https://graph.microsoft.com/v1.0/users/" + s.someone().id,
	}))
}

func (s *stage) graphRequest(p *servicePrincipal, request string) {
	method, uri, _ := strings.Cut(request, " ")
	version := "v1.0"
	if strings.Contains(uri, "/beta/") {
		version = "beta"
	}
	took, size := 20_000+s.rng.IntN(900_000), s.rng.IntN(60_000)
	s.record("MicrosoftGraphActivityLogs", func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("resourceId", strings.ToUpper("/tenants/"+s.tenantID+"/providers/Microsoft.aadiam"), "operationName", "Microsoft Graph Activity",
			"operationVersion", version, "category", "MicrosoftGraphActivityLogs", "resultSignature", "200", "durationMs", strconv.Itoa(took),
			"callerIpAddress", p.address)
		w.id("correlationId", "", "")
		w.strs("level", "Informational", "location", "West Europe")
		w.object("properties", func() {
			w.str("__UDI_RequiredFields_TenantId", s.tenantID)
			w.id("__UDI_RequiredFields_UniqueId", "", "")
			w.str("__UDI_RequiredFields_RegionScope", "EU")
			w.time("timeGenerated", timeEnvelope, 0)
			w.str("location", "West Europe")
			w.id("requestId", "", "")
			w.id("operationId", "", "")
			w.strs("clientRequestId", s.guid(), "apiVersion", version, "requestMethod", method)
			w.num("responseStatusCode", 200)
			w.str("tenantId", s.tenantID)
			w.num("durationMs", took)
			w.num("responseSizeBytes", size)
			w.token("signInActivityId")
			w.strs("roles", "Directory.Read.All Group.Read.All User.ReadWrite.All DeviceManagementManagedDevices.Read.All", "appId", p.appID,
				"UserPrincipalObjectID", p.id, "scopes", "", "identityProvider", "https://sts.windows.net/"+s.tenantID+"/", "clientAuthMethod", "1",
				"wids", "0997a1d0-0d1d-4acb-b408-d5ca73121e90", "C_Idtyp", "app")
			w.unix("C_Iat", -20*time.Minute)
			w.strs("ipAddress", p.address, "userAgent", "kiota-dotnet/1.16.0", "requestUri", uri, "atContentP", "", "atContentH", "", "servicePrincipalId", p.id)
			w.time("tokenIssuedAt", timeEnvelope, -20*time.Minute)
		})
		w.str("tenantId", s.tenantID)
	})
}

// storageAccess writes a request to a storage account; the caller's address has
// a port.
func (s *stage) storageAccess() {
	a, p := pick(s.rng, s.assetsOf("Microsoft.Storage/storageAccounts")), &s.services[s.rng.IntN(len(s.services))]
	blob := fmt.Sprintf("/%s/manifests/2026/%05d.json", a.name, s.rng.IntN(100_000))
	s.record("StorageRead", func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("resourceId", a.id()+"/blobServices/default", "category", "StorageRead", "operationName", "GetBlob", "operationVersion", "2021-12-02", "schemaVersion", "1.0")
		w.num("statusCode", 200)
		w.str("statusText", "Success")
		w.num("durationMs", 2+s.rng.IntN(90))
		w.str("callerIpAddress", fmt.Sprintf("%s:%d", p.address, 1024+s.rng.IntN(60_000)))
		w.id("correlationId", "", "")
		w.object("identity", func() {
			w.strs("type", "OAuth", "tokenHash", strings.ToUpper(strings.ReplaceAll(s.guid()+s.guid(), "-", "")))
			w.list("authorization", func() {
				w.object("", func() {
					w.strs("action", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", "roleAssignmentId", s.guid(),
						"roleDefinitionId", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1")
					w.list("principals", func() { w.object("", func() { w.strs("id", p.id, "type", "ServicePrincipal") }) })
					w.strs("denyAssignmentId", "")
				})
			})
			w.object("requester", func() {
				w.strs("appId", p.appID, "audience", "https://storage.azure.com/", "objectId", p.id, "tenantId", s.tenantID, "tokenIssuer", "https://sts.windows.net/"+s.tenantID+"/")
			})
		})
		w.str("location", a.region)
		w.object("properties", func() {
			w.strs("accountName", a.name, "userAgentHeader", "azsdk-net-Storage.Blobs/12.23.0 (.NET 8.0.11; Linux)", "clientRequestId", s.guid(),
				"etag", `"0x8DD`+s.text("0123456789ABCDEF", 12)+`"`, "serviceType", "blob", "objectKey", blob)
			w.time("lastModifiedTime", "2006/01/02 15:04:05.0000000", -24*time.Hour)
			w.str("metricResponseType", "Success")
			w.num("serverLatencyMs", 1+s.rng.IntN(40))
			w.num("requestHeaderSize", 482)
			w.num("responseHeaderSize", 563)
			w.num("responseBodySize", s.rng.IntN(200_000))
			w.strs("tlsVersion", "TLS 1.3", "accessTier", "Hot")
		})
		w.strs("uri", "https://"+a.name+".blob.core.windows.net:443"+strings.TrimPrefix(blob, "/"+a.name), "protocol", "HTTPS",
			"resourceType", "Microsoft.Storage/storageAccounts/blobServices")
	})
}

// keyVaultAudit writes that a program read a secret.
func (s *stage) keyVaultAudit() {
	a, p := pick(s.rng, s.assetsOf("Microsoft.KeyVault/vaults")), &s.services[s.rng.IntN(len(s.services))]
	s.record("AuditEvent", func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("category", "AuditEvent", "operationName", pick(s.rng, []string{"SecretGet", "SecretGet", "KeySign", "SecretList"}), "resultType", "Success")
		w.id("correlationId", "", "")
		w.str("callerIpAddress", p.address)
		w.object("identity", func() {
			w.object("claim", func() {
				w.strs("http://schemas.microsoft.com/identity/claims/objectidentifier", p.id, "appid", p.appID, "xms_az_nwperimid", "")
			})
		})
		w.object("properties", func() {
			w.strs("id", "https://"+strings.ToLower(a.name)+".vault.azure.net/secrets/db-connection/"+strings.ReplaceAll(s.guid(), "-", ""),
				"clientInfo", "azsdk-net-Security.KeyVault.Secrets/4.7.0 (.NET 8.0.11; Linux)",
				"requestUri", "https://"+strings.ToLower(a.name)+".vault.azure.net/secrets/db-connection/?api-version=7.5")
			w.num("httpStatusCode", 200)
			w.flag("isAddressAuthorized", true)
			w.flag("isRbacAuthorized", true)
			w.strs("tlsVersion", "TLS1_3", "appliedAssignmentId", s.guid())
		})
		w.strs("resourceId", strings.ToUpper(a.id()), "operationVersion", "7.5", "resultSignature", "OK", "durationMs", strconv.Itoa(8+s.rng.IntN(120)))
	})
}

// functionLog writes a line of a program's own log: a time in American form,
// and properties that are a JavaScript object in a string.
func (s *stage) functionLog() {
	a := pick(s.rng, s.assetsOf("Microsoft.Web/sites"))
	s.record("FunctionAppLogs", func(w *writer) {
		w.str("location", a.region)
		w.time("time", timeUSShort, 0)
		w.id("properties", "{'appName':'"+a.name+"','roleInstance':'"+strings.ToLower(s.text(base36Letters, 40))+
			"','message':'Executing \\'import-manifests\\' (Reason=\\'Timer fired\\')\\n','category':'Function.import-manifests','hostVersion':'4.1037.1.1','functionInvocationId':'",
			"','functionName':'import-manifests','hostInstanceId':'"+s.guid()+"','level':'Information','levelId':2,'processId':27}")
		w.strs("operationName", "Microsoft.Web/sites/functions/log", "resourceId", strings.ToUpper(a.id()), "level", "Informational", "category", "FunctionAppLogs",
			"EventStampType", "Stamp", "EventPrimaryStampName", "waws-prod-am2-713", "EventStampName", "waws-prod-am2-713", "Host", "pl0sdlwk0018A2", "EventIpAddress", "10.60.0.66")
	})
}

// userRisk writes what Identity Protection found, with the time in American form.
func (s *stage) userRisk(u *user, place *city, kind, level string) {
	address := s.address(s.rng, place)
	s.record("UserRiskEvents", func(w *writer) {
		s.entraEnvelope(w, timeUS, "User Risk Detection", "UserRiskEvents", "", "None", "", address)
		w.str("identity", strings.ToLower(u.name))
		w.num("Level", 4)
		w.str("location", strings.ToLower(place.country))
		w.object("properties", func() {
			w.id("id", "", "")
			w.str("requestId", s.guid())
			w.correlation()
			w.strs("riskType", kind, "riskEventType", kind, "riskState", "atRisk", "riskLevel", level, "riskDetail", "none",
				"source", "IdentityProtection", "detectionTimingType", "realtime", "activity", "signin", "ipAddress", address)
			w.object("location", func() {
				w.strs("city", place.name, "state", place.state, "countryOrRegion", place.country)
				w.object("geoCoordinates", func() {
					w.num("altitude", 0)
					w.raw("latitude", degrees(place.latitude))
					w.raw("longitude", degrees(place.longitude))
				})
			})
			w.time("activityDateTime", timeMillis, -2*time.Minute)
			w.time("detectedDateTime", timeMillis, -2*time.Minute)
			w.time("lastUpdatedDateTime", timeMillis, -400*time.Millisecond)
			w.strs("userId", u.id, "userDisplayName", u.name, "userPrincipalName", u.principal,
				"additionalInfo", `[{"Key":"userAgent","Value":"`+u.device.agent+`"},{"Key":"mitreTechniques","Value":"T1078"}]`, "tokenIssuerType", "AzureAD")
			w.null("resourceTenantId")
			w.strs("homeTenantId", s.tenantID, "userType", "member", "crossTenantAccessType", "none")
		})
	})
}
