package filter

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

var (
	anyType  = reflect.TypeFor[any]()
	boolType = reflect.TypeFor[bool]()
)

// unknown tells whether only the record decides of which type a value is.
func unknown(n ast.Node) bool {
	t := n.Type()
	return t == nil || t.Kind() == reflect.Interface
}

// at returns the value at path: nil, bool, int64, float64, string, []any or
// map[string]any.
func (d Document) at(path []step) any {
	if d.Index == nil {
		return nil
	}
	n := d.Node
	for i := range path {
		if n = d.step(n, &path[i]); n < 0 {
			return nil
		}
	}
	return value(d.Index, n)
}

// step returns the node that s leads to from n, or -1. As in mapping tables, of
// members with one name the first that is not null counts.
func (d Document) step(n int, s *step) int {
	x := d.Index
	element := 0
	for c := range x.Children(n) {
		switch {
		case s.name == "":
			if x.Nodes[n].Kind == jsonscan.Array && element == s.element {
				return c
			}
			element++
		case x.Nodes[n].Kind == jsonscan.Object && x.Nodes[c].Kind != jsonscan.Null && keyIs(x, c, s.name):
			return c
		}
	}
	return -1
}

func keyIs(x *jsonscan.Index, n int, name string) bool {
	if x.Nodes[n].Flags&(jsonscan.KeyEscaped|jsonscan.KeyNotUTF8) == 0 {
		return string(x.Key(n)) == name
	}
	return string(jsonscan.AppendUnescaped(nil, x.Key(n))) == name
}

func value(x *jsonscan.Index, n int) any {
	switch x.Nodes[n].Kind {
	case jsonscan.True:
		return true
	case jsonscan.False:
		return false
	case jsonscan.Number:
		return number(string(x.Value(n)))
	case jsonscan.String:
		return string(x.AppendText(nil, n))
	case jsonscan.Array:
		list := []any{}
		for c := range x.Children(n) {
			list = append(list, value(x, c))
		}
		return list
	case jsonscan.Object:
		object := map[string]any{}
		for c := range x.Children(n) {
			name := string(jsonscan.AppendUnescaped(nil, x.Key(c)))
			if _, has := object[name]; !has && x.Nodes[c].Kind != jsonscan.Null {
				object[name] = value(x, c)
			}
		}
		return object
	}
	return nil
}

// number keeps whole numbers exact as far as 64 bits go.
func number(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil
	}
	return f
}

// function is one that expressions may call. Those with underscores stand in
// for operators.
type function struct {
	name      string
	signature any
	call      func(args ...any) (any, error)
}

func functions() []function {
	test := func(name string, is func(a, b any) bool) function {
		return function{name, new(func(any, any) bool), func(args ...any) (any, error) { return is(args[0], args[1]), nil }}
	}
	text := func(name string, change func(string) string) function {
		return function{name, new(func(any) string), func(args ...any) (any, error) { return change(textOf(args[0])), nil }}
	}
	order := func(name string, is func(int) bool) function {
		return test(name, func(a, b any) bool { c, ok := compare(a, b); return ok && is(c) })
	}
	return []function{
		test("__eq", equal),
		test("__ne", func(a, b any) bool { return !equal(a, b) }),
		order("__lt", func(c int) bool { return c < 0 }),
		order("__le", func(c int) bool { return c <= 0 }),
		order("__gt", func(c int) bool { return c > 0 }),
		order("__ge", func(c int) bool { return c >= 0 }),
		test("__in", func(a, b any) bool { return within(b, a) }),
		test("__contains", contains),
		test("__starts", onTexts(strings.HasPrefix)),
		test("__ends", onTexts(strings.HasSuffix)),
		test("__matches", matches),
		{"__true", new(func(any) bool), func(args ...any) (any, error) { return equal(args[0], true), nil }},
		{"__list", new(func(any) []any), func(args ...any) (any, error) { return list(args[0]), nil }},
		{"__len", new(func(any) int), func(args ...any) (any, error) { return length(args[0]), nil }},
		text("lower", strings.ToLower),
		text("upper", strings.ToUpper),
		text("trim", strings.TrimSpace),
		{"in_cidr", new(func(any, ...string) bool), inCIDR},
	}
}

// equal compares values of records with each other and with constants.
func equal(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	if c, ok := compare(a, b); ok {
		return c == 0
	}
	if truth, is := b.(bool); is {
		a, b = truth, a
	}
	if truth, is := a.(bool); is {
		switch other := b.(type) {
		case bool:
			return truth == other
		case string:
			return strings.EqualFold(other, strconv.FormatBool(truth))
		}
	}
	return false
}

// compare orders two texts, two numbers, or a number and a text that holds one.
func compare(a, b any) (order int, ok bool) {
	left, isText := a.(string)
	right, areTexts := b.(string)
	if isText && areTexts {
		return strings.Compare(left, right), true
	}
	if isText {
		a = number(left)
	}
	if areTexts {
		b = number(right)
	}
	if m, ok := whole(a); ok {
		if n, ok := whole(b); ok {
			return cmp.Compare(m, n), true
		}
	}
	f, ok := float(a)
	g, also := float(b)
	return cmp.Compare(f, g), ok && also
}

func whole(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case int:
		return int64(n), true
	}
	return 0, false
}

func float(v any) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	n, ok := whole(v)
	return float64(n), ok
}

// within tells whether a list has an element, or an object a member.
func within(in, what any) bool {
	if object, ok := in.(map[string]any); ok {
		_, has := object[textOf(what)]
		return has
	}
	elements := reflect.ValueOf(in)
	if !elements.IsValid() || elements.Kind() != reflect.Slice {
		return false
	}
	for i := range elements.Len() {
		if equal(what, elements.Index(i).Interface()) {
			return true
		}
	}
	return false
}

func contains(in, what any) bool {
	if text, ok := in.(string); ok {
		part, ok := what.(string)
		return ok && strings.Contains(text, part)
	}
	return within(in, what)
}

func onTexts(is func(text, part string) bool) func(a, b any) bool {
	return func(a, b any) bool {
		text, ok := a.(string)
		part, also := b.(string)
		return ok && also && is(text, part)
	}
}

func matches(a, b any) bool {
	text, ok := a.(string)
	pattern, also := b.(*regexp.Regexp)
	return ok && also && pattern.MatchString(text)
}

// textOf returns a text or number as text, anything else as "".
func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64, int, float64, bool:
		return fmt.Sprint(v)
	}
	return ""
}

// list returns the elements to look at: nothing has none, a single value is one.
func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

func length(v any) int {
	switch v := v.(type) {
	case string:
		return len([]rune(v))
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	}
	return 0
}

// inCIDR tells whether an address, or one in a list of them, is in one of the
// networks. What is no address is in none.
func inCIDR(args ...any) (any, error) {
	for _, v := range list(args[0]) {
		address, err := netip.ParseAddr(textOf(v))
		if err != nil {
			continue
		}
		address = address.Unmap()
		for _, network := range args[1:] {
			prefix, err := netip.ParsePrefix(textOf(network))
			if err != nil {
				return false, fmt.Errorf("in_cidr: %q is not a network; write e.g. 10.0.0.0/8", network)
			}
			if prefix.Contains(address) {
				return true, nil
			}
		}
	}
	return false, nil
}
