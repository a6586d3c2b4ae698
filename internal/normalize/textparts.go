package normalize

import (
	"bytes"
	"strconv"
	"strings"
)

// textparts.go cuts texts that hold several values: flow tuples, the messages of
// firewalls, URLs.

// A partList is where the parts of a text begin that lie between separators. It
// is kept while fields ask for parts of one text.
// What comes after maxParts parts is not looked at.
type partList struct {
	source    []byte
	separator byte
	starts    []int32 // of each part, and of one more after the end
}

func (l *partList) of(text []byte, separator byte) {
	if sameBytes(l.source, text) && l.separator == separator {
		return
	}
	l.source, l.separator = text, separator
	l.starts = append(l.starts[:0], 0)
	for i := 0; len(l.starts) <= maxParts; {
		n := bytes.IndexByte(text[i:], separator)
		if n < 0 {
			l.starts = append(l.starts, int32(len(text)+1))
			break
		}
		i += n + 1
		l.starts = append(l.starts, int32(i))
	}
}

const maxParts = 99

// between returns the text from one part to another, or nil if it has not so many.
func (l *partList) between(first, last int) []byte {
	if first < 1 || last < first || last >= len(l.starts) {
		return nil
	}
	return l.source[l.starts[first-1] : l.starts[last]-1]
}

// validParts checks the argument of part: "3", "2-6" or "11,13", then the
// separator if it is not a comma.
func validParts(argument string) bool {
	list, separator, given := strings.Cut(argument, " ")
	if given && separator != "blank" && len(separator) != 1 {
		return false
	}
	for item := range strings.SplitSeq(list, ",") {
		first, last, ranged := strings.Cut(item, "-")
		a, err := strconv.Atoi(first)
		if err != nil || a < 1 || a > maxParts {
			return false
		}
		if b, err := strconv.Atoi(last); ranged && (err != nil || b <= a || b > maxParts) {
			return false
		}
	}
	return true
}

// stepPart gives the parts that the argument names, those of a list joined by
// commas.
func stepPart(w *Worker, text []byte, argument string) ([]byte, bool) {
	list, separator := argument, byte(',')
	if i := strings.IndexByte(argument, ' '); i >= 0 {
		list, separator = argument[:i], argument[i+1]
		if argument[i+1:] == "blank" {
			separator = ' '
		}
	}
	l := &w.parts
	l.of(text, separator)
	first, i := smallNumber(list, 0)
	last := first
	if i < len(list) && list[i] == '-' {
		last, i = smallNumber(list, i+1)
	}
	part := l.between(first, last)
	if i == len(list) {
		return part, len(part) > 0
	}
	mark := len(w.text)
	w.text = append(w.text, part...)
	for i < len(list) {
		first, i = smallNumber(list, i+1)
		last = first
		if i < len(list) && list[i] == '-' {
			last, i = smallNumber(list, i+1)
		}
		w.text = append(append(w.text, ','), l.between(first, last)...)
	}
	return w.text[mark:len(w.text):len(w.text)], true
}

// smallNumber reads the digits of s from i on.
func smallNumber(s string, i int) (n, end int) {
	for i < len(s) && s[i]-'0' <= 9 {
		n = n*10 + int(s[i]-'0')
		i++
	}
	return n, i
}

// stepUntil gives what stands before the first occurrence of the argument, or
// the whole text if there is none.
func stepUntil(_ *Worker, text []byte, argument string) ([]byte, bool) {
	if i := indexOf(text, argument); i >= 0 {
		text = text[:i]
	}
	return text, true
}

// stepPast gives what stands after the first occurrence of the argument, or
// nothing if there is none.
func stepPast(_ *Worker, text []byte, argument string) ([]byte, bool) {
	i := indexOf(text, argument)
	if i < 0 {
		return nil, false
	}
	return text[i+len(argument):], true
}

// indexOf is bytes.Index for a string: the conversion would allocate where the
// compiler does not see that it need not.
func indexOf(text []byte, s string) int {
	for from := 0; ; {
		i := bytes.IndexByte(text[from:], s[0])
		if i < 0 || len(text)-from-i < len(s) {
			return -1
		}
		if from += i; string(text[from:from+len(s)]) == s {
			return from
		}
		from++
	}
}

