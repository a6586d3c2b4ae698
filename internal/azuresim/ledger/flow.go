package ledger

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
)

// Records of network traffic have no id; recordid.Flow says what they have
// instead. They are found
//
//   - as Azure writes them, also escaped within a string: the tuples after
//     "flowTuples", and "SourceIp", "SourcePort", "DestinationIp" of firewalls;
//   - else, in a line that holds nothing else of ours, by the fields of ECS
//     (source.ip, source.port, destination.ip) or OCSF (src_endpoint.ip,
//     src_endpoint.port, dst_endpoint.ip) at its top, where of two records with
//     the same ends the one that ends a connection is the one with bytes.

// flows appends the numbers of the traffic records that the line mentions as
// Azure writes them.
func (l *Ledger) flows(dst []uint64, line []byte) []uint64 {
	const tuples, firewall = "flowTuples", "SourceIp"
	for rest := line; ; {
		at := bytes.Index(rest, []byte(tuples))
		if at < 0 {
			break
		}
		rest = rest[at+len(tuples):]
		list, _, _ := bytes.Cut(rest, []byte{']'})
		for field := range bytes.FieldsFuncSeq(list, func(r rune) bool { return strings.ContainsRune(`"\[: `, r) }) {
			dst = l.tuple(dst, string(field))
		}
	}
	for rest := line; ; {
		at := bytes.Index(rest, []byte(firewall))
		if at < 0 {
			break
		}
		rest = rest[at:]
		near := rest[:min(len(rest), 512)] // a record's ends stand side by side
		source, port, destination := value(near, firewall), value(near, "SourcePort"), value(near, "DestinationIp")
		rest = rest[len(firewall):]
		dst = l.ends(dst, source, port, destination, false)
	}
	return dst
}

// value returns the text after a name, up to what ends it in JSON.
func value(b []byte, name string) string {
	_, rest, found := bytes.Cut(b, []byte(name))
	if !found {
		return ""
	}
	rest = bytes.TrimLeft(rest, `\": `)
	end := bytes.IndexAny(rest, `\",}`)
	if end < 0 || end > 40 {
		return ""
	}
	return string(rest[:end])
}

// tuple appends the number of a tuple of a flow log.
func (l *Ledger) tuple(dst []uint64, tuple string) []uint64 {
	fields := strings.Split(tuple, ",")
	if len(fields) < 8 {
		return dst
	}
	// The state is the eighth field of virtual networks, the ninth of security
	// groups of version 2.
	ended := fields[7] == "E" || (len(fields) > 8 && fields[8] == "E")
	return l.ends(dst, fields[1], fields[3], fields[2], ended)
}

// ends appends the number of the record with these ends; who began is the source.
func (l *Ledger) ends(dst []uint64, source, port, destination string, ended bool) []uint64 {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return dst
	}
	for _, text := range []string{source, destination} {
		address, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		if f, ok := l.space.ParsePlace(address, uint16(n)); ok {
			if f.Begun && ended {
				f.Number++
			}
			return append(dst, f.Number)
		}
	}
	return dst
}

// endpoint is one end in ECS or OCSF.
type endpoint struct {
	IP    string      `json:"ip"`
	Port  json.Number `json:"port"`
	Bytes json.Number `json:"bytes"`
}

// normalized appends the number of the traffic record that a line of ECS or OCSF is.
func (l *Ledger) normalized(dst []uint64, line []byte) []uint64 {
	if !bytes.Contains(line, []byte(`"port"`)) {
		return dst
	}
	var event struct {
		Source      endpoint `json:"source"`
		Destination endpoint `json:"destination"`
		From        endpoint `json:"src_endpoint"`
		To          endpoint `json:"dst_endpoint"`
		Traffic     struct {
			Bytes    json.Number `json:"bytes"`
			BytesIn  json.Number `json:"bytes_in"`
			BytesOut json.Number `json:"bytes_out"`
		} `json:"traffic"`
	}
	if json.Unmarshal(line, &event) != nil {
		return dst
	}
	if event.From.IP != "" {
		event.Source, event.Destination = event.From, event.To
	}
	ended := false
	for _, counted := range []json.Number{event.Source.Bytes, event.Destination.Bytes, event.Traffic.Bytes, event.Traffic.BytesIn, event.Traffic.BytesOut} {
		ended = ended || (counted != "" && counted != "0")
	}
	return l.ends(dst, event.Source.IP, event.Source.Port.String(), event.Destination.IP, ended)
}
