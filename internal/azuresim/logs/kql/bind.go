package kql

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Column is a column of a table or a result. Type is one of the API's: bool,
// datetime, dynamic, guid, int, long, real, string, timespan, decimal.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Row is a row of a table: its cells as the API writes them, in JSON, nil for
// null; trailing nulls may be missing. It is not changed.
type Row struct {
	Cells    [][]byte
	Ingested int64 // in Ticks: what ingestion_time() is
}

// cell returns a cell, or nil.
func (r *Row) cell(i int) []byte {
	if i < len(r.Cells) {
		return r.Cells[i]
	}
	return nil
}

// Table is what rows come from.
type Table interface {
	Columns() []Column
	// Rows yields the rows with from <= Ingested < to, in the order of Ingested,
	// until yield returns false.
	Rows(from, to int64, yield func(Row) bool)
}

// Database finds tables by name.
type Database interface {
	Table(name string) (Table, bool)
}

// bound is an expression over the rows of a table.
type bound struct {
	kind  string
	eval  func(*Row) value
	index int  // of the column that it is, else -1
	fixed bool // the same for all rows
	taken bool // is ingestion_time()
}

func (b bound) cell(r *Row) []byte {
	if b.index >= 0 {
		if c := r.cell(b.index); c != nil {
			return c
		}
		return []byte("null")
	}
	return b.eval(r).write()
}

// binder resolves the names of a query.
type binder struct {
	lex    *lexer
	db     Database
	now    time.Time
	values map[string]bound // of let
	tables map[string]*pipe // of let
	depth  int
}

func (b *binder) fail(at int, code, format string, args ...any) {
	line, pos := b.lex.position(at)
	panic(&Error{Code: code, Message: fmt.Sprintf(format, args...), Line: line, Pos: pos})
}

// scope is the columns that an expression may name.
type scope struct {
	columns []Column
	// of which of them is ingestion_time(), so that a sort by it is none
	taken map[int]bool
}

func (s *scope) index(name string) int {
	return slices.IndexFunc(s.columns, func(c Column) bool { return c.Name == name })
}

func (b *binder) bind(e expression, s *scope) bound {
	if b.depth++; b.depth > 4*maxNested {
		b.fail(e.offset(), "SEM0001", "The expression is nested too deep")
	}
	defer func() { b.depth-- }()
	switch e := e.(type) {
	case *literal:
		return fixed(e.value)
	case *column:
		if i := s.index(e.name); i >= 0 {
			kind := s.columns[i].Type
			return bound{kind: simple(kind), index: i, taken: s.taken[i], eval: func(r *Row) value { return read(kind, r.cell(i)) }}
		}
		if v, ok := b.values[e.name]; ok {
			return v
		}
		b.fail(e.offset(), "SEM0100", "'where' operator: Failed to resolve column or scalar expression named '%s'", e.name)
	case *member:
		of := b.bind(e.of, s)
		if e.nth == nil {
			return derived(typeDynamic, []bound{of}, func(v []value) value { return v[0].member(e.name, 0) })
		}
		return derived(typeDynamic, []bound{of, b.bind(e.nth, s)}, func(v []value) value {
			if v[1].plain().kind == typeString {
				return v[0].member(v[1].plain().s, 0)
			}
			return v[0].member("", int(v[1].i))
		})
	case *unary:
		a := b.bind(e.a, s)
		if e.op == "not" {
			b.wantBool(e.a, a)
			return derived(typeBool, []bound{a}, func(v []value) value { return value{kind: typeBool, b: !v[0].b, null: v[0].null} })
		}
		return derived(a.kind, []bound{a}, func(v []value) value { v[0].i, v[0].f = -v[0].i, -v[0].f; return v[0] })
	case *binary:
		return b.binary(e, s)
	case *among:
		return b.among(e, s)
	case *call:
		return b.call(e, s)
	}
	panic(fmt.Sprintf("kql: expression %T", e))
}

func fixed(v value) bound {
	return bound{kind: v.kind, index: -1, fixed: true, eval: func(*Row) value { return v }}
}

