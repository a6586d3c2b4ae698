package config

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder fills Go values from the nodes of a document. It goes on after a
// mistake, and remembers where every path stands, so that what is found later
// (by Validate, or by comparing names) can point at a line too.
type decoder struct {
	file     string
	env      Environment
	catalog  Catalog
	places   map[string]place
	mistakes []Mistake
	warnings []Mistake
	broken   map[string]bool // paths with a mistake
	secrets  redactor
}

type place struct{ line, column int }

// entry is one key of a table and its value.
type entry struct {
	key   string
	at    place
	value ast.Node
}

// option is a field and where its value goes.
type option struct {
	field
	value reflect.Value // settable
}

func options(structure reflect.Value) []option {
	fields := fieldsOf(structure.Type())
	out := make([]option, len(fields))
	for i, f := range fields {
		out[i] = option{f, structure.Field(f.index)}
	}
	return out
}

// report records a mistake at the place of path or, if that is not in the
// document, of the nearest part of it that is.
func (d *decoder) report(path, rule, fix string) {
	d.broken[path] = true
	d.mistakes = append(d.mistakes, d.locate(path, rule, fix))
}

func (d *decoder) warn(path, rule, fix string) {
	d.warnings = append(d.warnings, d.locate(path, rule, fix))
}

func (d *decoder) locate(path, rule, fix string) Mistake {
	at := place{1, 1}
	for p := path; p != ""; p = parent(p) {
		if found, ok := d.places[p]; ok {
			at = found
			break
		}
	}
	return Mistake{File: d.file, Line: at.line, Column: at.column, Problem: Problem{Path: path, Rule: rule, Fix: fix}}
}

func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

func join(path, name string) string {
	if path == "" || strings.HasPrefix(name, "[") {
		return path + name
	}
	if name == "" {
		return path
	}
	return path + "." + name
}

// bind fills v, which opt describes, from node.
func (d *decoder) bind(node ast.Node, path string, opt option) {
	if rule := unsupported(node); rule != "" {
		d.report(path, rule, "write the value itself")
		return
	}
	switch opt.typ {
	case reflect.TypeFor[[]Source]():
		d.bindSources(node, path, opt.value.Addr().Interface().(*[]Source))
		return
	case reflect.TypeFor[[]Sink]():
		d.bindSinks(node, path, opt.value.Addr().Interface().(*[]Sink))
		return
	}
	switch shapeOf(opt.typ) {
	case shapeStruct:
		d.bindStruct(node, path, opt.value)
	case shapeMap:
		d.bindMap(node, path, opt)
	case shapeList:
		d.bindList(node, path, opt)
	default:
		d.bindScalar(node, path, opt)
	}
}

func (d *decoder) bindStruct(node ast.Node, path string, v reflect.Value) {
	entries, ok := d.entries(node, path)
	if !ok {
		return
	}
	d.bindOptions(entries, path, options(v))
	d.validate(v.Addr().Interface(), path)
}

// bindOptions fills opts from the entries of one table and reports the keys
// that no option has and the options that are missing.
func (d *decoder) bindOptions(entries []entry, path string, opts []option) {
	seen := map[string]bool{}
	for _, e := range entries {
		at := slices.IndexFunc(opts, func(o option) bool { return o.name == e.key })
		if at < 0 {
			names := make([]string, len(opts))
			for i, o := range opts {
				names[i] = o.name
			}
			at := join(path, printableKey(e.key))
			d.places[at] = e.at
			d.report(at, "unknown option", suggest(e.key, names, "remove it; the options here are "+strings.Join(names, ", ")))
			continue
		}
		seen[e.key] = true
		d.bind(e.value, join(path, e.key), opts[at])
	}
	for _, o := range opts {
		if o.required && !seen[o.name] {
			d.report(join(path, o.name), "required", "add "+o.name+": "+cmp.Or(o.example, "..."))
		}
	}
}

// validate runs the rules of v's own. What they say about a part that is known
// to be broken is a consequence of that and left out.
func (d *decoder) validate(v any, path string) {
	c, ok := v.(Component)
	if !ok {
		return
	}
	var r Report
	c.Validate(&r)
next:
	for _, p := range r.Problems {
		full := join(path, p.Path)
		for q := full; q != "" && q != path; q = parent(q) {
			if d.broken[q] {
				continue next
			}
		}
		d.report(full, p.Rule, p.Fix)
	}
}

