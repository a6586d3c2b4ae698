package normalize

import (
	"bytes"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// appendMembers appends what the document has below n, after a '{'.
func (w *Worker) appendMembers(dst []byte, n *outNode) []byte {
	if len(n.trees) > 0 {
		return w.appendGuarded(dst, n)
	}
	comma := 1 // of a child's key, which the first member goes without
	for _, child := range n.children {
		mark := len(dst)
		var ok bool
		if dst, ok = w.appendMember(dst, child, comma); ok {
			comma = 0
		} else {
			dst = dst[:mark]
		}
	}
	return dst
}

// appendGuarded does the same where trees add members whose names only the
// record knows. The members that rows set come first, so they win.
func (w *Worker) appendGuarded(dst []byte, n *outNode) []byte {
	opening := len(dst)
	guard := nameGuard{w: w}
	guard.open()
	for _, child := range n.children {
		mark, comma := len(dst), 0
		if mark == opening {
			comma = 1
		}
		var ok bool
		if dst, ok = w.appendMember(dst, child, comma); ok {
			guard.reserve(mark+1-comma, mark+len(child.key)-comma, child.hash)
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
		dst = append(dst, n.key[from:]...)
		return append(dst, n.fixed...), true
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
			if text, ok := w.formatted(r); ok {
				if dst, ok = w.appendText(dst, r, text); ok {
					return dst, true
				}
				dst = dst[:mark]
			}
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
				dst, ok = w.appendValue(dst, r, int(n))
			} else if src.special != notSpecial {
				dst, ok = w.appendSpecial(dst, r, src.special)
			} else {
				for _, n := range w.collect(src) {
					if dst, ok = w.appendValue(dst, r, int(n)); ok {
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

// appendList appends what all rules give, each value once.
func (w *Worker) appendList(dst []byte, n *outNode) ([]byte, bool) {
	dst = append(dst, '[')
	l := listWriter{w: w, base: len(w.marks)}
	for _, r := range n.rules {
		switch {
		case !w.holds(r.conds):
		case r.format != nil:
			if text, ok := w.formatted(r); ok {
				dst = l.appendText(dst, r, text)
			}
		case r.sources == nil:
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
	base int
}

func (l listWriter) appendSource(dst []byte, r *rule, src *source) []byte {
	if src.special != notSpecial {
		if src.special == repairNames {
			for _, name := range l.w.in.Repairs {
				dst = l.appendText(dst, r, []byte(name))
			}
			return dst
		}
		mark, start := len(dst), 0
		dst, start = l.separate(dst)
		dst, ok := l.w.appendSpecial(dst, r, src.special)
		return l.keep(dst, mark, start, ok)
	}
	for _, n := range l.w.collect(src) {
		if r.cases != nil {
			if text, ok := l.w.textOf(r.only, int(n)); ok {
				dst = l.appendText(dst, r, text)
			}
			continue
		}
		mark, start := len(dst), 0
		var ok bool
		dst, start = l.separate(dst)
		dst, ok = l.w.appendValue(dst, r, int(n))
		dst = l.keep(dst, mark, start, ok)
	}
	return dst
}

// appendText appends the elements that a text gives: those of its case, or the
// text itself.
func (l listWriter) appendText(dst []byte, r *rule, text []byte) []byte {
	if r.cases != nil {
		return l.appendLiterals(dst, r.cases.find(l.w, text))
	}
	mark, start := len(dst), 0
	dst, start = l.separate(dst)
	dst, ok := l.w.appendText(dst, r, text)
	return l.keep(dst, mark, start, ok)
}

func (l listWriter) appendLiterals(dst []byte, literals [][]byte) []byte {
	for _, literal := range literals {
		mark, start := len(dst), 0
		dst, start = l.separate(dst)
		dst = l.keep(append(dst, literal...), mark, start, true)
	}
	return dst
}

func (l listWriter) separate(dst []byte) (out []byte, start int) {
	if len(l.w.marks) > l.base {
		dst = append(dst, ',')
	}
	return dst, len(dst)
}

// keep takes what was appended after start as an element, or cuts it off with
// its separator if it is nothing or the list has it already.
func (l listWriter) keep(dst []byte, mark, start int, ok bool) []byte {
	if !ok {
		return dst[:mark]
	}
	for _, m := range l.w.marks[l.base:] {
		if bytes.Equal(dst[start:], dst[m.start:m.end]) {
			return dst[:mark]
		}
	}
	l.w.marks = append(l.w.marks, span{start, len(dst)})
	return dst
}

// appendValue appends what a rule makes of node n.
func (w *Worker) appendValue(dst []byte, r *rule, n int) ([]byte, bool) {
	kind := w.x.Nodes[n].Kind
	if !r.only.has(kind) {
		return dst, false
	}
	if r.finish == nil && r.steps == nil && r.cases == nil {
		if kind == jsonscan.String && len(w.x.Text(n)) == 0 {
			return dst, false // an empty text says nothing
		}
		return w.appendJSON(dst, n), true
	}
	text, ok := w.textOf(r.only, n)
	if !ok {
		return dst, false
	}
	// What is cut out of a string that needs no escapes needs none either.
	clean := w.x.Nodes[n].Flags&(jsonscan.Escaped|jsonscan.NotUTF8) == 0 && kind < jsonscan.Object
	return w.appendTransformed(dst, r, text, clean)
}

// textOf returns node n as text if it is of one of the kinds: a string unescaped, a
// number or a truth value as written, an object or array as JSON.
func (w *Worker) textOf(only kindSet, n int) ([]byte, bool) {
	node := &w.x.Nodes[n]
	switch {
	case !only.has(node.Kind) || node.Kind == jsonscan.Null:
		return nil, false
	case node.Kind == jsonscan.String:
		text := w.x.Text(n)
		if node.Flags&(jsonscan.Escaped|jsonscan.NotUTF8) != 0 {
			mark := len(w.text)
			w.text = jsonscan.AppendUnescaped(w.text, text)
			text = w.text[mark:len(w.text):len(w.text)]
		}
		return text, len(text) > 0
	case node.Kind >= jsonscan.Object:
		mark := len(w.text)
		w.text = jsonscan.AppendCompact(w.text, w.x.Value(n))
		return w.text[mark:len(w.text):len(w.text)], true
	}
	return w.x.Value(n), true
}

// appendText takes a text through the steps of a rule and appends what comes
// out of it as JSON.
func (w *Worker) appendText(dst []byte, r *rule, text []byte) ([]byte, bool) {
	return w.appendTransformed(dst, r, text, false)
}

func (w *Worker) appendTransformed(dst []byte, r *rule, text []byte, clean bool) ([]byte, bool) {
	for i := range r.steps {
		var ok bool
		if text, ok = r.steps[i].run(w, text, r.steps[i].argument); !ok || len(text) == 0 {
			return dst, false
		}
	}
	if r.cases != nil {
		literals := r.cases.find(w, text)
		if literals == nil {
			return dst, false
		}
		return append(dst, literals[0]...), true
	}
	if r.finish != nil {
		return r.finish(w, dst, text, r.argument)
	}
	if clean {
		dst = append(append(dst, '"'), text...)
		return append(dst, '"'), true
	}
	return appendQuoted(dst, text), true
}

func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	dst = jsonscan.AppendEscaped(dst, text)
	return append(dst, '"')
}

// appendJSON appends node n as it is, on one line and in UTF-8.
func (w *Worker) appendJSON(dst []byte, n int) []byte {
	node := &w.x.Nodes[n]
	if node.Kind >= jsonscan.Object || node.Flags&jsonscan.NotUTF8 != 0 {
		return jsonscan.AppendCompact(dst, w.x.Value(n))
	}
	return append(dst, w.x.Value(n)...)
}

// find returns the values for a text, compared without case, or nil.
func (t *caseTable) find(w *Worker, text []byte) [][]byte {
	w.lower = appendLower(w.lower[:0], text)
	if i := t.names.find(w.lower); i >= 0 {
		return t.literals[i]
	}
	if t.other >= 0 {
		return t.literals[t.other]
	}
	return nil
}

// collect returns the nodes a source leads to, until the next call.
func (w *Worker) collect(src *source) []int32 {
	w.nodes = w.nodes[:0]
	if src.special != notSpecial {
		return nil
	}
	n := w.node
	if src.slot >= 0 {
		if n = int(w.slots[src.slot]); n < 0 {
			return nil
		}
	}
	w.walk(n, src.path)
	return w.nodes
}

func (w *Worker) walk(n int, path []segment) {
	if w.x.Nodes[n].Kind == jsonscan.Null {
		return
	}
	if len(path) == 0 {
		w.nodes = append(w.nodes, int32(n))
		return
	}
	// The first segment of a source's path has no name: its member is the slot.
	seg := path[0]
	if seg.name != "" {
		if n = w.find(n, seg.name); n < 0 {
			return
		}
	}
	if seg.index == noIndex {
		w.walk(n, path[1:])
		return
	}
	if w.x.Nodes[n].Kind != jsonscan.Array {
		return
	}
	i := 0
	end := int(w.x.Nodes[n].Next)
	for c := n + 1; c < end; c = int(w.x.Nodes[c].Next) {
		if seg.index == allItems || seg.index == i {
			w.walk(c, path[1:])
		}
		i++
	}
}

// holds says whether all conditions are met.
func (w *Worker) holds(conds []cond) bool {
	for i := range conds {
		c := &conds[i]
		if w.matches(c) == c.negate {
			return false
		}
	}
	return true
}

func (w *Worker) matches(c *cond) bool {
	if c.source.special != notSpecial {
		mark := len(w.text)
		var ok bool
		w.text, ok = w.appendSpecialText(w.text, c.source.special)
		text := w.text[mark:]
		return ok && (c.any || w.among(c, text))
	}
	for _, n := range w.collect(&c.source) {
		if c.any {
			return true
		}
		if text, ok := w.textOf(0, int(n)); ok && w.among(c, text) {
			return true
		}
	}
	return false
}

func (w *Worker) among(c *cond, text []byte) bool {
	w.lower = appendLower(w.lower[:0], text)
	return c.values.find(w.lower) >= 0
}

// formatted fills a format in; all of its sources must have a value.
func (w *Worker) formatted(r *rule) ([]byte, bool) {
	mark := len(w.text)
	for i := range r.format {
		part := &r.format[i]
		if part.isText {
			w.text = append(w.text, part.text...)
			continue
		}
		if part.source.special != notSpecial {
			var ok bool
			if w.text, ok = w.appendSpecialText(w.text, part.source.special); !ok {
				return nil, false
			}
			continue
		}
		nodes := w.collect(&part.source)
		if len(nodes) == 0 {
			return nil, false
		}
		n := int(nodes[0])
		switch node := &w.x.Nodes[n]; {
		case node.Kind == jsonscan.String && len(w.x.Text(n)) == 0:
			return nil, false
		case node.Kind == jsonscan.String:
			w.text = jsonscan.AppendUnescaped(w.text, w.x.Text(n))
		default:
			w.text = jsonscan.AppendCompact(w.text, w.x.Value(n))
		}
	}
	return w.text[mark:len(w.text):len(w.text)], true
}

// appendSpecialText appends a source that does not stand in the record as text.
func (w *Worker) appendSpecialText(dst []byte, s special) ([]byte, bool) {
	mark := len(dst)
	switch s {
	case eventTime:
		if !w.time.IsZero() {
			dst = w.appendTime(dst)
		}
	case eventID:
		dst = append(dst, w.id...)
	case logTypeName:
		dst = append(dst, w.logType.name...)
	case originalBytes:
		dst = append(dst, w.raw...)
	case repairNames:
		for i, name := range w.in.Repairs {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, name...)
		}
	case timeAssumed:
		if w.timeAssumed {
			dst = append(dst, "true"...)
		}
	default:
		if o := w.in.Origin; o != nil {
			switch s {
			case originSource:
				dst = append(dst, o.Source...)
			case originTenant:
				dst = append(dst, o.Tenant...)
			case originTenantID:
				dst = append(dst, o.TenantID...)
			}
		}
	}
	return dst, len(dst) > mark
}

// appendSpecial appends such a source as JSON. The two that every document has
// go straight into it.
func (w *Worker) appendSpecial(dst []byte, r *rule, s special) ([]byte, bool) {
	if r.steps == nil && r.cases == nil && r.finish == nil {
		switch s {
		case originalBytes:
			return appendQuoted(dst, w.raw), true
		case eventTime:
			if w.time.IsZero() {
				return dst, false
			}
			dst = w.appendTime(append(dst, '"'))
			return append(dst, '"'), true
		}
	}
	mark := len(w.text)
	var ok bool
	if w.text, ok = w.appendSpecialText(w.text, s); !ok {
		return dst, false
	}
	return w.appendText(dst, r, w.text[mark:len(w.text):len(w.text)])
}

func (w *Worker) appendTime(dst []byte) []byte {
	if w.timeText != nil {
		return append(dst, w.timeText...)
	}
	return appendTime(dst, w.time)
}

// appendLower appends text with A to Z in lower case.
func appendLower(dst, text []byte) []byte {
	for _, c := range text {
		if c-'A' <= 'Z'-'A' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}
