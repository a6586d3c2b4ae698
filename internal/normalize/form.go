package normalize

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// Azure hands out one record in several shapes: as diagnostic settings write
// it, as a row of Log Analytics, as an object of Microsoft Graph. The tables
// are written for the first. A form says how a record of another shape is put
// into that one, before its log type is looked for: so id, time, filters and
// every schema see the same record by whatever door it came. docs/adr/0007
// tells why the record is put into shape and not the tables.

// form is a compiled form.
type form struct {
	name  string
	place string // where it is defined, for Explain
	where []whereCond
	// known says that the conditions are enough to know the form by, without
	// a table or feed.
	known []whereCond
	paths *pathNode
	slots int
	root  *shapeNode
	// taken are the top-level members that are left out or go where a source
	// says; all others are passed on.
	taken nameTable
	names memberNaming
	// expand puts the JSON that stands in texts in their place, but for those
	// of the members in text.
	expand bool
	text   nameTable
}

// shapeNode is a member of the record in its new shape: an object has children
// or takes what is left over, a value has sources of which the first counts.
type shapeNode struct {
	name     string
	key      []byte // `,"name":`
	children []*shapeNode
	slots    []int32
	literal  []byte
	rest     bool
}

// memberNaming is how members are named that a form does not mention.
type memberNaming uint8

const (
	sameNames memberNaming = iota
	camelCase
	withoutSuffix
)

var memberNamings = map[string]memberNaming{"keep": sameNames, "camel_case": camelCase, "without_suffix": withoutSuffix}

// forms finds the form of a record.
type forms struct {
	byDoor map[string][]*form // "log_analytics:auditlogs", "graph:riskyusers"
	known  []*form            // those known by their members
}

// addForms compiles the forms of all files.
func (d *detector) addForms(files []*fileSpec) error {
	specs := map[string]*formSpec{}
	var order []*formSpec
	for _, f := range files {
		for i := range f.forms {
			s := &f.forms[i]
			if old := specs[s.name]; old != nil {
				order = slices.DeleteFunc(order, func(o *formSpec) bool { return o == old })
			}
			specs[s.name] = s
			order = append(order, s)
		}
	}
	d.forms = forms{byDoor: map[string][]*form{}}
	for _, s := range order {
		whole, err := s.inherit(specs, 0)
		if err != nil {
			return &MappingError{File: s.file, Line: s.line, Rule: fmt.Sprintf("form %q: %v", s.name, err)}
		}
		if len(s.tables)+len(s.feeds)+len(s.known) == 0 {
			continue // others are like it
		}
		f, err := d.compileForm(whole)
		if err != nil {
			return &MappingError{File: s.file, Line: s.line, Rule: fmt.Sprintf("form %q: %v", s.name, err)}
		}
		for _, t := range s.tables {
			door := doorName("log_analytics:" + t)
			d.forms.byDoor[door] = append(d.forms.byDoor[door], f)
		}
		for _, g := range s.feeds {
			door := doorName("graph:" + g)
			d.forms.byDoor[door] = append(d.forms.byDoor[door], f)
		}
		if len(s.known) > 0 {
			d.forms.known = append(d.forms.known, f)
		}
	}
	return nil
}

// doorName makes signIns and sign_ins the same.
func doorName(s string) string {
	family, name, _ := strings.Cut(s, ":")
	return family + ":" + strings.ReplaceAll(strings.ToLower(name), "_", "")
}

// inherit returns the form with what it takes over from the one it is like.
func (s *formSpec) inherit(specs map[string]*formSpec, depth int) (*formSpec, error) {
	if s.like == "" {
		return s, nil
	}
	base := specs[s.like]
	if base == nil || depth > 8 {
		return nil, fmt.Errorf("like: there is no form %q, or they are like each other", s.like)
	}
	base, err := base.inherit(specs, depth+1)
	if err != nil {
		return nil, err
	}
	whole := *s
	whole.members = mergeMaps(base.members, s.members)
	whole.set = mergeMaps(base.set, s.set)
	whole.where = mergeMaps(base.where, s.where)
	whole.lacks = slices.Concat(base.lacks, s.lacks)
	whole.has = slices.Concat(base.has, s.has)
	whole.omit = slices.Concat(base.omit, s.omit)
	whole.text = slices.Concat(base.text, s.text)
	whole.expand = base.expand || s.expand
	if s.rest == "" {
		whole.rest = base.rest
	}
	if s.names == "" {
		whole.names = base.names
	}
	return &whole, nil
}

func mergeMaps[V any](base, over map[string]V) map[string]V {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]V{}
	}
	maps.Copy(out, over)
	return out
}

