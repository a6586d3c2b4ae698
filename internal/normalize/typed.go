package normalize

import (
	"bytes"
	"math"
	"net/netip"
	"strconv"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/normalize/ocsf"
)

// appendTyped appends node n as a value of the rule's type, or returns false
// if it cannot be one.
func (w *Worker) appendTyped(dst []byte, r *rule, n int) ([]byte, bool) {
	kind := w.x.Nodes[n].Kind
	if r.steps == nil && r.cases == nil {
		switch r.typ {
		case ocsf.String, ocsf.Username, ocsf.FileName, ocsf.FileHash, ocsf.ProcessName, ocsf.ResourceUID:
			if kind == jsonscan.String {
				return w.appendJSON(dst, n), len(w.x.Text(n)) > 0
			}
		case ocsf.JSON:
			return w.appendTree(dst, n, plainTrees[keepNames]), true
		case ocsf.AnyObject:
			if kind != jsonscan.Object {
				return dst, false
			}
			return w.appendTree(dst, n, plainTrees[keepNames]), true
		}
	}
	if node := &w.x.Nodes[n]; kind == jsonscan.String && node.Flags&(jsonscan.Escaped|jsonscan.NotUTF8) == 0 && r.cases == nil {
		text := w.x.Src[node.Start+1 : node.End-1]
		if len(text) == 0 || !r.only.has(kind) {
			return dst, false
		}
		text, ok := w.step(r, text)
		if !ok {
			return dst, false
		}
		return w.appendTypedText(dst, r.typ, text, true)
	}
	text, ok := w.textOf(r.only, n)
	if !ok {
		return dst, false
	}
	clean := w.x.Nodes[n].Flags&(jsonscan.Escaped|jsonscan.NotUTF8) == 0 && kind < jsonscan.Object
	return w.appendTransformed(dst, r, text, clean)
}

// appendTypedText appends a text as a value of a type, or returns false if it
// cannot be one. Clean text needs no escapes.
func (w *Worker) appendTypedText(dst []byte, typ ocsf.Type, text []byte, clean bool) ([]byte, bool) {
	switch typ {
	case ocsf.Integer:
		v, ok := parseInteger(text)
		return strconv.AppendInt(dst, v, 10), ok && v >= math.MinInt32 && v <= math.MaxInt32
	case ocsf.Long:
		v, ok := parseInteger(text)
		return strconv.AppendInt(dst, v, 10), ok
	case ocsf.Float:
		f, err := strconv.ParseFloat(string(text), 64)
		return append(dst, text...), isNumber(text) && err == nil && !math.IsInf(f, 0)
	case ocsf.Boolean:
		return finishBool(w, dst, text, "")
	case ocsf.Timestamp:
		t, _, ok := parseTime(text)
		if !ok {
			return dst, false
		}
		return strconv.AppendInt(dst, t.UnixMilli(), 10), true
	case ocsf.Port:
		if address, port := splitAddress(text); len(port) > 0 && isAddress(address) {
			text = port
		}
		v, ok := parseInteger(text)
		return strconv.AppendInt(dst, v, 10), ok && v >= 0 && v <= math.MaxUint16
	case ocsf.IP:
		address, port := splitAddress(text)
		if !isAddress(address) {
			return dst, false
		}
		w.partial = len(port) > 0
		text, clean = address, true
	case ocsf.MAC:
		return appendMAC(dst, text)
	case ocsf.UUID:
		if clean = true; !isUUID(text) {
			return dst, false
		}
	case ocsf.Subnet:
		if _, err := netip.ParsePrefix(string(text)); err != nil {
			return dst, false
		}
	case ocsf.Hostname:
		if clean = true; !isHostname(text) {
			return dst, false
		}
	case ocsf.Email:
		if clean = true; !isEmail(text) {
			return dst, false
		}
	case ocsf.URL:
		if !isURL(text) {
			return dst, false
		}
	case ocsf.JSON:
		return finishJSON(w, dst, text, "")
	case ocsf.AnyObject:
		return dst, false
	}
	if clean {
		dst = append(append(dst, '"'), text...)
		return append(dst, '"'), len(text) > 0
	}
	return appendQuoted(dst, text), len(text) > 0
}

