package tenant

// Facts of the made-up organization, Kestrel Logistics, that do not depend on the seed, and of
// Microsoft's own applications (ids published at
// learn.microsoft.com/troubleshoot/entra/entra-id/governance/verify-first-party-apps-sign-in).

const (
	// The domain is reserved (RFC 2606), so no address in it can be real.
	organizationDomain = "kestrel-logistics.example"
	// microsoftServices owns Microsoft's own applications.
	microsoftServices = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"
)

// city is a place with an office, or one an attacker signs in from.
type city struct {
	name, state, country string
	latitude, longitude  float64
	utcOffset            int    // hours, without daylight saving
	region               string // Azure's
	network              string // first two numbers of its IPv4 addresses
	network6             string // first part of its IPv6 addresses, "" if none
	provider             int    // autonomous system
	people               int    // share of the staff
	given, family        []string
}

func offices() []city {
	return []city{
		{
			"Rotterdam", "Zuid-Holland", "NL", 51.92250061035156, 4.479169845581055, 1, "westeurope", "145.131", "2001:db8:4a1", 1136, 46,
			[]string{"Daan", "Sanne", "Bram", "Lotte", "Joris", "Femke", "Ruben", "Maaike", "Thijs", "Zoë"},
			[]string{"de Vries", "Bakker", "van den Berg", "Visser", "Smit", "Mulder", "Hoekstra", "Dijkgraaf", "Postma", "Kuipers"},
		},
		{
			"Copenhagen", "Hovedstaden", "DK", 55.67593002319336, 12.565529823303223, 1, "northeurope", "87.49", "", 3292, 22,
			[]string{"Søren", "Astrid", "Mikkel", "Freja", "Rasmus", "Signe", "Jørgen", "Maja"},
			[]string{"Østergaard", "Kjær", "Lindgreen", "Bundgaard", "Møller", "Thorup", "Skov", "Holm"},
		},
		{
			"Gdansk", "Pomorskie", "PL", 54.35205078125, 18.646370887756348, 1, "polandcentral", "83.11", "", 5617, 28,
			[]string{"Łukasz", "Agnieszka", "Paweł", "Małgorzata", "Wojciech", "Zofia", "Grzegorz", "Katarzyna"},
			[]string{"Wiśniewski", "Zając", "Dąbrowski", "Kaczmarek", "Wójcik", "Szymczak", "Pawlak", "Górski"},
		},
		{
			"Valencia", "Valencia", "ES", 39.46990966796875, -0.3762899935245514, 1, "spaincentral", "79.152", "", 3352, 20,
			[]string{"José", "Lucía", "Íñigo", "Begoña", "Andrés", "Noelia", "Raúl", "Inés"},
			[]string{"García Peña", "Ibáñez", "Muñoz", "Soler", "Ferrer Català", "Ortuño", "Vidal", "Llopis"},
		},
		{
			"Charleston", "South Carolina", "US", 32.77657318115234, -79.9309310913086, -5, "eastus", "68.109", "2001:db8:77c0", 22773, 36,
			[]string{"Brandon", "Keisha", "Tyler", "Megan", "Marcus", "Ashley", "Connor", "Latoya", "D'Andre", "Siobhán"},
			[]string{"Whitfield", "O'Rourke", "Pinckney", "Ravenel", "Hutchins", "Calloway", "Drayton", "Middleton", "Simmons", "Gadsden"},
		},
		{
			"Singapore", "Central Singapore", "SG", 1.289670000076294, 103.85006713867188, 8, "southeastasia", "116.87", "", 9506, 24,
			[]string{"Wei Ling", "Jia Hao", "Priya", "Arjun", "Mei Xin", "Farid", "Hui Min", "Kavitha"},
			[]string{"Tan", "Lim", "Nair", "Subramaniam", "Koh", "Rahman", "Chua", "Pillai"},
		},
		{
			"Osaka", "Osaka", "JP", 34.69372940063477, 135.5021820068359, 9, "japanwest", "121.86", "", 17511, 14,
			[]string{"健", "美咲", "大輔", "さくら", "翔太", "葵"},
			[]string{"佐藤", "高橋", "渡辺", "中村", "小林", "加藤"},
		},
		{
			"Haiphong", "Hai Phong", "VN", 20.86480903625488, 106.68344879150391, 7, "southeastasia", "113.160", "", 45899, 10,
			[]string{"Hương", "Tuấn", "Ngọc Anh", "Đức", "Thảo"},
			[]string{"Nguyễn Thị", "Trần Văn", "Phạm", "Lê Hoàng", "Vũ"},
		},
	}
}

