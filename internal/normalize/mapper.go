package normalize

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Schema names a form of event.
type Schema string

// The schemas there are.
const (
	Raw  Schema = "raw"  // the record itself, on one line
	ECS  Schema = "ecs"  // Elastic Common Schema
	OCSF Schema = "ocsf" // Open Cybersecurity Schema Framework
)

// Options are what can be chosen when a Mapper is compiled.
type Options struct {
	// KeepOriginal puts the bytes of the record into the document, as
	// event.original or raw_data.
	KeepOriginal bool
	// Files are mapping files of the user: they define log types, map those
	// that have no table, and add to or override the built-in tables.
	Files []File
	// Locator looks addresses up for their place and network; nil leaves them out.
	Locator Locator
}

// File is a mapping file. Its name stands in errors, and without its extension
// is what other files include it by.
type File struct {
	Name string
	Data []byte
}

// DefaultOptions returns what is right for most: the original is kept.
func DefaultOptions() Options { return Options{KeepOriginal: true} }

// Mapper is a compiled set of mapping tables. It is immutable and safe for
// concurrent use.
type Mapper struct {
	schema   Schema
	detector *detector
	locator  Locator
	programs []*program // by number of the log type; nil for raw
}

//go:embed mappings
var builtin embed.FS

// Compile reads the built-in mapping tables of a schema and the user's files
// and compiles them. The error is a *MappingError, with file and line, where a
// file is wrong.
func Compile(schema Schema, opts Options) (*Mapper, error) {
	if schema != Raw && schema != ECS && schema != OCSF {
		return nil, fmt.Errorf("compile mapping tables: there is no schema %q; the schemas are %s, %s and %s", schema, Raw, ECS, OCSF)
	}
	files, err := builtinFiles(schema)
	if err != nil {
		return nil, err
	}
	return compileFiles(schema, files, opts)
}

func compileFiles(schema Schema, builtins []*fileSpec, opts Options) (*Mapper, error) {
	files := slices.Clone(builtins)
	for _, f := range opts.Files {
		spec, err := readFile(f.Name, f.Data)
		if err != nil {
			return nil, err
		}
		files = append(files, spec)
	}
	m := &Mapper{schema: schema, detector: newDetector(), locator: opts.Locator}
	for _, f := range files {
		for _, d := range f.define {
			if err := m.detector.define(f.name, d); err != nil {
				return nil, err
			}
		}
	}
	if err := m.detector.addForms(files); err != nil {
		return nil, err
	}
	if schema == Raw {
		return m, nil
	}
	other := func(f *fileSpec) bool { return f.schema != schema }
	own := len(slices.DeleteFunc(slices.Clone(builtins), other))
	files = slices.DeleteFunc(files, other)
	return m, m.compilePrograms(files, own, opts)
}

