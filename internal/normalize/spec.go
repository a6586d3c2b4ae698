package normalize

import (
	"fmt"
	"slices"
	"strings"
)

// spec.go reads mapping files into specifications; compile.go makes programs of
// them. README.md describes the language for those who write tables.

type fileSpec struct {
	name     string // as errors show it, e.g. "ecs/entra_signin.yaml"
	schema   Schema // of its rows
	define   []logTypeSpec
	forms    []formSpec
	logTypes []string
	include  []string
	remove   []string
	maps     map[string]yamlValue // old to new values, by the name that rows call them by
	classes  []classSpec
	rows     []rowSpec
}

// classSpec is a class that events of the file's log types may be of.
type classSpec struct {
	file    string
	line    int
	class   string
	conds   []condSpec
	include []string
	rows    []rowSpec
}

type logTypeSpec struct {
	line     int
	name     string
	category []string            // one of these, compared without case
	lacks    []string            // paths that must hold nothing
	has      []string            // paths that must hold something
	where    map[string][]string // paths and the values they may have
	id       []string            // paths of the native id, first found wins
	time     []string            // top-level members, tried before the usual ones
	expand   []string            // top-level members that may hold JSON in a string
}

type formSpec struct {
	file    string
	line    int
	name    string
	like    string // the form whose keys it takes over
	tables  []string
	feeds   []string
	known   []string // members by which it is known without a table or feed
	lacks   []string
	has     []string
	where   map[string][]string
	members map[string][]string  // path in the record's new shape: where its value lies
	set     map[string]yamlValue // the same for constants
	omit    []string             // top-level members that are left out
	rest    string               // path of the object that all others go into; "": they are left out
	names   string               // how those are named
	expand  bool                 // whether JSON in texts takes their place
	text    []string             // top-level members whose text stays one
}

type rowSpec struct {
	file   string
	line   int
	to     string
	from   []string
	value  *yamlValue
	format string // "{path} ({path})"
	as     []string
	cases  *yamlValue
	only   string
	conds  []condSpec
	tree   treeSpec
	// each is the path of values of which each makes an object, by the rows in fields.
	each     string
	fields   []rowSpec
	fallback *yamlValue
	// included says that the row comes from a file that others include: it is
	// for those classes that know its target.
	included bool
}

type condSpec struct {
	path   string
	any    bool // present is enough
	values []string
	negate bool
}

type treeSpec struct {
	names      string
	namesBelow map[string]string
	omit       []string
	rename     map[string]string
	shape      map[string]string
}

// reader collects the position for its errors.
type specReader struct{ file string }

func (r specReader) fail(line int, format string, a ...any) error {
	return &MappingError{File: r.file, Line: line, Rule: fmt.Sprintf(format, a...)}
}

func readFile(name string, data []byte) (*fileSpec, error) {
	root, err := readYAML(name, data)
	if err != nil {
		return nil, err
	}
	r := specReader{name}
	f := &fileSpec{name: name, schema: ECS, maps: map[string]yamlValue{}}
	err = r.members(root, "a mapping file", func(m yamlMember) (err error) {
		switch m.key {
		case "schema":
			var text string
			if text, err = r.text(m); err == nil && text != string(ECS) && text != string(OCSF) {
				err = r.fail(m.line, "schema: a table is for %s or %s, not for %q", ECS, OCSF, text)
			}
			f.schema = Schema(text)
		case "maps":
			return r.members(m.value, "maps", func(c yamlMember) error {
				f.maps[c.key] = c.value
				return nil
			})
		case "classes":
			return r.items(m, func(v yamlValue) error {
				c, err := r.class(v)
				f.classes = append(f.classes, c)
				return err
			})
		case "define":
			return r.items(m, func(v yamlValue) error {
				d, err := r.logType(v)
				f.define = append(f.define, d)
				return err
			})
		case "forms":
			return r.items(m, func(v yamlValue) error {
				form, err := r.form(v)
				f.forms = append(f.forms, form)
				return err
			})
		case "log_types":
			f.logTypes, err = r.texts(m)
		case "include":
			f.include, err = r.texts(m)
		case "remove":
			f.remove, err = r.texts(m)
		case "fields":
			f.rows, err = r.rows(m)
		default:
			err = r.unknown(m, "schema, define, forms, log_types, include, remove, maps, classes, fields")
		}
		return err
	})
	if err == nil && f.schema != OCSF && len(f.classes) > 0 {
		err = r.fail(f.classes[0].line, "classes: only OCSF has classes; write schema: ocsf at the top of the file, or remove them")
	}
	return f, err
}

func (r specReader) class(v yamlValue) (c classSpec, err error) {
	c.file, c.line = r.file, v.line
	err = r.members(v, "a class", func(m yamlMember) (err error) {
		switch m.key {
		case "class":
			c.class, err = r.text(m)
		case "when", "unless":
			err = r.conds(m, &c.conds)
		case "include":
			c.include, err = r.texts(m)
		case "fields":
			c.rows, err = r.rows(m)
		default:
			err = r.unknown(m, "class, when, unless, include, fields")
		}
		return err
	})
	if err == nil && c.class == "" {
		err = r.fail(v.line, "a class needs class: its name, for example api_activity")
	}
	return c, err
}

