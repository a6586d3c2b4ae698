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
	Raw Schema = "raw" // the record itself, on one line
	ECS Schema = "ecs" // Elastic Common Schema
)

// Options are what can be chosen when a Mapper is compiled.
type Options struct {
	// KeepOriginal puts the bytes of the record into the document, as
	// event.original.
	KeepOriginal bool
	// Files are mapping files of the user: they define log types, map those
	// that have no table, and add to or override the built-in tables.
	Files []File
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
	programs []*program // by number of the log type; nil for raw
}

//go:embed mappings
var builtin embed.FS

// Compile reads the built-in mapping tables of a schema and the user's files
// and compiles them. The error is a *MappingError, with file and line, where a
// file is wrong.
func Compile(schema Schema, opts Options) (*Mapper, error) {
	if schema != Raw && schema != ECS {
		return nil, fmt.Errorf("compile mapping tables: there is no schema %q; the schemas are %s and %s", schema, Raw, ECS)
	}
	files, err := builtinFiles(schema)
	if err != nil {
		return nil, err
	}
	return compileFiles(schema, files, opts)
}

func compileFiles(schema Schema, builtins []*fileSpec, opts Options) (*Mapper, error) {
	own := len(builtins)
	files := slices.Clone(builtins)
	for _, f := range opts.Files {
		spec, err := readFile(f.Name, f.Data)
		if err != nil {
			return nil, err
		}
		files = append(files, spec)
	}
	m := &Mapper{schema: schema, detector: newDetector()}
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
	for i := len(files) - 1; i >= 0; i-- {
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
			removed := map[string]bool{"event.original": !opts.KeepOriginal}
			rows, err := gather(tables[n], files, removed)
			if err != nil {
				return err
			}
			if shared[key], err = compileRows(rows); err != nil {
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

// gather returns the rows of tables and of what they include. A table's own
// rows come before those it includes, so that they win; what it removes are
// rows of those after it. It adds to removed.
func gather(tables, files []*fileSpec, removed map[string]bool) (rows []rowSpec, err error) {
	var add func(f *fileSpec, depth int) error
	add = func(f *fileSpec, depth int) error {
		if depth > 8 {
			return &MappingError{File: f.name, Line: 1, Rule: "include: nested deeper than 8; do files include each other?"}
		}
		for i := range f.rows {
			if !removed[strings.TrimSuffix(f.rows[i].to, "[]")] {
				rows = append(rows, f.rows[i])
			}
		}
		for _, target := range f.remove {
			removed[target] = true
		}
		for _, name := range f.include {
			i := slices.IndexFunc(files, func(g *fileSpec) bool { return includeName(g.name) == name })
			if i < 0 {
				return &MappingError{File: f.name, Line: 1, Rule: fmt.Sprintf("include: there is no file %q", name)}
			}
			if err := add(files[i], depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range tables {
		if err := add(f, 0); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func includeName(file string) string {
	return strings.TrimSuffix(path.Base(file), path.Ext(file))
}
