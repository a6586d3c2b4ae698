package normalize

import "bytes"

// appendList appends what all rules give, each value once.
func (w *Worker) appendList(dst []byte, n *outNode) ([]byte, bool) {
	dst = append(dst, '[')
	l := listWriter{w: w, node: n, base: len(w.marks)}
	for _, r := range n.rules {
		if r.conds != nil && !w.holds(r.conds) {
			continue
		}
		if r.format != nil {
			if text, ok := w.formatted(r); ok {
				dst = l.appendText(dst, r, text)
			}
		} else if r.sources == nil {
			dst = l.appendLiterals(dst, r.literals)
		}
		for i := range r.sources {
			dst = l.appendSource(dst, r, &r.sources[i])
		}
	}
	some := len(w.marks) > l.base
	w.marks = w.marks[:l.base]
	return append(dst, ']'), some
}

// listWriter appends the elements of one list; marks from base on are where
// they stand.
type listWriter struct {
	w    *Worker
	node *outNode
	base int
	many manyNames // the elements of a long list
}

func (l *listWriter) appendSource(dst []byte, r *rule, src *source) []byte {
	w := l.w
	switch {
	case src.special == repairNames:
		for _, name := range w.in.Repairs {
			dst = l.appendText(dst, r, []byte(name))
		}
	case src.special != notSpecial:
		mark := len(w.text)
		var ok bool
		if w.text, ok = w.appendSpecialText(w.text, src.special); ok {
			dst = l.appendText(dst, r, w.text[mark:len(w.text):len(w.text)])
		}
	case src.isMember():
		if n := w.slots[src.slot]; n >= 0 {
			dst = l.appendNode(dst, r, n)
		}
	default:
		for _, n := range w.collect(src) {
			dst = l.appendNode(dst, r, n)
		}
	}
	return dst
}

// appendNode appends the elements that a rule makes of node n.
func (l *listWriter) appendNode(dst []byte, r *rule, n int32) []byte {
	w := l.w
	switch {
	case r.cases != nil:
		if text, ok := w.textOf(r.only, int(n)); ok {
			return l.appendText(dst, r, text)
		}
		return dst
	case r.split != "":
		return l.appendParts(dst, r, n)
	}
	out, start := l.separate(dst)
	out, ok := w.appendValue(out, r, int(n))
	if ok {
		w.use(r, n)
	}
	return l.keep(out, len(dst), start, ok)
}

// appendParts appends the parts of a text that holds several elements.
func (l *listWriter) appendParts(dst []byte, r *rule, n int32) []byte {
	rest, more := l.w.textOf(r.only, int(n))
	for more {
		var part []byte
		if part, rest, more = bytes.Cut(rest, []byte(r.split)); len(bytes.TrimSpace(part)) > 0 {
			dst = l.appendText(dst, r, bytes.TrimSpace(part))
		}
	}
	l.w.use(r, n)
	return dst
}

// appendText appends the elements that a text gives: those of its case, or what
// the rule makes of it.
func (l *listWriter) appendText(dst []byte, r *rule, text []byte) []byte {
	if r.cases != nil {
		text, ok := l.w.step(r, text)
		if !ok {
			return dst
		}
		return l.appendLiterals(dst, r.cases.find(l.w, text))
	}
	out, start := l.separate(dst)
	out, ok := l.w.appendText(out, r, text)
	return l.keep(out, len(dst), start, ok)
}

func (l *listWriter) appendLiterals(dst []byte, literals [][]byte) []byte {
	for _, literal := range literals {
		out, start := l.separate(dst)
		dst = l.keep(append(out, literal...), len(dst), start, true)
	}
	return dst
}

// separate appends the comma before an element, if there must be one, and
// returns where the element starts.
func (l *listWriter) separate(dst []byte) (out []byte, start int) {
	if len(l.w.marks) > l.base {
		dst = append(dst, ',')
	}
	return dst, len(dst)
}

// keep takes what stands at start as an element, or cuts the list back to mark
// if it is nothing or the list has it already.
func (l *listWriter) keep(dst []byte, mark, start int, ok bool) []byte {
	marks := l.w.marks[l.base:]
	if !ok || l.many.hold(dst, marks, dst[start:]) {
		return dst[:mark]
	}
	l.w.marks = append(l.w.marks, span{start, len(dst)})
	l.w.observe(l.node, start, len(dst))
	return dst
}

// manyNames finds repeats among names or elements that stand in a buffer at
// marks: one by one while they are few, in a set when they are many, so that
// the work grows with their number and not with its square.
type manyNames struct{ set map[string]struct{} }

const fewNames = 128

// hold says whether value is among those at marks; if it is not, it must be put
// there.
func (m *manyNames) hold(buffer []byte, marks []span, value []byte) bool {
	if len(marks) < fewNames {
		for _, s := range marks {
			if bytes.Equal(value, buffer[s.start:s.end]) {
				return true
			}
		}
		return false
	}
	if m.set == nil {
		m.set = make(map[string]struct{}, 2*len(marks))
		for _, s := range marks {
			m.set[string(buffer[s.start:s.end])] = struct{}{}
		}
	}
	if _, there := m.set[string(value)]; there {
		return true
	}
	m.set[string(value)] = struct{}{}
	return false
}
