package normalize

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// A step turns a text into another, or says that it gives none. What it returns
// may alias the text or the worker's scratch.
type step struct {
	name     string
	run      func(w *Worker, text []byte, argument string) ([]byte, bool)
	argument string
	part     int   // of "part 3"
	chain    int32 // of this step and those before it, if other rules have them too, else 0
}

// A finisher appends a text as JSON that is not the text itself.
type finisher func(w *Worker, dst, text []byte, argument string) ([]byte, bool)

type stepInfo struct {
	run       func(w *Worker, text []byte, argument string) ([]byte, bool)
	argument  bool     // one is needed
	arguments []string // the ones there are, if not any
	valid     func(argument string) bool
	usage     string
}

// steps and finishers are the transforms of the table language, described in
// README.md.
var steps = map[string]stepInfo{
	"add":          {run: stepAdd, argument: true, usage: "add -read"},
	"hyphens":      {run: stepHyphens, usage: "hyphens"},
	"lower":        {run: stepLower, usage: "lower"},
	"upper":        {run: stepUpper, usage: "upper"},
	"trim":         {run: stepTrim, usage: "trim"},
	"text":         {run: stepText, usage: "text"},
	"before":       {run: stepBefore, argument: true, usage: "before @"},
	"after":        {run: stepAfter, argument: true, usage: "after @"},
	"until":        {run: stepUntil, argument: true, usage: `until ". "`},
	"past":         {run: stepPast, argument: true, usage: `past "Action: "`},
	"part":         {run: stepPart, argument: true, valid: validParts, usage: "part 3, part 2-6 or part 11,13, each with ; or another separator after it if that is no comma"},
	"unquote":      {run: stepUnquote, usage: "unquote"},
	"member":       {run: stepMember, argument: true, usage: "member principalId"},
	"scale":        {run: stepScale, argument: true, usage: "scale 1000"},
	"without":      {run: stepWithout, argument: true, usage: `without ": "`},
	"host":         {run: stepHost, usage: "host"},
	"http_outcome": {run: stepHTTPOutcome, usage: "http_outcome"},
	"ip":           {run: stepIP, usage: "ip"},
	"port":         {run: stepPort, usage: "port"},
	"mac":          {run: stepMAC, usage: "mac"},
	"url":          {run: stepURL, argument: true, arguments: urlParts, usage: "url scheme|domain|port|path|extension|query|fragment"},
	"community_id": {run: stepCommunityID, usage: "community_id"},
	"resource":     {run: stepResource, argument: true, arguments: resourceParts, usage: "resource tenant|subscription|group|provider|provider_namespace|name|namespace|authorization_rule"},
	"geo":          {run: stepGeo, argument: true, arguments: geoParts, usage: "geo city_name|country_iso_code|..."},
	"user_agent":   {run: stepUserAgent, argument: true, arguments: userAgentParts, usage: "user_agent name|version|os_name|os_version|os_full|device"},
}

type finisherInfo struct {
	run      finisher
	argument bool
	usage    string
}

var finishers = map[string]finisherInfo{
	"number":      {run: finishNumber, usage: "number"},
	"bool":        {run: finishBool, usage: "bool"},
	"timestamp":   {run: finishTimestamp, usage: "timestamp"},
	"duration_ms": {run: finishDuration, usage: "duration_ms"},
	"duration_s":  {run: finishSeconds, usage: "duration_s"},
	"sum":         {run: finishSum, usage: "sum"},
	"split":       {run: finishSplit, argument: true, usage: "split ;"},
	"json":        {run: finishJSON, usage: "json"},
}

func stepText(_ *Worker, text []byte, _ string) ([]byte, bool) { return text, true }

func stepTrim(_ *Worker, text []byte, _ string) ([]byte, bool) { return bytes.TrimSpace(text), true }

func stepLower(w *Worker, text []byte, _ string) ([]byte, bool) {
	mark := len(w.text)
	w.text = appendLower(w.text, text)
	return w.text[mark:len(w.text):len(w.text)], true
}

func stepUpper(w *Worker, text []byte, _ string) ([]byte, bool) {
	mark := len(w.text)
	for _, c := range text {
		if c-'a' <= 'z'-'a' {
			c &^= 0x20
		}
		w.text = append(w.text, c)
	}
	return w.text[mark:len(w.text):len(w.text)], true
}

