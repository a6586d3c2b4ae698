package tenant

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// signIn is what the records of people's sign-ins differ in.
type signIn struct {
	category    string
	user        *user
	app         *application
	place       *city
	address     string
	device      device
	ownDevice   bool // one that the organization manages
	native      bool // not in a browser
	interactive bool
	client      string // "" chooses between browser and native
	protocol    string // "" is "none"
	code        int    // 0: succeeded
	mfa         bool   // asked for and, if code is 0, given
	risk        string // "" is "none"
}

func (s *stage) usualSignIn(u *user, app *application) signIn {
	in := signIn{
		category: "SignInLogs", user: u, app: app, place: u.home, address: u.address, device: u.device,
		ownDevice: u.deviceID != "", native: !app.browser, interactive: true,
	}
	if app.name == "Outlook Mobile" {
		in.device, in.ownDevice = devices()[3+len(u.id+u.name)%2], false
	}
	if strings.HasPrefix(in.device.system, "Ios") || strings.HasPrefix(in.device.system, "Android") || s.chance(8) {
		in.address = u.mobile
	}
	return in
}

func (s *stage) app() *application {
	return &s.apps[weighted(s.rng, 20, 16, 14, 10, 10, 10, 6, 5, 3, 3, 2, 1, 5, 4, 3)]
}

func (s *stage) interactiveSignIn() {
	in := s.usualSignIn(s.someone(), s.app())
	in.mfa = s.chance(3)
	switch s.rng.IntN(100) {
	case 0, 1, 2, 3, 4, 5:
		in.code = wrongPassword
		s.signIn(in)
		s.later(s.between(4*time.Second, 20*time.Second))
		in.code = 0
	case 6, 7, 8:
		in.code = mfaRequired
		s.signIn(in)
		s.later(s.between(10*time.Second, 40*time.Second))
		in.code, in.mfa = 0, true
	case 9, 10:
		in.code = keepSignedIn
		s.signIn(in)
		s.later(s.between(2*time.Second, 8*time.Second))
		in.code = 0
	case 11:
		in.code = mfaDenied
	case 12:
		in.code = blockedByPolicy
	case 13:
		in.code = lockedOut
	}
	s.signIn(in)
}

func (s *stage) nonInteractiveSignIn() {
	in := s.usualSignIn(s.someone(), s.app())
	in.category, in.interactive = "NonInteractiveUserSignInLogs", false
	if s.chance(40) {
		in.code = grantExpired
	}
	s.signIn(in)
}

// signIn writes a record of SignInLogs or NonInteractiveUserSignInLogs.
func (s *stage) signIn(in signIn) {
	s.record(in.category, func(w *writer) {
		resultType, signature, description := strconv.Itoa(in.code), "SUCCESS", ""
		if in.code != 0 {
			signature, description = "FAILURE", failureOf(in.code).reason
		}
		s.entraEnvelope(w, timeEnvelope, "Sign-in activity", in.category, resultType, signature, description, in.address)
		w.str("identity", in.user.name)
		if s.chance(30) { // both forms occur
			w.str("Level", "4")
		} else {
			w.num("Level", 4)
		}
		w.str("location", in.place.country)
		w.object("properties", func() { s.signInProperties(w, in) })
	})
}

