package tenant

import "time"

// attack plays one of the attack stories. A story is a scene of many records:
// each step is an operation of its own.
func (s *stage) attack() {
	switch s.rng.IntN(7) {
	case 0:
		s.passwordSpray()
	case 1:
		s.mfaFatigue()
	case 2:
		s.impossibleTravel()
	case 3:
		s.illicitConsent()
	case 4:
		s.roleEscalation()
	case 5:
		s.webAttack()
	case 6:
		s.clusterTakeover()
	}
}

func (s *stage) victim() *user {
	for {
		if u := s.someone(); !u.guest {
			return u
		}
	}
}

// from returns a sign-in by an attacker at place with u's account.
func (s *stage) from(u *user, place *city, address string) signIn {
	in := s.usualSignIn(u, &s.apps[6])
	in.place, in.address, in.ownDevice, in.native = place, address, false, false
	in.device = device{"Linux", "Python Requests 2.31", "Python Requests 2.31", "python-requests/2.31.0"}
	return in
}

// passwordSpray tries one password on many accounts from one address, over a
// protocol that knows no second factor; the last account falls.
func (s *stage) passwordSpray() {
	place := &s.attackers[s.rng.IntN(len(s.attackers))]
	address := s.address(s.rng, place)
	tries := 25 + s.rng.IntN(20)
	first := s.rng.IntN(len(s.users))
	for i := range tries {
		in := s.from(&s.users[(first+i*7)%len(s.users)], place, address)
		in.client, in.native, in.code, in.risk = "Authenticated SMTP", true, wrongPassword, "medium"
		if i == tries-1 {
			in.code, in.risk = 0, "high"
		}
		s.signIn(in)
		s.anew()
		s.later(s.between(2*time.Second, 15*time.Second))
	}
}

// mfaFatigue asks for approval until the user gives it.
func (s *stage) mfaFatigue() {
	u, place := s.victim(), &s.attackers[s.rng.IntN(len(s.attackers))]
	in := s.from(u, place, s.address(s.rng, place))
	in.device, in.risk, in.mfa = devices()[1], "medium", true
	for range 8 + s.rng.IntN(10) {
		in.code = mfaDenied
		s.signIn(in)
		s.anew()
		s.later(s.between(20*time.Second, 90*time.Second))
	}
	in.code, in.risk = 0, "high"
	s.signIn(in)
	s.anew()
	s.later(s.between(time.Minute, 3*time.Minute))
	// The first thing an attacker does: a second factor of his own.
	s.change(change{
		operation: "User registered security info", category: "UserManagement", kind: "Add", service: "Authentication Methods", actor: u, address: in.address,
		reason: "User registered Authenticator App with Notification and Code", layout: timeSeconds, targets: []target{userTarget(u)},
		details: [][2]string{{"AuthenticationMethodType", "AppNotificationAndCode"}},
	})
}

// impossibleTravel signs in at home and, minutes later, on another continent.
func (s *stage) impossibleTravel() {
	u, place := s.victim(), &s.attackers[2]
	in := s.usualSignIn(u, &s.apps[3])
	in.address = u.address
	s.signIn(in)
	s.anew()
	s.later(s.between(7*time.Minute, 20*time.Minute))
	in = s.from(u, place, s.address(s.rng, place))
	in.device, in.risk = devices()[1], "high"
	s.signIn(in)
	s.anew()
	s.later(s.between(time.Minute, 2*time.Minute))
	s.userRisk(u, place, "unlikelyTravel", "high")
	s.later(s.between(time.Second, 5*time.Second))
	s.riskyUser(u, "high")
}

// illicitConsent lets a user grant a stranger's program access to his mail,
// which then reads it.
func (s *stage) illicitConsent() {
	u, place := s.victim(), &s.attackers[1]
	app := application{id: s.guid(), name: "Document Viewer Pro", principal: s.guid(), owner: s.guid(), browser: true, resource: "Microsoft Graph", target: graphID}
	in := s.usualSignIn(u, &app)
	s.signIn(in)
	s.later(s.between(10*time.Second, 60*time.Second))
	s.change(change{
		operation: "Add service principal", category: "ApplicationManagement", kind: "Add", actor: u, address: in.address,
		targets: []target{{app.principal, app.name, "ServicePrincipal", "", []property{
			{"AccountEnabled", "[]", "[true]"},
			{"AppPrincipalId", "[]", `["` + app.id + `"]`},
			{"DisplayName", "[]", `["` + app.name + `"]`},
			{"ServicePrincipalName", "[]", `["` + app.id + `"]`},
			{"Included Updated Properties", "", `"AccountEnabled, AppPrincipalId, DisplayName, ServicePrincipalName"`},
		}}},
	})
	s.later(100 * time.Millisecond)
	s.consent(u, app, "Mail.Read Mail.Send Files.Read.All MailboxSettings.ReadWrite offline_access openid profile")
	reader := &servicePrincipal{
		id: app.principal, appID: app.id, name: app.name, region: place, address: s.address(s.rng, place), keyID: s.guid(),
		resource: "Microsoft Graph", target: graphID,
	}
	for range 5 + s.rng.IntN(10) {
		s.anew()
		s.later(s.between(5*time.Second, 30*time.Second))
		s.graphRequest(reader, "GET https://graph.microsoft.com/v1.0/users/"+u.id+"/messages?$top=500&$search=\"invoice\"")
	}
}

// roleEscalation makes an intruder Global Administrator, who then weakens the
// defenses and takes keys.
func (s *stage) roleEscalation() {
	intruder, place := s.admin(), &s.attackers[s.rng.IntN(len(s.attackers))]
	in := s.from(intruder, place, s.address(s.rng, place))
	in.app, in.device, in.risk, in.mfa = &s.apps[9], devices()[1], "high", true
	s.signIn(in)
	step := func(low, high time.Duration) {
		s.anew()
		s.later(s.between(low, high))
	}
	who := *intruder
	who.address = in.address
	step(time.Minute, 3*time.Minute)
	s.roleGranted(&who, s.victim(), [2]string{"Global Administrator", "62e90394-69f5-4237-9190-012177145e10"})
	step(time.Minute, 3*time.Minute)
	s.policyChanged(&who, 0, "enabled", "disabled")
	step(time.Minute, 3*time.Minute)
	s.credentialAdded(&who, &s.services[2])
	for _, r := range []struct{ kind, part, verb, body string }{
		{"Microsoft.KeyVault/vaults", "/providers/Microsoft.Insights/diagnosticSettings/to-siem", "providers/diagnosticSettings/delete", ""},
		{
			"Microsoft.Network/networkSecurityGroups", "/securityRules/tmp", "securityRules/write",
			`{"properties":{"protocol":"*","sourcePortRange":"*","destinationPortRange":"3389","sourceAddressPrefix":"*","destinationAddressPrefix":"*","access":"Allow","priority":100,"direction":"Inbound"}}`,
		},
		{"Microsoft.Storage/storageAccounts", "", "listKeys/action", ""},
		{"Microsoft.Compute/virtualMachines", "", "runCommand/action", ""},
	} {
		step(20*time.Second, 2*time.Minute)
		s.request(request{actor: &who, address: in.address, asset: pick(s.rng, s.assetsOf(r.kind)), part: r.part, verb: r.verb, body: r.body})
	}
}