func (d *decoder) bindMap(node ast.Node, path string, opt option) {
	entries, ok := d.entries(node, path)
	if !ok {
		return
	}
	elem := opt.typ.Elem()
	if opt.value.IsNil() {
		opt.value.Set(reflect.MakeMap(opt.typ))
	}
	for _, e := range entries {
		if shapeOf(elem) == shapeStruct {
			d.checkName(e.key, join(path, printableKey(e.key)))
		}
		v := newValue(elem)
		d.bind(e.value, join(path, printableKey(e.key)), option{field{enum: opt.enum, typ: elem}, v.Elem()})
		opt.value.SetMapIndex(reflect.ValueOf(e.key).Convert(opt.typ.Key()), v.Elem())
	}
}

func (d *decoder) bindList(node ast.Node, path string, opt option) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		fix := "write a list: [a, b]"
		if text, kind := scalarText(node); kind == kindText && shapeOf(opt.typ.Elem()) != shapeSecret && isName(text) {
			fix = fmt.Sprintf("write a list: [%s]", text)
		}
		d.report(path, "is "+nodeKind(node)+"; it must be a list", fix)
		return
	}
	if opt.required && len(seq.Values) == 0 {
		d.report(path, "is an empty list", "add at least one element")
	}
	elem := opt.typ.Elem()
	list := reflect.MakeSlice(opt.typ, 0, len(seq.Values))
	for i, n := range seq.Values {
		elemPath := fmt.Sprintf("%s[%d]", path, i)
		d.places[elemPath] = placeOf(n, d.places[path])
		v := newValue(elem)
		d.bind(n, elemPath, option{field{required: true, enum: opt.enum, min: opt.min, max: opt.max, typ: elem}, v.Elem()})
		list = reflect.Append(list, v.Elem())
	}
	opt.value.Set(list)
}

func (d *decoder) bindScalar(node ast.Node, path string, opt option) {
	text, kind := scalarText(node)
	shape := shapeOf(opt.typ)
	switch kind {
	case kindNone:
		d.report(path, "is "+nodeKind(node)+"; it must be "+shape.String(), "write one value")
		return
	case kindNull:
		d.report(path, "has no value", "give it one, or remove the key")
		return
	}
	refers := false
	if kind == kindText {
		expanded, hasReference, ok := d.expand(text, func(rule, fix string) { d.report(path, rule, fix) })
		if !ok {
			return
		}
		text, refers = expanded, hasReference
	}
	if shape == shapeSecret {
		d.secrets.hideSecret(text)
		if !refers && text != "" {
			d.warn(path, "holds the secret itself", "keep secrets out of the file: ${file:PATH} or ${env:NAME}")
		}
	}
	if text == "" && opt.required {
		d.report(path, "is empty", "give it a value")
		return
	}
	switch shape {
	case shapeText, shapeSecret, shapePath:
		if kind != kindText {
			d.report(path, "is "+nodeKind(node)+"; it must be text", "put it in quotes")
			return
		}
		opt.value.SetString(text)
	case shapeBool:
		if text != "true" && text != "false" || kind != kindBool && !refers {
			d.report(path, fmt.Sprintf("is %q; it must be true or false", text), "write true or false, without quotes")
			return
		}
		opt.value.SetBool(text == "true")
	case shapeInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || kind != kindInteger && !refers {
			d.report(path, fmt.Sprintf("is %q; it must be a whole number", text), "write digits, without quotes or a unit")
			return
		}
		opt.value.SetInt(n)
	case shapeNumber:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || x != x || kind != kindInteger && kind != kindFloat && !refers {
			d.report(path, fmt.Sprintf("is %q; it must be a number", text), "write a number, without quotes or a unit")
			return
		}
		opt.value.SetFloat(x)
	case shapeDuration, shapeSize:
		if err := opt.value.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			d.report(path, err.Error(), "")
			return
		}
	}
	d.checkEnum(text, path, opt.enum)
	d.checkRange(text, path, opt)
}

func (d *decoder) checkEnum(text, path string, enum []string) {
	if enum != nil && !slices.Contains(enum, text) {
		d.report(path, fmt.Sprintf("is %q; it must be %s", text, oneOf(enum)), suggest(text, enum, "write "+oneOf(enum)))
	}
}

// checkRange compares with the bounds in the tags. Durations may not be
// negative, whatever the tags say.
func (d *decoder) checkRange(text, path string, opt option) {
	shape := shapeOf(opt.typ)
	if shape != shapeDuration && opt.min == "" && opt.max == "" {
		return
	}
	low, high := opt.min, opt.max
	if shape == shapeDuration && low == "" {
		low = "0s"
	}
	value, ok := numeric(opt.value)
	if !ok {
		return
	}
	if below := low != "" && value < bound(opt.typ, low); below || high != "" && value > bound(opt.typ, high) {
		rule := "at least " + low
		if high != "" && low != "" {
			rule = "from " + low + " to " + high
		} else if high != "" {
			rule = "at most " + high
		}
		fix := "write " + high + " or less"
		if below {
			fix = "write " + low + " or more"
		}
		d.report(path, fmt.Sprintf("is %q; it must be %s", text, rule), fix)
	}
}