// stepAdd gives the text with the argument after it; of nothing it makes nothing.
func stepAdd(w *Worker, text []byte, argument string) ([]byte, bool) {
	mark := len(w.text)
	w.text = append(append(w.text, text...), argument...)
	return w.text[mark:len(w.text):len(w.text)], len(text) > 0
}

// stepHyphens gives servicePrincipals as service-principals: small letters and
// digits, with hyphens where a word begins or other characters stand.
func stepHyphens(w *Worker, text []byte, _ string) ([]byte, bool) {
	mark := len(w.text)
	capital := true
	for _, c := range text {
		word := c-'a' <= 'z'-'a' || c-'0' <= 9
		upper := c-'A' <= 'Z'-'A'
		if len(w.text) > mark && (upper && !capital || !word && !upper) && w.text[len(w.text)-1] != '-' {
			w.text = append(w.text, '-')
		}
		if upper {
			c |= 0x20
		}
		if word || upper {
			w.text = append(w.text, c)
		}
		capital = upper
	}
	return w.text[mark:len(w.text):len(w.text)], len(w.text) > mark
}

// stepBefore gives what stands before the last occurrence of the argument, or
// the whole text if there is none.
func stepBefore(_ *Worker, text []byte, argument string) ([]byte, bool) {
	if i := bytes.LastIndex(text, []byte(argument)); i >= 0 {
		return text[:i], true
	}
	return text, true
}

// stepAfter gives what stands after the last occurrence of the argument, or
// nothing if there is none.
func stepAfter(_ *Worker, text []byte, argument string) ([]byte, bool) {
	if i := bytes.LastIndex(text, []byte(argument)); i >= 0 {
		return text[i+len(argument):], true
	}
	return nil, false
}

// stepUnquote gives the text that a text holds in quotes, as JSON: Entra writes
// changed values so. Any other text is given as it is.
func stepUnquote(w *Worker, text []byte, _ string) ([]byte, bool) {
	if len(text) < 2 || text[0] != '"' {
		return text, true
	}
	n, err := w.inner.Scan(text)
	if err != nil || n != len(text) {
		return text, true
	}
	mark := len(w.text)
	w.text = jsonscan.AppendUnescaped(w.text, w.inner.Text(0))
	return w.text[mark:len(w.text):len(w.text)], true
}

// stepMember gives the first plain value of that name, compared without case,
// in the JSON that a text holds, at any depth.
func stepMember(w *Worker, text []byte, name string) ([]byte, bool) {
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return nil, false
	}
	if n, err := w.inner.Scan(text); err != nil || n != len(text) {
		return nil, false
	}
	for n := range w.inner.Nodes {
		node := &w.inner.Nodes[n]
		key := w.inner.Key(n)
		if node.Kind >= jsonscan.Object || len(key) != len(name) || !strings.EqualFold(string(key), name) {
			continue
		}
		if node.Kind != jsonscan.String {
			return w.inner.Value(n), node.Kind != jsonscan.Null
		}
		mark := len(w.text)
		w.text = jsonscan.AppendUnescaped(w.text, w.inner.Text(n))
		return w.text[mark:len(w.text):len(w.text)], true
	}
	return nil, false
}

// stepScale multiplies a number, and rounds it to a whole one.
func stepScale(w *Worker, text []byte, factor string) ([]byte, bool) {
	f, err := strconv.ParseFloat(factor, 64)
	v, err2 := strconv.ParseFloat(string(text), 64)
	if v = math.Round(v * f); err != nil || err2 != nil || !(math.Abs(v) < 1<<62) {
		return nil, false
	}
	mark := len(w.text)
	w.text = strconv.AppendInt(w.text, int64(v), 10)
	return w.text[mark:len(w.text):len(w.text)], true
}

func stepIP(_ *Worker, text []byte, _ string) ([]byte, bool) {
	address, _ := splitAddress(text)
	return address, isAddress(address)
}

func stepPort(_ *Worker, text []byte, _ string) ([]byte, bool) {
	address, port := splitAddress(text)
	if len(port) == 0 || port[0] == '0' {
		return nil, false
	}
	n, err := strconv.ParseUint(string(port), 10, 16)
	return port, err == nil && n > 0 && isAddress(address)
}

