package normalize

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// compiler makes a program of rows.
type compiler struct {
	p program
	// slotOf tells paths that were seen before.
	slotOf map[string]int32
	maps   map[string]yamlValue // those that rows name
	typed  bool                 // the targets are attributes with a type
}

func newCompiler(maps map[string]yamlValue) *compiler {
	c := &compiler{slotOf: map[string]int32{}, maps: maps}
	c.p.paths = &pathNode{}
	c.p.root = &outNode{}
	return c
}

func compileRows(rows []rowSpec, maps map[string]yamlValue) (*program, error) {
	c := newCompiler(maps)
	for i := range rows {
		if rows[i].each != "" || rows[i].fallback != nil {
			return nil, rowError(&rows[i], fmt.Errorf("each and fallback go with OCSF; write schema: ocsf at the top of the file, or remove them"))
		}
		if err := c.row(&rows[i]); err != nil {
			return nil, rowError(&rows[i], err)
		}
	}
	c.p.root.sort()
	c.p.root.markTold(toldByECS)
	c.p.lacksDataStream = c.p.root.member("data_stream") == nil && c.p.root.trees == nil
	c.p.root.fix()
	c.p.root.shut()
	c.p.layOut()
	return &c.p, nil
}

func rowError(row *rowSpec, err error) error {
	return &MappingError{File: row.file, Line: row.line, Rule: fmt.Sprintf("field %s: %v", row.to, err)}
}

// sort puts members in the order of their names: the order of a document does
// not depend on how its tables are split into files.
func (n *outNode) sort() {
	slices.SortStableFunc(n.children, func(a, b *outNode) int { return bytes.Compare(a.key, b.key) })
	for _, child := range n.children {
		child.sort()
	}
}

// fix finds what needs no rules: values that are the same in every document,
// and those that are just one member of the record.
func (n *outNode) fix() {
	for _, element := range n.elements {
		element.fix()
	}
	for _, e := range n.each {
		e.sub.root.fix()
	}
	constant := len(n.trees) == 0 && len(n.children) > 0 && n.each == nil && (n.checks == nil || n.checks.met(1<<len(n.children)-1))
	object := append(slices.Clone(n.key), '{')
	for i, child := range n.children {
		child.fix()
		constant = constant && child.fixed != nil && child.tells == nothing
		if constant {
			object = append(object, child.fixed[1-min(i, 1):]...)
		}
	}
	switch {
	case n.enum != nil:
		if r := n.rules[0]; r.conds == nil && r.literals != nil {
			n.fixed = n.enum.members[r.enum]
		}
	case constant:
		n.fixed = append(object, '}')
	case len(n.rules) > 0 && !n.list:
		if r := n.rules[0]; r.conds == nil && r.literals != nil {
			n.fixed = append(slices.Clone(n.key), r.literals[0]...)
		} else if len(n.rules) == 1 && r.conds == nil && len(r.sources) == 1 && r.sources[0].isMember() {
			n.copied = &r.sources[0]
		}
	}
}

// shut makes the gates of n's children, and returns the one of n.
func (n *outNode) shut() (g gate) {
	g.shut = n.fixed == nil && n.fallback == nil && n.rest == nil && !n.observed
	n.gates = nil
	for _, child := range n.children {
		c := child.shut()
		n.gates = append(n.gates, c)
		g.join(c)
	}
	for _, element := range n.elements {
		g.join(element.shut())
	}
	for _, e := range n.each {
		e.sub.root.shut() // by the slots of the values, not of the record
		if e.source.slot == wholeRecord {
			g.shut = false
		} else {
			g.needs.add(e.source.slot)
		}
	}
	for _, r := range slices.Concat(n.rules, n.trees) {
		g.shut = r.needs(&g.needs) && g.shut
	}
	return g
}

// needs adds the slots of which a rule needs at least one, or returns false if it
// can do without.
func (r *rule) needs(to *slotSet) bool {
	sources := slices.Clone(r.sources)
	for _, part := range r.format {
		if !part.isText {
			sources = append(sources, part.source)
		}
	}
	if len(sources) == 0 { // a constant, on condition
		for i := range r.conds {
			if !r.conds[i].negate {
				sources = append(sources, r.conds[i].source)
				break
			}
		}
	}
	for i := range sources {
		if sources[i].special != notSpecial || sources[i].slot == wholeRecord {
			return false
		}
		to.add(sources[i].slot)
	}
	return len(sources) > 0
}

