package tenant

import (
	"fmt"
	"strings"
	"time"
)

// change is an entry of the audit log: somebody did something to something.
type change struct {
	operation, category, kind string // kind is "operationType"
	service                   string // "loggedByService"
	actor                     *user
	program                   string // the actor's name where it is a program
	address                   string
	reason                    string
	failed                    bool
	targets                   []target
	details                   [][2]string
	layout                    string // of its time; "" for the usual one
}

// target is what a change was made to.
type target struct {
	id, name, kind, principal string
	changes                   []property
}

// property is a modified property. The values are JSON, and are written as the
// text of it: quoted once more. An empty old value is null.
type property struct{ name, before, after string }

func (s *stage) admin() *user { return pick(s.rng, s.admins) }

func userTarget(u *user, changes ...property) target {
	return target{u.id, "", "User", u.principal, changes}
}

// directoryRoles are built-in roles with their template ids
// (learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference).
func directoryRoles() [][2]string {
	return [][2]string{
		{"Helpdesk Administrator", "729827e3-9c14-49f7-bb1b-9608f156bbb8"},
		{"User Administrator", "fe930be7-5e62-47db-91af-98c3a49a38b1"},
		{"Security Reader", "5d6b6bb7-de71-4623-b4af-96380a352509"},
		{"Application Administrator", "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3"},
	}
}

// audit plays an everyday change in the directory.
func (s *stage) audit() {
	u := s.someone()
	switch weighted(s.rng, 34, 14, 8, 8, 6, 6, 5, 4, 4, 4) {
	case 0:
		s.change(change{
			operation: "Update user", category: "UserManagement", kind: "Update", program: "Azure MFA StrongAuthenticationService",
			targets: []target{userTarget(u, s.phoneAppDetail(), property{"Included Updated Properties", "", `"StrongAuthenticationPhoneAppDetail"`},
				property{"TargetId.UserType", "", quoted(memberOrGuest(u))})},
			details: [][2]string{{"UserType", memberOrGuest(u)}},
		})
	case 1:
		titles := []string{"Dispatcher", "Senior Dispatcher", "Team Lead", "Controller", "Référent douanes"}
		s.change(change{
			operation: "Update user", category: "UserManagement", kind: "Update", actor: s.admin(),
			targets: []target{userTarget(u, property{"JobTitle", `["` + pick(s.rng, titles) + `"]`, `["` + pick(s.rng, titles) + `"]`},
				property{"Included Updated Properties", "", `"JobTitle"`}, property{"TargetId.UserType", "", quoted(memberOrGuest(u))})},
			details: [][2]string{{"UserType", memberOrGuest(u)}},
		})
	case 2:
		s.change(change{
			operation: "Reset user password", category: "UserManagement", kind: "Update", actor: s.admin(),
			targets: []target{userTarget(u, property{"Included Updated Properties", "", `"PasswordProfile, StsRefreshTokensValidFrom"`})},
			details: [][2]string{{"User-Agent", s.admin().device.agent}},
		})
		s.later(s.between(100*time.Millisecond, 900*time.Millisecond))
		s.change(change{
			operation: "Update StsRefreshTokenValidFrom Timestamp", category: "UserManagement", kind: "Update", program: "Microsoft Online Services",
			targets: []target{userTarget(u, property{"TargetId.UserType", "", quoted(memberOrGuest(u))})},
		})
	case 3:
		s.change(change{
			operation: "User registered security info", category: "UserManagement", kind: "Add", service: "Authentication Methods", actor: u, address: u.mobile,
			reason: "User registered Authenticator App with Notification and Code", layout: timeSeconds, targets: []target{userTarget(u)},
			details: [][2]string{{"AuthenticationMethodType", "AppNotificationAndCode"}},
		})
	case 4:
		group := pick(s.rng, departments())
		s.change(change{
			operation: "Add member to group", category: "GroupManagement", kind: "Assign", actor: s.admin(),
			targets: []target{
				userTarget(u, property{"Group.ObjectID", "", quoted(s.guid())}, property{"Group.DisplayName", "", quoted("grp-" + group)}),
				{s.guid(), "grp-" + group, "Group", "", nil},
			},
		})
	case 5:
		s.roleGranted(s.admin(), u, pick(s.rng, directoryRoles()))
	case 6:
		s.policyChanged(s.admin(), s.rng.IntN(3), "enabled", "enabled")
	case 7:
		p := pick(s.rng, s.services)
		s.credentialAdded(s.admin(), &p)
	case 8:
		s.consent(u, application{id: s.guid(), name: pick(s.rng, []string{"Calendly", "Zoom Scheduler", "Miro", "Signaturen-Manager"}), principal: s.guid()}, "User.Read openid profile offline_access")
	case 9:
		s.change(change{
			operation: "Change password (self-service)", category: "UserManagement", kind: "Update", service: "Self-service Password Management",
			actor: u, reason: "None", failed: s.chance(8), targets: []target{userTarget(u)}, details: [][2]string{{"OnPremisesAgent", "None"}},
		})
	}
}