// parseInteger reads a whole number of up to 64 bits; decimals may follow if
// they are zeros.
func parseInteger(b []byte) (v int64, ok bool) {
	if whole, decimals, found := bytes.Cut(b, []byte(".")); found && len(bytes.Trim(decimals, "0")) == 0 {
		b = whole
	}
	negative := len(b) > 1 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		if c -= '0'; c > 9 || v > (math.MaxInt64-int64(c))/10 {
			return 0, false
		}
		v = v*10 + int64(c)
	}
	if negative {
		v = -v
	}
	return v, true
}

// appendMAC appends a hardware address with colons; Azure writes most without.
func appendMAC(dst, text []byte) ([]byte, bool) {
	dst = append(dst, '"')
	digits := 0
	for i, c := range text {
		if isHexDigit(c) {
			if digits > 0 && digits%2 == 0 {
				dst = append(dst, ':')
			}
			dst = append(dst, c)
			digits++
		} else if c != ':' && c != '-' || len(text) != 17 || i%3 != 2 {
			return dst, false
		}
	}
	return append(dst, '"'), digits == 12
}

func isUUID(b []byte) bool {
	if len(b) != 36 {
		return false
	}
	for i, c := range b {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !isHexDigit(c) {
			return false
		}
	}
	return true
}

func isLetterOrDigit(c byte) bool { return c-'0' <= 9 || (c|0x20)-'a' <= 25 }

// isHostname takes what DNS takes in practice: with underscores, and a star for
// the first label.
func isHostname(b []byte) bool {
	b = bytes.TrimSuffix(b, []byte("."))
	if len(b) == 0 || len(b) > 254 {
		return false
	}
	if b[0] == '*' && len(b) > 1 && b[1] == '.' {
		b = b[2:]
	}
	label := 0
	for i, c := range b {
		switch {
		case isLetterOrDigit(c) || c == '_' || c == '-' && i > 0:
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
	}
	return label > 0
}

func isEmail(b []byte) bool {
	local, domain, found := bytes.Cut(b, []byte("@"))
	if !found || len(local) == 0 || len(domain) > 253 {
		return false
	}
	for _, c := range local {
		if !isLetterOrDigit(c) && bytes.IndexByte([]byte("!#$%&'*+/=?^_`{|}~.-"), c) < 0 {
			return false
		}
	}
	labels, length := 1, 0
	for _, c := range domain {
		switch {
		case isLetterOrDigit(c) || c == '-':
			length++
		case c == '.' && length > 0:
			labels, length = labels+1, 0
		default:
			return false
		}
	}
	return labels > 1 && length > 0
}

// isURL takes absolute URLs of a host, and paths.
func isURL(b []byte) bool {
	for i, c := range b {
		if c <= ' ' || c == 0x7f || c == '%' && (i+2 >= len(b) || !isHexDigit(b[i+1]) || !isHexDigit(b[i+2])) {
			return false
		}
	}
	if len(b) > 0 && b[0] == '/' {
		return len(b) == 1 || b[1] != '/'
	}
	scheme, rest, found := bytes.Cut(b, []byte("://"))
	if !found || len(scheme) == 0 {
		return false
	}
	for i, c := range scheme {
		if (c|0x20)-'a' > 25 && (i == 0 || c-'0' > 9 && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	if end := bytes.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	host, port := rest, []byte(nil)
	if len(rest) > 0 && rest[0] == '[' {
		host, port = splitAddress(rest)
		return isAddress(host) && len(host) > 0 && isPort(port)
	}
	if i := bytes.IndexByte(rest, ':'); i >= 0 {
		host, port = rest[:i], rest[i+1:]
	}
	return isHostname(host) && isPort(port)
}

func isPort(b []byte) bool {
	for _, c := range b {
		if c-'0' > 9 {
			return false
		}
	}
	return len(b) <= 5
}