var resourceParts = []string{"tenant", "subscription", "group", "provider", "provider_namespace", "name", "namespace", "authorization_rule"}

func stepResource(w *Worker, text []byte, part string) ([]byte, bool) {
	if !sameBytes(w.resource.source, text) { // several fields ask for the parts of one id
		w.resource = parseResourceID(text)
	}
	r := &w.resource
	switch part {
	case "tenant":
		text = r.tenant
	case "subscription":
		text = r.subscription
	case "group":
		text = r.group
	case "provider":
		text = r.provider
	case "provider_namespace":
		text, _ = cutSlash(r.provider)
	case "name":
		text = r.name
	case "namespace":
		text = r.namespace
	case "authorization_rule":
		text = r.authorization
	}
	return text, len(text) > 0
}

// sameBytes says whether two slices are the same memory.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
}

// finishNumber appends a number that stands in a string, digit for digit.
func finishNumber(_ *Worker, dst, text []byte, _ string) ([]byte, bool) {
	return append(dst, text...), isNumber(text)
}

// isNumber checks for the form that JSON has for numbers.
func isNumber(b []byte) bool {
	i := 0
	digits := func() bool {
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	zero := i < len(b) && b[i] == '0'
	from := i
	if !digits() || zero && i > from+1 {
		return false
	}
	if i < len(b) && b[i] == '.' {
		if i++; !digits() {
			return false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(b)
}

func finishBool(_ *Worker, dst, text []byte, _ string) ([]byte, bool) {
	switch {
	case foldEqual(text, "true") || string(text) == "1":
		return append(dst, "true"...), true
	case foldEqual(text, "false") || string(text) == "0":
		return append(dst, "false"...), true
	}
	return dst, false
}

func finishTimestamp(_ *Worker, dst, text []byte, _ string) ([]byte, bool) {
	t, canonical, ok := parseTime(text)
	if !ok {
		return dst, false
	}
	dst = append(dst, '"')
	if canonical {
		dst = append(dst, text...)
	} else {
		dst = appendTime(dst, t)
	}
	return append(dst, '"'), true
}

// finishDuration turns milliseconds into nanoseconds, ECS's unit for
// event.duration. What does not fit 64 bits, which is Elasticsearch's limit for
// it, is no duration.
func finishDuration(_ *Worker, dst, text []byte, _ string) ([]byte, bool) {
	return appendNanoseconds(dst, text, 1_000_000)
}

// finishSeconds does the same with seconds.
func finishSeconds(_ *Worker, dst, text []byte, _ string) ([]byte, bool) {
	return appendNanoseconds(dst, text, 1_000_000_000)
}

func appendNanoseconds(dst, text []byte, unit int64) ([]byte, bool) {
	if whole := bytes.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' }) < 0; whole && len(text) < 19 {
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || n > math.MaxInt64/unit {
			return dst, false
		}
		return strconv.AppendInt(dst, n*unit, 10), true
	}
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(n >= 0 && n < float64(math.MaxInt64/unit)) {
		return dst, false
	}
	return strconv.AppendInt(dst, int64(math.Round(n*float64(unit))), 10), true
}

func finishSplit(_ *Worker, dst, text []byte, separator string) ([]byte, bool) {
	if separator == "blank" {
		separator = " "
	}
	dst = append(dst, '[')
	opening := len(dst)
	for rest, more := text, true; more; {
		var part []byte
		part, rest, more = bytes.Cut(rest, []byte(separator))
		if part = bytes.TrimSpace(part); len(part) == 0 {
			continue
		}
		if len(dst) > opening {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, part)
	}
	return append(dst, ']'), len(dst) > opening
}

// finishJSON appends the JSON that a string holds; a string that holds none, or
// something after it, stays a string.
func finishJSON(w *Worker, dst, text []byte, _ string) ([]byte, bool) {
	n, err := w.inner.Scan(text)
	if err != nil || len(bytes.TrimSpace(text[n:])) > 0 || w.inner.Nodes[0].Kind < jsonscan.Object {
		return appendQuoted(dst, text), true
	}
	outer := w.x
	w.x = &w.inner
	dst = w.appendTree(dst, 0, plainTrees[keepNames])
	w.x = outer
	return dst, true
}