func (c *compiler) row(spec *rowSpec) error {
	r, err := c.rule(spec)
	if err != nil {
		return err
	}
	name, list := strings.CutSuffix(spec.to, "[]")
	node := c.p.root
	if name != "." || r.tree == nil {
		for part := range strings.SplitSeq(name, ".") {
			if part == "" {
				return fmt.Errorf("the target holds an empty name; write a.b.c")
			}
			if len(node.rules) > 0 {
				return fmt.Errorf("it lies inside a field that is a value in %s; a field is a value or an object", node.place)
			}
			node = node.child(part, fmt.Sprintf("%s:%d", spec.file, spec.line))
		}
	}
	switch {
	case r.tree != nil && list:
		return fmt.Errorf("a tree cannot be put into a list")
	case r.tree != nil && len(node.rules) > 0:
		return fmt.Errorf("it is a value in %s and cannot be a tree here", node.place)
	case r.tree != nil:
		node.trees = append(node.trees, r)
		return nil
	case len(node.children)+len(node.trees) > 0:
		return fmt.Errorf("it is an object in %s and cannot be a value here", node.place)
	case len(node.rules) > 0 && node.list != list:
		return fmt.Errorf("it is a list in one field and a single value in another, in %s; write the target with [] in both or in none", node.place)
	}
	node.list = list
	node.rules = append(node.rules, r)
	return nil
}

func (n *outNode) child(name, place string) *outNode {
	key := memberKey(name)
	for _, c := range n.children {
		if string(c.key) == string(key) {
			return c
		}
	}
	c := &outNode{place: place, key: key, hash: hashName(key[1:])}
	n.children = append(n.children, c)
	return c
}

// conds compiles conditions.
func (c *compiler) conds(specs []condSpec) ([]cond, error) {
	var conds []cond
	for _, s := range specs {
		src, err := c.source(s.path)
		if err != nil {
			return nil, err
		}
		cd := cond{source: src, any: s.any, negate: s.negate}
		for _, v := range s.values {
			if g := newGlob(v); g != nil {
				cd.globs = append(cd.globs, g)
			} else {
				cd.values.add(strings.ToLower(v), 0)
			}
		}
		conds = append(conds, cd)
	}
	return conds, nil
}

func (c *compiler) rule(spec *rowSpec) (*rule, error) {
	r := &rule{spec: spec}
	var err error
	if r.conds, err = c.conds(spec.conds); err != nil {
		return nil, err
	}
	if spec.value != nil {
		if len(spec.as) > 0 || spec.cases != nil || spec.only != "" {
			return nil, fmt.Errorf("value is a constant: as, map and only do not go with it")
		}
		literals, err := literalsOf(*spec.value, strings.HasSuffix(spec.to, "[]"))
		r.literals = literals
		return r, err
	}
	for _, path := range spec.from {
		src, err := c.source(path)
		if err != nil {
			return nil, err
		}
		r.sources = append(r.sources, src)
	}
	if spec.format != "" {
		if err := c.format(r, spec.format); err != nil {
			return nil, err
		}
	}
	if spec.only != "" {
		set, ok := kindSets[spec.only]
		if !ok {
			return nil, fmt.Errorf("only: %q is no kind; the kinds are %s", spec.only, known(kindSets))
		}
		r.only = set
	}
	if err := c.transforms(r, spec); err != nil {
		return nil, err
	}
	if spec.cases != nil {
		if r.tree != nil {
			return nil, fmt.Errorf("map does not go with a tree")
		}
		table := *spec.cases
		if table.kind == yamlString {
			var ok bool
			if table, ok = c.maps[spec.cases.text]; !ok {
				return nil, fmt.Errorf("map: there is no map %q; write old and new values, or one of %s", spec.cases.text, known(c.maps))
			}
		}
		cases, err := casesOf(table, strings.HasSuffix(spec.to, "[]"))
		if err != nil {
			return nil, err
		}
		r.cases = cases
	}
	return r, nil
}

