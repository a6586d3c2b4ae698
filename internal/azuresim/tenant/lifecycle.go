package tenant

import (
	"strings"
	"time"
)

// provisioning writes that an account was carried over to another system.
func (s *stage) provisioning() {
	u, job := s.someone(), "scimDelta."+strings.ReplaceAll(s.tenantID, "-", "")
	action := pick(s.rng, []string{"Update", "Update", "Create", "Disable"})
	skipped := s.chance(3)
	took := 200 + s.rng.IntN(3000)
	s.record("ProvisioningLogs", func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("resourceId", "/tenants/"+s.tenantID+"/providers/Microsoft.aadiam", "operationName", "Provisioning activity", "operationVersion", "1.0",
			"category", "ProvisioningLogs", "tenantId", s.tenantID, "resultType", map[bool]string{true: "Skipped", false: "Success"}[skipped])
		w.num("durationMs", took)
		w.str("callerIpAddress", u.address)
		w.id("correlationId", "", "")
		w.id("identity", "", "")
		w.num("Level", 4)
		w.object("properties", func() {
			w.id("id", "", "")
			w.time("activityDateTime", timeEnvelope, -time.Minute)
			w.strs("tenantId", s.tenantID, "jobId", job, "cycleId", s.guid(), "changeId", s.guid(), "action", action, "provisioningAction", strings.ToLower(action))
			w.num("durationInMilliseconds", took)
			w.object("servicePrincipal", func() { w.strs("Id", s.services[4].id, "Name", s.services[4].name) })
			w.object("sourceSystem", func() {
				w.object("details", func() {})
				w.strs("Id", s.policies[0], "Name", "Microsoft Entra ID")
			})
			w.object("targetSystem", func() {
				w.object("details", func() {
					w.strs("ApplicationId", s.services[4].appID, "ServicePrincipalId", s.services[4].id, "ServicePrincipalDisplayName", s.services[4].name)
				})
				w.strs("Id", s.policies[1], "Name", "customappsso")
			})
			w.object("initiatedBy", func() { w.strs("Type", "system", "Id", "", "Name", "Azure AD Provisioning Service") })
			w.object("sourceIdentity", func() {
				w.str("identityType", "User")
				w.object("details", func() {
					w.strs("id", u.id, "odatatype", "User", "DisplayName", u.name, "UserPrincipalName", u.principal)
				})
				w.strs("Id", u.id, "Name", u.name)
			})
			w.object("targetIdentity", func() {
				w.str("identityType", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User")
				w.object("details", func() {})
				w.strs("Id", u.puid, "Name", u.principal)
			})
			w.object("provisioningStatusInfo", func() {
				w.str("Status", map[bool]string{true: "skipped", false: "success"}[skipped])
				w.null("errorInformation")
			})
			w.object("statusInfo", func() { w.num("Status", map[bool]int{true: 2, false: 0}[skipped]) })
			w.list("provisioningSteps", func() {
				w.object("", func() {
					w.str("name", "EntryImportAdd")
					w.num("provisioningStepType", 0)
					w.num("status", 0)
					w.str("description", "Received User '"+u.principal+"' change of type ("+action+") from Microsoft Entra ID")
					w.object("details", func() {
						w.strs("objectId", u.id, "accountEnabled", "True", "displayName", u.name, "department", u.department)
					})
				})
			})
			w.list("modifiedProperties", func() {
				if !skipped {
					w.object("", func() { w.strs("displayName", "department", "oldValue", "Operations", "newValue", u.department) })
				}
			})
		})
	})
}

// riskyUser writes that the risk of an account was judged anew.
func (s *stage) riskyUser(u *user, level string) {
	s.record("RiskyUsers", func(w *writer) {
		w.time("time", timeUS, 0)
		w.strs("resourceId", "/tenants/"+s.tenantID+"/providers/microsoft.aadiam", "operationName", "Risky user", "operationVersion", "1.0", "category", "RiskyUsers",
			"tenantId", s.tenantID, "resultSignature", "None")
		w.num("durationMs", 0)
		w.id("correlationId", "", "")
		w.strs("identity", strings.ToLower(u.name), "Level", "Information", "location", "weu")
		w.object("properties", func() {
			// Azure has the user's id here and in correlationId. So many judgments in a
			// second as the simulator makes no user gets, so each has a user id of its own.
			w.id("id", "", "")
			w.strs("userDisplayName", u.name, "userPrincipalName", u.principal)
			w.time("riskLastUpdatedDateTime", timeMillis, -400*time.Millisecond)
			w.strs("riskState", "atRisk", "riskDetail", "none", "riskLevel", level)
			w.flag("isDeleted", false)
			w.flag("isProcessing", false)
		})
	})
}