// numeric returns a value that bounds apply to.
func numeric(v reflect.Value) (float64, bool) {
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}

// bound reads a bound as a value of type t would be read.
func bound(t reflect.Type, text string) float64 {
	v := reflect.New(t)
	if u, ok := v.Interface().(encoding.TextUnmarshaler); ok {
		if u.UnmarshalText([]byte(text)) == nil {
			x, _ := numeric(v.Elem())
			return x
		}
	}
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		return x
	}
	panic("config: " + text + " is no bound of " + t.String())
}

var nameRule = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func isName(s string) bool { return nameRule.MatchString(s) }

func (d *decoder) checkName(name, path string) {
	if !isName(name) {
		d.report(path, "is not a name: it may hold up to 63 lower-case letters, digits, - and _, and begins with a letter or a digit",
			"choose another name")
	}
}

// entries returns the keys and values of a table. A key that appears twice is
// reported, and its first value counts.
func (d *decoder) entries(node ast.Node, path string) ([]entry, bool) {
	var pairs []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode:
		d.report(path, "has no value", "give it one, or remove the key")
		return nil, false
	default:
		d.report(path, "is "+nodeKind(node)+"; it must be a table of options", "write key: value lines below it")
		return nil, false
	}
	var out []entry
	first := map[string]place{}
	for _, p := range pairs {
		at := placeOf(p.Key, d.places[path])
		key, kind := scalarText(p.Key)
		if _, merge := p.Key.(*ast.MergeKeyNode); merge || kind == kindNone || kind == kindNull {
			d.mistakes = append(d.mistakes, Mistake{d.file, at.line, at.column, Problem{
				path,
				"has a key that is not plain text", "write name: value; merge keys, anchors and aliases are not read",
			}})
			continue
		}
		if before, twice := first[key]; twice {
			d.mistakes = append(d.mistakes, Mistake{d.file, at.line, at.column, Problem{
				join(path, printableKey(key)),
				fmt.Sprintf("is given twice, first in line %d", before.line), "keep one of the two",
			}})
			continue
		}
		first[key] = at
		place := at
		if _, kind := scalarText(p.Value); kind != kindNone && kind != kindNull {
			place = placeOf(p.Value, at)
		}
		d.places[join(path, printableKey(key))] = place
		out = append(out, entry{key, at, p.Value})
	}
	return out, true
}

// printableKey returns a key as paths and messages show it.
func printableKey(key string) string {
	if len(key) > 64 {
		key = key[:64] + "…"
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == '.' || r == '[' || r == '"' || r == 0x7f || r == '\ufffd' }) {
		return strconv.Quote(key)
	}
	return key
}

// kind is what a scalar is in YAML.
type kind int

const (
	kindNone kind = iota // not a scalar
	kindNull
	kindText
	kindBool
	kindInteger
	kindFloat
)

func scalarText(node ast.Node) (string, kind) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, kindText
	case *ast.LiteralNode:
		return n.Value.Value, kindText
	case *ast.BoolNode:
		return strconv.FormatBool(n.Value), kindBool
	case *ast.IntegerNode:
		return n.Token.Value, kindInteger
	case *ast.FloatNode:
		return n.Token.Value, kindFloat
	case *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, kindFloat
	case *ast.NullNode:
		return "", kindNull
	}
	return "", kindNone
}

func nodeKind(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a table"
	case *ast.SequenceNode:
		return "a list"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.NullNode:
		return "nothing"
	}
	return "text"
}

func unsupported(node ast.Node) string {
	switch node.(type) {
	case *ast.AnchorNode:
		return "has an anchor (&); anchors and aliases are not read"
	case *ast.AliasNode:
		return "is an alias (*); anchors and aliases are not read"
	case *ast.TagNode:
		return "has a tag (!); tags are not read"
	}
	return ""
}

// placeOf returns where a node begins; a table begins at its first key.
func placeOf(node ast.Node, otherwise place) place {
	var tk *token.Token
	switch n := node.(type) {
	case nil:
		return otherwise
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return placeOf(n.Values[0].Key, otherwise)
		}
		tk = n.GetToken()
	case *ast.MappingValueNode:
		return placeOf(n.Key, otherwise)
	default:
		tk = n.GetToken()
	}
	if tk == nil || tk.Position == nil || tk.Position.Line < 1 {
		return otherwise
	}
	return place{tk.Position.Line, max(1, tk.Position.Column)}
}
