package config

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"
)

// Example returns a document with every option, what it does and its default.
// It can be loaded once the variables and files it refers to exist: options
// that are not needed and have no default are commented out.
func Example(catalog Catalog) []byte {
	e := example{wanted: map[string]bool{}}
	// A component may need one of several options, which only its own rules
	// know. So the document is loaded, and what Load asks for is put in.
	for {
		doc := e.document(describeCatalog(catalog))
		_, err := Load("example.yaml", doc, catalog, exampleEnvironment())
		var all *Errors
		if !errors.As(err, &all) {
			return doc
		}
		more := false
		for _, m := range all.Mistakes {
			if !e.wanted[m.Path] {
				e.wanted[m.Path], more = true, true
			}
		}
		if !more {
			return doc
		}
	}
}

// exampleEnvironment has every variable and every file.
func exampleEnvironment() Environment {
	return Environment{
		LookupEnv: func(string) (string, bool) { return "example", true },
		ReadFile:  func(string) ([]byte, error) { return []byte("example"), nil },
	}
}

const exampleHead = `# A configuration of Lazuli with every option.
#
# Values may refer to ${env:NAME}, an environment variable, and to ${file:PATH},
# the content of a file; $${ is written for the two characters themselves.
# Durations have a unit (500ms, 30s, 5m, 2h, 7d), and so have sizes (500KB,
# 64MiB). Relative paths begin at the folder of this file. A line that begins
# with # and no space is an option that has no default.
`

// example writes the document. Lines are built without indentation and moved
// to the right by the table they stand in.
type example struct {
	wanted map[string]bool // paths of options that must not be commented out
}

func (e *example) document(all []description) []byte {
	var b bytes.Buffer
	b.WriteString(exampleHead)
	for i := range all {
		lines, _ := e.option(&all[i], all[i].name)
		b.WriteString("\n")
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
	}
	return b.Bytes()
}

// option returns the lines of one option, and whether it is part of the
// document rather than commented out.
func (e *example) option(d *description, path string) (lines []string, live bool) {
	doc := comment(d.doc)
	switch {
	case d.kinds != nil:
		return append(append(doc, d.name+":"), e.kinds(d.kinds, path)...), true
	case d.isScalar():
		value := d.fallback
		live = value != "" || d.required || e.wanted[path]
		line := d.name + ": " + cmp.Or(value, d.example, emptyYAML(d.shape))
		if !live {
			line = "#" + line
		}
		return append(doc, line), live
	}
	var inner []string
	switch d.shape {
	case shapeStruct:
		inner, live = e.table(d.options, path)
		inner = indent(inner)
	case shapeMap:
		const name = "contoso" // what options that refer to a tenant have as their example
		var table []string
		table, live = e.table(d.elem.options, join(path, name))
		inner = indent(append([]string{name + ":"}, indent(table)...))
	case shapeList:
		inner, live = e.table(d.elem.options, path+"[0]")
		for i := range d.elem.options {
			o := &d.elem.options[i]
			live = live && (!o.required || o.example != "")
		}
		inner = indent(dash(inner))
	}
	lines = append([]string{d.name + ":"}, inner...)
	if !live {
		for i, l := range lines {
			lines[i] = "#" + uncommented(l)
		}
	}
	return append(doc, lines...), live
}

func emptyYAML(s shape) string {
	switch s {
	case shapeList:
		return "[]"
	case shapeMap:
		return "{}"
	}
	return `""`
}

func (e *example) table(options []description, path string) (lines []string, live bool) {
	for i := range options {
		l, in := e.option(&options[i], join(path, options[i].name))
		lines, live = append(lines, l...), live || in
	}
	return lines, live
}

func (e *example) kinds(kinds []kindOptions, path string) (lines []string) {
	for i, k := range kinds {
		own, _ := e.table(k.options, join(path, k.kind))
		inner := append([]string{"type: " + k.kind}, own...)
		if k.delivery != nil {
			delivery, _ := e.table(k.delivery, join(path, k.kind))
			head := "What follows belongs to every sink, here with the defaults of this kind."
			if i > 0 {
				head = "What every sink has, with the defaults of this kind."
				delivery = slices.DeleteFunc(delivery, isComment)
			}
			inner = append(append(append(inner, ""), comment(head)...), delivery...)
		}
		lines = append(lines, indent(append([]string{k.kind + ":"}, indent(inner)...))...)
	}
	return lines
}

// isComment says whether a line explains something, rather than being an
// option that is commented out.
func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " "), "# ") }

// uncommented returns the line of an option that is commented out without its
// mark, and any other line as it is.
func uncommented(line string) string {
	text := strings.TrimLeft(line, " ")
	if strings.HasPrefix(text, "#") && !isComment(line) {
		return line[:len(line)-len(text)] + text[1:]
	}
	return line
}

// dash makes lines the one element of a list.
func dash(lines []string) []string {
	out := make([]string, len(lines))
	first := true
	for i, l := range lines {
		out[i] = "  " + l
		if first && !isComment(l) {
			out[i] = "- " + l
			first = false
		}
	}
	return out
}

func indent(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		if l != "" {
			out[i] = "  " + l
		}
	}
	return out
}

// comment breaks a sentence into comment lines.
func comment(text string) []string {
	const width = 90
	var lines []string
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) >= width {
			lines = append(lines, line)
			line = "#"
		}
		line += " " + word
	}
	if line != "#" {
		lines = append(lines, line)
	}
	return lines
}