// derived computes from other expressions; from fixed ones only once.
func derived(kind string, of []bound, f func([]value) value) bound {
	all := true
	for _, o := range of {
		all = all && o.fixed
	}
	eval := func(r *Row) value {
		values := make([]value, len(of))
		for i := range of {
			values[i] = of[i].eval(r)
		}
		v := f(values)
		return v
	}
	if all {
		return fixedAs(kind, eval(&Row{}))
	}
	return bound{kind: kind, index: -1, eval: eval}
}

func fixedAs(kind string, v value) bound {
	b := fixed(v)
	b.kind = kind
	return b
}

func (b *binder) wantBool(e expression, x bound) {
	if x.kind != typeBool && x.kind != typeDynamic {
		b.fail(e.offset(), "SEM0064", "A value of type bool expected, not %s", x.kind)
	}
}

func (b *binder) binary(e *binary, s *scope) bound {
	x, y := b.bind(e.a, s), b.bind(e.b, s)
	pair := []bound{x, y}
	switch e.op {
	case "and", "or":
		b.wantBool(e.a, x)
		b.wantBool(e.b, y)
		stop := e.op == "or" // the value that decides alone
		if x.fixed && y.fixed {
			return derived(typeBool, pair, func(v []value) value {
				if stop {
					return boolOf(v[0].truth() || v[1].truth())
				}
				return boolOf(v[0].truth() && v[1].truth())
			})
		}
		return bound{kind: typeBool, index: -1, eval: func(r *Row) value {
			if x.eval(r).plain().truth() == stop {
				return boolOf(stop)
			}
			return boolOf(y.eval(r).plain().truth())
		}}
	case "==", "!=", "<", "<=", ">", ">=":
		if !alike(x.kind, y.kind) {
			b.fail(e.offset(), "SEM0064", "Cannot compare values of types %s and %s. Try adding explicit casts", x.kind, y.kind)
		}
		op := e.op
		return derived(typeBool, pair, func(v []value) value {
			order, ok := compare(v[0], v[1])
			if !ok {
				return boolOf(op == "!=" && v[0].null != v[1].null)
			}
			switch op {
			case "==":
				return boolOf(order == 0)
			case "!=":
				return boolOf(order != 0)
			case "<":
				return boolOf(order < 0)
			case "<=":
				return boolOf(order <= 0)
			case ">":
				return boolOf(order > 0)
			default:
				return boolOf(order >= 0)
			}
		})
	case "=~", "!~":
		equal := e.op == "=~"
		return derived(typeBool, pair, func(v []value) value { return boolOf(strings.EqualFold(v[0].text(), v[1].text()) == equal) })
	case "+", "-", "*", "/", "%":
		return b.arithmetic(e, pair)
	default:
		test := textTest(e.op)
		return derived(typeBool, pair, func(v []value) value { return boolOf(test(v[0].text(), v[1].text())) })
	}
}

// alike tells types whose values can be compared.
func alike(a, b string) bool {
	number := func(k string) bool { return k == typeLong || k == typeReal }
	return a == b || number(a) && number(b) || a == typeDynamic || b == typeDynamic
}

func (b *binder) arithmetic(e *binary, pair []bound) bound {
	x, y, op := pair[0].kind, pair[1].kind, e.op
	number := func(k string) bool { return k == typeLong || k == typeReal || k == typeDynamic }
	switch {
	case x == typeDatetime && y == typeDatetime && op == "-":
		return derived(typeTimespan, pair, func(v []value) value { return combine(v, typeTimespan, v[0].i-v[1].i) })
	case (x == typeDatetime || x == typeTimespan) && y == typeTimespan && (op == "-" || op == "+"):
		return derived(x, pair, func(v []value) value {
			if op == "-" {
				return combine(v, x, v[0].i-v[1].i)
			}
			return combine(v, x, v[0].i+v[1].i)
		})
	case x == typeTimespan && y == typeLong && (op == "*" || op == "/"):
		return derived(x, pair, func(v []value) value {
			if op == "*" {
				return combine(v, x, v[0].i*v[1].i)
			}
			if v[1].i == 0 {
				return nullOf(x)
			}
			return combine(v, x, v[0].i/v[1].i)
		})
	case x == typeLong && y == typeTimespan && op == "*":
		return derived(y, pair, func(v []value) value { return combine(v, y, v[0].i*v[1].i) })
	case number(x) && number(y):
		kind := typeLong
		if x == typeReal || y == typeReal {
			kind = typeReal
		}
		return derived(kind, pair, func(v []value) value {
			m, n := v[0].plain(), v[1].plain()
			if m.null || n.null || !m.isNumber() || !n.isNumber() {
				return nullOf(kind)
			}
			if kind == typeReal || m.kind == typeReal || n.kind == typeReal {
				return realOf(reckon(op, m.float(), n.float()))
			}
			if (op == "/" || op == "%") && n.i == 0 {
				return nullOf(kind)
			}
			switch op {
			case "+":
				return longOf(m.i + n.i)
			case "-":
				return longOf(m.i - n.i)
			case "*":
				return longOf(m.i * n.i)
			case "/":
				return longOf(m.i / n.i)
			default:
				return longOf(m.i % n.i)
			}
		})
	}
	b.fail(e.offset(), "SEM0064", "Operator %s cannot be applied to types %s and %s", op, x, y)
	return bound{}
}

