package normalize

import (
	"math/bits"
)

// ocsf.go appends what events of OCSF have and documents of ECS have not:
// classes, ids with captions, objects that must be whole, lists of objects,
// observables, and what nothing was mapped to.

// observed is a value of the event that is an observable.
type observed struct {
	node *outNode
	span
}

// class returns the root of the first class whose conditions hold. The last
// one has none.
func (w *Worker) class(p *program) *outNode {
	for i := range p.classes {
		if c := &p.classes[i]; w.holds(c.conds) {
			return c.root
		}
	}
	return p.classes[len(p.classes)-1].root
}

// use notes that the value of a node stands in the event.
func (w *Worker) use(r *rule, n int32) {
	if r.keeps && !w.partial {
		w.used = append(w.used, n)
	}
	w.partial = false
}

func (w *Worker) useSpecial(r *rule, s special) {
	switch {
	case s == timeAsWritten && w.timeNode >= 0:
		w.use(r, w.timeNode)
	case s == eventID && w.idNode >= 0:
		w.use(r, w.idNode)
	}
}

func (w *Worker) observe(n *outNode, start, end int) {
	if n.observe != nil {
		w.observed = append(w.observed, observed{n, span{start, end}})
	}
}

// ocsfMark is a point to which an event is cut back when an object turns out
// to lack what it must have.
type ocsfMark struct{ out, used, observed int }

func (w *Worker) mark(dst []byte) ocsfMark { return ocsfMark{len(dst), len(w.used), len(w.observed)} }

func (w *Worker) cutBack(dst []byte, m ocsfMark) []byte {
	w.used, w.observed = w.used[:m.used], w.observed[:m.observed]
	return dst[:m.out]
}

// appendAttribute appends a member of an event, its key from the given byte on.
// If it returns false what was appended is to be cut off.
func (w *Worker) appendAttribute(dst []byte, n *outNode, from int) ([]byte, bool) {
	switch {
	case n.enum != nil:
		return w.appendEnum(dst, n, from)
	case n.rest != nil:
		return w.appendUnused(append(dst, n.key[from:]...), n.rest)
	case n.observed:
		return w.appendObservables(append(dst, n.key[from:]...))
	}
	return w.appendAttributeValue(append(dst, n.key[from:]...), n)
}

// appendAttributeValue appends the value of an attribute that has no enum.
func (w *Worker) appendAttributeValue(dst []byte, n *outNode) ([]byte, bool) {
	m := w.mark(dst)
	var ok bool
	switch n.holds {
	case objects:
		dst, ok = w.appendObjects(dst, n)
	case anObject:
		dst, ok = w.appendObject(dst, n)
	case values:
		dst, ok = w.appendList(dst, n)
	case aValue:
		if dst, ok = w.appendFirst(dst, n.rules); ok {
			w.observe(n, m.out, len(dst))
		}
	}
	if !ok && n.fallback != nil {
		return append(w.cutBack(dst, m), n.fallback...), true
	}
	return dst, ok
}

// appendObject appends an object that has all it must have: made of a value of
// the record if it is one, else of its members.
func (w *Worker) appendObject(dst []byte, n *outNode) ([]byte, bool) {
	m := w.mark(dst)
	for _, e := range n.each {
		first, end := w.collectItems(&e.source)
		for i := first; i < end; i++ {
			var ok bool
			if dst, ok = w.appendEach(dst, e, w.items[i]); ok {
				w.items = w.items[:first]
				return dst, true
			}
			dst = w.cutBack(dst, m)
		}
		w.items = w.items[:first]
	}
	dst = append(dst, '{')
	comma := 1
	var has uint64
	for i := range n.members {
		member := &n.members[i]
		if !member.needs.meets(&w.present) {
			continue
		}
		mark := len(dst)
		var ok bool
		if dst, ok = w.appendChild(dst, member, comma); ok {
			comma = 0
			has |= 1 << i
		} else {
			dst = dst[:mark]
		}
	}
	if !n.checks.met(has) {
		return w.cutBack(dst, m), false
	}
	return append(dst, '}'), true
}

// met says whether members, by their bits, are what an object must have.
func (c *objectChecks) met(has uint64) bool {
	return has != 0 && has&c.required == c.required && (c.anyOf == 0 || has&c.anyOf != 0) &&
		(c.oneOf == 0 || bits.OnesCount64(has&c.oneOf) == 1)
}

