package kql

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// call binds a function: a scalar one, or, inside summarize, an aggregate's
// arguments (run.go).
func (b *binder) call(e *call, s *scope) bound {
	want := func(least, most int) {
		if len(e.args) < least || len(e.args) > most {
			b.fail(e.offset(), "SEM0219", "%s(): function expects %d to %d argument(s)", e.name, least, most)
		}
	}
	args := func(least, most int) []bound {
		want(least, most)
		all := make([]bound, len(e.args))
		for i, a := range e.args {
			all[i] = b.bind(a, s)
		}
		return all
	}
	simpleCall := func(kind string, f func([]value) value) bound { return derived(kind, args(1, 1), f) }
	switch e.name {
	case "now":
		a := args(0, 1)
		ticks := Ticks(b.now)
		if len(a) == 1 {
			ticks += a[0].eval(&Row{}).i
		}
		return fixed(value{kind: typeDatetime, i: ticks})
	case "ago":
		a := args(1, 1)
		if a[0].kind != typeTimespan {
			b.fail(e.offset(), "SEM0064", "ago(): argument #1 expected to be a timespan")
		}
		return fixed(value{kind: typeDatetime, i: Ticks(b.now) - a[0].eval(&Row{}).i})
	case "ingestion_time":
		want(0, 0)
		return bound{kind: typeDatetime, index: -1, taken: true, eval: func(r *Row) value {
			return value{kind: typeDatetime, i: r.Ingested, null: r.Ingested == 0}
		}}
	case "pack_all":
		want(0, 1)
		columns := s.columns
		return bound{kind: typeDynamic, index: -1, eval: func(r *Row) value { return jsonOf(packed(columns, r)) }}
	case "hash", "hash_xxhash64":
		a := args(1, 2)
		return derived(typeLong, a, func(v []value) value {
			h := xxhash.Sum64String(v[0].text())
			if len(v) == 2 && v[1].i > 0 {
				return longOf(int64(h % uint64(v[1].i)))
			}
			return longOf(int64(h))
		})
	case "not":
		a := args(1, 1)
		b.wantBool(e.args[0], a[0])
		return derived(typeBool, a, func(v []value) value { return boolOf(!v[0].truth()) })
	case "isempty", "isnotempty", "isnull", "isnotnull":
		name := e.name
		return simpleCall(typeBool, func(v []value) value {
			switch name {
			case "isempty":
				return boolOf(v[0].text() == "")
			case "isnotempty":
				return boolOf(v[0].text() != "")
			case "isnull":
				return boolOf(v[0].null)
			default:
				return boolOf(!v[0].null)
			}
		})
	case "tostring":
		return simpleCall(typeString, func(v []value) value { return textOf(v[0].text()) })
	case "toint", "tolong":
		return simpleCall(typeLong, func(v []value) value {
			p := v[0].plain()
			if p.isNumber() && !p.null {
				return longOf(int64(p.float()))
			}
			i, err := strconv.ParseInt(strings.TrimSpace(p.text()), 10, 64)
			return value{kind: typeLong, i: i, null: err != nil}
		})
	case "toreal", "todouble":
		return simpleCall(typeReal, func(v []value) value {
			f, err := strconv.ParseFloat(strings.TrimSpace(v[0].text()), 64)
			return value{kind: typeReal, f: f, null: err != nil}
		})
	case "tobool":
		return simpleCall(typeBool, func(v []value) value {
			switch strings.ToLower(v[0].text()) {
			case "true", "1":
				return boolOf(true)
			case "false", "0":
				return boolOf(false)
			}
			return nullOf(typeBool)
		})
	case "todatetime":
		return simpleCall(typeDatetime, func(v []value) value {
			if v[0].kind == typeDatetime {
				return v[0]
			}
			ticks, ok := parseTime(v[0].text())
			return value{kind: typeDatetime, i: ticks, null: !ok}
		})
	case "totimespan":
		return simpleCall(typeTimespan, func(v []value) value {
			ticks, ok := parseSpan(v[0].text())
			return value{kind: typeTimespan, i: ticks, null: !ok}
		})
	case "parse_json", "todynamic":
		return simpleCall(typeDynamic, func(v []value) value {
			if t := v[0].text(); json.Valid([]byte(t)) {
				return jsonOf(t)
			}
			return jsonOf(string(quote(v[0].text())))
		})
	case "tolower", "toupper":
		f := strings.ToLower
		if e.name == "toupper" {
			f = strings.ToUpper
		}
		return simpleCall(typeString, func(v []value) value { return textOf(f(v[0].text())) })
	case "strlen":
		return simpleCall(typeLong, func(v []value) value { return longOf(int64(len([]rune(v[0].text())))) })
	case "strcat":
		return derived(typeString, args(1, 64), func(v []value) value {
			var out strings.Builder
			for _, x := range v {
				out.WriteString(x.text())
			}
			return textOf(out.String())
		})
	case "iff", "iif":
		a := args(3, 3)
		b.wantBool(e.args[0], a[0])
		return derived(a[1].kind, a, func(v []value) value {
			if v[0].truth() {
				return v[1]
			}
			return v[2]
		})
	case "coalesce":
		a := args(2, 64)
		return derived(a[0].kind, a, func(v []value) value {
			for _, x := range v {
				if !x.null && (x.kind != typeString || x.s != "") {
					return x
				}
			}
			return v[len(v)-1]
		})
	case "bin", "floor":
		a := args(2, 2)
		return derived(a[0].kind, a, func(v []value) value { return bin(v[0], v[1]) })
	case "min_of", "max_of":
		a, sign := args(2, 64), 1
		if e.name == "max_of" {
			sign = -1
		}
		return derived(a[0].kind, a, func(v []value) value {
			best := v[0]
			for _, x := range v[1:] {
				if order, ok := compare(x, best); ok && order*sign < 0 {
					best = x
				}
			}
			return best
		})
	}
	b.fail(e.offset(), "SEM0260", "Unknown function: '%s'", e.name)
	return bound{}
}

func bin(v, step value) value {
	if v.null || step.null {
		return nullOf(v.kind)
	}
	if v.kind == typeReal || step.kind == typeReal {
		if step.float() <= 0 {
			return nullOf(typeReal)
		}
		return realOf(math.Floor(v.float()/step.float()) * step.float())
	}
	if step.i <= 0 {
		return nullOf(v.kind)
	}
	rest := v.i % step.i
	if rest < 0 {
		rest += step.i
	}
	v.i -= rest
	return v
}

// packed is pack_all(): the row as an object.
func packed(columns []Column, r *Row) string {
	out := []byte{'{'}
	for i, c := range columns {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, quote(c.Name)...), ':')
		cell := r.cell(i)
		switch {
		case cell == nil:
			out = append(out, "null"...)
		case c.Type == typeDynamic:
			if v := read(typeDynamic, cell); !v.null && json.Valid([]byte(v.s)) {
				out = append(out, v.s...)
			} else {
				out = append(out, cell...)
			}
		default:
			out = append(out, cell...)
		}
	}
	return string(append(out, '}'))
}
