package normalize

import "bytes"

// splitAddress cuts 10.0.0.1, 10.0.0.1:443, 2001:db8::1, [2001:db8::1] and
// [2001:db8::1]:443. The address is not checked.
func splitAddress(text []byte) (address, port []byte) {
	text = bytes.TrimSpace(text)
	if len(text) > 0 && text[0] == '[' {
		if end := bytes.IndexByte(text, ']'); end > 0 {
			address = text[1:end]
			if end+1 < len(text) && text[end+1] == ':' {
				port = text[end+2:]
			}
			return address, port
		}
	}
	if i := bytes.IndexByte(text, ':'); i >= 0 && bytes.IndexByte(text[i+1:], ':') < 0 {
		return text[:i], text[i+1:]
	}
	return text, nil
}

// isAddress says whether b is an IP address as Elasticsearch's type ip takes
// it: without a zone. netip.ParseAddr would do but for the string it allocates.
func isAddress(b []byte) bool {
	if bytes.IndexByte(b, ':') < 0 {
		return isIPv4(b)
	}
	groups, elided := 0, false
	if bytes.HasPrefix(b, []byte("::")) {
		elided = true
		b = b[2:]
	}
	for len(b) > 0 {
		n := 0
		for n < len(b) && n < 5 && isHexDigit(b[n]) {
			n++
		}
		if n < len(b) && b[n] == '.' { // the last 32 bits as IPv4
			groups += 2
			return isIPv4(b) && (groups == 8 && !elided || groups < 8 && elided)
		}
		if n == 0 || n > 4 {
			return false
		}
		groups++
		if b = b[n:]; len(b) == 0 {
			break
		}
		if b[0] != ':' || len(b) == 1 {
			return false
		}
		if b = b[1:]; b[0] == ':' {
			if elided {
				return false
			}
			elided = true
			b = b[1:]
		}
	}
	return groups == 8 && !elided || groups < 8 && elided
}

func isIPv4(b []byte) bool {
	var address [16]byte
	return readIPv4(b, &address)
}

// readIPv4 reads an address into the first four bytes.
func readIPv4(b []byte, to *[16]byte) bool {
	if len(b) > len("255.255.255.255") {
		return false
	}
	part, digits, value := 0, 0, 0
	for _, c := range b {
		if c == '.' {
			if digits == 0 || part == 3 {
				return false
			}
			to[part] = byte(value)
			part, digits, value = part+1, 0, 0
			continue
		}
		if c -= '0'; c > 9 || digits > 0 && value == 0 { // no zero goes before
			return false
		}
		digits++
		if value = value*10 + int(c); value > 255 {
			return false
		}
	}
	to[3] = byte(value)
	return part == 3 && digits > 0
}

func isHexDigit(c byte) bool { return c-'0' <= 9 || (c|0x20)-'a' <= 5 }