func combine(of []value, kind string, i int64) value {
	return value{kind: kind, i: i, null: of[0].null || of[1].null}
}

func reckon(op string, a, b float64) float64 {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	default:
		return float64(int64(a) % max(int64(b), 1))
	}
}

func (b *binder) among(e *among, s *scope) bound {
	all := []bound{b.bind(e.a, s)}
	for _, x := range e.list {
		all = append(all, b.bind(x, s))
	}
	op := e.op
	if op == "between" {
		if len(all) != 3 || !alike(all[0].kind, all[1].kind) {
			b.fail(e.offset(), "SEM0064", "between: the bounds must be of the type of the value")
		}
		span := all[0].kind == typeDatetime && all[2].kind == typeTimespan // datetime .. 1d
		return derived(typeBool, all, func(v []value) value {
			if span {
				v[2] = value{kind: typeDatetime, i: v[1].i + v[2].i}
			}
			low, ok := compare(v[0], v[1])
			high, ok2 := compare(v[0], v[2])
			return boolOf(ok && ok2 && low >= 0 && high <= 0)
		})
	}
	return derived(typeBool, all, func(v []value) value {
		for _, x := range v[1:] {
			switch op {
			case "in~":
				if strings.EqualFold(v[0].text(), x.text()) {
					return boolOf(true)
				}
			case "has_any":
				if hasTerm(v[0].text(), x.text(), false) {
					return boolOf(true)
				}
			default:
				if order, ok := compare(v[0], x); ok && order == 0 {
					return boolOf(true)
				}
			}
		}
		return boolOf(false)
	})
}

func textTest(op string) func(s, part string) bool {
	fold := func(f func(s, part string) bool) func(string, string) bool {
		return func(s, part string) bool { return f(strings.ToLower(s), strings.ToLower(part)) }
	}
	switch op {
	case "contains":
		return fold(strings.Contains)
	case "contains_cs":
		return strings.Contains
	case "startswith":
		return fold(strings.HasPrefix)
	case "endswith":
		return fold(strings.HasSuffix)
	case "has_cs":
		return func(s, part string) bool { return hasTerm(s, part, true) }
	default:
		return func(s, part string) bool { return hasTerm(s, part, false) }
	}
}

// hasTerm finds a whole term: what stands between characters that are no
// letters or digits.
func hasTerm(s, term string, exact bool) bool {
	if !exact {
		s, term = strings.ToLower(s), strings.ToLower(term)
	}
	if term == "" {
		return true
	}
	inTerm := func(c byte) bool { return isLetter(c) && c != '_' && c != '$' || isDigit(c) || c >= 0x80 }
	for from := 0; ; {
		i := strings.Index(s[from:], term)
		if i < 0 {
			return false
		}
		begin, stop := from+i, from+i+len(term)
		if (begin == 0 || !inTerm(s[begin-1]) || !inTerm(term[0])) && (stop == len(s) || !inTerm(s[stop]) || !inTerm(term[len(term)-1])) {
			return true
		}
		from = begin + 1
	}
}
