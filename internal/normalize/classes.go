package normalize

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/normalize/ocsf"
)

// classes.go compiles tables of OCSF. A target is an attribute of a class: its
// type says what values it takes and how they are written, and what the class
// requires must be there whatever the record holds. Both are checked here, so
// that no record can make an event that the schema does not allow.

// classRows are a class that a log type may become and the rows for it.
type classRows struct {
	spec *classSpec
	rows []classRow
}

type classRow struct {
	*rowSpec
	// shared rows are for several classes: those that know the target.
	shared bool
}

// errNoAttribute says that an object does not have what a target names.
type errNoAttribute struct{ name, object string }

func (e *errNoAttribute) Error() string {
	return fmt.Sprintf("OCSF knows no attribute %s of %s, or it is not in Lazuli's table of the schema", e.name, e.object)
}

// classCompiler compiles the classes of one log type: they share the paths.
type classCompiler struct {
	*compiler
	schema   *ocsf.Schema
	class    *ocsf.Class
	profiles map[string]bool // those of the attributes that rows set
	removed  map[string]bool // attributes that are not to be added
	// unknown are shared rows that no class so far has taken.
	unknown map[*rowSpec]error
	worker  *Worker // to try constants
}

func compileClasses(list []classRows, maps map[string]yamlValue, removed map[string]bool) (*program, error) {
	schema, err := ocsf.Load()
	if err != nil {
		return nil, err
	}
	c := &classCompiler{compiler: newCompiler(maps), schema: schema, removed: removed, unknown: map[*rowSpec]error{}, worker: (&Mapper{}).Worker()}
	c.typed = true
	for i := range list {
		// A class of the user's own that takes every record leaves none to the
		// built-in ones.
		last := i == len(list)-1 || len(list[i].spec.conds) == 0 && list[i+1].spec.file != list[i].spec.file
		if err := c.addClass(&list[i], last); err != nil {
			return nil, err
		}
		if last {
			break
		}
	}
	for _, row := range list[0].rows {
		if err := c.unknown[row.rowSpec]; err != nil {
			return nil, rowError(row.rowSpec, err)
		}
	}
	c.p.layOut()
	return &c.p, nil
}

func (c *classCompiler) addClass(list *classRows, last bool) error {
	spec := list.spec
	fail := func(format string, a ...any) error {
		return &MappingError{File: spec.file, Line: spec.line, Rule: fmt.Sprintf("class %s: ", spec.class) + fmt.Sprintf(format, a...)}
	}
	if c.class = c.schema.Classes[spec.class]; c.class == nil {
		return fail("there is no such class; the classes are %s", known(c.schema.Classes))
	}
	p := classProgram{spec: spec, root: &outNode{}}
	var err error
	if p.conds, err = c.conds(spec.conds); err != nil {
		return fail("%v", err)
	}
	switch {
	case last && p.conds != nil:
		return fail("the last class must take every record: write it without when and unless, or another after it")
	case !last && p.conds == nil:
		return fail("it takes every record, so the classes after it would never be chosen; give it when or unless, or put it last")
	}
	c.profiles = map[string]bool{}
	for _, row := range list.rows {
		err := c.attributeRow(p.root, &c.class.Object, row.rowSpec)
		var missing *errNoAttribute
		switch {
		case errors.As(err, &missing) && row.included && c.knownToAny(row.rowSpec):
		case errors.As(err, &missing) && row.shared:
			if _, taken := c.unknown[row.rowSpec]; !taken {
				c.unknown[row.rowSpec] = err
			}
		case err != nil:
			return rowError(row.rowSpec, err)
		case row.shared:
			c.unknown[row.rowSpec] = nil
		}
	}
	c.addComputed(p.root)
	p.root.finish(&c.class.Object)
	if caption := p.root.captionTwice(); caption != "" {
		return fail("%s is set by the attribute with the id; remove the row for it, or that for the id", caption)
	}
	if missing := p.root.missing(&c.class.Object); missing != "" {
		return fail("an event could be without %s; add a last row for it: with value:, or of an object or list with fallback:", missing)
	}
	p.root.markTold(toldByOCSF)
	p.root.fix()
	p.root.merge()
	p.root.shut()
	c.p.classes = append(c.p.classes, p)
	return nil
}

// knownToAny says whether any class has the target of a row.
func (c *classCompiler) knownToAny(row *rowSpec) bool {
	for _, class := range c.schema.Classes {
		o := &class.Object
		found := true
		for part := range strings.SplitSeq(row.to, ".") {
			name, _, _ := strings.Cut(part, "[")
			if o == nil || o.Attributes[name] == nil || strings.Contains(part, "[") != o.Attributes[name].List {
				found = false
				break
			}
			o = o.Attributes[name].Object
		}
		if found {
			return true
		}
	}
	return false
}

