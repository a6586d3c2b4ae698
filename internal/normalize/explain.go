package normalize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// Explanation says for one record what it was taken for, and which row of which
// table set each field of its event.
type Explanation struct {
	Result
	TypePlace string // file and line that define the log type, "" if it is unknown
	Form      string // the form it was put into shape by, "" if it needed none
	FormPlace string
	OwnID     bool   // the ID is the record's own, not its position
	Class     string // of OCSF
	Fields    []ExplainedField
	Event     []byte
}

// ExplainedField is a field of the event, in the order of the document.
type ExplainedField struct {
	Name  string // a.b.c; a.b[2] is an element of a list; a.b.* all that lies below
	Value string // its JSON
	From  string // what the row took it from
	Row   string // file and line, "" if no row but the schema sets it
}

// Explain normalizes a record and says where each field comes from. It makes
// every row anew for each field: it is for people, not for the hot path.
func (w *Worker) Explain(in Input) Explanation {
	e := Explanation{Result: w.begin(in)}
	e.TypePlace, e.OwnID = w.logType.place, w.ownID
	if w.form != nil {
		e.Form, e.FormPlace = w.form.name, w.form.place
	}
	if w.m.schema == Raw {
		e.Event = w.appendRaw(nil)
		return e
	}
	p := w.m.programs[w.logType.number]
	e.Event = w.appendDocument(nil, p)
	e.Result.Severity, e.Result.Dataset, e.Result.LacksDataStream = w.severity, w.dataset, p.lacksDataStream
	root := p.root
	for i := range p.classes {
		c := &p.classes[i]
		if w.holds(c.conds) || i == len(p.classes)-1 {
			root, e.Class = c.root, c.spec.class
			break
		}
	}
	x := explainer{w: w, e: &e}
	if _, err := x.doc.Scan(e.Event); err == nil {
		x.members(0, root, "")
	}
	w.in, w.x, w.raw = Input{}, nil, nil
	return e
}

type explainer struct {
	w   *Worker
	e   *Explanation
	doc jsonscan.Index // the event
}

// members explains the members of an object of the event, made by n.
func (x *explainer) members(object int, n *outNode, path string) {
	for c := range x.doc.Children(object) {
		name := string(x.doc.Key(c))
		child := n.member(name)
		if child != nil && len(n.trees) > 0 {
			// Where its rows give nothing, a tree may bring the member.
			if _, ok := x.w.appendMember(nil, child, 0); !ok {
				child = nil
			}
		}
		if child != nil {
			x.value(c, child, path+name)
		} else if !x.enumOrTree(c, n, path, name) {
			x.add(path+name, c, "", "")
		}
	}
}

func (n *outNode) member(name string) *outNode {
	for _, c := range n.children {
		if i := slices.IndexFunc(c.merged, func(m *outNode) bool { return m.name() == name }); i >= 0 {
			return c.merged[i]
		}
		if c.name() == name {
			return c
		}
	}
	return nil
}

func (n *outNode) name() string { return strings.TrimSuffix(string(n.key[2:]), `":`) }

// value explains value v of the event, made by n.
func (x *explainer) value(v int, n *outNode, path string) {
	kind := x.doc.Nodes[v].Kind
	switch {
	case n.rest != nil:
		x.add(path, v, rowSource(n.spec, 0), rowPlace(n.spec))
	case n.fallback != nil && x.fellBack(n):
		if kind == jsonscan.Array {
			x.add(path, v, "constant", rowPlace(n.spec))
			return
		}
		for c := range x.doc.Children(v) {
			x.add(path+"."+string(x.doc.Key(c)), c, "constant", rowPlace(n.spec))
		}
	case kind == jsonscan.Array && n.attribute != nil && n.attribute.Object != nil:
		i := 0
		for c := range x.doc.Children(v) {
			x.object(c, n, fmt.Sprintf("%s[%d]", path, i))
			i++
		}
	case kind == jsonscan.Object && n.attribute != nil && n.attribute.Object != nil:
		x.object(v, n, path)
	case kind == jsonscan.Object && n.rules == nil && n.rest == nil:
		x.members(v, n, path+".")
	case kind == jsonscan.Array && n.list:
		i := 0
		for c := range x.doc.Children(v) {
			x.leaf(c, n, fmt.Sprintf("%s[%d]", path, i))
			i++
		}
	default:
		x.leaf(v, n, path)
	}
}

// fellBack says that n has no value but its fallback.
func (x *explainer) fellBack(n *outNode) bool {
	one := *n
	one.fallback = nil
	_, ok := x.w.appendMember(nil, &one, 0)
	return !ok
}