// hostile are the places attackers come from. Their addresses are the ranges
// reserved for documentation (RFC 5737), so that they accuse nobody.
func hostile() []city {
	return []city{
		{name: "Frankfurt am Main", state: "Hessen", country: "DE", latitude: 50.11088180541992, longitude: 8.681996345520020, network: "192.0.2", provider: 64496},
		{name: "Bucharest", state: "Bucuresti", country: "RO", latitude: 44.43224906921387, longitude: 26.10626029968262, network: "198.51.100", provider: 64497},
		{name: "Lagos", state: "Lagos", country: "NG", latitude: 6.4540700912475586, longitude: 3.39467000961303, network: "203.0.113", provider: 64498},
	}
}

// asciiOf spells names as the organization's account names do.
func asciiOf() map[rune]string {
	return map[rune]string{
		'ø': "oe", 'Ø': "oe", 'æ': "ae", 'å': "aa", 'ł': "l", 'Ł': "l", 'ń': "n", 'ś': "s", 'ą': "a", 'ę': "e", 'ó': "o", 'ć': "c", 'ż': "z", 'ź': "z",
		'é': "e", 'è': "e", 'í': "i", 'Í': "i", 'ñ': "n", 'ú': "u", 'á': "a", 'à': "a", 'ë': "e", 'ü': "u", 'ö': "o",
		'ư': "u", 'ơ': "o", 'ấ': "a", 'ọ': "o", 'Đ': "d", 'đ': "d", 'ứ': "u", 'ả': "a", 'ễ': "e", 'ị': "i", 'ầ': "a", 'ă': "a", 'ạ': "a", 'ê': "e", 'ũ': "u",
		'健': "ken", '美': "mi", '咲': "saki", '大': "dai", '輔': "suke", 'さ': "sa", 'く': "ku", 'ら': "ra", '翔': "sho", '太': "ta", '葵': "aoi",
		'佐': "sa", '藤': "to", '高': "taka", '橋': "hashi", '渡': "wata", '辺': "nabe", '中': "naka", '村': "mura", '小': "ko", '林': "bayashi", '加': "ka",
	}
}

func departments() []string {
	return []string{"Operations", "Finance", "Sales", "Customs", "Human Resources", "IT", "Legal", "Fleet", "Warehouse", "Customer Service"}
}

// application is something to sign in to, or with.
type application struct {
	id, name  string
	owner     string // tenant
	principal string // object id of its service principal in our tenant
	browser   bool   // used in a browser, not as a native program
	resource  string // name of the API it signs in to
	target    string // application id of that API
}

const (
	graphID      = "00000003-0000-0000-c000-000000000000"
	managementID = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
	exchangeID   = "00000002-0000-0ff1-ce00-000000000000"
	sharePointID = "00000003-0000-0ff1-ce00-000000000000"
	vaultID      = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
	storageID    = "e406a681-f3d4-42a8-90b6-c2b029497af1"
)

