package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
)

const noOptions = "It has no options of its own.\n\n"

// Reference returns the option tables of the whole document in Markdown.
func Reference(catalog Catalog) []byte {
	var b bytes.Buffer
	for _, d := range describeCatalog(catalog) {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", d.name, d.doc)
		if d.kinds == nil {
			writeTable(&b, rows(d, ""))
			continue
		}
		for i, k := range d.kinds {
			fmt.Fprintf(&b, "### type: %s\n\n", k.kind)
			if own := allRows(k.options, ""); len(own) > 0 {
				writeTable(&b, own)
			} else {
				b.WriteString(noOptions)
			}
			if k.delivery != nil && i == len(d.kinds)-1 {
				b.WriteString("### Options of every sink\n\nA kind may have other defaults; its own page says so.\n\n")
				general := DefaultSinkDelivery()
				writeTable(&b, allRows(describeStruct(reflect.ValueOf(&general).Elem()), ""))
			}
		}
	}
	return bytes.TrimSpace(b.Bytes())
}

// OptionTable returns the options of one component in Markdown, for its own
// page. For a sink it says which of the runner's defaults differ.
func OptionTable(c Component) []byte {
	var b bytes.Buffer
	if own := allRows(describeStruct(reflect.ValueOf(c).Elem()), ""); len(own) > 0 {
		writeTable(&b, own)
	} else {
		b.WriteString(noOptions)
	}
	if _, ok := c.(DeliveryDefaulter); ok {
		own, general := deliveryDefaults(c), DefaultSinkDelivery()
		generalRows := allRows(describeStruct(reflect.ValueOf(&general).Elem()), "")
		var differ []row
		for i, r := range allRows(describeStruct(reflect.ValueOf(&own).Elem()), "") {
			if r.fallback != generalRows[i].fallback {
				differ = append(differ, r)
			}
		}
		b.WriteString("Of the options that every sink has, these have another default:\n\n")
		writeTable(&b, differ)
	}
	return bytes.TrimSpace(b.Bytes())
}

// row is one line of an option table.
type row struct{ name, value, fallback, doc string }

func allRows(options []description, prefix string) (out []row) {
	for _, d := range options {
		out = append(out, rows(d, prefix+d.name)...)
	}
	return out
}

// rows returns one row for a scalar, and one for each option inside a table,
// a list of tables or a map of tables.
func rows(d description, name string) []row {
	dot := func(s string) string {
		if s == "" {
			return ""
		}
		return s + "."
	}
	switch {
	case d.shape == shapeStruct:
		return allRows(d.options, dot(name))
	case d.shape == shapeMap && d.elem.options != nil:
		return allRows(d.elem.options, dot(name)+"NAME.")
	case d.shape == shapeList && d.elem.options != nil:
		return allRows(d.elem.options, dot(name+"[]"))
	}
	fallback := "–"
	if d.required {
		fallback = "required"
	} else if d.fallback != "" {
		fallback = "`" + d.fallback + "`"
	}
	return []row{{name, valueText(d), fallback, d.doc}}
}

// valueText says what may be written.
func valueText(d description) string {
	switch {
	case d.shape == shapeList:
		return "list: " + valueText(*d.elem)
	case d.shape == shapeMap:
		return "names with " + valueText(*d.elem)
	case d.enum != nil:
		return "`" + strings.Join(d.enum, "`, `") + "`"
	case d.shape == shapeSecret:
		return "secret text"
	}
	text := strings.TrimPrefix(strings.TrimPrefix(d.shape.String(), "a "), "whole ")
	switch {
	case d.min != "" && d.max != "":
		text += ", " + d.min + " to " + d.max
	case d.min != "":
		text += ", at least " + d.min
	case d.max != "":
		text += ", at most " + d.max
	}
	return text
}

func writeTable(b *bytes.Buffer, rows []row) {
	b.WriteString("| option | value | default | meaning |\n|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", r.name, r.value, r.fallback, strings.ReplaceAll(r.doc, "|", `\|`))
	}
	b.WriteString("\n")
}
