package normalize

import (
	"math"
	"math/bits"
	"slices"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// script.go says how the records of one outline become documents: which of a
// program's rows can give something, and what is written in which order. All that
// does not hang on values is settled here, once, by the same rules as run.go has.

// reading is where the program of a log type finds its values in records of an
// outline, and how they are written.
type reading struct {
	logType *logType
	loads   []load
	walks   []walk // those that are not known from the outline
	set     slotSet
	has     []bool // by slot: it may have a value
	scripts []script
}

// load says that the value at a place goes into a slot.
type load struct {
	place int16
	slot  int16
}

// script is the document of one outline and root of a program, a line for each
// part that hangs on a value.
type script struct {
	root  *outNode
	lines []line
	texts []byte // of the lines, and shortRun bytes after them
	trees []*treeRule
	ends  []lineEnd
	tail  string
	told  told // by members that are always there
	none  bool // the document is not to be written by a script
}

// line writes a part of the document: what comes before a member in any case, and the
// member with its key, if it has a value.
type line struct {
	node   *outNode
	rule   *rule
	bit    uint64 // the member's among those that are asked for; of an object that opens, those that are always in it
	text   uint32 // where its text begins: `},"name":`
	length uint16 // of text
	head   uint16 // how much of text comes in any case
	slot   int16  // of the value; of a leaf or branch its tree, of a closing line its end
	place  int16  // of a leaf or branch; if there is a member of those in bit, it is left out
	kind   lineKind
	loose  bool // the member may be the first of its object, and then goes without the comma
	tells  tells
	level  uint8
	only   kindSet
}

// draft is a line before it is put beside the others: what many lines need stands close
// together, for it is read for every record.
type draft struct {
	line
	words string // its text
	tree  *treeRule
	end   *lineEnd
}

// put makes lines of drafts. It returns false if a text is too long.
func (s *script) put(drafts []draft) bool {
	s.lines = make([]line, len(drafts))
	for i := range drafts {
		d := &drafts[i]
		l := &s.lines[i]
		*l = d.line
		if len(d.words) > math.MaxUint16 || len(s.trees)+len(s.ends) > math.MaxInt16 {
			return false
		}
		l.text, l.length = uint32(len(s.texts)), uint16(len(d.words))
		s.texts = append(s.texts, d.words...)
		switch {
		case d.tree != nil:
			l.slot = int16(len(s.trees))
			s.trees = append(s.trees, d.tree)
		case d.end != nil:
			l.slot = int16(len(s.ends))
			s.ends = append(s.ends, *d.end)
		}
	}
	s.texts = append(s.texts, make([]byte, shortRun)...)
	return true
}

// lineEnd is how an object ends that may turn out to be nothing.
type lineEnd struct {
	check *objectChecks
	back  string // what stands for it if it is, with its key
}

type lineKind uint8

const (
	textLine   lineKind = iota // text as it is
	copyLine                   // a value of the record as it is
	ruleLine                   // what rule makes of the value in slot
	rowsLine                   // the first value that the rows of node give
	listLine                   // the list of what they give
	typedLine                  // as ruleLine, of an attribute
	memberLine                 // what appendMember makes of node
	openLine                   // an object begins that may turn out to be nothing
	closeLine                  // and ends
	leafLine                   // a member of a tree that may be null, or whose name may be taken
	branchLine                 // a list in a tree
	startLine                  // an object begins in which names may be taken
)

// maxLevels bounds how deep objects of a document are nested; tables go to five.
const maxLevels = 16

// told is what an event says of itself.
type told struct {
	severity event.Severity
	dataset  string
}

// openObject is an object that a script has begun.
type openObject struct {
	mark ocsfMark
	has  uint64
}

// read returns how the records of the outline are read that are of the log type at
// hand, whose program is p.
func (o *outline) read(w *Worker, p *program) *reading {
	for i := range o.readings {
		if o.readings[i].logType == w.logType {
			return &o.readings[i]
		}
	}
	o.readings = append(o.readings, reading{logType: w.logType, set: alwaysPresent, has: make([]bool, p.slots)})
	r := &o.readings[len(o.readings)-1]
	r.add(o, 0, p.paths)
	place := make([]int16, p.slots)
	for i := range place {
		place[i] = noPlace
	}
	for _, l := range r.loads {
		place[l.slot] = l.place
	}
	for _, k := range p.walks {
		to, known := o.walk(int(place[k.from]), k.path)
		switch {
		case place[k.from] == noPlace:
			continue
		case !known:
			r.walks = append(r.walks, k)
		case to == noPlace:
			continue
		default:
			r.loads = append(r.loads, load{int16(to), int16(k.to)})
		}
		r.has[k.to] = true
		r.set.add(k.to)
	}
	return r
}

// add adds the loads of what paths lead to below place p.
func (r *reading) add(o *outline, p int, paths *pathNode) {
	for c := p + 1; o.places[p].kind == objectPlace && c < int(o.places[p].end); c = int(o.places[c].end) {
		i := paths.names.find([]byte(o.places[c].name))
		if i < 0 {
			continue
		}
		m := &paths.members[i]
		if m.slot >= 0 {
			r.loads = append(r.loads, load{int16(c), int16(m.slot)})
			r.has[m.slot] = true
			r.set.add(m.slot)
		}
		if m.sub != nil {
			r.add(o, c, m.sub)
		}
	}
}

// walk returns the place that a path leads to from p, or noPlace. It is not known
// where the path leads beyond the first element of a list.
func (o *outline) walk(p int, path []segment) (to int, known bool) {
	for i := range path {
		s := &path[i]
		if s.name != "" {
			p = o.member(p, s.name)
		}
		if p < 0 {
			return noPlace, true
		}
		if s.index == noIndex {
			continue
		}
		if o.places[p].kind != listPlace {
			return noPlace, true
		}
		if s.index != 0 {
			return noPlace, false
		}
		p++
	}
	return p, true
}

// fillBy fills the slots of a program from a record with an outline.
func (w *Worker) fillBy(r *reading) {
	nodes := w.x.Nodes
	for _, l := range r.loads {
		n := w.at[l.place]
		if nodes[n].Kind != jsonscan.Null {
			w.slots[l.slot] = n
			w.present.add(int32(l.slot))
		}
	}
	for i := range r.walks {
		w.walkTo(&r.walks[i])
	}
}

// script returns how a document with that root is written.
func (r *reading) script(w *Worker, root *outNode) *script {
	for i := range r.scripts {
		if r.scripts[i].root == root {
			return &r.scripts[i]
		}
	}
	b := scripter{w: w, r: r, first: true}
	before := told{w.severity, w.dataset}
	w.severity, w.dataset = event.Severity{}, ""
	s := script{root: root}
	if b.members(root, 0); b.failed || len(root.trees) > 0 {
		s.none = true
	} else {
		b.forget(0)
		s.tail, s.told = string(b.head), told{w.severity, w.dataset}
		s.none = !s.put(b.lines)
	}
	w.severity, w.dataset = before.severity, before.dataset
	r.scripts = append(r.scripts, s)
	return &r.scripts[len(r.scripts)-1]
}

// scripter writes the lines of one object of a document.
type scripter struct {
	w      *Worker
	r      *reading
	lines  []draft
	head   []byte // of the next line
	first  bool   // no member can have come before
	some   bool   // a member has come before
	static uint64 // the members that are always there, by their bits
	may    uint64 // those that may be
	names  bool   // which members there are must be noted, because trees have them too
	failed bool
}

// text adds what is the same in every document, from a key on.
func (b *scripter) text(key []byte, bit uint64) {
	b.static |= bit
	switch {
	case b.some:
		b.head = append(b.head, key...)
	case b.first:
		b.head = append(b.head, key[1:]...)
	default:
		b.add(draft{line: line{kind: textLine}, words: string(key)})
	}
	b.first, b.some = false, true
}

// add adds a line for a member. What of its text comes in any case is known here: if
// the line is loose, nothing.
func (b *scripter) add(l draft) {
	if b.first {
		l.words = cutFirst(l.words)
		if l.end != nil {
			l.end.back = cutFirst(l.end.back)
		}
	}
	l.loose = !b.first && !b.some
	l.follow(b.head)
	b.head = b.head[:0]
	b.lines = append(b.lines, l)
	b.first = false
	b.may |= l.bit
}

func cutFirst(s string) string { return s[min(1, len(s)):] }

// follow puts what comes in any case before the text of the line.
func (l *draft) follow(head []byte) {
	l.words = string(head) + l.words
	l.head += uint16(len(head))
}

// join adds the lines of an object in this one.
func (b *scripter) join(o *scripter) {
	for i := range o.lines {
		if i == 0 {
			o.lines[0].follow(b.head)
			b.head = b.head[:0]
		}
		b.lines = append(b.lines, o.lines[i])
	}
	b.head = append(b.head, o.head...)
	b.failed = b.failed || o.failed
}

// members adds the members of n, an object at that level.
func (b *scripter) members(n *outNode, level int) {
	if level >= maxLevels-1 {
		b.failed = true
		return
	}
	for i := range n.members {
		m := &n.members[i]
		if !m.needs.meets(&b.r.set) {
			continue
		}
		b.member(m, level, 1<<i)
	}
}

func (b *scripter) member(m *outMember, level int, bit uint64) {
	l := draft{line: line{tells: m.tells, level: uint8(level), node: m.node, bit: bit}, words: string(m.node.key)}
	switch m.kind {
	case fixedMember:
		if m.tells != nothing {
			b.w.note(m.tells, []byte(m.key[1:]))
		}
		b.text([]byte(m.key), bit)
	case copiedMember, convertedMember:
		b.value(l)
	case objectMember:
		b.object(m.node, level, bit)
	case listMember, valueMember:
		b.value(l)
	case attributeMember:
		switch {
		case m.node.holds == anObject && m.node.each == nil:
			b.object(m.node, level, bit)
		case m.node.holds == aValue, m.node.holds == values:
			b.value(l)
		default:
			l.kind = memberLine
			b.add(l)
		}
	default:
		if m.node.enum != nil {
			l.node = b.pruned(m.node)
			if len(l.node.rules) == 0 {
				return
			}
			if r := l.node.rules[0]; r.conds == nil && r.literals != nil && m.tells == nothing {
				b.text(m.node.enum.members[r.enum], bit)
				return
			}
		}
		l.kind = memberLine
		b.add(l)
	}
}

// value adds a member that has a value or a list of its own rows.
func (b *scripter) value(l draft) {
	n := b.pruned(l.node)
	l.node = n
	if len(n.rules) == 0 {
		if n.fallback != nil {
			b.text(append(slices.Clone(n.key), n.fallback...), l.bit)
		}
		return
	}
	r := n.rules[0]
	switch {
	case n.list:
		l.kind = listLine
		if n.observe == nil && n.fallback == nil && l.tells == nothing && !slices.ContainsFunc(n.rules, func(r *rule) bool { return !r.constant() }) {
			if list, ok := b.w.appendList(slices.Clone(n.key), n); ok {
				b.text(list, l.bit)
			}
			return
		}
	case r.constant() && n.observe == nil && l.tells == nothing:
		b.text(append(slices.Clone(n.key), r.literals[0]...), l.bit)
		return
	case len(n.rules) == 1 && r.conds == nil && len(r.sources) == 1 && r.sources[0].isMember():
		l.slot, l.rule = int16(r.sources[0].slot), r
		switch {
		case n.attribute != nil:
			l.kind = typedLine
		case r.copies():
			l.kind, l.only = copyLine, r.only
		default:
			l.kind = ruleLine
		}
	default:
		l.kind = rowsLine
	}
	b.add(l)
}

// constant says that the rule gives the same whatever the record holds.
func (r *rule) constant() bool { return r.conds == nil && r.sources == nil && r.format == nil }

// pruned returns n without what can give nothing: rules, sources and conditions. What
// nothing is taken from stays what all outlines share: memory that is near is fast.
func (b *scripter) pruned(n *outNode) *outNode {
	rules := make([]*rule, 0, len(n.rules))
	for _, r := range n.rules {
		if r = b.prunedRule(r); r != nil {
			rules = append(rules, r)
		}
	}
	if slices.Equal(rules, n.rules) {
		return n
	}
	one := *n
	one.rules = rules
	return &one
}

// prunedRule returns the rule without what can give nothing, or nil.
func (b *scripter) prunedRule(r *rule) *rule {
	one := *r
	one.conds, one.sources = nil, nil
	for _, c := range r.conds {
		switch {
		case c.source.special == logTypeName:
			if b.w.matches(&c) == c.negate {
				return nil
			}
		case b.gives(&c.source):
			one.conds = append(one.conds, c)
		case !c.negate:
			return nil
		}
	}
	if len(r.sources) == 1 && r.sources[0].special == logTypeName && !r.typed {
		value, ok := b.w.appendSpecial(nil, r, logTypeName)
		if !ok {
			return nil
		}
		one.literals = [][]byte{value}
		return &one
	}
	for _, s := range r.sources {
		if b.gives(&s) {
			one.sources = append(one.sources, s)
		}
	}
	if r.sources != nil && one.sources == nil {
		return nil
	}
	for i := range r.format {
		if !r.format[i].isText && !b.gives(&r.format[i].source) {
			return nil
		}
	}
	if len(one.conds) == len(r.conds) && len(one.sources) == len(r.sources) {
		return r
	}
	return &one
}

// gives says whether a source can give something.
func (b *scripter) gives(s *source) bool {
	return s.special != notSpecial || s.slot == wholeRecord || b.r.has[s.slot]
}

// object adds a member that is an object.
func (b *scripter) object(n *outNode, level int, bit uint64) {
	in := &scripter{w: b.w, r: b.r, first: true}
	if in.members(n, level+1); in.failed {
		b.failed = true
		return
	}
	if len(n.trees) > 0 && !in.trees(n, level+1) {
		b.add(draft{line: line{kind: memberLine, level: uint8(level), node: n, bit: bit}, words: string(n.key)})
		return
	}
	if n.checks == nil && !in.names {
		in.forget(level + 1)
	}
	if in.names {
		in.lines = slices.Insert(in.lines, 0, draft{line: line{kind: startLine, level: uint8(level + 1)}})
	}
	key := append(slices.Clone(n.key), '{')
	certain := in.some
	if n.checks != nil {
		certain = n.checks.certain(in.static, in.may)
	}
	switch {
	case certain:
		b.text(key, bit)
		b.join(in)
		b.head = append(b.head, '}')
	case in.first: // nothing is ever in it
		if n.fallback != nil {
			b.text(append(slices.Clone(n.key), n.fallback...), bit)
		}
	default:
		before := *b
		b.add(draft{line: line{kind: openLine, level: uint8(level), bit: in.static}, words: string(key)})
		b.may = before.may
		b.join(in)
		end := draft{line: line{kind: closeLine, level: uint8(level), bit: bit}, end: &lineEnd{check: n.checks}}
		if n.fallback != nil {
			end.end.back = string(n.key) + string(n.fallback)
		}
		b.first, b.some = before.first, before.some
		b.add(end)
		if n.fallback != nil {
			b.some, b.static = true, b.static|bit
		}
	}
}

// forget leaves out which members there are of an object that nobody asks about.
func (b *scripter) forget(level int) {
	for i := range b.lines {
		if l := &b.lines[i]; int(l.level) == level && l.kind != openLine {
			l.bit = 0
		}
	}
}

// certain says whether the checks are met by members that are always there,
// whichever of the others there are.
func (c *objectChecks) certain(static, may uint64) bool {
	return static != 0 && static&c.required == c.required && (c.anyOf == 0 || static&c.anyOf != 0) &&
		(c.oneOf == 0 || bits.OnesCount64(static&c.oneOf) == 1 && may&^static&c.oneOf == 0)
}

// trees adds the members that trees bring to n, at that level. It returns false if
// which they are hangs on values.
func (b *scripter) trees(n *outNode, level int) bool {
	taken := map[string]uint64{} // names, and the bit of the member that may have it
	for i := range n.members {
		if i > 63 {
			return false
		}
		if bit := uint64(1) << i; bit&(b.static|b.may) != 0 {
			taken[string(n.members[i].node.key)] = bit
		}
	}
	for _, t := range n.trees {
		r := b.prunedRule(t)
		if r == nil {
			continue
		}
		s := &r.sources[0]
		p := int16(0)
		if s.slot != wholeRecord {
			i := slices.IndexFunc(b.r.loads, func(l load) bool { return int32(l.slot) == s.slot })
			if i < 0 {
				return false
			}
			p = b.r.loads[i].place
		}
		if r.conds != nil || s.path != nil {
			return false
		}
		if b.w.outline.places[p].kind != objectPlace {
			if len(r.sources) > 1 {
				return false
			}
			continue
		}
		if !b.branch(int(p), t.tree, taken, level) {
			return false
		}
	}
	return true
}

// branch adds the members of the object at place p as t says. It returns false if
// two of them have one name.
func (b *scripter) branch(p int, t *treeRule, taken map[string]uint64, level int) bool {
	const byTree = 0
	o := b.w.outline
	for c := p + 1; c < int(o.places[p].end); c = int(o.places[c].end) {
		m := b.w.member(int(b.w.at[c]), t, &cachedMember{})
		if m.omitted() {
			continue
		}
		l := draft{line: line{kind: leafLine, place: int16(c), level: uint8(level)}, words: string(m.key), tree: m.below}
		bit, found := taken[l.words]
		taken[l.words] = byTree
		switch {
		case found && bit == byTree:
			return false
		case found && b.static&bit != 0:
			continue
		case found:
			l.bit = bit
			b.names = true
			b.add(l)
		case o.places[c].kind == leaf:
			b.add(l)
		default:
			in := &scripter{w: b.w, r: b.r, first: true}
			if o.places[c].kind == objectPlace && in.branch(c, m.below, map[string]uint64{}, level+1) {
				b.text([]byte(l.words+"{"), 0)
				b.join(in)
				b.head = append(b.head, '}')
				continue
			}
			b.text([]byte(l.words), 0)
			l.kind, l.words = branchLine, ""
			b.add(l)
		}
	}
	return true
}
