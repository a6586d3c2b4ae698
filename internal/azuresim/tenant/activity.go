package tenant

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// request is an operation on Azure's control plane.
type request struct {
	actor   *user
	address string
	asset   *asset
	part    string // of the resource, e.g. "/config/appsettings"
	verb    string // as in "Microsoft.Storage/storageAccounts/listKeys/action"
	body    string // JSON
	failed  bool
}

// administrative plays an everyday request.
func (s *stage) administrative() {
	actor := s.admin()
	r := request{actor: actor, address: actor.address, failed: s.chance(15)}
	of := func(kind string) *asset { return pick(s.rng, s.assetsOf(kind)) }
	switch weighted(s.rng, 10, 8, 8, 6, 6, 6, 4, 4, 3) {
	case 0:
		r.asset = of("Microsoft.Compute/virtualMachines")
		r.verb = pick(s.rng, []string{"write", "start/action", "deallocate/action", "restart/action"})
	case 1:
		r.asset, r.verb = of("Microsoft.Storage/storageAccounts"), "listKeys/action"
	case 2:
		r.asset, r.part, r.verb = of("Microsoft.Network/networkSecurityGroups"), "/securityRules/allow-https-in", "securityRules/write"
		r.body = fmt.Sprintf(`{"properties":{"protocol":"Tcp","sourcePortRange":"*","destinationPortRange":"443","sourceAddressPrefix":"%s","destinationAddressPrefix":"*","access":"Allow","priority":%d,"direction":"Inbound"}}`,
			actor.address, 100+s.rng.IntN(3000))
	case 3:
		r.asset, r.part, r.verb = of("Microsoft.Web/sites"), "/config/appsettings", "config/write"
	case 4:
		r.asset, r.verb = of("Microsoft.KeyVault/vaults"), "write"
		r.body = `{"location":"westeurope","tags":{"owner":"Søren's team","cost \"center\"":"4711"},"properties":{"enableSoftDelete":true,"enablePurgeProtection":null}}`
	case 5:
		r.asset, r.verb = of("Microsoft.Compute/disks"), pick(s.rng, []string{"write", "delete"})
	case 6:
		r.asset, r.verb = of("Microsoft.Network/publicIPAddresses"), pick(s.rng, []string{"write", "delete"})
	case 7:
		r.asset, r.verb = of("Microsoft.ContainerService/managedClusters"), "listClusterUserCredential/action"
	case 8:
		r.asset, r.part, r.verb = of("Microsoft.Sql/servers"), "/firewallRules/office", "firewallRules/write"
	}
	s.request(r)
}

// request writes what one request leaves in the activity log: its start, its
// acceptance if it takes long, and its end, all with one correlation id.
func (s *stage) request(r request) {
	s.activityRecord(r, "Start", "Started.", 0)
	if strings.HasSuffix(r.verb, "delete") || r.asset.kind == "Microsoft.Compute/virtualMachines" {
		s.later(s.between(200*time.Millisecond, 2*time.Second))
		s.activityRecord(r, "Accept", "Accepted.Accepted", 0)
	}
	took := s.between(300*time.Millisecond, 20*time.Second)
	s.later(took)
	if r.failed {
		s.activityRecord(r, "Failure", "Failed.Conflict", took)
	} else {
		s.activityRecord(r, "Success", "Succeeded."+pick(s.rng, []string{"OK", "", "NoContent", "Created"}), took)
	}
}

func (s *stage) activityRecord(r request, resultType, signature string, took time.Duration) {
	scope := r.asset.id() + r.part
	action := r.asset.kind + "/" + r.verb
	s.record("Administrative", func(w *writer) {
		s.activityEnvelope(w, scope, strings.ToUpper(action), "Administrative", resultType, signature, took, r.address)
		s.identity(w, r.actor, scope, action, r.address)
		w.str("level", map[bool]string{true: "Error", false: "Information"}[resultType == "Failure"])
		w.object("properties", func() {
			if r.body != "" && resultType == "Start" {
				w.str("requestbody", r.body)
			}
			switch resultType {
			case "Success":
				w.strs("statusCode", strings.TrimPrefix(signature, "Succeeded."), "serviceRequestId", s.guid())
			case "Accept":
				w.strs("statusCode", "Accepted", "serviceRequestId", s.guid())
			case "Failure":
				w.strs("statusCode", "Conflict", "serviceRequestId", s.guid(), "statusMessage",
					`{"error":{"code":"ScopeLocked","message":"The scope '`+scope+`' cannot perform write operation because following scope(s) are locked: '/subscriptions/`+
						r.asset.subscription+`'. Please remove the lock and try again."}}`)
			}
			s.activityTail(w, "Administrative", scope, action)
		})
		w.str("tenantId", s.tenantID)
	})
}