// appendObjects appends a list of objects.
func (w *Worker) appendObjects(dst []byte, n *outNode) ([]byte, bool) {
	dst = append(dst, '[')
	opening := len(dst)
	for _, element := range n.elements {
		dst = w.appendItem(dst, opening, element, nil, 0)
	}
	for _, e := range n.each {
		first, end := w.collectItems(&e.source)
		for i := first; i < end; i++ {
			dst = w.appendItem(dst, opening, nil, e, w.items[i])
		}
		w.items = w.items[:first]
	}
	return append(dst, ']'), len(dst) > opening
}

// appendItem appends an object to the list that was opened at opening: of its
// own rows, or what e makes of node n.
func (w *Worker) appendItem(dst []byte, opening int, object *outNode, e *eachRule, n int32) []byte {
	m := w.mark(dst)
	if m.out > opening {
		dst = append(dst, ',')
	}
	var ok bool
	if e != nil {
		dst, ok = w.appendEach(dst, e, n)
	} else {
		dst, ok = w.appendObject(dst, object)
	}
	if !ok {
		return w.cutBack(dst, m)
	}
	return dst
}

// collectItems puts the nodes a source leads to at the end of w.items: while
// one of them is mapped, others are collected.
func (w *Worker) collectItems(src *source) (first, end int) {
	first = len(w.items)
	w.items = append(w.items, w.collect(src)...)
	return first, len(w.items)
}

// appendEach appends the object that a rule makes of node n.
func (w *Worker) appendEach(dst []byte, e *eachRule, n int32) ([]byte, bool) {
	slots, present, node, room := w.slots, w.present, w.node, len(w.slotRoom)
	w.present = alwaysPresent
	w.openSlots(e.sub.slots)
	w.node = int(n)
	w.load(&e.sub)
	ok := w.holds(e.conds)
	if ok {
		dst, ok = w.appendObject(dst, e.sub.root)
	}
	w.slots, w.present, w.node, w.slotRoom = slots, present, node, w.slotRoom[:room]
	return dst, ok
}

// appendEnum appends the members that stand for a value of an enum.
func (w *Worker) appendEnum(dst []byte, n *outNode, from int) ([]byte, bool) {
	e := n.enum
	for _, r := range n.rules {
		if r.conds != nil && !w.holds(r.conds) {
			continue
		}
		if r.literals != nil {
			return append(dst, e.members[r.enum][from:]...), true
		}
		for i := range r.sources {
			src := &r.sources[i]
			if src.special != notSpecial {
				mark := len(w.text)
				var ok bool
				if w.text, ok = w.appendSpecialText(w.text, src.special); ok {
					if dst, ok = w.appendEnumOf(dst, n, r, w.text[mark:len(w.text):len(w.text)], -1, from); ok {
						return dst, true
					}
				}
				continue
			}
			for _, node := range w.collect(src) {
				if text, ok := w.textOf(r.only, int(node)); ok {
					if dst, ok = w.appendEnumOf(dst, n, r, text, node, from); ok {
						return dst, true
					}
				}
			}
		}
	}
	return dst, false
}

func (w *Worker) appendEnumOf(dst []byte, n *outNode, r *rule, text []byte, node int32, from int) ([]byte, bool) {
	e := n.enum
	text, ok := w.step(r, text)
	if !ok {
		return dst, false
	}
	if r.cases != nil {
		literals := r.cases.find(w, text)
		if literals == nil {
			return dst, false
		}
		w.lower = append(w.lower[:0], literals[0]...)
	} else {
		w.lower = appendLower(w.lower[:0], text)
	}
	i := e.names.find(w.lower)
	switch {
	case i < 0:
		return dst, false
	case i == e.other && r.cases != nil:
		if r.steps == nil && node >= 0 {
			w.used = append(w.used, node)
		}
		dst = appendQuoted(append(dst, e.otherHead[from:]...), text)
		return append(dst, e.otherEnd...), true
	}
	if r.cases == nil && node >= 0 {
		w.use(r, node)
	}
	return append(dst, e.members[i][from:]...), true
}

// appendObservables appends what the event has of observables so far.
func (w *Worker) appendObservables(dst []byte) ([]byte, bool) {
	dst = append(dst, '[')
	for i, o := range w.observed {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, o.node.observe...)
		dst = append(dst, dst[o.start:o.end]...)
		dst = append(dst, '}')
	}
	return append(dst, ']'), len(w.observed) > 0
}