func (r specReader) rows(m yamlMember) (rows []rowSpec, err error) {
	err = r.items(m, func(v yamlValue) error {
		row, err := r.row(v)
		rows = append(rows, row)
		return err
	})
	return rows, err
}

// conds reads the conditions under when or unless.
func (r specReader) conds(m yamlMember, to *[]condSpec) error {
	return r.members(m.value, m.key, func(c yamlMember) (err error) {
		cond := condSpec{path: c.key, negate: m.key == "unless"}
		if c.value.kind == yamlString && c.value.text == "*" {
			cond.any = true
		} else if cond.values, err = r.texts(c); err != nil {
			return err
		}
		*to = append(*to, cond)
		return nil
	})
}

func (r specReader) logType(v yamlValue) (d logTypeSpec, err error) {
	d.line = v.line
	err = r.members(v, "a log type", func(m yamlMember) (err error) {
		switch m.key {
		case "name":
			d.name, err = r.text(m)
		case "category":
			d.category, err = r.texts(m)
		case "lacks":
			d.lacks, err = r.texts(m)
		case "has":
			d.has, err = r.texts(m)
		case "where":
			d.where, err = r.textsMap(m)
		case "id":
			d.id, err = r.texts(m)
		case "time":
			d.time, err = r.texts(m)
		case "expand":
			d.expand, err = r.texts(m)
		default:
			err = r.unknown(m, "name, category, lacks, has, where, id, time, expand")
		}
		return err
	})
	if err == nil && d.name == "" {
		err = r.fail(v.line, "a log type needs a name")
	}
	if err == nil && len(d.category)+len(d.has)+len(d.where) == 0 {
		err = r.fail(v.line, "log type %q would match nothing; give it category, has or where", d.name)
	}
	return d, err
}

func (r specReader) form(v yamlValue) (f formSpec, err error) {
	f.file, f.line = r.file, v.line
	err = r.members(v, "a form", func(m yamlMember) (err error) {
		switch m.key {
		case "name":
			f.name, err = r.text(m)
		case "like":
			f.like, err = r.text(m)
		case "table":
			f.tables, err = r.texts(m)
		case "feed":
			f.feeds, err = r.texts(m)
		case "known_by":
			f.known, err = r.texts(m)
		case "lacks":
			f.lacks, err = r.texts(m)
		case "has":
			f.has, err = r.texts(m)
		case "where":
			f.where, err = r.textsMap(m)
		case "members":
			f.members, err = r.textsMap(m)
		case "set":
			f.set = map[string]yamlValue{}
			return r.members(m.value, m.key, func(c yamlMember) error {
				f.set[c.key] = c.value
				return nil
			})
		case "omit":
			f.omit, err = r.texts(m)
		case "rest":
			f.rest, err = r.text(m)
		case "names":
			f.names, err = r.text(m)
		case "expand":
			f.expand = m.value.kind == yamlBool && m.value.text == "true"
		case "text":
			f.text, err = r.texts(m)
		default:
			err = r.unknown(m, "name, like, table, feed, known_by, lacks, has, where, members, set, omit, rest, names, expand, text")
		}
		return err
	})
	if err == nil && f.name == "" {
		err = r.fail(v.line, "a form needs a name")
	}
	return f, err
}

func (r specReader) row(v yamlValue) (row rowSpec, err error) {
	row.file, row.line = r.file, v.line
	sources := 0
	err = r.members(v, "a field", func(m yamlMember) (err error) {
		switch m.key {
		case "to":
			row.to, err = r.text(m)
		case "from":
			sources++
			row.from, err = r.texts(m)
		case "value":
			sources++
			row.value = &m.value
		case "format":
			sources++
			row.format, err = r.text(m)
		case "as":
			row.as, err = r.texts(m)
		case "map":
			row.cases = &m.value
		case "only":
			row.only, err = r.text(m)
		case "when", "unless":
			err = r.conds(m, &row.conds)
		case "each":
			sources++
			row.each, err = r.text(m)
		case "fields":
			row.fields, err = r.rows(m)
		case "fallback":
			sources++
			row.fallback = &m.value
		case "names":
			row.tree.names, err = r.text(m)
		case "names_below":
			row.tree.namesBelow, err = r.textMap(m)
		case "omit":
			row.tree.omit, err = r.texts(m)
		case "rename":
			row.tree.rename, err = r.textMap(m)
		case "shape":
			row.tree.shape, err = r.textMap(m)
		default:
			err = r.unknown(m, "to, from, value, format, each, fields, fallback, as, map, only, when, unless, names, names_below, omit, rename, shape")
		}
		return err
	})
	switch {
	case err != nil:
	case row.to == "":
		err = r.fail(v.line, "a field needs to: the name of the target field")
	case sources != 1:
		err = r.fail(v.line, "field %s needs exactly one of from, value, format, each and fallback, has %d", row.to, sources)
	case (row.each == "") != (row.fields == nil):
		err = r.fail(v.line, "field %s: each and fields go together: of each value, fields make an object", row.to)
	}
	isTree := slices.Contains(row.as, "tree") || slices.Contains(row.as, "rest")
	t := row.tree
	if err == nil && !isTree && (t.names != "" || t.namesBelow != nil || t.omit != nil || t.rename != nil || t.shape != nil) {
		err = r.fail(v.line, "field %s: names, names_below, omit, rename and shape go with as: tree", row.to)
	}
	return row, err
}