func (s *stage) signInProperties(w *writer, in signIn) {
	created := -s.between(40*time.Second, 190*time.Second)
	u := in.user
	w.id("id", "", "")
	w.time("createdDateTime", timeOffset, created)
	w.strs("userDisplayName", u.name, "userPrincipalName", u.principal, "userId", u.id,
		"appId", in.app.id, "appDisplayName", in.app.name, "ipAddress", in.address)
	w.object("status", func() { s.status(w, in.code, in.mfa) })
	client, browser := in.client, in.device.browser
	if in.native {
		browser = in.device.native
	}
	switch {
	case client != "":
	case in.native:
		client = "Mobile Apps and Desktop clients"
	default:
		client = "Browser"
	}
	w.str("clientAppUsed", client)
	if in.interactive || s.chance(2) { // absent from many of the others
		w.str("userAgent", in.device.agent)
	}
	w.object("deviceDetail", func() {
		if in.ownDevice {
			w.strs("deviceId", u.deviceID, "displayName", u.deviceName)
		} else {
			w.str("deviceId", "")
		}
		w.strs("operatingSystem", in.device.system, "browser", browser)
		if in.ownDevice {
			w.flag("isCompliant", true)
			w.flag("isManaged", true)
			w.str("trustType", "Azure AD joined")
		}
	})
	location(w, in.place)
	w.correlation()
	s.conditionalAccess(w, in)
	w.raw("authenticationContextClassReferences", "[]")
	w.id("originalRequestId", "", "")
	w.flag("isInteractive", in.interactive)
	w.strs("tokenIssuerName", "", "tokenIssuerType", "AzureAD")
	w.list("authenticationProcessingDetails", func() {
		keyValue(w, "Legacy TLS (TLS 1.0, 1.1, 3DES)", "False")
		if !in.interactive && s.chance(2) {
			keyValue(w, "Oauth Scope Info", `["email","Files.ReadWrite.All","openid","profile","User.Read","User.ReadBasic.All"]`)
		}
		keyValue(w, "Is CAE Token", pick(s.rng, []string{"False", "False", "True"}))
	})
	w.raw("networkLocationDetails", "[]")
	w.str("clientCredentialType", "none")
	w.num("processingTimeInMilliseconds", 30+s.rng.IntN(400))
	risk, state, events := "none", "none", "[]"
	if in.risk != "" {
		risk, state, events = in.risk, "atRisk", `["unfamiliarFeatures"]`
	}
	w.strs("riskDetail", "none", "riskLevelAggregated", risk, "riskLevelDuringSignIn", risk, "riskState", state)
	w.raw("riskEventTypes", events)
	w.raw("riskEventTypes_v2", events)
	w.strs("resourceDisplayName", in.app.resource, "resourceId", in.app.target, "resourceTenantId", s.tenantID,
		"homeTenantId", s.tenantID, "tenantId", s.tenantID)
	w.list("authenticationDetails", func() { s.authenticationDetails(w, in, created) })
	w.raw("authenticationRequirementPolicies", "[]")
	w.raw("sessionLifetimePolicies", "[]")
	w.str("authenticationRequirement", requirement(in.mfa || in.code == mfaRequired || in.code == mfaDenied))
	w.strs("servicePrincipalId", "", "userType", memberOrGuest(u))
	w.flag("flaggedForReview", false)
	w.flag("isTenantRestricted", false)
	w.num("autonomousSystemNumber", in.place.provider)
	w.str("crossTenantAccessType", crossTenant(u))
	w.raw("privateLinkDetails", "{}")
	w.str("ssoExtensionVersion", "")
	w.token("uniqueTokenIdentifier")
	w.raw("authenticationStrengths", "[]")
	tokenType := "none"
	if !in.interactive {
		tokenType = pick(s.rng, []string{"refreshToken", "primaryRefreshToken", "none"})
	}
	protocol := in.protocol
	if protocol == "" {
		protocol = "none"
	}
	w.strs("incomingTokenType", tokenType, "authenticationProtocol", protocol)
	w.null("appServicePrincipalId")
	w.str("resourceServicePrincipalId", s.principals[in.app.target])
	w.num("rngcStatus", 0)
	w.str("signInTokenProtectionStatus", "none")
	w.raw("tokenProtectionStatusDetails", `{"signInSessionStatus":"unbound","signInSessionStatusCode":1002}`)
	w.str("originalTransferMethod", "none")
	w.flag("isThroughGlobalSecureAccess", false)
	w.list("conditionalAccessAudiences", func() {
		w.object("", func() { w.strs("applicationId", in.app.target, "audienceReasons", "none") })
	})
	w.strs("sessionId", s.guid(), "appOwnerTenantId", in.app.owner, "resourceOwnerTenantId", in.app.owner)
}

func (s *stage) status(w *writer, code int, mfa bool) {
	w.num("errorCode", code)
	if code == 0 {
		if mfa {
			w.str("additionalDetails", "MFA requirement satisfied by claim in the token")
		}
		return
	}
	f := failureOf(code)
	w.str("failureReason", f.reason)
	if f.detail != "" {
		w.str("additionalDetails", f.detail)
	}
}

func (s *stage) conditionalAccess(w *writer, in signIn) {
	applied, result := "success", "success"
	switch {
	case in.code == blockedByPolicy || in.code == mfaDenied || in.code == mfaRequired:
		applied, result = "failure", "failure"
	case !in.mfa:
		applied, result = "notApplied", "notApplied"
	}
	w.str("conditionalAccessStatus", applied)
	w.list("appliedConditionalAccessPolicies", func() {
		names := []string{"Require MFA for all users", "Block legacy authentication", "Require compliant device for administrators"}
		controls := []string{`["Mfa"]`, `["Block"]`, `["RequireCompliantDevice"]`}
		for i, id := range s.policies {
			w.object("", func() {
				w.strs("id", id, "displayName", names[i])
				w.raw("enforcedGrantControls", controls[i])
				w.raw("enforcedSessionControls", "[]")
				if i == 0 {
					w.str("result", result)
				} else {
					w.str("result", "notApplied")
				}
				w.num("conditionsSatisfied", 3*min(i, 1))
				w.num("conditionsNotSatisfied", 2*i)
			})
		}
	})
}

