// Package geo looks addresses up in databases of the MaxMind format: GeoLite2,
// GeoIP2 or DB-IP, whichever file the user has. The files are mapped into
// memory, so they cost little; replace one by renaming another over it, then
// restart Lazuli.
package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/lazuli-logs/lazuli/internal/normalize"
)

// Database is a normalize.Locator.
type Database struct {
	city, asn *maxminddb.Reader // nil: none
}

// Open opens a database of places (City or Country) and one of networks (ASN).
// An empty name is none. The error names the file.
func Open(city, asn string) (*Database, error) {
	d := &Database{}
	var err error
	if d.city, err = open(city, "City", "Country", "Enterprise"); err != nil {
		return nil, err
	}
	if d.asn, err = open(asn, "ASN", "ISP"); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func open(name string, kinds ...string) (*maxminddb.Reader, error) {
	if name == "" {
		return nil, nil
	}
	r, err := maxminddb.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the geo database %s: %w; it must be a file in MaxMind's format (.mmdb)", name, err)
	}
	for _, kind := range kinds {
		if strings.Contains(r.Metadata.DatabaseType, kind) {
			return r, nil
		}
	}
	err = fmt.Errorf("open the geo database %s: its type is %q, but one of %s is needed here", name, r.Metadata.DatabaseType, strings.Join(kinds, ", "))
	return nil, errors.Join(err, r.Close())
}

// Close releases the files. No lookup may be under way.
func (d *Database) Close() error {
	var errs []error
	for _, r := range []*maxminddb.Reader{d.city, d.asn} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}

type names struct {
	English string `maxminddb:"en"`
}

type place struct {
	City struct {
		Names names `maxminddb:"names"`
	} `maxminddb:"city"`
	Continent struct {
		Code  string `maxminddb:"code"`
		Names names  `maxminddb:"names"`
	} `maxminddb:"continent"`
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
		Names   names  `maxminddb:"names"`
	} `maxminddb:"country"`
	Location struct {
		Latitude  *float64 `maxminddb:"latitude"`
		Longitude *float64 `maxminddb:"longitude"`
		TimeZone  string   `maxminddb:"time_zone"`
	} `maxminddb:"location"`
	Postal struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"postal"`
	Subdivisions []struct {
		ISOCode string `maxminddb:"iso_code"`
		Names   names  `maxminddb:"names"`
	} `maxminddb:"subdivisions"`
}

type network struct {
	Number       uint32 `maxminddb:"autonomous_system_number"`
	Organization string `maxminddb:"autonomous_system_organization"`
}

// Locate implements normalize.Locator. What cannot be read in a damaged file is
// not known.
func (d *Database) Locate(addr netip.Addr) *normalize.Location {
	l := &normalize.Location{}
	found := false
	if d.city != nil {
		var p place
		if r := d.city.Lookup(addr); r.Found() && r.Decode(&p) == nil {
			found = true
			p.fill(l)
		}
	}
	if d.asn != nil {
		var n network
		if r := d.asn.Lookup(addr); r.Found() && r.Decode(&n) == nil {
			found = true
			l.ASNumber, l.ASOrganization = n.Number, n.Organization
		}
	}
	if !found {
		return nil
	}
	return l
}

func (p *place) fill(l *normalize.Location) {
	l.ContinentCode, l.ContinentName = p.Continent.Code, p.Continent.Names.English
	l.CountryISOCode, l.CountryName = p.Country.ISOCode, p.Country.Names.English
	l.CityName, l.PostalCode, l.Timezone = p.City.Names.English, p.Postal.Code, p.Location.TimeZone
	if len(p.Subdivisions) > 0 {
		s := &p.Subdivisions[0]
		l.RegionName = s.Names.English
		if s.ISOCode != "" && l.CountryISOCode != "" {
			l.RegionISOCode = l.CountryISOCode + "-" + s.ISOCode
		}
	}
	if p.Location.Latitude != nil && p.Location.Longitude != nil {
		l.Latitude, l.Longitude, l.HasCoordinates = *p.Location.Latitude, *p.Location.Longitude, true
	}
}