func (r specReader) members(v yamlValue, what string, each func(yamlMember) error) error {
	if v.kind == yamlNull {
		return nil
	}
	if v.kind != yamlMap {
		return r.fail(v.line, "%s must be a map of keys and values, is %s", what, v.kind)
	}
	for _, m := range v.members {
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

func (r specReader) items(m yamlMember, each func(yamlValue) error) error {
	if m.value.kind != yamlList {
		return r.fail(m.line, "%s must be a list, is %s", m.key, m.value.kind)
	}
	for _, v := range m.value.items {
		if err := each(v); err != nil {
			return err
		}
	}
	return nil
}

func (r specReader) text(m yamlMember) (string, error) {
	if m.value.kind != yamlString && m.value.kind != yamlNumber && m.value.kind != yamlBool || m.value.text == "" {
		return "", r.fail(m.line, "%s must be a text, is %s", m.key, m.value.kind)
	}
	return m.value.text, nil
}

// texts reads one text or a list of texts.
func (r specReader) texts(m yamlMember) ([]string, error) {
	if m.value.kind != yamlList {
		s, err := r.text(m)
		return []string{s}, err
	}
	var out []string
	for _, v := range m.value.items {
		s, err := r.text(yamlMember{line: v.line, key: m.key, value: v})
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (r specReader) textsMap(m yamlMember) (map[string][]string, error) {
	out := map[string][]string{}
	err := r.members(m.value, m.key, func(c yamlMember) (err error) {
		out[c.key], err = r.texts(c)
		return err
	})
	return out, err
}

func (r specReader) textMap(m yamlMember) (map[string]string, error) {
	out := map[string]string{}
	err := r.members(m.value, m.key, func(c yamlMember) (err error) {
		out[c.key], err = r.text(c)
		return err
	})
	return out, err
}

func (r specReader) unknown(m yamlMember, known string) error {
	return r.fail(m.line, "unknown key %q; the known ones are %s", m.key, known)
}

// segment is one step of a source path: a member's name, then optionally an
// index into the array it holds ([0]), or all of its elements ([*]).
type segment struct {
	name  string
	index int
	// key and value are what the items must hold, of index someItems.
	key, value string
}

const (
	noIndex   = -1
	allItems  = -2
	someItems = -3 // [key=value]
)

// parsePath reads a.b, a.'name.with.dots', a[0].b, a[*].b and a[key=value].b;
// "." is the record.
func parsePath(s string) ([]segment, error) {
	if s == "." {
		return nil, nil
	}
	var out []segment
	rest := s
	for {
		seg := segment{index: noIndex}
		if strings.HasPrefix(rest, "'") {
			end := strings.IndexByte(rest[1:], '\'')
			if end < 0 {
				return nil, fmt.Errorf("path %q: the quote is not closed", s)
			}
			seg.name, rest = rest[1:1+end], rest[end+2:]
		} else {
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			seg.name, rest = rest[:end], rest[end:]
		}
		if seg.name == "" {
			return nil, fmt.Errorf("path %q holds an empty name; write a.b, a[0].b, a[*].b, a[key=text].b or a.'name.with.dots'", s)
		}
		if strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, fmt.Errorf("path %q: the bracket is not closed", s)
			}
			in := rest[1:end]
			if key, value, found := strings.Cut(in, "="); found && key != "" {
				seg.index, seg.key, seg.value = someItems, key, value
			} else if in == "*" {
				seg.index = allItems
			} else {
				seg.index = 0
				for _, c := range in {
					if c < '0' || c > '9' || seg.index > 1000 {
						return nil, fmt.Errorf("path %q: in brackets goes *, a number up to 1000 or member=text", s)
					}
					seg.index = seg.index*10 + int(c-'0')
				}
				if in == "" {
					return nil, fmt.Errorf("path %q: in brackets goes *, a number up to 1000 or member=text", s)
				}
			}
			rest = rest[end+1:]
		}
		out = append(out, seg)
		if rest == "" {
			return out, nil
		}
		if rest[0] != '.' {
			return nil, fmt.Errorf("path %q: a point is missing before %q", s, rest)
		}
		rest = rest[1:]
	}
}
