package normalize

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the specification says so; nothing is protected by it
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/netip"
)

// stepCommunityID gives the Community ID, version 1 and seed 0, of a flow that
// is written "source address,destination address,source port,destination
// port,protocol", the protocol as a number, a name or as flow logs abbreviate it.
// Both directions of a flow have one id, in every product that knows it.
// https://github.com/corelight/community-id-spec
//
// ICMP has none: the id needs the type and code of the message, which Azure's
// logs lack.
func stepCommunityID(w *Worker, text []byte, _ string) ([]byte, bool) {
	var fields [5][]byte
	for i := range fields {
		end := bytes.IndexByte(text, ',')
		if (end >= 0) != (i < len(fields)-1) {
			return nil, false
		}
		if end < 0 {
			fields[i] = text
			break
		}
		fields[i], text = text[:end], text[end+1:]
	}
	protocol, ok := protocolNumber(fields[4])
	if !ok || protocol == 1 || protocol == 58 {
		return nil, false
	}
	var message [2 + 16 + 16 + 2 + 4]byte
	var source, destination [16]byte
	size, ok1 := parseIP(fields[0], &source)
	size2, ok2 := parseIP(fields[1], &destination)
	if !ok1 || !ok2 || size != size2 {
		return nil, false
	}
	ports := protocol == 6 || protocol == 17 || protocol == 132
	var from, to uint16
	if ports {
		var ok1, ok2 bool
		from, ok1 = parsePort(fields[2])
		to, ok2 = parsePort(fields[3])
		if !ok1 || !ok2 {
			return nil, false
		}
	}
	if order := bytes.Compare(source[:size], destination[:size]); order > 0 || order == 0 && from > to {
		source, destination, from, to = destination, source, to, from
	}
	m := message[:2] // the seed
	m = append(m, source[:size]...)
	m = append(m, destination[:size]...)
	m = append(m, protocol, 0)
	if ports {
		m = binary.BigEndian.AppendUint16(m, from)
		m = binary.BigEndian.AppendUint16(m, to)
	}
	sum := sha1.Sum(m) //nolint:gosec // as above
	mark := len(w.text)
	w.text = append(w.text, "1:"...)
	w.text = base64.StdEncoding.AppendEncode(w.text, sum[:])
	return w.text[mark:len(w.text):len(w.text)], true
}

// protocolNumber returns the IANA number of a transport protocol.
func protocolNumber(text []byte) (byte, bool) {
	if n, ok := readNumber(text, 3); ok {
		return byte(n), n <= math.MaxUint8
	}
	switch {
	case foldEqual(text, "tcp") || foldEqual(text, "t"):
		return 6, true
	case foldEqual(text, "udp") || foldEqual(text, "u"):
		return 17, true
	case foldEqual(text, "sctp"):
		return 132, true
	case foldEqual(text, "gre"):
		return 47, true
	case foldEqual(text, "esp"):
		return 50, true
	case foldEqual(text, "icmp"):
		return 1, true
	}
	return 0, false
}

func parsePort(text []byte) (uint16, bool) {
	n, ok := readNumber(text, 5)
	return uint16(n), ok && n <= math.MaxUint16
}

// readNumber reads a text of one to most digits.
func readNumber(text []byte, most int) (n int, ok bool) {
	if len(text) == 0 || len(text) > most {
		return 0, false
	}
	for _, c := range text {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return n, true
}

// parseIP reads an address into 4 or 16 bytes.
func parseIP(text []byte, to *[16]byte) (size int, ok bool) {
	if readIPv4(text, to) {
		return 4, true
	}
	if !isAddress(text) {
		return 0, false
	}
	address, err := netip.ParseAddr(string(text)) // the string is the only allocation here
	if err != nil {
		return 0, false
	}
	*to = address.As16()
	return len(to), true
}