// computed are the attributes that no row sets, because the class, the activity
// and what else is set say what they hold.
var computed = []string{"category_uid", "category_name", "class_uid", "class_name", "type_uid", "type_name", "activity_name", "observables", "metadata.version", "metadata.profiles"}

// attributeRow adds a row to the class or to an object in it.
func (c *classCompiler) attributeRow(root *outNode, object *ocsf.Object, spec *rowSpec) error {
	if slices.Contains(computed, spec.to) {
		return fmt.Errorf("it is computed; remove the row")
	}
	node := root
	parts := strings.Split(spec.to, ".")
	place := fmt.Sprintf("%s:%d", spec.file, spec.line)
	var a *ocsf.Attribute
	for i, part := range parts {
		if object == nil {
			return fmt.Errorf("%s holds no attributes", a.Name)
		}
		name, index, list := strings.Cut(part, "[")
		owner := object
		if a = owner.Attributes[name]; a == nil || list != a.List {
			if a != nil && a.List {
				return &errNoAttribute{name + " (it is a list: write " + name + "[])", owner.Name}
			}
			return &errNoAttribute{part, owner.Name}
		}
		if a.Profile != "" {
			if !slices.Contains(c.class.Profiles, a.Profile) {
				return &errNoAttribute{name + " (of profile " + a.Profile + ")", c.class.Name}
			}
			c.profiles[a.Profile] = true
		}
		node = node.child(name, place)
		node.attribute = a
		object = a.Object
		last := i == len(parts)-1
		if !list || last && index == "]" {
			if list && !last {
				return fmt.Errorf("%s is a list of objects: write %s[0] for the first", name, name)
			}
			continue
		}
		if object == nil {
			return fmt.Errorf("%s is a list of values: write %s[]", name, name)
		}
		n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil || n < 0 || n > 15 {
			return fmt.Errorf("in brackets goes the number of an object of the list, from 0 to 15")
		}
		for n >= len(node.elements) {
			node.elements = append(node.elements, &outNode{place: place, key: node.key, attribute: &ocsf.Attribute{Name: a.Name, Type: a.Type, Object: a.Object}})
		}
		node = node.elements[n]
	}
	own := *spec // what follows differs by class
	return c.setAttribute(node, a, &own)
}

// setAttribute adds a row to the node of its attribute.
func (c *classCompiler) setAttribute(node *outNode, a *ocsf.Attribute, spec *rowSpec) error {
	switch {
	case spec.fallback != nil:
		return c.setFallback(node, a, spec)
	case spec.each != "":
		return c.setEach(node, a, spec)
	case a.Object != nil:
		return fmt.Errorf("it is an object: write the attributes in it, as in %s.%s, or each and fields", spec.to, slices.Sorted(maps.Keys(a.Object.Attributes))[0])
	}
	if a.Type == ocsf.AnyObject && slices.Contains(spec.as, "rest") {
		return setRest(node, spec)
	}
	if spec.cases != nil && spec.cases.kind == yamlString {
		table, ok := c.maps[spec.cases.text]
		if !ok {
			return fmt.Errorf("map: there is no map %q; write old and new values, or one of %s", spec.cases.text, known(c.maps))
		}
		spec.cases = &table
	}
	if a.Type == ocsf.EnumID {
		if spec.format != "" {
			return fmt.Errorf("format does not go with the id of an enum")
		}
		if node.enum == nil {
			node.enum = c.enumTexts(a)
		}
		if err := captionsToIDs(a, spec); err != nil {
			return err
		}
	}
	r, err := c.rule(spec)
	if err != nil {
		return err
	}
	if r.tree != nil {
		return fmt.Errorf("as: tree does not go with OCSF; an attribute of type json or object takes all of a value")
	}
	if r.finish != nil && a.Type != ocsf.Long {
		return fmt.Errorf("as: sum gives a number of 64 bits, which the attribute does not take")
	}
	r.typed, r.typ = r.finish == nil, a.Type
	r.keeps = r.cases == nil
	for _, as := range spec.as {
		if name, _, _ := strings.Cut(as, " "); !losslessSteps[name] {
			r.keeps = false
		}
	}
	if err := c.checkLiterals(a, r); err != nil {
		return err
	}
	if node.enum != nil && r.literals != nil {
		r.enum = node.enum.names.find(r.literals[0])
	}
	node.list = a.List
	node.rules = append(node.rules, r)
	return nil
}

// losslessSteps are the transforms that leave the value whole.
var losslessSteps = map[string]bool{"text": true, "trim": true, "split": true, "unquote": true}