// builtinFiles reads logtypes.yaml, the forms and the tables of a schema.
func builtinFiles(schema Schema) ([]*fileSpec, error) {
	names := []string{"mappings/logtypes.yaml"}
	for _, folder := range []string{"forms", string(schema)} {
		found, err := fs.Glob(builtin, path.Join("mappings", folder, "*.yaml"))
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	var files []*fileSpec
	for _, name := range names {
		data, err := builtin.ReadFile(name)
		if err != nil {
			return nil, err
		}
		f, err := readFile(strings.TrimPrefix(name, "mappings/"), data)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// compilePrograms gives every log type its program: of the tables that name it,
// the user's before the built-in one, or of the generic table.
func (m *Mapper) compilePrograms(files []*fileSpec, own int, opts Options) error {
	tables := make([][]*fileSpec, len(m.detector.types))
	named := map[string]yamlValue{}
	for i := len(files) - 1; i >= 0; i-- {
		for name, m := range files[i].maps {
			if _, ok := named[name]; !ok {
				named[name] = m
			}
		}
		for _, name := range files[i].logTypes {
			n := m.detector.numberOf(name)
			if n < 0 {
				return &MappingError{File: files[i].name, Line: 1, Rule: fmt.Sprintf("log_types: there is no log type %q; define it, or correct the name", name)}
			}
			if len(tables[n]) > 0 && i < own && slices.Index(files, tables[n][len(tables[n])-1]) < own {
				return &MappingError{File: files[i].name, Line: 1, Rule: fmt.Sprintf("log type %q has a table already, in %s", name, tables[n][len(tables[n])-1].name)}
			}
			tables[n] = append(tables[n], files[i])
		}
	}
	shared := map[string]*program{}
	m.programs = make([]*program, len(tables))
	for n := range tables {
		if len(tables[n]) == 0 {
			tables[n] = []*fileSpec{generic(files[:own])}
		}
		key := ""
		for _, f := range tables[n] {
			key += f.name + "\n"
		}
		if shared[key] == nil {
			removed := map[string]bool{"event.original": !opts.KeepOriginal, "raw_data": !opts.KeepOriginal}
			g := gatherer{files: files, removed: removed}
			if opts.Locator != nil {
				g.places = placesOf[m.schema]
			}
			if err := g.add(tables[n], 0); err != nil {
				return err
			}
			var err error
			if m.schema == OCSF {
				shared[key], err = g.compileClasses(m.detector.types[n].name, tables[n][0].name, named)
			} else {
				shared[key], err = compileRows(append(g.rows, g.located(g.rows)...), named)
			}
			if err != nil {
				return err
			}
		}
		m.programs[n] = shared[key]
	}
	return nil
}

// generic is the table of log types that have none: that of the unknown one.
func generic(files []*fileSpec) *fileSpec {
	i := slices.IndexFunc(files, func(f *fileSpec) bool { return slices.Contains(f.logTypes, UnknownLogType) })
	return files[i]
}

// gatherer gathers the rows of tables and of what they include. A table's own
// rows come before those it includes, so that they win; what it removes are
// rows of those after it.
type gatherer struct {
	files   []*fileSpec
	removed map[string]bool
	places  places // what a lookup of addresses sets; nothing without one
	rows    []rowSpec
	classes []classSpec
	before  []int // of each class: how many of rows come before its own
}

func (g *gatherer) add(tables []*fileSpec, depth int) error {
	for _, f := range tables {
		if depth > 8 {
			return &MappingError{File: f.name, Line: 1, Rule: "include: nested deeper than 8; do files include each other?"}
		}
		for _, c := range f.classes {
			c.rows = slices.DeleteFunc(slices.Clone(c.rows), g.isRemoved)
			g.classes = append(g.classes, c)
			g.before = append(g.before, len(g.rows))
		}
		for _, row := range f.rows {
			if row.included = depth > 0; !g.isRemoved(row) {
				g.rows = append(g.rows, row)
			}
		}
		for _, target := range f.remove {
			g.removed[target] = true
		}
		included, err := g.included(f.include, f.name, 1)
		if err != nil {
			return err
		}
		if err := g.add(included, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// located returns the rows that look up the addresses that rows set.
func (g *gatherer) located(rows []rowSpec) []rowSpec {
	return slices.DeleteFunc(g.places.rows(rows), g.isRemoved)
}

func (g *gatherer) isRemoved(row rowSpec) bool { return g.removed[strings.TrimSuffix(row.to, "[]")] }

func (g *gatherer) included(names []string, file string, line int) ([]*fileSpec, error) {
	var out []*fileSpec
	for _, name := range names {
		i := slices.IndexFunc(g.files, func(f *fileSpec) bool { return includeName(f.name) == name })
		if i < 0 {
			return nil, &MappingError{File: file, Line: line, Rule: fmt.Sprintf("include: there is no file %q", name)}
		}
		out = append(out, g.files[i])
	}
	return out, nil
}

// compileClasses compiles what was gathered for a log type of OCSF: of each
// class its own rows and those it includes, among those of all classes where
// its table stands.
func (g *gatherer) compileClasses(logType, table string, named map[string]yamlValue) (*program, error) {
	if len(g.classes) == 0 {
		return nil, &MappingError{File: table, Line: 1, Rule: fmt.Sprintf("log type %q has no class of OCSF; write classes: in a table for it, or include: [generic]", logType)}
	}
	list := make([]classRows, len(g.classes))
	for i := range g.classes {
		c := &g.classes[i]
		list[i].spec = c
		add := func(rows []rowSpec, shared bool) {
			for r := range rows {
				list[i].rows = append(list[i].rows, classRow{&rows[r], shared})
			}
		}
		included, err := g.included(c.include, c.file, c.line)
		if err != nil {
			return nil, err
		}
		inner := gatherer{files: g.files, removed: g.removed}
		if err := inner.add(included, 1); err != nil {
			return nil, err
		}
		add(g.rows[:g.before[i]], true)
		add(c.rows, false)
		add(inner.rows, true)
		add(g.rows[g.before[i]:], true)
		add(g.located(slices.Concat(g.rows, c.rows, inner.rows)), true)
	}
	return compileClasses(list, named, g.removed)
}

func includeName(file string) string {
	return strings.TrimSuffix(path.Base(file), path.Ext(file))
}