// phoneAppDetail is JSON in a string, with quotes to escape twice.
func (s *stage) phoneAppDetail() property {
	return property{"StrongAuthenticationPhoneAppDetail", "[]", fmt.Sprintf(`[{"DeviceName":"%s","DeviceToken":"apns2-%s","DeviceTag":"SoftwareTokenActivated",`+
		`"PhoneAppVersion":"6.8.%d","OathTokenTimeDrift":0,"DeviceId":"00000000-0000-0000-0000-000000000000","Id":"%s","TimeInterval":0,"AuthenticationType":3,`+
		`"NotificationType":2,"AuthenticatorFlavor":"Authenticator","HashFunction":"hmacsha256","TenantDeviceId":null,"SecuredPartitionId":0,"SecuredKeyId":0}]`,
		pick(s.rng, []string{"iPhone 15", "Pixel 8", "Galaxy S24 \\\"work\\\""}), strings.ToLower(s.text(base36Letters, 32)), s.rng.IntN(30), s.guid())}
}

func (s *stage) roleGranted(actor, u *user, role [2]string) {
	s.change(change{
		operation: "Add member to role", category: "RoleManagement", kind: "Assign", actor: actor, address: actor.address,
		targets: []target{
			userTarget(u, property{"Role.ObjectID", "", quoted(s.guid())}, property{"Role.DisplayName", "", quoted(role[0])},
				property{"Role.TemplateId", "", quoted(role[1])}, property{"Role.WellKnownObjectName", "", quoted(strings.ReplaceAll(role[0], " ", "") + "s")}),
			{s.guid(), role[0], "Role", "", nil},
		},
	})
}

func (s *stage) policyChanged(actor *user, policy int, before, after string) {
	text := func(state string) string {
		return fmt.Sprintf(`{"id":"%s","displayName":"Require MFA for all users","createdDateTime":"2024-11-21T16:48:48.1196443+00:00","state":"%s",`+
			`"conditions":{"applications":{"includeApplications":["All"],"excludeApplications":[]},"users":{"includeUsers":["All"],"excludeUsers":[],"includeGroups":[],`+
			`"excludeGroups":["%s"],"includeRoles":[],"excludeRoles":[]},"clientAppTypes":["all"],"signInRiskLevels":[],"userRiskLevels":[]},`+
			`"grantControls":{"operator":"OR","builtInControls":["mfa"],"customAuthenticationFactors":[],"termsOfUse":[]},"sessionControls":null}`,
			s.policies[policy], state, s.policies[(policy+1)%3])
	}
	s.change(change{
		operation: "Update conditional access policy", category: "Policy", kind: "Update", service: "Conditional Access", actor: actor, address: actor.address,
		targets: []target{{s.policies[policy], "Require MFA for all users", "Policy", "", []property{{"ConditionalAccessPolicy", text(before), text(after)}}}},
	})
}

func (s *stage) credentialAdded(actor *user, p *servicePrincipal) {
	key := func(id string) string {
		return `["[KeyIdentifier=` + id + `,KeyType=Password,KeyUsage=Verify,DisplayName=deploy]"]`
	}
	added := target{p.id, p.name, "ServicePrincipal", "", []property{
		{"KeyDescription", key(p.keyID), key(s.guid())},
		{"Included Updated Properties", "", `"KeyDescription"`},
		{"TargetId.ServicePrincipalNames", "", quoted(p.appID)},
	}}
	s.change(change{
		operation: "Add service principal credentials", category: "ApplicationManagement", kind: "Update", actor: actor, address: actor.address,
		targets: []target{added}, details: [][2]string{{"User-Agent", actor.device.agent}, {"AppId", p.appID}},
	})
	s.later(s.between(50*time.Millisecond, 400*time.Millisecond))
	added.kind = "Application"
	s.change(change{
		operation: "Update application – Certificates and secrets management ", category: "ApplicationManagement", kind: "Update", actor: actor, address: actor.address,
		targets: []target{added}, details: [][2]string{{"User-Agent", actor.device.agent}, {"AppId", p.appID}},
	})
}