// stepMAC gives a hardware address in the form of ECS, 00-0D-3A-F8-78-56.
func stepMAC(w *Worker, text []byte, _ string) ([]byte, bool) {
	mark, digits := len(w.text), 0
	for _, c := range text {
		switch {
		case isHexDigit(c):
			if digits > 0 && digits%2 == 0 {
				w.text = append(w.text, '-')
			}
			if c >= 'a' {
				c &^= 0x20
			}
			w.text = append(w.text, c)
			digits++
		case c != '-' && c != ':' && c != '.':
			return nil, false
		}
	}
	return w.text[mark:len(w.text):len(w.text)], digits == 12
}

var urlParts = []string{"scheme", "domain", "port", "path", "extension", "query", "fragment"}

// urlText is what a URL says: all parts alias it.
type urlText struct {
	source                                           []byte
	scheme, domain, port, path, query, fragment, ext []byte
}

func stepURL(w *Worker, text []byte, part string) ([]byte, bool) {
	if !sameBytes(w.url.source, text) {
		w.url = parseURL(text)
	}
	u := &w.url
	switch part {
	case "scheme":
		text = u.scheme
	case "domain":
		text = u.domain
	case "port":
		text = u.port
	case "path":
		text = u.path
	case "extension":
		text = u.ext
	case "query":
		text = u.query
	case "fragment":
		text = u.fragment
	}
	return text, len(text) > 0
}

// parseURL cuts a URL into its parts: an absolute one, one without a scheme as
// firewalls write it, or a path. Parts are not checked, nor unescaped.
func parseURL(text []byte) urlText {
	u := urlText{source: text}
	rest := text
	if i := bytes.IndexByte(rest, '#'); i >= 0 {
		rest, u.fragment = rest[:i], rest[i+1:]
	}
	if i := bytes.IndexByte(rest, '?'); i >= 0 {
		rest, u.query = rest[:i], rest[i+1:]
	}
	if i := indexOf(rest, "://"); i >= 0 {
		u.scheme, rest = rest[:i], rest[i+len("://"):]
	}
	host := rest
	if i := bytes.IndexByte(rest, '/'); i >= 0 {
		host, u.path = rest[:i], rest[i:]
	}
	if i := bytes.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	u.domain, u.port = splitAddress(host)
	name := u.path
	if i := bytes.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	if i := bytes.LastIndexByte(name, '.'); i > 0 {
		u.ext = name[i+1:]
	}
	return u
}

// finishSum adds the whole numbers that stand between commas or plus signs;
// what is empty counts for nothing.
func finishSum(_ *Worker, dst, text []byte, _ string) ([]byte, bool) {
	var sum uint64
	digits, numbers := 0, 0
	var n uint64
	for i := 0; i <= len(text); i++ {
		switch {
		case i < len(text) && text[i]-'0' <= 9 && digits < 18:
			n = n*10 + uint64(text[i]-'0')
			digits++
		case i == len(text) || text[i] == ',' || text[i] == '+':
			if digits > 0 {
				numbers++
			}
			sum += n
			n, digits = 0, 0
			if sum >= 1<<63 {
				return dst, false
			}
		default:
			return dst, false
		}
	}
	return strconv.AppendUint(dst, sum, 10), numbers > 0
}

// stepHost gives the name in shop.example or shop.example:443, or nothing if it
// is an address.
func stepHost(_ *Worker, text []byte, _ string) ([]byte, bool) {
	name, _ := splitAddress(text)
	for _, c := range name {
		if c <= ' ' || c == ':' || c == '/' {
			return nil, false
		}
	}
	return name, !isAddress(name)
}

// stepWithout gives the text if the argument does not occur in it.
func stepWithout(_ *Worker, text []byte, argument string) ([]byte, bool) {
	return text, indexOf(text, argument) < 0
}

// stepHTTPOutcome tells success from failure by an HTTP status.
func stepHTTPOutcome(w *Worker, text []byte, _ string) ([]byte, bool) {
	if len(text) != 3 || text[0] < '1' || text[0] > '5' {
		return nil, false
	}
	outcome := "success"
	if text[0] >= '4' {
		outcome = "failure"
	}
	mark := len(w.text)
	w.text = append(w.text, outcome...)
	return w.text[mark:len(w.text):len(w.text)], true
}