func (d *detector) compileForm(s *formSpec) (*form, error) {
	f := &form{name: s.name, place: fmt.Sprintf("%s:%d", s.file, s.line), root: &shapeNode{}, expand: s.expand}
	var err error
	if f.where, err = d.whereConds(s.lacks, s.has, s.where); err != nil {
		return nil, err
	}
	if f.known, err = d.whereConds(nil, s.known, nil); err != nil {
		return nil, err
	}
	if s.names != "" {
		n, ok := memberNamings[s.names]
		if !ok {
			return nil, fmt.Errorf("names: unknown naming %q; the known ones are %s", s.names, known(memberNamings))
		}
		f.names = n
	}
	c := &compiler{slotOf: map[string]int32{}}
	c.p.paths = &pathNode{}
	for _, path := range slices.Sorted(maps.Keys(s.set)) {
		n, err := f.root.at(path)
		if err != nil {
			return nil, err
		}
		if n.literal, err = literal(s.set[path]); err != nil {
			return nil, err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(s.members)) {
		n, err := f.root.at(path)
		if err != nil {
			return nil, err
		}
		for _, from := range s.members[path] {
			segments, err := memberSegments(from)
			if err != nil {
				return nil, err
			}
			src, err := c.source(from)
			if err != nil {
				return nil, err
			}
			n.slots = append(n.slots, src.slot)
			f.taken.add(segments[0].name, 0)
		}
	}
	for _, name := range s.omit {
		f.taken.add(name, 0)
	}
	for _, name := range s.text {
		f.text.add(name, 0)
	}
	if s.rest != "" {
		n := f.root
		if s.rest != "." {
			if n, err = f.root.at(s.rest); err != nil {
				return nil, err
			}
		}
		n.rest = true
	}
	f.paths, f.slots = c.p.paths, c.p.slots
	return f, f.root.check()
}

// at returns the node that a path of members leads to.
func (n *shapeNode) at(path string) (*shapeNode, error) {
	segments, err := memberSegments(path)
	if err != nil {
		return nil, err
	}
	for _, s := range segments {
		i := slices.IndexFunc(n.children, func(c *shapeNode) bool { return c.name == s.name })
		if i < 0 {
			n.children = append(n.children, &shapeNode{name: s.name, key: memberKey(s.name)})
			i = len(n.children) - 1
		}
		n = n.children[i]
	}
	return n, nil
}

func (n *shapeNode) check() error {
	if (n.slots != nil || n.literal != nil) && (n.children != nil || n.rest) {
		return fmt.Errorf("%s is a value in one place and an object in another", n.name)
	}
	for _, c := range n.children {
		if err := c.check(); err != nil {
			return err
		}
	}
	return nil
}

// formOf returns the form of the record, or nil if it is in the form of
// diagnostic settings. typ is the member Type, or -1.
func (w *Worker) formOf(typ int, hasTime bool) *form {
	d := &w.m.detector.forms
	if o := w.in.Origin; o != nil && o.Feed != "" {
		if o != w.feedOf {
			w.feedOf, w.feed = o, d.byDoor[doorName(o.Feed)]
		}
		for _, f := range w.feed {
			if w.meets(f.where) {
				return f
			}
		}
	}
	if typ >= 0 && w.x.Nodes[typ].Kind == jsonscan.String {
		text, _ := w.textOf(0, typ)
		w.lower = append(w.lower[:0], "log_analytics:"...)
		for _, c := range text {
			if c != '_' {
				w.lower = appendLower(w.lower, []byte{c})
			}
		}
		for _, f := range d.byDoor[string(w.lower)] {
			if w.meets(f.where) {
				return f
			}
		}
	}
	// What has the envelope's time needs no more looks: most records do.
	if hasTime {
		return nil
	}
	for _, f := range d.known {
		if w.meets(f.known) && w.meets(f.where) {
			return f
		}
	}
	return nil
}

// reshape puts the record into the form that the tables are written for. It
// returns false, and the record is as it was, if that cannot be done.
func (w *Worker) reshape(f *form) bool {
	for len(w.slots) < f.slots {
		w.slots = append(w.slots, -1)
	}
	for i := range f.slots {
		w.slots[i] = -1
	}
	w.fill(w.node, f.paths)
	w.shapeText, _ = w.appendShape(w.shapeText[:0], f, f.root)
	if _, err := w.shaped.Scan(w.shapeText); err != nil {
		return false // nested too deep
	}
	w.x, w.node, w.outline = &w.shaped, 0, nil
	return true
}

// appendShape appends n as an object, and says whether it has members.
func (w *Worker) appendShape(dst []byte, f *form, n *shapeNode) ([]byte, bool) {
	dst = append(dst, '{')
	opening := len(dst)
	for _, c := range n.children {
		mark := len(dst)
		dst = append(dst, c.key[comma(dst, opening):]...)
		ok := false
		switch {
		case c.children != nil || c.rest:
			dst, ok = w.appendShape(dst, f, c)
		default:
			for _, slot := range c.slots {
				if at := w.slots[slot]; at >= 0 {
					if dst, ok = w.appendShaped(dst, f, int(at)); ok {
						break
					}
				}
			}
			if !ok && c.literal != nil {
				dst, ok = append(dst, c.literal...), true
			}
		}
		if !ok {
			dst = dst[:mark]
		}
	}
	if n.rest {
		dst = w.appendRest(dst, opening, f)
	}
	return append(dst, '}'), len(dst) > opening
}

// comma returns where a key that is kept as `,"name":` begins.
func comma(dst []byte, opening int) int {
	if len(dst) == opening {
		return 1
	}
	return 0
}

// appendRest appends the members of the record that the form does not mention.
func (w *Worker) appendRest(dst []byte, opening int, f *form) []byte {
	nodes := w.x.Nodes
	end := int(nodes[w.node].Next)
	for c := w.node + 1; c < end; c = int(nodes[c].Next) {
		if nodes[c].Kind == jsonscan.Null {
			continue
		}
		name := w.key(c)
		if f.taken.find(name) >= 0 || len(name) == 0 {
			continue
		}
		mark := len(dst)
		if mark > opening {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		start := len(dst)
		dst = jsonscan.AppendEscaped(dst, name)
		dst = dst[:start+len(f.names.rename(dst[start:]))]
		dst = append(dst, '"', ':')
		var ok bool
		if dst, ok = w.appendShaped(dst, f, c); !ok {
			dst = dst[:mark]
		}
	}
	return dst
}

// rename forms a name in its place.
func (n memberNaming) rename(name []byte) []byte {
	switch n {
	case camelCase:
		// UserId is userId, IPAddress ipAddress, ID id.
		for i, c := range name {
			if c-'A' > 'Z'-'A' || i > 0 && i+1 < len(name) && name[i+1]-'a' <= 'z'-'a' {
				break
			}
			name[i] |= 0x20
		}
	case withoutSuffix:
		// AzureDiagnostics names the type of a column: clientInfo_s, httpStatus_d.
		if i := len(name) - 2; i > 0 && name[i] == '_' && strings.IndexByte("sdgbt", name[i+1]) >= 0 {
			name = name[:i]
		}
	}
	return name
}

// appendShaped appends a value. The API of Log Analytics gives dynamic columns
// as text: JSON in it takes the place of the text. Empty text is no value: rows
// have every column of their table.
func (w *Worker) appendShaped(dst []byte, f *form, n int) ([]byte, bool) {
	node := &w.x.Nodes[n]
	if node.Kind != jsonscan.String {
		return append(dst, w.x.Value(n)...), true
	}
	text := w.x.Text(n)
	if len(text) == 0 {
		return dst, false
	}
	if f.expand && (text[0] == '{' || text[0] == '[') && f.text.find(w.key(n)) < 0 {
		inner, _ := w.textOf(0, n)
		if used, err := w.inner.Scan(inner); err == nil && len(trimSpace(inner[used:])) == 0 {
			return append(dst, inner[:used]...), true
		}
	}
	return append(dst, w.x.Value(n)...), true
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	return b
}

// whereConds compiles conditions on members.
func (d *detector) whereConds(lacks, has []string, where map[string][]string) (out []whereCond, err error) {
	add := func(key, path string, c whereCond) {
		if err == nil {
			if c.path, err = d.path(path); err != nil {
				err = fmt.Errorf("%s: %w", key, err)
			}
			out = append(out, c)
		}
	}
	for _, path := range lacks {
		add("lacks", path, whereCond{absent: true})
	}
	for _, path := range has {
		add("has", path, whereCond{})
	}
	for _, path := range slices.Sorted(maps.Keys(where)) {
		c := whereCond{}
		for _, value := range where[path] {
			if g := newGlob(value); g != nil {
				c.globs = append(c.globs, g)
			} else {
				c.values = append(c.values, value)
			}
		}
		add("where", path, c)
	}
	return out, err
}

// A feedCache remembers the forms of the door that the last record came by.
type feedCache struct {
	feedOf *event.Origin
	feed   []*form
}