// object explains an object that has its own rows, or that a row with each made.
func (x *explainer) object(v int, n *outNode, path string) {
	for _, element := range n.elements {
		if out, ok := x.w.appendObject(nil, element); ok && string(out) == string(x.doc.Value(v)) {
			x.members(v, element, path+".")
			return
		}
	}
	for _, each := range n.each {
		first, end := x.w.collectItems(&each.source)
		found := false
		for i := first; i < end && !found; i++ {
			out, ok := x.w.appendEach(nil, each, x.w.items[i])
			if found = ok && string(out) == string(x.doc.Value(v)); found {
				x.add(path+".*", v, "each "+each.spec.each, rowPlace(each.spec))
				x.inside(each, x.w.items[i], func() { x.members(v, each.sub.root, path+".") })
			}
		}
		x.w.items = x.w.items[:first]
		if found {
			return
		}
	}
	x.members(v, n, path+".")
}

// inside calls f while the paths of each lead from node n, as in appendEach.
func (x *explainer) inside(each *eachRule, n int32, f func()) {
	w := x.w
	slots, present, node, room := w.slots, w.present, w.node, len(w.slotRoom)
	w.present = alwaysPresent
	w.openSlots(each.sub.slots)
	w.node = int(n)
	w.load(&each.sub)
	f()
	w.slots, w.present, w.node, w.slotRoom = slots, present, node, w.slotRoom[:room]
}

// leaf explains a value that rows set: the first that makes it alone.
func (x *explainer) leaf(v int, n *outNode, path string) {
	for _, r := range n.rules {
		if from, ok := x.makes(n, r, v); ok {
			x.add(path, v, from, rowPlace(r.spec))
			return
		}
	}
	x.add(path, v, "", "")
}

// makes says whether a row alone makes value v, and of which of its sources.
func (x *explainer) makes(n *outNode, r *rule, v int) (from string, ok bool) {
	if len(r.sources) < 2 {
		return rowSource(r.spec, 0), x.alone(n, r, v)
	}
	for i := range r.sources {
		one := *r
		one.sources = r.sources[i : i+1]
		if x.alone(n, &one, v) {
			return rowSource(r.spec, i), true
		}
	}
	return "", false
}

func (x *explainer) alone(n *outNode, r *rule, v int) bool {
	one := *n
	one.rules, one.fixed, one.copied, one.fallback = []*rule{r}, nil, nil, nil
	out, ok := x.w.appendMember([]byte{'{'}, &one, 1)
	var made jsonscan.Index
	if _, err := made.Scan(append(out, '}')); err != nil || !ok {
		return false
	}
	for c := range made.Children(0) {
		want := string(x.doc.Value(v))
		if string(made.Value(c)) == want {
			return true
		}
		if made.Nodes[c].Kind == jsonscan.Array {
			for item := range made.Children(c) {
				if string(made.Value(item)) == want {
					return true
				}
			}
		}
	}
	return false
}

// enumOrTree explains a member that has no rows of its own: the caption beside
// an id, or one that a tree brought.
func (x *explainer) enumOrTree(v int, n *outNode, path, name string) bool {
	for _, child := range n.children {
		if child.enum == nil {
			continue
		}
		for _, r := range child.rules {
			one := *child
			one.rules, one.fixed = []*rule{r}, nil
			out, ok := x.w.appendMember([]byte{'{'}, &one, 1)
			var made jsonscan.Index
			if _, err := made.Scan(append(out, '}')); err == nil && ok {
				if c := made.Member(0, name); c >= 0 && string(made.Value(c)) == string(x.doc.Value(v)) {
					x.add(path+name, v, rowSource(r.spec, 0), rowPlace(r.spec))
					return true
				}
			}
		}
	}
	for _, t := range n.trees {
		one := outNode{key: memberKey("tree"), trees: []*rule{t}}
		out, ok := x.w.appendMember([]byte{'{'}, &one, 1)
		var made jsonscan.Index
		if _, err := made.Scan(append(out, '}')); err != nil || !ok {
			continue
		}
		if made.Member(made.Member(0, "tree"), name) < 0 {
			continue
		}
		if x.doc.Nodes[v].Kind >= jsonscan.Object {
			name += ".*"
		}
		x.add(path+name, v, rowSource(t.spec, 0)+" (tree)", rowPlace(t.spec))
		return true
	}
	return false
}

func (x *explainer) add(name string, v int, from, row string) {
	x.e.Fields = append(x.e.Fields, ExplainedField{Name: name, Value: string(x.doc.Value(v)), From: from, Row: row})
}

// rowPlace returns "" for what no row but the schema sets.
func rowPlace(spec *rowSpec) string {
	if spec == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", spec.file, spec.line)
}

// rowSource says what a row takes its value from.
func rowSource(spec *rowSpec, i int) string {
	switch {
	case spec == nil:
		return ""
	case spec.value != nil:
		return "constant"
	case spec.format != "":
		return spec.format
	case i < len(spec.from):
		return spec.from[i]
	}
	return ""
}