func setRest(node *outNode, spec *rowSpec) error {
	if len(spec.as) > 1 || len(spec.from) != 1 || spec.from[0] != "." || spec.conds != nil {
		return fmt.Errorf("as: rest goes with from: . and, beside it, only omit, rename and names")
	}
	tree, err := compileTree(spec.tree)
	node.rest, node.spec = tree, spec
	return err
}

// captionsToIDs replaces the captions that a row gives for an enum by their ids.
func captionsToIDs(a *ocsf.Attribute, spec *rowSpec) error {
	toID := func(v yamlValue) (yamlValue, error) {
		id, ok := a.Enum.ID(v.text)
		if !ok {
			if n, err := strconv.Atoi(v.text); err == nil && a.Enum.Captions[n] != "" {
				id, ok = n, true
			}
		}
		if !ok {
			return v, fmt.Errorf("%q is no value of it; the values are %s", v.text, a.Enum.List())
		}
		return yamlValue{kind: yamlNumber, line: v.line, text: strconv.Itoa(id)}, nil
	}
	if spec.value != nil {
		v, err := toID(*spec.value)
		spec.value = &v
		return err
	}
	if spec.cases == nil || spec.cases.kind != yamlMap {
		return nil
	}
	table := yamlValue{kind: yamlMap, line: spec.cases.line}
	for _, m := range spec.cases.members {
		v, err := toID(m.value)
		if err != nil {
			return err
		}
		m.value = v
		table.members = append(table.members, m)
	}
	spec.cases = &table
	return nil
}

// checkLiterals checks that the constants of a row are of the attribute's type.
func (c *classCompiler) checkLiterals(a *ocsf.Attribute, r *rule) error {
	var all [][]byte
	all = append(all, r.literals...)
	if r.cases != nil {
		for _, l := range r.cases.literals {
			all = append(all, l...)
		}
	}
	for _, literal := range all {
		var x jsonscan.Index
		if _, err := x.Scan(literal); err != nil {
			return err
		}
		if a.Type == ocsf.EnumID {
			continue // captionsToIDs has checked it
		}
		kind := x.Nodes[0].Kind
		w := c.worker
		w.x = &x
		ok := a.Type.IsText() == (kind == jsonscan.String) && (a.Type == ocsf.Boolean) == (kind == jsonscan.True || kind == jsonscan.False)
		typ := a.Type
		if typ == ocsf.Timestamp {
			typ = ocsf.Long // a constant time is the number itself
		}
		if ok {
			_, ok = w.appendTyped(nil, &rule{typed: true, typ: typ}, 0)
		}
		if !ok && a.Type != ocsf.JSON {
			return fmt.Errorf("%s is no value of the attribute's type", literal)
		}
	}
	return nil
}

// setEach compiles rows that make objects of the values a path leads to.
func (c *classCompiler) setEach(node *outNode, a *ocsf.Attribute, spec *rowSpec) error {
	if a.Object == nil {
		return fmt.Errorf("each makes objects, but %s is a value", a.Name)
	}
	src, err := c.source(spec.each)
	if err != nil {
		return err
	}
	if src.special != notSpecial {
		return fmt.Errorf("each needs a path of the record")
	}
	e := &eachRule{spec: spec, source: src}
	outer := c.compiler
	c.compiler = newCompiler(outer.maps)
	c.typed = true
	defer func() { c.compiler = outer }()
	if e.conds, err = c.conds(spec.conds); err != nil {
		return err
	}
	for i := range spec.fields {
		row := &spec.fields[i]
		if err := c.attributeRow(c.p.root, a.Object, row); err != nil {
			// Not %w: the class knows the list or object, so the mistake is in the row.
			return fmt.Errorf("line %d: %s: %v", row.line, row.to, err) //nolint:errorlint // as the line above says
		}
	}
	c.p.root.attribute = a
	e.sub = c.p
	node.each = append(node.each, e)
	return nil
}

