package normalize

import (
	"strconv"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/normalize/ocsf"
)

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
		if seg.index == allItems || seg.index == i || seg.index == someItems && w.isItem(c, &seg) {
			w.walk(c, path[1:])
		}
		i++
	}
}

// isItem says whether item n of a list holds what a path asks for.
func (w *Worker) isItem(n int, seg *segment) bool {
	if n = w.find(n, seg.key); n < 0 {
		return false
	}
	text, ok := w.textOf(0, n)
	return ok && string(text) == seg.value
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
			if node := &w.x.Nodes[n]; node.Kind != jsonscan.String || len(w.x.Text(int(n))) > 0 {
				return true // an empty text is no value
			}
			continue
		}
		if text, ok := w.textOf(0, int(n)); ok && w.among(c, text) {
			return true
		}
	}
	return false
}

func (w *Worker) among(c *cond, text []byte) bool {
	w.lower = appendLower(w.lower[:0], text)
	if c.values.find(w.lower) >= 0 {
		return true
	}
	for _, g := range c.globs {
		if g.match(w.lower) {
			return true
		}
	}
	return false
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
		w.use(r, int32(n))
		switch node := &w.x.Nodes[n]; {
		case node.Kind == jsonscan.String && len(w.x.Text(n)) == 0:
			return nil, false
		case node.Kind == jsonscan.String:
			w.text = jsonscan.AppendUnescaped(w.text, w.x.Text(n))
		default:
			w.text = w.x.AppendCompact(w.text, n)
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
	case timeAsWritten:
		dst = append(dst, w.timeWritten...)
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
	if r.typed {
		w.useSpecial(r, s)
	}
	if r.steps == nil && r.cases == nil && r.finish == nil {
		switch s {
		case originalBytes:
			return w.appendOriginal(dst), true
		case eventTime:
			if w.time.IsZero() {
				return dst, false
			}
			if r.typed && r.typ == ocsf.Timestamp {
				return strconv.AppendInt(dst, w.time.UnixMilli(), 10), true
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

// appendOriginal appends the record as a string. Mostly it is what was indexed.
func (w *Worker) appendOriginal(dst []byte) []byte {
	if !sameBytes(w.raw, w.in.Index.Value(w.in.Node)) {
		return appendQuoted(dst, w.raw)
	}
	dst = w.in.Index.AppendEscapedValue(append(dst, '"'), w.in.Node)
	return append(dst, '"')
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