func (s *stage) authenticationDetails(w *writer, in signIn, created time.Duration) {
	if !in.interactive {
		return
	}
	step := func(method, result, need string, succeeded bool) {
		w.object("", func() {
			w.time("authenticationStepDateTime", timeOffset, created)
			w.str("authenticationMethod", method)
			w.flag("succeeded", succeeded)
			w.strs("authenticationStepResultDetail", result, "authenticationStepRequirement", need)
			w.num("StatusSequence", 0)
			w.num("RequestSequence", s.rng.IntN(2))
		})
	}
	switch in.code {
	case wrongPassword:
		step("Password", "Invalid username or password or Invalid on-premise username or password.", "Primary authentication", false)
	case lockedOut:
		step("Password", "Account is locked", "Primary authentication", false)
	default:
		step("Password", "Correct password", "Primary authentication", true)
	}
	if in.mfa && in.code == 0 {
		step("Mobile app notification", "MFA completed in Azure AD", "Multi-factor authentication", true)
	}
	if in.code == mfaDenied {
		step("Mobile app notification", "MFA denied; user declined the authentication", "Multi-factor authentication", false)
	}
}

func (s *stage) servicePrincipalSignIn() {
	p := &s.services[s.rng.IntN(len(s.services))]
	code := 0
	if s.chance(50) {
		code = badAppSecret
	}
	s.principalSignIn("ServicePrincipalSignInLogs", p, code)
}

func (s *stage) managedIdentitySignIn() {
	s.principalSignIn("ManagedIdentitySignInLogs", &s.identities[s.rng.IntN(len(s.identities))], 0)
}

// principalSignIn writes the sign-in of a program.
func (s *stage) principalSignIn(category string, p *servicePrincipal, code int) {
	s.record(category, func(w *writer) {
		signature, description := "SUCCESS", ""
		if code != 0 {
			signature, description = "FAILURE", failureOf(code).reason
		}
		s.entraEnvelope(w, timeEnvelope, "Sign-in activity", category, strconv.Itoa(code), signature, description, p.address)
		w.num("Level", 4)
		if p.region != nil {
			w.str("location", p.region.country)
		}
		w.object("properties", func() {
			w.id("id", "", "")
			w.time("createdDateTime", timeOffset, -s.between(60*time.Second, 240*time.Second))
			w.null("userId")
			w.strs("appId", p.appID, "ipAddress", p.address)
			w.object("status", func() { s.status(w, code, false) })
			location(w, p.region)
			w.correlation()
			if p.managed {
				w.str("conditionalAccessStatus", "notApplied")
				w.raw("appliedConditionalAccessPolicies", "[]")
			}
			w.flag("isInteractive", false)
			w.str("tokenIssuerType", "AzureAD")
			w.list("authenticationProcessingDetails", func() {
				if !p.managed {
					keyValue(w, "Azure AD App Authentication Library", "Family: MSAL Library: MSAL.NetCore 4.66.2.0 Platform: .NET")
				}
			})
			credential := "clientSecret"
			if p.managed {
				credential = "none"
			}
			w.str("clientCredentialType", credential)
			w.num("processingTimeInMilliseconds", 0)
			w.strs("riskDetail", "none", "riskLevelAggregated", "low", "riskLevelDuringSignIn", "low", "riskState", "none",
				"resourceDisplayName", p.resource, "resourceId", p.target, "servicePrincipalName", p.name, "servicePrincipalId", p.id)
			if p.managed {
				w.str("federatedCredentialId", "")
			} else {
				w.strs("servicePrincipalCredentialKeyId", p.keyID, "servicePrincipalCredentialThumbprint", "")
			}
			w.flag("flaggedForReview", false)
			w.flag("isTenantRestricted", false)
			w.str("crossTenantAccessType", "none")
			w.token("uniqueTokenIdentifier")
			w.strs("incomingTokenType", "none", "authenticationProtocol", "none")
			w.null("appServicePrincipalId")
			w.strs("resourceServicePrincipalId", s.principals[p.target], "signInTokenProtectionStatus", "none", "originalTransferMethod", "none")
			w.flag("isThroughGlobalSecureAccess", false)
			if p.managed {
				w.raw("conditionalAccessAudiences", "[]")
			}
		})
	})
}

