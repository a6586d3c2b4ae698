package tenant

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

const userCount = 200

// user is one of the staff.
type user struct {
	id, name, given, family, principal string
	department                         string
	home                               *city
	address, mobile                    string // IP addresses
	device                             device
	deviceID, deviceName               string // "" if it is not the organization's
	puid                               string
	startHour                          int // local
	guest                              bool
}

// servicePrincipal is a program with an identity.
type servicePrincipal struct {
	id, appID, name string
	region          *city // where it runs
	address         string
	keyID           string
	resource        string
	target          string
	managed         bool
}

// asset is a resource in Azure.
type asset struct {
	subscription, group, kind, name string // kind as in "Microsoft.Compute/virtualMachines"
	region                          string
}

// id returns the resource id in the case in which requests write it.
func (a *asset) id() string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/%s/%s", a.subscription, a.group, a.kind, a.name)
}

// organization is everything that stays the same while logs are written.
type organization struct {
	tenantID      string
	subscriptions []string
	cities        []city
	attackers     []city
	users         []user
	admins        []*user
	apps          []application
	services      []servicePrincipal
	identities    []servicePrincipal
	assets        []asset
	policies      []string // ids of conditional access policies
	principals    map[string]string
}

// newOrganization makes an organization up. Equal seeds give equal ones.
func newOrganization(seed uint64, ids recordid.Space) *organization {
	rng := rand.New(rand.NewPCG(seed, 1))
	guid := func() string { return string(ids.AppendOther(nil, rng.Uint64())) }
	o := &organization{tenantID: guid(), cities: offices(), attackers: hostile(), apps: microsoftApps(), principals: map[string]string{}}
	for range 3 {
		o.subscriptions = append(o.subscriptions, guid())
		o.policies = append(o.policies, guid())
	}
	for i := range o.apps {
		app := &o.apps[i]
		app.owner, app.principal = microsoftServices, guid()
		if o.principals[app.target] == "" {
			o.principals[app.target] = guid()
		}
	}
	for _, name := range []string{"Kestrel Track & Trace", "Fleet Planner", "Tolwerk Customs Desk"} {
		own := application{id: guid(), name: name, owner: o.tenantID, principal: guid(), browser: true, resource: name}
		own.target = own.id
		o.principals[own.target] = own.principal
		o.apps = append(o.apps, own)
	}
	o.hire(rng, guid)
	o.build(rng, guid)
	return o
}

// hire makes up the staff.
func (o *organization) hire(rng *rand.Rand, guid func() string) {
	share := 0
	for i := range o.cities {
		share += o.cities[i].people
	}
	spelling := asciiOf()
	taken := map[string]int{}
	all := devices()
	for i := range o.cities {
		c := &o.cities[i]
		for range userCount * c.people / share {
			u := user{
				id: guid(), home: c, given: pick(rng, c.given), family: pick(rng, c.family), department: pick(rng, departments()),
				address: o.address(rng, c), mobile: o.address(rng, c), device: all[weighted(rng, 40, 20, 14, 12, 10, 4)],
				puid: fmt.Sprintf("100320%010X", rng.Uint64N(1<<40)), startHour: 6 + rng.IntN(4), guest: rng.IntN(25) == 0,
			}
			u.name = u.given + " " + u.family
			if c.country == "JP" || c.country == "VN" {
				u.name = u.family + " " + u.given
			}
			account := ascii(u.given, spelling) + "." + ascii(u.family, spelling)
			if taken[account]++; taken[account] > 1 {
				account = fmt.Sprintf("%s%d", account, taken[account])
			}
			u.principal = account + "@" + organizationDomain
			if u.guest {
				u.principal = account + "_partner.example#EXT#@kestrellogistics.onmicrosoft.com"
			}
			if !u.guest && rng.IntN(5) > 0 {
				u.deviceID, u.deviceName = guid(), fmt.Sprintf("KL-%s-%04d", strings.ToUpper(c.country), rng.IntN(10000))
			}
			o.users = append(o.users, u)
		}
	}
	for i := range o.users {
		if u := &o.users[i]; !u.guest && (u.department == "IT" || len(o.admins) == 0) {
			o.admins = append(o.admins, u)
		}
	}
}

