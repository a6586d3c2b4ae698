package config

import (
	"encoding"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// description is one option as documents about it need it: the schema, the
// example and the reference are three ways to write it down.
type description struct {
	field
	shape    shape
	fallback string        // the default in YAML, of scalars and lists of scalars; "" if there is none
	elem     *description  // of lists and maps
	options  []description // of tables
	kinds    []kindOptions // of sources and sinks
}

// kindOptions are the options of one kind of source or sink.
type kindOptions struct {
	kind     string
	options  []description
	delivery []description // the runner's options beside a sink's own
}

func describeCatalog(catalog Catalog) []description {
	all := describeStruct(reflect.ValueOf(defaultConfig()).Elem())
	for i := range all {
		switch all[i].typ {
		case reflect.TypeFor[[]Source]():
			all[i].kinds = describeKinds(catalog.Sources, false)
		case reflect.TypeFor[[]Sink]():
			all[i].kinds = describeKinds(catalog.Sinks, true)
		}
	}
	return all
}

func describeKinds(kinds Kinds, sinks bool) []kindOptions {
	var out []kindOptions
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		settings := kinds[kind]()
		k := kindOptions{kind: kind, options: describeStruct(reflect.ValueOf(settings).Elem())}
		if sinks {
			delivery := deliveryDefaults(settings)
			k.delivery = describeStruct(reflect.ValueOf(&delivery).Elem())
		}
		out = append(out, k)
	}
	return out
}

// describeStruct describes the options of v, which holds the defaults.
func describeStruct(v reflect.Value) []description {
	var out []description
	for _, o := range options(v) {
		out = append(out, describe(o.field, o.value))
	}
	return out
}

func describe(f field, v reflect.Value) description {
	d := description{field: f, shape: shapeOf(f.typ)}
	switch d.shape {
	case shapeStruct:
		d.options = describeStruct(v)
	case shapeList, shapeMap:
		elem := describe(field{enum: f.enum, min: f.min, max: f.max, typ: f.typ.Elem()}, newValue(f.typ.Elem()).Elem())
		d.elem = &elem
		if d.shape == shapeList && v.Len() > 0 && elem.options == nil {
			items := make([]string, v.Len())
			for i := range items {
				items[i] = scalarYAML(v.Index(i))
			}
			d.fallback = "[" + strings.Join(items, ", ") + "]"
		}
	default:
		if !f.required && (!v.IsZero() || d.zeroIsMeant()) {
			d.fallback = scalarYAML(v)
		}
	}
	return d
}

// zeroIsMeant says whether the zero value is a setting rather than the absence
// of one.
func (d *description) zeroIsMeant() bool {
	switch d.shape {
	case shapeBool:
		return true
	case shapeInteger, shapeNumber, shapeDuration, shapeSize:
		return d.min == "" || bound(d.typ, d.min) <= 0
	}
	return false
}

// isScalar says whether the option is written in one line.
func (d *description) isScalar() bool {
	return d.options == nil && d.kinds == nil && (d.elem == nil || d.elem.options == nil)
}

// scalarYAML writes a value in the notation that the loader reads.
func scalarYAML(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if text, err := m.MarshalText(); err == nil {
			return textYAML(string(text))
		}
	}
	switch v.Kind() {
	case reflect.String:
		return textYAML(v.String())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return strconv.FormatInt(v.Int(), 10)
}

// textYAML quotes text that YAML could take for something else.
func textYAML(s string) string {
	plain := s != "" && !strings.ContainsAny(s, "\"'`#{}[],&*!|>%@\\\n\t") && !strings.Contains(s, ": ") &&
		strings.TrimSpace(s) == s && !strings.HasPrefix(s, "-") && !strings.HasPrefix(s, "?") && !strings.HasSuffix(s, ":")
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		plain = false
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "~", "yes", "no", "on", "off":
		plain = false
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}
