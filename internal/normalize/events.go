package normalize

import (
	"maps"
	"slices"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/normalize/ocsf"
)

// events.go looks over the tree of an event when all rows are in it: the order
// of members, what objects must have, and whether they always have it.

// finish puts members in order and notes what objects must have. What is
// computed of the others stands last.
func (n *outNode) finish(o *ocsf.Object) {
	slices.SortStableFunc(n.children, func(a, b *outNode) int {
		if a.late() != b.late() {
			return a.late() - b.late()
		}
		return strings.Compare(string(a.key), string(b.key))
	})
	n.checks = &objectChecks{}
	bit := func(name string) uint64 {
		for i, child := range n.children {
			if child.attribute.Name == name {
				return 1 << i
			}
		}
		return 0
	}
	for name, a := range o.Attributes {
		if a.Required {
			// One that no row sets is never there: neither is the object then.
			if b := bit(name); b != 0 {
				n.checks.required |= b
			} else {
				n.checks.required |= 1 << 63
			}
		}
	}
	for _, name := range o.AnyOf {
		n.checks.anyOf |= bit(name)
	}
	if len(o.AnyOf) > 0 && n.checks.anyOf == 0 {
		n.checks.anyOf = 1 << 63
	}
	for _, name := range o.OneOf {
		n.checks.oneOf |= bit(name)
	}
	if len(o.OneOf) > 0 && n.checks.oneOf == 0 {
		n.checks.oneOf = 1 << 63
	}
	for _, child := range n.children {
		child.finishInside()
	}
}

func (n *outNode) finishInside() {
	if n.attribute.Object == nil {
		return
	}
	if !n.attribute.List {
		n.finish(n.attribute.Object)
	}
	n.elements = slices.DeleteFunc(n.elements, func(e *outNode) bool { return len(e.children) == 0 })
	for _, element := range n.elements {
		element.finish(n.attribute.Object)
	}
	for _, e := range n.each {
		e.sub.root.finish(n.attribute.Object)
	}
}

// captionTwice returns a caption that a row sets although the id beside it
// brings it, or "".
func (n *outNode) captionTwice() string {
	for _, child := range n.children {
		if child.enum != nil {
			caption := string(memberKey(ocsf.Sibling(child.attribute.Name)))
			if slices.ContainsFunc(n.children, func(o *outNode) bool { return string(o.key) == caption }) {
				return ocsf.Sibling(child.attribute.Name)
			}
		}
		inner := append([]*outNode{child}, child.elements...)
		for _, e := range child.each {
			inner = append(inner, e.sub.root)
		}
		for _, o := range inner {
			if caption := o.captionTwice(); caption != "" {
				return caption
			}
		}
	}
	return ""
}

// late is the order of members that say something of those before them.
func (n *outNode) late() int {
	switch {
	case n.observed:
		return 1
	case n.rest != nil:
		return 2
	}
	return 0
}

// missing returns what of an object's required attributes an event could be
// without, or "".
func (n *outNode) missing(o *ocsf.Object) string {
	certain := func(name string) bool {
		for _, child := range n.children {
			if child.attribute.Name == name {
				return child.certain()
			}
		}
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(o.Attributes)) {
		// The activity brings the type of the event.
		if o.Attributes[name].Required && name != "type_uid" && !certain(name) {
			return name
		}
	}
	if len(o.AnyOf) > 0 && !slices.ContainsFunc(o.AnyOf, certain) {
		return "one of " + strings.Join(o.AnyOf, ", ")
	}
	return ""
}

// certain says whether there is a value whatever the record holds.
func (n *outNode) certain() bool {
	if n.fallback != nil {
		return true
	}
	if o := n.attribute.Object; o != nil {
		if n.attribute.List {
			return slices.ContainsFunc(n.elements, func(e *outNode) bool { return e.missing(o) == "" })
		}
		return len(n.children) > 0 && n.missing(o) == ""
	}
	for _, r := range n.rules {
		if r.conds != nil {
			continue
		}
		if r.literals != nil {
			return true
		}
		for i := range r.sources {
			if s := r.sources[i].special; r.steps == nil && r.cases == nil && (s == eventID || s == logTypeName) && r.typ == ocsf.String {
				return true
			}
		}
	}
	return false
}

// merge joins neighbors that are the same in every event and tell nothing of it.
func (n *outNode) merge() {
	var out []*outNode
	for _, child := range n.children {
		if last := len(out) - 1; last >= 0 && out[last].fixed != nil && child.fixed != nil && out[last].tells == nothing && child.tells == nothing {
			merged := out[last].merged
			if merged == nil {
				merged = []*outNode{out[last]}
			}
			out[last] = &outNode{key: out[last].key, attribute: out[last].attribute, fixed: append(slices.Clone(out[last].fixed), child.fixed...), merged: append(merged, child)}
			continue
		}
		out = append(out, child)
	}
	n.children = out
}