// activityEnvelope writes the members at the top of the activity log.
func (s *stage) activityEnvelope(w *writer, scope, operation, category, resultType, signature string, took time.Duration, address string) {
	w.strs("RoleLocation", pick(s.rng, []string{"West Europe", "North Europe", "East US"}), "Stamp", "FDWeb",
		"ReleaseVersion", "6.2026.6.3+4ac06c2.release_2026w06")
	w.time("time", timeEnvelope, 0)
	w.strs("resourceId", strings.ToUpper(scope), "operationName", operation, "category", category,
		"resultType", resultType, "resultSignature", signature)
	if s.chance(2) { // both forms occur
		w.str("durationMs", strconv.FormatInt(took.Milliseconds(), 10))
	} else {
		w.num("durationMs", int(took.Milliseconds()))
	}
	if address != "" {
		w.str("callerIpAddress", address)
	}
	w.correlation()
}

// activityTail writes the properties that every activity record ends with.
func (s *stage) activityTail(w *writer, category, scope, message string) {
	w.strs("eventCategory", category, "entity", scope, "message", message, "hierarchy", s.tenantID+"/kestrel-root/"+strings.Split(scope+"//", "/")[2])
	w.id("eventDataId", "", "")
}

// identity writes who made a request: the authorization and the token's claims.
func (s *stage) identity(w *writer, u *user, scope, action, address string) {
	claim := func(name string) string { return "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/" + name }
	w.object("identity", func() {
		w.object("authorization", func() {
			w.strs("scope", scope, "action", action)
			w.object("evidence", func() {
				subscription := "/subscriptions/" + strings.Split(scope+"//", "/")[2]
				w.strs("role", pick(s.rng, []string{"Contributor", "Owner"}), "roleAssignmentScope", subscription,
					"roleAssignmentId", strings.ReplaceAll(s.guid(), "-", ""), "roleDefinitionId", "b24988ac618042a0ab8820f7382dd24c",
					"principalId", strings.ReplaceAll(u.id, "-", ""), "principalType", "User")
			})
		})
		w.object("claims", func() {
			issuer := "https://sts.windows.net/" + s.tenantID + "/"
			w.strs("aud", "https://management.core.windows.net/", "iss", issuer)
			w.unix("iat", -20*time.Minute)
			w.unix("nbf", -20*time.Minute)
			w.unix("exp", 50*time.Minute)
			w.strs("http://schemas.microsoft.com/claims/authnclassreference", "1", "aio", s.text(base64Letters, 130),
				"http://schemas.microsoft.com/claims/authnmethodsreferences", "pwd,mfa", "appid", s.apps[9].id, "appidacr", "0",
				claim("surname"), u.family, claim("givenname"), u.given, "groups", s.policies[0]+","+s.policies[1],
				"idtyp", "user", "ipaddr", address, "name", u.name,
				"http://schemas.microsoft.com/identity/claims/objectidentifier", u.id, "puid", u.puid, "rh", "1."+s.text(base64Letters, 40)+".",
				"http://schemas.microsoft.com/identity/claims/scope", "user_impersonation", claim("nameidentifier"), s.text(base64Letters, 43),
				"http://schemas.microsoft.com/identity/claims/tenantid", s.tenantID, claim("name"), u.principal, claim("upn"), u.principal)
			w.token("uti")
			w.strs("ver", "1.0", "wids", "b79fbf4d-3ef9-4689-8143-76b194e85509", "xms_tcdt", "1391159646")
		})
	})
}

