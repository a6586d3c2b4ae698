package normalize

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Location is what is known of an address: where it is, and whose network it
// belongs to. What is not known is empty.
type Location struct {
	ContinentCode, ContinentName   string // EU, Europe
	CountryISOCode, CountryName    string // SE, Sweden
	RegionISOCode, RegionName      string // SE-C, Uppsala County
	CityName, PostalCode, Timezone string
	Latitude, Longitude            float64
	HasCoordinates                 bool
	ASNumber                       uint32
	ASOrganization                 string
}

// Locator looks addresses up. It is safe for concurrent use; nil says that
// nothing is known of an address.
type Locator interface {
	Locate(netip.Addr) *Location
}

var geoParts = []string{
	"city_name", "continent_code", "continent_name", "country_iso_code", "country_name", "postal_code", "region_iso_code", "region_name",
	"timezone", "lat", "lon", "as_number", "as_organization",
}

// knownAddresses bounds how many addresses a worker remembers: those of a
// tenant come again and again.
const knownAddresses = 4096

func (w *Worker) locate(text []byte) *Location {
	if w.m.locator == nil {
		return nil
	}
	if sameBytes(w.located.source, text) { // several fields ask for the parts of one address
		return w.located.location
	}
	l, known := w.located.known[string(text)]
	if !known {
		if addr, err := netip.ParseAddr(string(text)); err == nil {
			l = w.m.locator.Locate(addr.Unmap().WithZone(""))
		}
		if w.located.known == nil || len(w.located.known) == knownAddresses {
			w.located.known = make(map[string]*Location, knownAddresses/8)
		}
		w.located.known[string(text)] = l
	}
	w.located.source, w.located.location = text, l
	return l
}

// located remembers addresses, and the last one of the record.
type located struct {
	source   []byte
	location *Location
	known    map[string]*Location
}

func stepGeo(w *Worker, text []byte, part string) ([]byte, bool) {
	l := w.locate(text)
	if l == nil {
		return nil, false
	}
	mark := len(w.text)
	switch part {
	case "city_name":
		w.text = append(w.text, l.CityName...)
	case "continent_code":
		w.text = append(w.text, l.ContinentCode...)
	case "continent_name":
		w.text = append(w.text, l.ContinentName...)
	case "country_iso_code":
		w.text = append(w.text, l.CountryISOCode...)
	case "country_name":
		w.text = append(w.text, l.CountryName...)
	case "postal_code":
		w.text = append(w.text, l.PostalCode...)
	case "region_iso_code":
		w.text = append(w.text, l.RegionISOCode...)
	case "region_name":
		w.text = append(w.text, l.RegionName...)
	case "timezone":
		w.text = append(w.text, l.Timezone...)
	case "lat", "lon":
		v := l.Latitude
		if part == "lon" {
			v = l.Longitude
		}
		if l.HasCoordinates {
			w.text = strconv.AppendFloat(w.text, v, 'f', -1, 64)
		}
	case "as_number":
		if l.ASNumber > 0 {
			w.text = strconv.AppendUint(w.text, uint64(l.ASNumber), 10)
		}
	case "as_organization":
		w.text = append(w.text, l.ASOrganization...)
	}
	return w.text[mark:len(w.text):len(w.text)], len(w.text) > mark
}

// places says where a schema has what a lookup tells of an address: in each of
// the endpoints, beside its ip.
type places struct {
	endpoints []string
	place, as string // the objects for the place and the network
	fields    []struct{ field, part string }
	numbers   bool // fields that hold numbers need a transform to make them so
}

var placesOf = map[Schema]places{
	ECS: {
		endpoints: []string{"source", "destination", "client", "server"},
		place:     "geo", as: "as", numbers: true,
		fields: []struct{ field, part string }{
			{"geo.city_name", "city_name"},
			{"geo.continent_code", "continent_code"},
			{"geo.continent_name", "continent_name"},
			{"geo.country_iso_code", "country_iso_code"},
			{"geo.country_name", "country_name"},
			{"geo.postal_code", "postal_code"},
			{"geo.region_iso_code", "region_iso_code"},
			{"geo.region_name", "region_name"},
			{"geo.timezone", "timezone"},
			{"geo.location.lat", "lat"},
			{"geo.location.lon", "lon"},
			{"as.number", "as_number"},
			{"as.organization.name", "as_organization"},
		},
	},
	OCSF: {
		endpoints: []string{"src_endpoint", "dst_endpoint"},
		place:     "location", as: "autonomous_system",
		fields: []struct{ field, part string }{
			{"location.city", "city_name"},
			{"location.continent", "continent_name"},
			{"location.country", "country_iso_code"},
			{"location.postal_code", "postal_code"},
			{"location.region", "region_iso_code"},
			{"location.lat", "lat"},
			{"location.long", "lon"},
			{"autonomous_system.number", "as_number"},
			{"autonomous_system.name", "as_organization"},
		},
	},
}

// rows returns the rows that set place and network beside each address that rows
// set. Where a table takes the place from the record, that is left alone: parts
// of two opinions would make a place that nobody has named.
func (p *places) rows(rows []rowSpec) (out []rowSpec) {
	for _, e := range p.endpoints {
		sets := func(object string) bool {
			return slices.ContainsFunc(rows, func(r rowSpec) bool { return strings.HasPrefix(r.to, e+"."+object+".") })
		}
		ownPlace, ownAS := sets(p.place), sets(p.as)
		for _, row := range rows {
			if row.to != e+".ip" || row.value != nil || row.cases != nil {
				continue
			}
			for _, f := range p.fields {
				object, _, _ := strings.Cut(f.field, ".")
				if ownPlace && object == p.place || ownAS && object == p.as {
					continue
				}
				located := row
				located.to = e + "." + f.field
				located.as = append(slices.Clone(row.as), "ip", "geo "+f.part)
				if p.numbers && (f.part == "lat" || f.part == "lon" || f.part == "as_number") {
					located.as = append(located.as, "number")
				}
				out = append(out, located)
			}
		}
	}
	return out
}
