package normalize

import "github.com/lazuli-logs/lazuli/internal/jsonscan"

// appendMembers appends what the document has below n, after a '{'.
func (w *Worker) appendMembers(dst []byte, n *outNode) []byte {
	if len(n.trees) > 0 {
		return w.appendGuarded(dst, n)
	}
	comma := 1 // of a child's key, which the first member goes without
	for i := range n.members {
		m := &n.members[i]
		if !m.needs.meets(&w.present) {
			continue
		}
		mark := len(dst)
		var ok bool
		if dst, ok = w.appendChild(dst, m, comma); ok {
			if m.tells != nothing {
				w.note(m.tells, dst[mark+1-comma:])
			}
			comma = 0
		} else {
			dst = dst[:mark]
		}
	}
	return dst
}

// appendChild does what appendMember does, for a member that may have a value by
// what it needs.
func (w *Worker) appendChild(dst []byte, m *outMember, from int) ([]byte, bool) {
	if m.kind == anyMember {
		return w.appendMember(dst, m.node, from)
	}
	dst = append(dst, m.key[from:]...)
	switch m.kind {
	case copiedMember:
		n := int(w.slots[m.slot])
		if n < 0 {
			return dst, false
		}
		node := &w.x.Nodes[n]
		if node.Kind >= jsonscan.Object || node.Flags&jsonscan.NotUTF8 != 0 || !m.only.has(node.Kind) {
			return w.appendValue(dst, m.node.rules[0], n)
		}
		empty := node.Kind == jsonscan.String && node.End-node.Start == 2 // says nothing
		return append(dst, w.x.Src[node.Start:node.End]...), !empty
	case convertedMember:
		n := int(w.slots[m.slot])
		if n < 0 {
			return dst, false
		}
		return w.appendValue(dst, m.node.rules[0], n)
	case objectMember:
		dst = append(dst, '{')
		inner := len(dst)
		dst = w.appendMembers(dst, m.node)
		return append(dst, '}'), len(dst) > inner
	case listMember:
		return w.appendList(dst, m.node)
	case valueMember:
		return w.appendFirst(dst, m.node.rules)
	case attributeMember:
		return w.appendAttributeValue(dst, m.node)
	}
	return dst, true // fixedMember
}

// appendGuarded does the same where trees add members whose names only the
// record knows. The members that rows set come first, so they win.
func (w *Worker) appendGuarded(dst []byte, n *outNode) []byte {
	opening := len(dst)
	guard := nameGuard{w: w}
	guard.open()
	for i := range n.members {
		m := &n.members[i]
		if !m.needs.meets(&w.present) {
			continue
		}
		mark, comma := len(dst), 0
		if mark == opening {
			comma = 1
		}
		var ok bool
		if dst, ok = w.appendChild(dst, m, comma); ok {
			guard.reserve(mark+1-comma, mark+len(m.node.key)-comma, m.node.hash)
			if m.tells != nothing {
				w.note(m.tells, dst[mark+1-comma:])
			}
		} else {
			dst = dst[:mark]
		}
	}
	for _, t := range n.trees {
		if node, ok := w.object(t); ok {
			dst = w.appendTreeMembers(dst, opening, node, t.tree, &guard)
		}
	}
	guard.close()
	return dst
}

// appendMember appends a member, its key from the given byte on. If it returns
// false the member has no value, and what was appended is to be cut off.
func (w *Worker) appendMember(dst []byte, n *outNode, from int) ([]byte, bool) {
	switch {
	case n.fixed != nil:
		return append(dst, n.fixed[from:]...), true
	case n.attribute != nil:
		return w.appendAttribute(dst, n, from)
	case n.copied != nil:
		node := w.slots[n.copied.slot]
		if node < 0 {
			return dst, false
		}
		return w.appendValue(append(dst, n.key[from:]...), n.rules[0], int(node))
	case n.rules == nil:
		dst = append(append(dst, n.key[from:]...), '{')
		inner := len(dst)
		dst = w.appendMembers(dst, n)
		return append(dst, '}'), len(dst) > inner
	case n.list:
		return w.appendList(append(dst, n.key[from:]...), n)
	}
	return w.appendFirst(append(dst, n.key[from:]...), n.rules)
}

// object returns the first object that a tree's sources lead to.
func (w *Worker) object(r *rule) (int, bool) {
	if !w.holds(r.conds) {
		return 0, false
	}
	for i := range r.sources {
		for _, n := range w.collect(&r.sources[i]) {
			if w.x.Nodes[n].Kind == jsonscan.Object {
				return int(n), true
			}
		}
	}
	return 0, false
}

// appendFirst appends the value of the first rule that has one.
func (w *Worker) appendFirst(dst []byte, rules []*rule) ([]byte, bool) {
	mark := len(dst)
	for _, r := range rules {
		if r.conds != nil && !w.holds(r.conds) {
			continue
		}
		if r.sources == nil && r.format == nil {
			return append(dst, r.literals[0]...), true
		}
		if r.format != nil {
			used := len(w.used)
			if text, ok := w.formatted(r); ok {
				if dst, ok = w.appendText(dst, r, text); ok {
					return dst, true
				}
				dst = dst[:mark]
			}
			w.used = w.used[:used]
			continue
		}
		for i := range r.sources {
			src := &r.sources[i]
			ok := false
			if src.isMember() {
				n := w.slots[src.slot]
				if n < 0 {
					continue
				}
				if dst, ok = w.appendValue(dst, r, int(n)); ok {
					w.use(r, n)
				}
			} else if src.special != notSpecial {
				dst, ok = w.appendSpecial(dst, r, src.special)
			} else {
				for _, n := range w.collect(src) {
					if dst, ok = w.appendValue(dst, r, int(n)); ok {
						w.use(r, n)
						break
					}
					dst = dst[:mark]
				}
			}
			if ok {
				return dst, true
			}
			dst = dst[:mark]
		}
	}
	return dst, false
}