// policyAudit writes that Azure Policy found fault with a resource.
func (s *stage) policyAudit() {
	a, actor := pick(s.rng, s.assetsOf("Microsoft.Storage/storageAccounts")), s.admin()
	s.record("Policy", func(w *writer) {
		s.activityEnvelope(w, a.id(), "MICROSOFT.AUTHORIZATION/POLICIES/AUDIT/ACTION", "Policy", "Success", "Succeeded.", 0, actor.address)
		s.identity(w, actor, a.id(), a.kind+"/write", actor.address)
		w.str("level", "Warning")
		w.object("properties", func() {
			w.strs("isComplianceCheck", "False", "resourceLocation", a.region, "ancestors", "kestrel-root,"+s.tenantID)
			w.str("policies", fmt.Sprintf(`[{"policyDefinitionId":"/providers/Microsoft.Authorization/policyDefinitions/2a1a9cdf-e04d-429a-8416-3bfb72a1b26f",`+
				`"policySetDefinitionId":"/providers/Microsoft.Authorization/policySetDefinitions/1f3afdf9-d0c9-4c3d-847f-89da613e70a8",`+
				`"policySetDefinitionDisplayName":"Microsoft cloud security benchmark","policyDefinitionDisplayName":"Storage accounts should restrict network access using virtual network rules",`+
				`"policyDefinitionEffect":"Audit","policyAssignmentId":"/subscriptions/%s/providers/Microsoft.Authorization/policyAssignments/SecurityCenterBuiltIn",`+
				`"policyAssignmentName":"SecurityCenterBuiltIn","policyAssignmentParameters":{}}]`, a.subscription))
			s.activityTail(w, "Policy", a.id(), "Microsoft.Authorization/policies/audit/action")
		})
		w.str("tenantId", s.tenantID)
	})
}

// securityActivity writes an alert of Defender for Cloud in its activity form;
// it has "Level" beside "level".
func (s *stage) securityActivity() {
	a := pick(s.rng, s.assetsOf("Microsoft.Compute/virtualMachines"))
	alert := "/subscriptions/" + a.subscription + "/providers/Microsoft.Security/locations/" + a.region + "/alerts/" + s.guid()
	s.record("Security", func(w *writer) {
		s.activityEnvelope(w, alert, "MICROSOFT.SECURITY/LOCATIONS/ALERTS/ACTIVATE/ACTION", "Security", "Active", "Succeeded.", 0, "")
		w.str("level", "Information")
		w.num("Level", 4)
		w.object("properties", func() {
			w.strs("alertType", "VM_LoginBruteForceSuccess", "compromisedEntity", a.name, "severity", pick(s.rng, []string{"High", "Medium"}),
				"intent", "Exploitation", "resourceType", "Virtual Machine",
				"attackers", fmt.Sprintf(`["IP Address: %s"]`, s.address(s.rng, &s.attackers[s.rng.IntN(len(s.attackers))])),
				"numberOfFailedAuthenticationAttemptsToHost", strconv.Itoa(50+s.rng.IntN(4000)))
			s.activityTail(w, "Security", alert, "Suspicious authentication activity")
		})
		w.str("tenantId", s.tenantID)
	})
}

// serviceHealth writes a notice about Azure itself.
func (s *stage) serviceHealth() {
	subscription := "/subscriptions/" + pick(s.rng, s.subscriptions)
	tracking := s.text(base36Letters, 4) + "-" + s.text(base36Letters, 3)
	s.record("ServiceHealth", func(w *writer) {
		s.activityEnvelope(w, subscription, "MICROSOFT.SERVICEHEALTH/INCIDENT/ACTION", "ServiceHealth", "Active", "Active", 0, "")
		w.str("level", "Warning")
		w.object("properties", func() {
			w.strs("title", "Virtual Machines – intermittent connectivity in West Europe", "service", "Virtual Machines", "region", "West Europe",
				"communication", "<p><strong>Impact Statement:</strong> Starting at 06:12 UTC a subset of customers may see errors such as \"OperationTimedOut\".</p>\r\n<p>Next update in 60 minutes.</p>",
				"incidentType", "Incident", "trackingId", tracking)
			w.time("impactStartTime", timeEnvelope, -47*time.Minute)
			w.str("impactedServices", `[{"ImpactedRegions":[{"RegionName":"West Europe"}],"ServiceName":"Virtual Machines"}]`)
			w.strs("defaultLanguageTitle", "Virtual Machines – intermittent connectivity in West Europe", "stage", "Active", "communicationId", "11000000000000", "isHIR", "false",
				"version", "0.1.1")
			s.activityTail(w, "ServiceHealth", subscription, "Incident "+tracking)
		})
		w.str("tenantId", s.tenantID)
	})
}
