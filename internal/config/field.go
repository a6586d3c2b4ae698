package config

import (
	"reflect"
	"strings"
)

// field is one option of a settings struct, as its tags describe it. The
// loader, the schema, the example and the reference all read it, so that they
// cannot disagree.
type field struct {
	name     string   // yaml
	doc      string   // one sentence
	required bool     // must be given and must not be empty
	enum     []string // the values allowed, of the elements if it is a list
	min, max string   // bounds in the option's own notation, inclusive
	example  string   // in YAML
	typ      reflect.Type
	index    int
}

// shape is what a value looks like in the document.
type shape int

const (
	shapeText shape = iota
	shapeBool
	shapeInteger
	shapeNumber
	shapeDuration
	shapeSize
	shapeSecret
	shapePath
	shapeList
	shapeMap
	shapeStruct
)

// shapeNames say what to write, in messages and in the reference.
var shapeNames = [...]string{
	shapeText: "text", shapeBool: "true or false", shapeInteger: "a whole number", shapeNumber: "a number",
	shapeDuration: "a duration", shapeSize: "a size", shapeSecret: "text", shapePath: "a path",
	shapeList: "a list", shapeMap: "a table of names", shapeStruct: "a table",
}

func (s shape) String() string { return shapeNames[s] }

var (
	durationType = reflect.TypeFor[Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[Secret]()
	pathType     = reflect.TypeFor[Path]()
)

func shapeOf(t reflect.Type) shape {
	switch t {
	case durationType:
		return shapeDuration
	case sizeType:
		return shapeSize
	case secretType:
		return shapeSecret
	case pathType:
		return shapePath
	}
	switch t.Kind() {
	case reflect.String:
		return shapeText
	case reflect.Bool:
		return shapeBool
	case reflect.Int, reflect.Int32, reflect.Int64:
		return shapeInteger
	case reflect.Float64:
		return shapeNumber
	case reflect.Slice:
		return shapeList
	case reflect.Map:
		return shapeMap
	case reflect.Struct:
		return shapeStruct
	}
	panic("config: " + t.String() + " cannot be an option")
}

// fieldsOf returns the options of a struct in their order. A field without a
// yaml tag is not an option.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, tagged := f.Tag.Lookup("yaml")
		if !tagged || !f.IsExported() {
			continue
		}
		opt := field{
			name: name, doc: f.Tag.Get("doc"), required: f.Tag.Get("required") == "true",
			min: f.Tag.Get("min"), max: f.Tag.Get("max"), example: f.Tag.Get("example"),
			typ: f.Type, index: i,
		}
		if e := f.Tag.Get("enum"); e != "" {
			opt.enum = strings.Split(e, "|")
		}
		out = append(out, opt)
	}
	return out
}

// defaulter is a struct inside the document that does not start from zero.
type defaulter interface{ SetDefaults() }

// newValue returns a pointer to a value of type t with its defaults.
func newValue(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(defaulter); ok {
		d.SetDefaults()
	}
	return v
}
