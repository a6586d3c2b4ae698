package config

import "encoding/json"

// Schema returns the JSON Schema (draft 2020-12) of the document, for editors
// and for checks in other programs. What it accepts Load may still refuse:
// names that refer to each other and the rules of components are beyond it.
func Schema(catalog Catalog) ([]byte, error) {
	root := tableSchema(describeCatalog(catalog), nil)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Lazuli configuration"
	root["$defs"] = object{
		"reference": object{
			"description": "A reference to an environment variable or a file.",
			"type":        "string", "pattern": `\$\{(env:[A-Za-z_][A-Za-z0-9_]*|file:[^}]+)\}`,
		},
		"name": object{"type": "string", "pattern": nameRule.String()},
	}
	return json.MarshalIndent(root, "", "  ")
}

type object = map[string]any

var referenceSchema = object{"$ref": "#/$defs/reference"}

// tableSchema is the schema of a table with these options and no others.
// Further properties come from the caller.
func tableSchema(options []description, properties object) object {
	if properties == nil {
		properties = object{}
	}
	required := []string{}
	for i := range options {
		o := &options[i]
		properties[o.name] = optionSchema(o)
		if o.required {
			required = append(required, o.name)
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func optionSchema(d *description) object {
	s := valueSchema(d)
	if d.doc != "" {
		s["description"] = d.doc
	}
	if d.fallback != "" && d.shape != shapeList {
		s["default"] = defaultJSON(d)
	}
	return s
}

func valueSchema(d *description) object {
	switch {
	case d.kinds != nil:
		return kindsSchema(d.kinds)
	case d.options != nil:
		return tableSchema(d.options, nil)
	}
	switch d.shape {
	case shapeList:
		s := object{"type": "array", "items": valueSchema(d.elem)}
		if d.required {
			s["minItems"] = 1
		}
		return s
	case shapeMap:
		s := object{"type": "object", "additionalProperties": valueSchema(d.elem)}
		if d.elem.options != nil {
			s["propertyNames"] = object{"$ref": "#/$defs/name"}
		}
		return s
	case shapeBool:
		return orReference(object{"type": "boolean"})
	case shapeInteger, shapeNumber:
		s := object{"type": "integer"}
		if d.shape == shapeNumber {
			s["type"] = "number"
		}
		if d.min != "" {
			s["minimum"] = json.Number(d.min)
		}
		if d.max != "" {
			s["maximum"] = json.Number(d.max)
		}
		return orReference(s)
	case shapeDuration:
		return orReference(object{"type": "string", "pattern": `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|[0-9]+(\.[0-9]+)?d)$`})
	case shapeSize:
		return orReference(object{"type": "string", "pattern": `^ *[0-9]+(\.[0-9]+)? *([KMGT]i?B|B)? *$`}, object{"type": "integer", "minimum": 0})
	}
	if d.enum != nil {
		return orReference(object{"enum": d.enum})
	}
	s := object{"type": "string"}
	if d.required {
		s["minLength"] = 1
	}
	return s
}

// orReference allows a reference where a value is not any text.
func orReference(schemas ...object) object {
	return object{"anyOf": append(schemas, referenceSchema)}
}

// kindsSchema is the schema of the sources or the sinks: a table for each
// name, whose type says which options it has.
func kindsSchema(kinds []kindOptions) object {
	names, cases := []string{}, []object{}
	for _, k := range kinds {
		names = append(names, k.kind)
		own := append(append([]description{}, k.options...), k.delivery...)
		cases = append(cases, object{
			"if":   object{"properties": object{"type": object{"const": k.kind}}, "required": []string{"type"}},
			"then": tableSchema(own, object{"type": object{"const": k.kind}}),
		})
	}
	return object{
		"type":          "object",
		"minProperties": 1,
		"propertyNames": object{"$ref": "#/$defs/name"},
		"additionalProperties": object{
			"type":       "object",
			"properties": object{"type": object{"enum": names}},
			"required":   []string{"type"},
			"allOf":      cases,
		},
	}
}

func defaultJSON(d *description) any {
	switch d.shape {
	case shapeBool:
		return d.fallback == "true"
	case shapeInteger, shapeNumber:
		return json.Number(d.fallback)
	}
	var text string
	if json.Unmarshal([]byte(d.fallback), &text) != nil {
		text = d.fallback
	}
	return text
}
