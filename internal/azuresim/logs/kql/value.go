package kql

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The types of columns, as the query API names them.
const (
	typeBool     = "bool"
	typeLong     = "long"
	typeReal     = "real"
	typeString   = "string"
	typeDatetime = "datetime"
	typeTimespan = "timespan"
	typeDynamic  = "dynamic"
)

// value is one value. Its type says which field counts; null is a value of any
// type.
type value struct {
	kind string
	null bool
	b    bool
	i    int64 // long; timespan in ticks; datetime in ticks since 1970
	f    float64
	s    string // string; dynamic: its JSON
}

func boolOf(b bool) value      { return value{kind: typeBool, b: b} }
func longOf(i int64) value     { return value{kind: typeLong, i: i} }
func realOf(f float64) value   { return value{kind: typeReal, f: f} }
func textOf(s string) value    { return value{kind: typeString, s: s} }
func spanOf(ticks int64) value { return value{kind: typeTimespan, i: ticks} }
func jsonOf(s string) value    { return value{kind: typeDynamic, s: s, null: s == "null" || s == ""} }
func nullOf(kind string) value { return value{kind: kind, null: kind != typeString} }
func (v value) truth() bool    { return !v.null && v.kind == typeBool && v.b }
func (v value) isNumber() bool { return v.kind == typeLong || v.kind == typeReal }
func (v value) float() float64 {
	if v.kind == typeReal {
		return v.f
	}
	return float64(v.i)
}

// Ticks counts the service's steps of 100 ns since 1970.
func Ticks(t time.Time) int64 { return t.Unix()*1e7 + int64(t.Nanosecond()/100) }

// Time is the inverse of Ticks.
func Time(ticks int64) time.Time {
	seconds := ticks / 1e7
	if ticks%1e7 < 0 {
		seconds--
	}
	return time.Unix(seconds, (ticks-seconds*1e7)*100).UTC()
}

func parseTime(s string) (int64, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return Ticks(t), true
		}
	}
	return 0, false
}

// formatTime writes as many decimals as there are, as the service does.
func formatTime(ticks int64) string { return Time(ticks).Format("2006-01-02T15:04:05.9999999Z") }

func unitTicks(unit string) (int64, bool) {
	switch unit {
	case "d", "day", "days":
		return 864e9, true
	case "h", "hour", "hours":
		return 36e9, true
	case "m", "min", "minute", "minutes":
		return 6e8, true
	case "s", "sec", "second", "seconds":
		return 1e7, true
	case "ms":
		return 1e4, true
	case "microsecond":
		return 10, true
	case "tick", "ticks":
		return 1, true
	}
	return 0, false
}

// parseSpan reads 1d, 1.5h, and [-][d.]hh:mm:ss[.fffffff].
func parseSpan(s string) (int64, bool) {
	if !strings.Contains(s, ":") {
		digits := len(s)
		for digits > 0 && isLetter(s[digits-1]) {
			digits--
		}
		unit, ok := unitTicks(s[digits:])
		if s[digits:] == "" {
			unit, ok = 864e9, true // timespan(1) are days
		}
		f, err := strconv.ParseFloat(s[:digits], 64)
		if !ok || err != nil || math.Abs(f*float64(unit)) > math.MaxInt64/2 {
			return 0, false
		}
		return int64(f * float64(unit)), true
	}
	rest, negative := strings.CutPrefix(s, "-")
	parts := strings.Split(rest, ":")
	if len(parts) != 3 {
		return 0, false
	}
	days := int64(0)
	if d, h, ok := strings.Cut(parts[0], "."); ok {
		n, err := strconv.ParseInt(d, 10, 32)
		if err != nil {
			return 0, false
		}
		days, parts[0] = n, h
	}
	hours, err1 := strconv.ParseInt(parts[0], 10, 32)
	minutes, err2 := strconv.ParseInt(parts[1], 10, 32)
	seconds, err3 := strconv.ParseFloat(parts[2], 64)
	if err1 != nil || err2 != nil || err3 != nil || math.Abs(seconds) > 1e6 {
		return 0, false
	}
	ticks := days*864e9 + hours*36e9 + minutes*6e8 + int64(math.Round(seconds*1e7))
	if negative {
		ticks = -ticks
	}
	return ticks, true
}

func formatSpan(ticks int64) string {
	sign := ""
	if ticks < 0 {
		sign, ticks = "-", -ticks
	}
	out := fmt.Sprintf("%02d:%02d:%02d", ticks/36e9%24, ticks/6e8%60, ticks/1e7%60)
	if days := ticks / 864e9; days > 0 {
		out = fmt.Sprintf("%d.%s", days, out)
	}
	if rest := ticks % 1e7; rest > 0 {
		out += fmt.Sprintf(".%07d", rest)
	}
	return sign + out
}

func literalOf(t token) (value, bool) {
	switch t.kind {
	case number:
		if i, err := strconv.ParseInt(t.text, 10, 64); err == nil {
			return longOf(i), true
		}
		f, err := strconv.ParseFloat(t.text, 64)
		return realOf(f), err == nil
	case text:
		return textOf(t.text), true
	case timespan:
		ticks, ok := parseSpan(t.text)
		return spanOf(ticks), ok
	case datetime:
		if t.text == "null" {
			return nullOf(typeDatetime), true
		}
		ticks, ok := parseTime(t.text)
		return value{kind: typeDatetime, i: ticks}, ok
	case dynamic:
		return jsonOf(t.text), json.Valid([]byte(t.text))
	default:
		return value{}, false
	}
}