// microsoftApps are what people use, most used first.
func microsoftApps() []application {
	return []application{
		{id: "1fec8e78-bce4-4aaf-ab1b-5451cc387264", name: "Microsoft Teams", resource: "Microsoft Graph", target: graphID},
		{id: "27922004-5251-4030-b22d-91ecd9a37ea4", name: "Outlook Mobile", resource: "Office 365 Exchange Online", target: exchangeID},
		{id: "d3590ed6-52b3-4102-aeff-aad2292ab01c", name: "Microsoft Office", resource: "Office 365 Exchange Online", target: exchangeID},
		{id: "4765445b-32c6-49b0-83e6-1d93765276ca", name: "OfficeHome", browser: true, resource: "OfficeHome", target: "4765445b-32c6-49b0-83e6-1d93765276ca"},
		{id: sharePointID, name: "Office 365 SharePoint Online", browser: true, resource: "Office 365 SharePoint Online", target: sharePointID},
		{id: "ab9b8c07-8f02-4f72-87fa-80105867a763", name: "OneDrive SyncEngine", resource: "Office 365 SharePoint Online", target: sharePointID},
		{id: exchangeID, name: "Office 365 Exchange Online", browser: true, resource: "Office 365 Exchange Online", target: exchangeID},
		{id: "ecd6b820-32c2-49b6-98a6-444530e5a77a", name: "Microsoft Edge", resource: "Microsoft Graph", target: graphID},
		{id: "2793995e-0a7d-40d7-bd35-6968ba142197", name: "My Apps", browser: true, resource: "Microsoft Graph", target: graphID},
		{id: "c44b4083-3bb0-49c1-b47d-974e53cbdf3c", name: "Azure Portal", browser: true, resource: "Azure Resource Manager", target: managementID},
		{id: "04b07795-8ddb-461a-bbee-02f9e1bf7b46", name: "Microsoft Azure CLI", resource: "Azure Resource Manager", target: managementID},
		{id: "1950a258-227b-4e31-a9cf-717495945fc2", name: "Microsoft Azure PowerShell", resource: "Azure Resource Manager", target: managementID},
	}
}

// device is what a person signs in with.
type device struct {
	system, browser, native, agent string
}

func devices() []device {
	return []device{
		{"Windows10", "Edge 132.0.0", "Rich Client 4.66.2.0", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 Edg/132.0.0.0"},
		{"Windows10", "Chrome 132.0.0", "Rich Client 5.1.0.0", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36"},
		{"MacOs", "Safari 18.2", "Rich Client 1.1.0.0", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.2 Safari/605.1.15"},
		{"Ios 18.2.1", "Mobile Safari", "Rich Client 4.50.1.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_2_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"},
		{"Android 14", "Chrome Mobile 131.0.0", "Rich Client 6.4.0.0", "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36"},
		{"Linux", "Firefox 134.0", "Rich Client 1.31.0.0", "Mozilla/5.0 (X11; Linux x86_64; rv:134.0) Gecko/20100101 Firefox/134.0"},
	}
}

// failure is why a sign-in did not succeed.
type failure struct {
	code           int
	reason, detail string
}

const (
	wrongPassword   = 50126
	lockedOut       = 50053
	mfaRequired     = 50074
	mfaDenied       = 500121
	blockedByPolicy = 53003
	keepSignedIn    = 50140
	grantExpired    = 700082
	badAppSecret    = 7000215
)

// failureOf returns the texts of an error code as sign-in logs hold them
// (learn.microsoft.com/entra/identity-platform/reference-error-codes).
func failureOf(code int) failure {
	f := failure{code: code}
	switch code {
	case wrongPassword:
		f.reason = "Invalid username or password or Invalid on-premise username or password."
		f.detail = "The user didn't enter the right credentials. \u00a0It's expected to see some number of these errors in your logs due to users making mistakes."
	case lockedOut:
		f.reason = "The account is locked, you've tried to sign in too many times with an incorrect user ID or password."
		f.detail = "The user is blocked due to repeated sign-in attempts. See https://go.microsoft.com/fwlink/?linkid=2128105"
	case mfaRequired:
		f.reason = "Strong Authentication is required."
		f.detail = "MFA required in Azure AD"
	case mfaDenied:
		f.reason = "Authentication failed during strong authentication request."
		f.detail = "MFA denied; user declined the authentication"
	case blockedByPolicy:
		f.reason = "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."
		f.detail = "The requested action is blocked by a policy."
	case keepSignedIn:
		f.reason = "This error occurred due to 'Keep me signed in' interrupt when the user was signing-in."
	case grantExpired:
		f.reason = "The refresh token has expired due to inactivity."
	case badAppSecret:
		f.reason = "Invalid client secret is provided."
	}
	return f
}
