package geo

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/normalize"
)

// write makes a small database.
func write(t *testing.T, kind string, networks map[string]mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, value := range networks {
		_, n, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, value); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), kind+".mmdb")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func named(name string) mmdbtype.Map {
	return mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(name), "de": mmdbtype.String("anders")}}
}

func databases(t *testing.T) (city, asn string) {
	uppsala := mmdbtype.Map{
		"city":         named("Uppsala"),
		"continent":    mmdbtype.Map{"code": mmdbtype.String("EU"), "names": mmdbtype.Map{"en": mmdbtype.String("Europe")}},
		"country":      mmdbtype.Map{"iso_code": mmdbtype.String("SE"), "names": mmdbtype.Map{"en": mmdbtype.String("Sweden")}},
		"location":     mmdbtype.Map{"latitude": mmdbtype.Float64(59.8585), "longitude": mmdbtype.Float64(17.6454), "time_zone": mmdbtype.String("Europe/Stockholm")},
		"postal":       mmdbtype.Map{"code": mmdbtype.String("752 28")},
		"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String("C"), "names": mmdbtype.Map{"en": mmdbtype.String("Uppsala County")}}},
	}
	nowhere := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("NO")}}
	city = write(t, "GeoLite2-City", map[string]mmdbtype.Map{"192.0.2.0/24": uppsala, "2001:db8::/32": nowhere})
	asn = write(t, "DBIP-ASN-Lite (compat=GeoLite2-ASN)", map[string]mmdbtype.Map{
		"192.0.2.0/25": {"autonomous_system_number": mmdbtype.Uint32(64496), "autonomous_system_organization": mmdbtype.String("Example Net")},
	})
	return city, asn
}

func TestLocate(t *testing.T) {
	city, asn := databases(t)
	d, err := Open(city, asn)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for addr, want := range map[string]*normalize.Location{
		"192.0.2.1": {
			ContinentCode: "EU", ContinentName: "Europe", CountryISOCode: "SE", CountryName: "Sweden", RegionISOCode: "SE-C", RegionName: "Uppsala County",
			CityName: "Uppsala", PostalCode: "752 28", Timezone: "Europe/Stockholm", Latitude: 59.8585, Longitude: 17.6454, HasCoordinates: true,
			ASNumber: 64496, ASOrganization: "Example Net",
		},
		"2001:db8::1":  {CountryISOCode: "NO"},
		"198.51.100.1": nil,
	} {
		if diff := cmp.Diff(want, d.Locate(netip.MustParseAddr(addr))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", addr, diff)
		}
	}
}

func TestOpenRefusesWhatIsNoDatabase(t *testing.T) {
	city, asn := databases(t)
	junk := filepath.Join(t.TempDir(), "junk.mmdb")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, city, asn, want string }{
		{"missing", "/does/not/exist.mmdb", "", "/does/not/exist.mmdb"},
		{"no database", junk, "", "it must be a file in MaxMind's format"},
		{"databases exchanged", asn, city, `its type is "DBIP-ASN-Lite (compat=GeoLite2-ASN)", but one of City, Country, Enterprise is needed`},
		{"city twice", city, city, "but one of ASN, ISP is needed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Open(c.city, c.asn); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

// TestEventsAreLocated: the addresses of an event are looked up, but not where
// Azure itself says where they are.
func TestEventsAreLocated(t *testing.T) {
	city, asn := databases(t)
	d, err := Open(city, asn)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	options := normalize.DefaultOptions()
	options.Locator = d
	inSchema := func(schema normalize.Schema) func(string) string {
		m, err := normalize.Compile(schema, options)
		if err != nil {
			t.Fatal(err)
		}
		return func(record string) string {
			var x jsonscan.Index
			if _, err := x.Scan([]byte(record)); err != nil {
				t.Fatal(err)
			}
			out, _ := m.Worker().Append(nil, normalize.Input{Index: &x})
			return string(out)
		}
	}
	event := inSchema(normalize.ECS)
	got := event(`{"category":"Administrative","callerIpAddress":"192.0.2.1:443"}`)
	for _, want := range []string{
		`"source":{"address":"192.0.2.1:443","as":{"number":64496,"organization":{"name":"Example Net"}},"geo":{"city_name":"Uppsala","continent_code":"EU","continent_name":"Europe","country_iso_code":"SE","country_name":"Sweden","location":{"lat":59.8585,"lon":17.6454},"postal_code":"752 28","region_iso_code":"SE-C","region_name":"Uppsala County","timezone":"Europe/Stockholm"},"ip":"192.0.2.1","port":443}`,
		`"client":{"as":{"number":64496,`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %s: %s", want, got)
		}
	}
	if got := event(`{"category":"Administrative","callerIpAddress":"198.51.100.1"}`); strings.Contains(got, `"geo"`) {
		t.Errorf("an address that is not known has a place: %s", got)
	}
	got = event(`{"category":"UserRiskEvents","properties":{"ipAddress":"192.0.2.1","location":{"city":"Lund"}}}`)
	if !strings.Contains(got, `"source":{"address":"192.0.2.1","as":{"number":64496,"organization":{"name":"Example Net"}},"geo":{"city_name":"Lund"},"ip":"192.0.2.1"}`) {
		t.Errorf("Azure's own place is mixed with another: %s", got)
	}

	event = inSchema(normalize.OCSF)
	got = event(`{"category":"Administrative","operationName":"x/write","callerIpAddress":"192.0.2.1:443"}`)
	if want := `"src_endpoint":{"autonomous_system":{"name":"Example Net","number":64496},"ip":"192.0.2.1","location":{"city":"Uppsala","continent":"Europe","country":"SE","lat":59.8585,"long":17.6454,"postal_code":"752 28","region":"SE-C"}}`; !strings.Contains(got, want) {
		t.Errorf("lacks %s: %s", want, got)
	}
	if got := event(`{"category":"Administrative","operationName":"x/write","callerIpAddress":"198.51.100.1"}`); strings.Contains(got, `"location"`) {
		t.Errorf("an address that is not known has a place: %s", got)
	}
	got = event(`{"category":"UserRiskEvents","properties":{"ipAddress":"192.0.2.1","location":{"city":"Lund"}}}`)
	if strings.Contains(got, "Uppsala") || !strings.Contains(got, `"Lund"`) {
		t.Errorf("Azure's own place is mixed with another: %s", got)
	}
}