func (c *compiler) transforms(r *rule, spec *rowSpec) error {
	for _, as := range spec.as {
		name, argument, _ := strings.Cut(as, " ")
		if n := len(argument); n > 2 && argument[0] == '"' && argument[n-1] == '"' {
			argument = argument[1 : n-1]
		}
		if r.finish != nil || r.tree != nil {
			return fmt.Errorf("as: %q must stand last, %q follows it", spec.as[len(r.steps)], as)
		}
		if name == "tree" {
			if len(r.steps) > 0 || r.format != nil {
				return fmt.Errorf("as: tree goes alone")
			}
			for _, src := range r.sources {
				if src.special != notSpecial {
					return fmt.Errorf("as: tree needs a path of the record")
				}
			}
			tree, err := compileTree(spec.tree)
			if err != nil {
				return err
			}
			r.tree = tree
			continue
		}
		if name == "split" && c.typed {
			if argument == "" || !strings.HasSuffix(spec.to, "[]") {
				return fmt.Errorf("as: split X makes the elements of a list, to: NAME[]")
			}
			r.split = cmp.Or(strings.TrimSuffix(argument, "blank"), " ")
			continue
		}
		if f, ok := finishers[name]; ok {
			if c.typed && name != "sum" {
				return fmt.Errorf("as: %q does not go with OCSF: the type of the attribute says what is made of the value", as)
			}
			if f.argument != (argument != "") {
				return fmt.Errorf("as: %q is written %q", as, f.usage)
			}
			r.finish, r.argument = f.run, argument
			continue
		}
		s, ok := steps[name]
		if !ok {
			return fmt.Errorf("as: unknown transform %q; the known ones are tree, %s, %s", name, known(steps), known(finishers))
		}
		if s.argument != (argument != "") || s.arguments != nil && !slices.Contains(s.arguments, argument) || s.valid != nil && !s.valid(argument) {
			return fmt.Errorf("as: %q is written %q", as, s.usage)
		}
		if argument == "blank" {
			argument = " "
		}
		compiled := step{name: name, run: s.run, argument: argument}
		if name == "part" {
			compiled.part, _ = strconv.Atoi(argument)
		}
		r.steps = append(r.steps, compiled)
	}
	return nil
}

// source notes a path in the trie and returns where its value will be.
func (c *compiler) source(path string) (source, error) {
	if strings.HasPrefix(path, "$") {
		sp, ok := specials[path]
		if !ok {
			return source{}, fmt.Errorf("unknown source %q; the known ones are %s", path, known(specials))
		}
		return source{special: sp}, nil
	}
	segments, err := parsePath(path)
	if err != nil {
		return source{}, err
	}
	// The trie leads through members; what follows the first bracket is walked.
	keys := len(segments)
	for i, s := range segments {
		if s.index != noIndex {
			keys = i + 1
			break
		}
	}
	if keys == 0 {
		return source{slot: wholeRecord}, nil
	}
	id := ""
	node := c.p.paths
	for i, s := range segments[:keys] {
		id += fmt.Sprintf("%q.", s.name)
		at := node.names.find([]byte(s.name))
		if at < 0 {
			at = int32(len(node.members))
			node.members = append(node.members, pathMember{slot: -1})
			node.names.add(s.name, at)
		}
		m := &node.members[at]
		if i < keys-1 {
			if m.sub == nil {
				m.sub = &pathNode{}
			}
			node = m.sub
			continue
		}
		if m.slot < 0 {
			m.slot = int32(c.p.slots)
			c.p.slots++
			c.slotOf[id] = m.slot
		}
	}
	src := source{slot: c.slotOf[id]}
	if last := segments[keys-1]; last.index != noIndex {
		last.name = "" // it leads to the slot
		src.path = append(src.path, last)
		src.path = append(src.path, segments[keys:]...)
	}
	return c.single(id, src), nil
}

// single makes a source that leads through lists to one value a slot of its own.
func (c *compiler) single(id string, src source) source {
	if src.path == nil || slices.ContainsFunc(src.path, func(s segment) bool { return s.index == allItems || s.index == someItems }) {
		return src
	}
	id += fmt.Sprintf("%v", src.path)
	slot, known := c.slotOf[id]
	if !known {
		slot = int32(c.p.slots)
		c.p.slots++
		c.slotOf[id] = slot
		c.p.walks = append(c.p.walks, walk{from: src.slot, to: slot, path: src.path})
	}
	return source{slot: slot}
}

// format compiles "{a.b} ({c})".
func (c *compiler) format(r *rule, s string) error {
	for s != "" {
		text, rest, found := strings.Cut(s, "{")
		if text != "" {
			r.format = append(r.format, formatPart{text: text, isText: true})
		}
		if !found {
			break
		}
		path, after, closed := strings.Cut(rest, "}")
		if !closed {
			return fmt.Errorf("format: the brace is not closed")
		}
		src, err := c.source(path)
		if err != nil {
			return err
		}
		r.format = append(r.format, formatPart{source: src})
		s = after
	}
	return nil
}

// memberKey returns a member's name with all that stands around it.
func memberKey(name string) []byte {
	return append(appendString([]byte{','}, name), ':')
}

func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = jsonscan.AppendEscaped(dst, []byte(s))
	return append(dst, '"')
}

// known lists names for an error.
func known[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