// federatedSignIn writes a sign-in at AD FS: members in alphabetical order,
// times in American form, a private address.
func (s *stage) federatedSignIn() {
	u := s.someone()
	address := fmt.Sprintf("10.%d.%d.%d", 20+s.rng.IntN(8), s.rng.IntN(256), 1+s.rng.IntN(254))
	s.record("ADFSSignInLogs", func(w *writer) {
		w.strs("callerIpAddress", address, "category", "ADFSSignInLogs")
		w.correlation()
		w.strs("durationMs", "0", "identity", u.name, "level", "4", "operationName", "Sign-in activity", "operationVersion", "1.0")
		w.object("properties", func() {
			w.strs("alternateSignInName", u.principal, "appDisplayName", "Warehouse Terminal", "appId", s.apps[len(s.apps)-1].id,
				"appOwnerTenantId", "")
			w.raw("appliedConditionalAccessPolicies", "[]")
			w.list("authenticationDetails", func() {
				w.object("", func() {
					w.num("RequestSequence", 1)
					w.num("StatusSequence", 0)
					w.strs("authenticationMethod", "Password", "authenticationMethodDetail", "Forms Authentication")
					w.time("authenticationStepDateTime", timeOffset, -4*time.Minute)
					w.str("authenticationStepRequirement", "")
					w.flag("succeeded", true)
				})
			})
			w.list("authenticationProcessingDetails", func() {
				keyValue(w, "Server name", "KLADFS02")
				keyValue(w, "IP Addresses Involved in Auth Flow", address)
				keyValue(w, "Is CAE Token", "False")
			})
			w.strs("authenticationProtocol", "none", "clientAppUsed", "Unknown", "clientCredentialType", "none", "conditionalAccessStatus", "notApplied")
			w.correlation()
			w.time("createdDateTime", timeOffset, -4*time.Minute)
			w.raw("deviceDetail", `{"browser":"","deviceId":"","operatingSystem":""}`)
			w.flag("flaggedForReview", false)
			w.str("homeTenantId", s.tenantID)
			w.id("id", "", "")
			w.str("ipAddress", address)
			w.flag("isInteractive", true)
			w.raw("location", `{"city":"","countryOrRegion":"","geoCoordinates":{"latitude":0,"longitude":0},"state":""}`)
			w.id("originalRequestId", "", "")
			w.num("processingTimeInMilliseconds", 0)
			w.strs("resourceDisplayName", "Warehouse Terminal API", "resourceId", "https://terminal."+organizationDomain, "resourceTenantId", s.tenantID,
				"riskDetail", "hidden", "riskLevelAggregated", "hidden", "riskLevelDuringSignIn", "hidden", "riskState", "none", "servicePrincipalId", "")
			w.raw("signInEventTypes", `["interactiveUser"]`)
			w.str("signInIdentifier", u.principal)
			w.raw("status", `{"errorCode":0}`)
			w.strs("tenantId", s.tenantID, "tokenIssuerName", "adfs."+organizationDomain, "tokenIssuerType", "ADFederationServices")
			w.token("uniqueTokenIdentifier")
			w.strs("userAgent", "", "userDisplayName", u.name, "userId", u.id, "userPrincipalName", u.principal, "userType", "Member")
		})
		w.strs("resourceId", "/tenants/"+s.tenantID+"/providers/Microsoft.aadiam", "resultSignature", "SUCCESS", "resultType", "0", "tenantId", s.tenantID)
		w.time("time", timeUS, 0)
	})
}

// location writes where a sign-in came from; nil is nowhere that is known.
func location(w *writer, place *city) {
	if place == nil {
		place = &city{}
	}
	w.object("location", func() {
		w.strs("city", place.name, "state", place.state, "countryOrRegion", place.country)
		w.object("geoCoordinates", func() {
			w.raw("latitude", degrees(place.latitude))
			w.raw("longitude", degrees(place.longitude))
		})
	})
}

// degrees writes a coordinate as Entra does: always with a decimal point.
func degrees(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func keyValue(w *writer, key, value string) {
	w.object("", func() { w.strs("key", key, "value", value) })
}

func requirement(mfa bool) string {
	if mfa {
		return "multiFactorAuthentication"
	}
	return "singleFactorAuthentication"
}

func memberOrGuest(u *user) string {
	if u.guest {
		return "Guest"
	}
	return "Member"
}

func crossTenant(u *user) string {
	if u.guest {
		return "b2bCollaboration"
	}
	return "none"
}
