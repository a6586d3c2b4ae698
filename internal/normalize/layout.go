package normalize

import (
	"math"
	"strings"
)

// layout.go puts what a program reads for every record side by side, in the order
// in which it is read. A table has hundreds of members, and a record has nothing
// for most of them: what they cost is how many lines of the processor's cache are
// touched to find that out.

// outMember is what is needed first of a member of the document.
type outMember struct {
	key   string   // `,"name":`, of a fixed member with its value
	needs slotSet  // it has no value unless one of these slots has one
	node  *outNode // all else
	kind  memberKind
	only  kindSet // of a copied member
	slot  int16   // of a copied or converted member
	tells tells   // as node
}

type memberKind uint8

const (
	anyMember       memberKind = iota // appendMember knows what it is
	fixedMember                       // the same in every document
	copiedMember                      // a value of the record as it is
	convertedMember                   // what node.rules[0] makes of a value of the record
	objectMember
	listMember
	valueMember
	attributeMember // of an OCSF event
)

// always is a slot that has a value in every record, for members that need none.
// The one other slot that shares its bit is taken to have one too, which costs
// time and nothing else.
const always = 255

// alwaysPresent is what slots have a value before a record is looked at.
var alwaysPresent = func() (s slotSet) { s.add(always); return s }()

// layout holds the memory that the parts of one program are put into.
type layout struct {
	members []outMember
	text    strings.Builder // of all keys and fixed members
	rules   []rule
	sources []source
	moved   map[*rule]*rule
}

// layOut makes the members of all objects of p, after shut made their gates.
func (p *program) layOut() {
	roots := []*outNode{p.root}
	for i := range p.classes {
		roots = append(roots, p.classes[i].root)
	}
	var members, text, rules, sources int
	for _, root := range roots {
		root.walk(func(n *outNode) {
			members += len(n.children)
			text += max(len(n.key), len(n.fixed))
			rules += len(n.rules)
			for _, r := range n.rules {
				sources += len(r.sources)
			}
		})
	}
	// What these slices hold is pointed to, so they must not grow.
	l := layout{
		members: make([]outMember, 0, members),
		rules:   make([]rule, 0, rules),
		sources: make([]source, 0, sources),
		moved:   map[*rule]*rule{},
	}
	l.text.Grow(text)
	for _, root := range roots {
		root.walk(l.place)
	}
	for i := range l.rules {
		r := &l.rules[i]
		r.simple = (r.steps != nil || r.finish != nil || r.cases != nil) && !r.typed
		if len(r.steps) == 1 {
			r.part = r.steps[0].part
		}
	}
	c := chains{map[string]int32{}, map[string]int{}}
	for i := range l.rules {
		c.count(&l.rules[i])
	}
	for i := range l.rules {
		c.number(&l.rules[i])
	}
}

// walk calls visit for n and all below it, in the order in which they are written.
func (n *outNode) walk(visit func(*outNode)) {
	visit(n)
	for _, child := range n.children {
		child.walk(visit)
	}
	for _, element := range n.elements {
		element.walk(visit)
	}
	for _, e := range n.each {
		e.sub.root.walk(visit)
	}
}

func (l *layout) place(n *outNode) {
	first := len(l.members)
	for i, child := range n.children {
		for r := range child.rules {
			child.rules[r] = l.rule(child.rules[r])
		}
		if child.copied != nil {
			child.copied = &child.rules[0].sources[0]
		}
		l.members = append(l.members, l.member(child, n.gates[i]))
	}
	n.members = l.members[first:len(l.members):len(l.members)]
	n.gates = nil
}

// rule moves a rule to those before it; one that stands in several places moves once.
func (l *layout) rule(r *rule) *rule {
	if l.moved[r] == nil {
		l.rules = append(l.rules, *r)
		moved := &l.rules[len(l.rules)-1]
		if r.sources != nil {
			l.sources = append(l.sources, r.sources...)
			moved.sources = l.sources[len(l.sources)-len(r.sources) : len(l.sources) : len(l.sources)]
		}
		l.moved[r] = moved
	}
	return l.moved[r]
}

func (l *layout) member(n *outNode, g gate) outMember {
	m := outMember{node: n, needs: g.needs, tells: n.tells}
	if !g.shut {
		m.needs = alwaysPresent
	}
	single := n.copied != nil && n.copied.slot <= math.MaxInt16
	text := n.key
	switch {
	case n.fixed != nil:
		m.kind, text = fixedMember, n.fixed
	case n.enum != nil || n.rest != nil || n.observed:
	case n.attribute != nil:
		m.kind, n.holds = attributeMember, n.holdsWhat()
	case single && n.rules[0].copies():
		m.kind, m.slot, m.only = copiedMember, int16(n.copied.slot), n.rules[0].only
	case single:
		m.kind, m.slot = convertedMember, int16(n.copied.slot)
	case n.rules == nil:
		m.kind = objectMember
	case n.list:
		m.kind = listMember
	case n.copied == nil:
		m.kind = valueMember
	}
	before := l.text.Len()
	l.text.Write(text)
	m.key = l.text.String()[before:]
	return m
}

func (n *outNode) holdsWhat() holds {
	switch {
	case n.attribute.Object != nil && n.attribute.List:
		return objects
	case n.attribute.Object != nil:
		return anObject
	case n.list:
		return values
	}
	return aValue
}

// copies says that the rule passes values on as they are.
func (r *rule) copies() bool {
	return !r.typed && r.finish == nil && r.steps == nil && r.cases == nil
}