// read decodes a cell of a column of that type.
func read(kind string, cell []byte) value {
	if len(cell) == 0 || string(cell) == "null" {
		return nullOf(simple(kind))
	}
	unquoted := func() string {
		if cell[0] != '"' {
			return string(cell)
		}
		if bytes.IndexByte(cell, '\\') < 0 {
			return string(cell[1 : len(cell)-1])
		}
		var s string
		_ = json.Unmarshal(cell, &s) // what a table holds is JSON
		return s
	}
	switch k := simple(kind); k {
	case typeBool:
		return boolOf(string(cell) == "true")
	case typeLong:
		i, err := strconv.ParseInt(string(cell), 10, 64)
		return value{kind: k, i: i, null: err != nil}
	case typeReal:
		f, err := strconv.ParseFloat(unquoted(), 64)
		return value{kind: k, f: f, null: err != nil}
	case typeDatetime:
		ticks, ok := parseTime(unquoted())
		return value{kind: k, i: ticks, null: !ok}
	case typeTimespan:
		ticks, ok := parseSpan(unquoted())
		return value{kind: k, i: ticks, null: !ok}
	case typeDynamic:
		s := unquoted()
		if !json.Valid([]byte(s)) { // a text in a dynamic column stands there as it is
			s = string(quote(s))
		}
		return jsonOf(s)
	default:
		return textOf(unquoted())
	}
}

// simple maps the types that differ only in size.
func simple(kind string) string {
	switch kind {
	case "int":
		return typeLong
	case "decimal":
		return typeReal
	case "guid":
		return typeString
	}
	return kind
}

// write is the inverse of read.
func (v value) write() []byte {
	if v.null {
		return []byte("null")
	}
	switch v.kind {
	case typeBool:
		return strconv.AppendBool(nil, v.b)
	case typeLong:
		return strconv.AppendInt(nil, v.i, 10)
	case typeReal:
		if math.IsNaN(v.f) || math.IsInf(v.f, 0) {
			return fmt.Appendf(nil, "%q", strconv.FormatFloat(v.f, 'g', -1, 64))
		}
		return strconv.AppendFloat(nil, v.f, 'g', -1, 64)
	case typeDatetime:
		return quote(formatTime(v.i))
	default:
		return quote(v.text())
	}
}

func quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// text is tostring().
func (v value) text() string {
	if v.null {
		return ""
	}
	switch v.kind {
	case typeBool:
		if v.b {
			return "True"
		}
		return "False"
	case typeLong:
		return strconv.FormatInt(v.i, 10)
	case typeReal:
		return strconv.FormatFloat(v.f, 'g', -1, 64)
	case typeDatetime:
		return Time(v.i).Format("2006-01-02T15:04:05.0000000Z")
	case typeTimespan:
		return formatSpan(v.i)
	case typeDynamic:
		var s string
		if json.Unmarshal([]byte(v.s), &s) == nil && strings.HasPrefix(strings.TrimSpace(v.s), `"`) {
			return s
		}
		return v.s
	default:
		return v.s
	}
}

// member takes a member or element out of a dynamic value.
func (v value) member(name string, nth int) value {
	if v.null || v.kind != typeDynamic && v.kind != typeString {
		return nullOf(typeDynamic)
	}
	if name != "" {
		var object map[string]json.RawMessage
		if json.Unmarshal([]byte(v.s), &object) != nil || object[name] == nil {
			return nullOf(typeDynamic)
		}
		return jsonOf(string(object[name]))
	}
	var list []json.RawMessage
	if json.Unmarshal([]byte(v.s), &list) != nil || nth < 0 || nth >= len(list) {
		return nullOf(typeDynamic)
	}
	return jsonOf(string(list[nth]))
}

// compare orders two values of comparable types; ok is false where there is no
// order (null, or types that have none in common).
func compare(a, b value) (order int, ok bool) {
	if a.null || b.null {
		return 0, false
	}
	a, b = a.plain(), b.plain()
	switch {
	case a.kind == typeLong && b.kind == typeLong, a.kind == b.kind && (a.kind == typeDatetime || a.kind == typeTimespan):
		return cmp(a.i, b.i), true
	case a.isNumber() && b.isNumber():
		return cmp(a.float(), b.float()), true
	case a.kind == typeString && b.kind == typeString:
		return strings.Compare(a.s, b.s), true
	case a.kind == typeBool && b.kind == typeBool:
		return cmp(truthNumber(a.b), truthNumber(b.b)), true
	}
	return 0, false
}

// plain makes a string, number or bool of a dynamic value that is one.
func (v value) plain() value {
	if v.kind != typeDynamic || v.null {
		return v
	}
	switch s := strings.TrimSpace(v.s); {
	case s == "true" || s == "false":
		return boolOf(s == "true")
	case strings.HasPrefix(s, `"`):
		return textOf(v.text())
	default:
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return longOf(i)
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return realOf(f)
		}
		return v
	}
}

func truthNumber(b bool) int {
	if b {
		return 1
	}
	return 0
}

func cmp[T int | int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