// setFallback compiles the constant that an object or list is if it would
// otherwise not be.
func (c *classCompiler) setFallback(node *outNode, a *ocsf.Attribute, spec *rowSpec) error {
	if node.fallback != nil {
		return nil // an earlier row of the table has set it
	}
	if len(spec.conds) > 0 {
		return fmt.Errorf("a fallback has no conditions")
	}
	node.spec = spec
	if a.Object == nil {
		if !a.List {
			return fmt.Errorf("fallback is for objects and lists; a value's last row is its fallback: write value")
		}
		literals, err := literalsOf(*spec.fallback, true)
		if err == nil {
			err = c.checkLiterals(a, &rule{literals: literals})
		}
		if err != nil {
			return err
		}
		node.fallback = []byte{'['}
		for i, l := range literals {
			if i > 0 {
				node.fallback = append(node.fallback, ',')
			}
			node.fallback = append(node.fallback, l...)
		}
		node.fallback = append(node.fallback, ']')
		return nil
	}
	if spec.fallback.kind != yamlMap || a.List {
		return fmt.Errorf("the fallback of an object must be a map of attributes and constants")
	}
	object := &outNode{attribute: &ocsf.Attribute{Name: a.Name, Type: a.Type, Object: a.Object}}
	for _, m := range spec.fallback.members {
		row := rowSpec{file: spec.file, line: m.line, to: m.key, value: &m.value}
		if err := c.attributeRow(object, a.Object, &row); err != nil {
			return fmt.Errorf("%s: %v", m.key, err) //nolint:errorlint // as in setEach
		}
	}
	object.finish(a.Object)
	if missing := object.missing(a.Object); missing != "" {
		return fmt.Errorf("the fallback itself lacks %s", missing)
	}
	object.fix()
	node.fallback = []byte{'{'}
	for i, child := range object.children {
		if child.fixed == nil {
			return fmt.Errorf("the fallback must be constants")
		}
		node.fallback = append(node.fallback, child.fixed[1-min(i, 1):]...)
	}
	node.fallback = append(node.fallback, '}')
	return nil
}

// enumTexts prepares the members that stand for each value of an enum.
func (c *classCompiler) enumTexts(a *ocsf.Attribute) *enumTexts {
	e := &enumTexts{other: -1}
	caption := memberKey(ocsf.Sibling(a.Name))
	for _, id := range slices.Sorted(maps.Keys(a.Enum.Captions)) {
		text := a.Enum.Captions[id]
		// The members stand in the order of their names.
		end := strconv.AppendInt(memberKey(a.Name), int64(id), 10)
		head := slices.Clone(caption)
		if a.Name == "activity_id" {
			head, end = append(slices.Clone(end), caption...), nil
			end = appendString(memberKey("type_name")[:len(memberKey("type_name"))], c.class.Caption+": "+text)
			end = strconv.AppendInt(append(end, memberKey("type_uid")...), int64(c.class.UID*100+id), 10)
		}
		i := int32(len(e.members))
		if id == ocsf.Other {
			e.other, e.otherHead, e.otherEnd = i, head, end
		}
		e.members = append(e.members, append(appendString(slices.Clone(head), text), end...))
		e.names.add(strings.ToLower(text), i)
		e.names.add(strconv.Itoa(id), i)
	}
	return e
}

// addComputed adds the attributes that follow from the class and the others.
func (c *classCompiler) addComputed(root *outNode) {
	constant := func(name string, literal []byte) {
		o, node := &c.class.Object, root
		for part := range strings.SplitSeq(name, ".") {
			node = node.child(part, "")
			node.attribute = o.Attributes[part]
			o = node.attribute.Object
		}
		node.rules = []*rule{{typed: true, literals: [][]byte{literal}}}
	}
	constant("category_uid", strconv.AppendInt(nil, int64(c.class.Category), 10))
	constant("category_name", appendString(nil, c.class.CategoryName))
	constant("class_uid", strconv.AppendInt(nil, int64(c.class.UID), 10))
	constant("class_name", appendString(nil, c.class.Caption))
	constant("metadata.version", appendString(nil, c.schema.Version))
	if len(c.profiles) > 0 {
		list := []byte{'['}
		for i, p := range slices.Sorted(maps.Keys(c.profiles)) {
			if i > 0 {
				list = append(list, ',')
			}
			list = appendString(list, p)
		}
		constant("metadata.profiles", append(list, ']'))
	}
	if !c.removed["observables"] {
		node := root.child("observables", "")
		node.attribute, node.observed = c.class.Attributes["observables"], true
		c.observe(root, "")
	}
}

// observableType is what type_id says of every observable: the kind stands in
// type. The numbers of the kinds are not in the schema's files but added by the
// schema server; who compiles the files without that step knows only 0 and 99.
const observableType = `,"type_id":99,"value":`

// observe gives the values of some types the beginning of an observable.
func (c *classCompiler) observe(n *outNode, path string) {
	for _, child := range n.children {
		if child.attribute == nil {
			continue
		}
		name := path + child.attribute.Name
		if child.attribute.List {
			name += "[]"
		}
		if kind := child.attribute.Observable; kind != "" && child.enum == nil {
			child.observe = appendString([]byte(`{"name":`), name)
			child.observe = appendString(append(child.observe, `,"type":`...), kind)
			child.observe = append(child.observe, observableType...)
		}
		c.observe(child, name+".")
		for _, element := range child.elements {
			c.observe(element, name+".")
		}
		for _, e := range child.each {
			c.observe(e.sub.root, name+".")
		}
	}
}