func (s *stage) consent(u *user, app application, scopes string) {
	grant := fmt.Sprintf(`"[] => [[Id: %s, ClientId: %s, PrincipalId: %s, ResourceId: %s, ConsentType: Principal, Scope: %s, CreatedDateTime: , LastModifiedDateTime ]]; "`,
		s.text(base64Letters, 43), app.principal, u.id, s.principals[graphID], scopes)
	s.change(change{
		operation: "Add delegated permission grant", category: "ApplicationManagement", kind: "Assign", actor: u, address: u.address,
		targets: []target{
			{s.principals[graphID], "Microsoft Graph", "ServicePrincipal", "", []property{
				{"DelegatedPermissionGrant.Scope", "", quoted(scopes)},
				{"DelegatedPermissionGrant.ConsentType", "", `"Principal"`},
				{"ServicePrincipal.ObjectID", "", quoted(app.principal)},
				{"TargetId.ServicePrincipalNames", "", quoted("https://graph.microsoft.com/;" + graphID)},
			}},
			{app.principal, app.name, "ServicePrincipal", "", nil},
		},
		details: [][2]string{{"User-Agent", u.device.agent}, {"AppId", graphID}},
	})
	s.later(s.between(20*time.Millisecond, 200*time.Millisecond))
	s.change(change{
		operation: "Consent to application", category: "ApplicationManagement", kind: "Assign", actor: u, address: u.address,
		targets: []target{{app.principal, app.name, "ServicePrincipal", "", []property{
			{"ConsentContext.IsAdminConsent", "", `"False"`},
			{"ConsentContext.IsAppOnly", "", `"False"`},
			{"ConsentContext.OnBehalfOfAll", "", `"False"`},
			{"ConsentAction.Permissions", "", grant},
			{"ConsentAction.Reason", "", `"None"`},
			{"TargetId.ServicePrincipalNames", "", quoted(app.id)},
		}}},
		details: [][2]string{{"User-Agent", u.device.agent}, {"AppId", app.id}},
	})
}

// change writes a record of AuditLogs.
func (s *stage) change(c change) {
	prefix := map[string]string{"Conditional Access": "IPCGraph", "Self-service Password Management": "SSPR", "Authentication Methods": "Authentication Methods"}[c.service]
	if c.service == "" {
		c.service, prefix = "Core Directory", "Directory"
	}
	if c.layout == "" {
		c.layout = timeEnvelope
	}
	inner := timeOffset
	if c.layout == timeSeconds {
		inner = "2006-01-02T15:04:05+00:00"
	}
	identity, result := c.program, "success"
	if c.actor != nil && c.service == "Authentication Methods" {
		identity = c.actor.name
	}
	if c.failed {
		result = "failure"
	}
	s.record("AuditLogs", func(w *writer) {
		s.entraEnvelope(w, c.layout, c.operation, "AuditLogs", "", "None", c.reason, c.address)
		if identity != "" {
			w.str("identity", identity)
		}
		w.num("Level", 4)
		w.object("properties", func() {
			w.strs("tenantId", s.tenantID, "resultType", "", "resultDescription", c.reason, "operationName", c.operation, "identity", identity, "tenantGeo", "EU")
			w.id("id", prefix+"_", fmt.Sprintf("_%s_%d", s.text(base36Letters, 5), 10_000_000+s.rng.IntN(90_000_000)))
			w.str("category", c.category)
			w.correlation()
			w.strs("result", result, "resultReason", c.reason, "activityDisplayName", c.operation)
			w.time("activityDateTime", inner, 0)
			w.strs("loggedByService", c.service, "operationType", c.kind)
			w.null("userAgent")
			w.object("initiatedBy", func() { s.initiator(w, c) })
			w.list("targetResources", func() {
				for _, t := range c.targets {
					t.write(w)
				}
			})
			w.list("additionalDetails", func() {
				for _, d := range c.details {
					keyValue(w, d[0], d[1])
				}
			})
		})
	})
}

func (s *stage) initiator(w *writer, c change) {
	if c.actor == nil {
		w.object("app", func() {
			w.null("appId")
			w.strs("displayName", c.program, "servicePrincipalId", s.guid())
			w.null("servicePrincipalName")
		})
		return
	}
	w.object("user", func() {
		w.str("id", c.actor.id)
		if c.service == "Core Directory" {
			w.null("displayName")
		} else {
			w.str("displayName", c.actor.name)
		}
		w.strs("userPrincipalName", c.actor.principal, "ipAddress", c.address)
		w.raw("roles", "[]")
	})
}

func (t target) write(w *writer) {
	w.object("", func() {
		w.str("id", t.id)
		if t.name == "" {
			w.null("displayName")
		} else {
			w.str("displayName", t.name)
		}
		w.str("type", t.kind)
		if t.principal != "" {
			w.str("userPrincipalName", t.principal)
		}
		w.list("modifiedProperties", func() {
			for _, p := range t.changes {
				w.object("", func() {
					w.str("displayName", p.name)
					if p.before == "" {
						w.null("oldValue")
					} else {
						w.str("oldValue", p.before)
					}
					w.str("newValue", p.after)
				})
			}
		})
		w.raw("administrativeUnits", "[]")
	})
}