// build makes up programs and resources.
func (o *organization) build(rng *rand.Rand, guid func() string) {
	targets := []struct{ name, id string }{
		{"Microsoft Graph", graphID}, {"Azure Resource Manager", managementID}, {"Azure Key Vault", vaultID}, {"Azure Storage", storageID},
	}
	for _, name := range []string{
		"svc-backup-orchestrator", "github-deploy-prod", "terraform-landingzone", "Datawarehouse Loader", "HR Sync (Workday)", "Vessel ETA Import",
		"monitoring-exporter", "invoice-ocr", "mail-archiver", "Customs EDI Gateway", "PowerBI Refresh", "Kubernetes External Secrets",
	} {
		target := targets[rng.IntN(len(targets))]
		region := &o.cities[rng.IntN(len(o.cities))]
		o.services = append(o.services, servicePrincipal{
			id: guid(), appID: guid(), name: name, region: region,
			address: fmt.Sprintf("20.%d.%d.%d", 30+rng.IntN(200), rng.IntN(256), 1+rng.IntN(254)), keyID: guid(), resource: target.name, target: target.id,
		})
	}
	kinds := []struct {
		kind, prefix string
		count        int
	}{
		{"Microsoft.Compute/virtualMachines", "vm-app", 18},
		{"Microsoft.Storage/storageAccounts", "stkestrel", 8},
		{"Microsoft.Network/networkSecurityGroups", "nsg-snet", 8},
		{"Microsoft.KeyVault/vaults", "kv-kestrel", 5},
		{"Microsoft.Web/sites", "func-kestrel", 6},
		{"Microsoft.Sql/servers", "sql-kestrel", 3},
		{"Microsoft.ContainerService/managedClusters", "aks-kestrel", 2},
		{"Microsoft.Compute/disks", "disk-data", 8},
		{"Microsoft.Network/publicIPAddresses", "pip-edge", 5},
		{"Microsoft.Network/virtualNetworks", "vnet-spoke", 3},
		{"Microsoft.Network/azureFirewalls", "afw-hub", 2},
		{"Microsoft.Network/applicationGateways", "agw-edge", 2},
		{"Microsoft.Cdn/profiles", "afd-kestrel", 1},
		{"Microsoft.Insights/components", "appi-kestrel", 4},
	}
	groups := []string{"rg-tracking-prod", "rg-tracking-test", "rg-finance-prod", "rg-hub-network", "rg-datalake", "RG-Customs-Prod"}
	for _, k := range kinds {
		for i := range k.count {
			name := fmt.Sprintf("%s-%s-%02d", k.prefix, pick(rng, []string{"prod", "test", "dr"}), i+1)
			if k.kind == "Microsoft.Storage/storageAccounts" { // no dashes allowed
				name = strings.ReplaceAll(name, "-", "")
			}
			a := asset{pick(rng, o.subscriptions), pick(rng, groups), k.kind, name, o.cities[rng.IntN(len(o.cities))].region}
			o.assets = append(o.assets, a)
			if strings.HasPrefix(k.kind, "Microsoft.Compute/virtual") || strings.HasPrefix(k.kind, "Microsoft.Web") {
				target := targets[1+rng.IntN(3)]
				o.identities = append(o.identities, servicePrincipal{
					id: guid(), appID: guid(), name: name, keyID: guid(),
					resource: target.name, target: target.id, managed: true,
				})
			}
		}
	}
}

// address returns an IP address of the city.
func (o *organization) address(rng *rand.Rand, c *city) string {
	if c.network6 != "" && rng.IntN(6) == 0 {
		return fmt.Sprintf("%s:%x:%x:%x:%x:%x", c.network6, rng.IntN(1<<12), rng.IntN(1<<16), 1+rng.IntN(1<<16-1), rng.IntN(1<<16), 1+rng.IntN(1<<16-1))
	}
	if strings.Count(c.network, ".") == 2 {
		return fmt.Sprintf("%s.%d", c.network, 1+rng.IntN(254))
	}
	return fmt.Sprintf("%s.%d.%d", c.network, rng.IntN(256), 1+rng.IntN(254))
}

// assetsOf returns the resources of a kind.
func (o *organization) assetsOf(kind string) (found []*asset) {
	for i := range o.assets {
		if o.assets[i].kind == kind {
			found = append(found, &o.assets[i])
		}
	}
	return found
}

// atWork reports whether the user is likely at work at this moment.
func (u *user) atWork(now time.Time) bool {
	local := now.UTC().Add(time.Duration(u.home.utcOffset) * time.Hour)
	hour := local.Hour()
	weekend := local.Weekday() == time.Saturday || local.Weekday() == time.Sunday
	return !weekend && hour >= u.startHour && hour < u.startHour+10
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// weighted returns an index with a chance in proportion to its weight.
func weighted(rng *rand.Rand, weights ...int) int {
	total := 0
	for _, w := range weights {
		total += w
	}
	at := rng.IntN(total)
	for i, w := range weights {
		if at -= w; at < 0 {
			return i
		}
	}
	return 0
}

func ascii(name string, spelling map[rune]string) string {
	var b strings.Builder
	for _, r := range name {
		switch s, special := spelling[r]; {
		case special:
			b.WriteString(s)
		case 'A' <= r && r <= 'Z':
			b.WriteRune(r + 'a' - 'A')
		case 'a' <= r && r <= 'z':
			b.WriteRune(r)
		}
	}
	return b.String()
}
