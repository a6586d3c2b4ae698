package normalize

import "github.com/lazuli-logs/lazuli/internal/jsonscan"

// appendValue appends what a rule makes of node n.
func (w *Worker) appendValue(dst []byte, r *rule, n int) ([]byte, bool) {
	node := &w.x.Nodes[n]
	kind := node.Kind
	if !r.only.has(kind) {
		return dst, false
	}
	if r.simple && kind == jsonscan.String && node.Flags&(jsonscan.Escaped|jsonscan.NotUTF8) == 0 {
		return w.appendSimple(dst, r, w.x.Src[node.Start+1:node.End-1])
	}
	if r.typed {
		return w.appendTyped(dst, r, n)
	}
	if r.finish == nil && r.steps == nil && r.cases == nil {
		if kind == jsonscan.String && len(w.x.Text(n)) == 0 {
			return dst, false // an empty text says nothing
		}
		if w.holdsObjects(n) {
			// A field has one type: where it is text or a number, an object would
			// make a destination refuse the event.
			text, _ := w.textOf(r.only, n)
			return appendQuoted(dst, text), true
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

// appendSimple appends what a rule that gives texts makes of one that needs no
// escapes: what is cut out of it needs none either.
func (w *Worker) appendSimple(dst []byte, r *rule, text []byte) ([]byte, bool) {
	if len(text) == 0 {
		return dst, false
	}
	if r.part > 0 {
		w.parts.of(text, ',')
		if text = w.parts.between(r.part, r.part); len(text) == 0 {
			return dst, false
		}
	} else if r.steps != nil {
		var ok bool
		if text, ok = w.step(r, text); !ok {
			return dst, false
		}
	}
	switch {
	case r.cases != nil:
		if literals := r.cases.find(w, text); literals != nil {
			return append(dst, literals[0]...), true
		}
		return dst, false
	case r.finish != nil:
		return r.finish(w, dst, text, r.argument)
	}
	return append(appendRun(append(dst, '"'), text, 0, len(text)), '"'), true
}

// holdsObjects tells whether node n is an object, or an array of anything but
// plain values.
func (w *Worker) holdsObjects(n int) bool {
	switch w.x.Nodes[n].Kind {
	case jsonscan.Object:
		return true
	case jsonscan.Array:
		for c := range w.x.Children(n) {
			if w.x.Nodes[c].Kind >= jsonscan.Object {
				return true
			}
		}
	}
	return false
}

// textOf returns node n as text if it is of one of the kinds: a string
// unescaped, a number or a truth value as written, an object or array as JSON.
// An empty string is no text.
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
		w.text = w.x.AppendCompact(w.text, n)
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
	text, ok := w.step(r, text)
	if !ok {
		return dst, false
	}
	if r.cases != nil {
		literals := r.cases.find(w, text)
		if literals == nil {
			return dst, false
		}
		return append(dst, literals[0]...), true
	}
	if r.typed {
		return w.appendTypedText(dst, r.typ, text, clean)
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
		return w.x.AppendCompact(dst, n)
	}
	return append(dst, w.x.Value(n)...)
}

// find returns the values for a text, compared without case, or nil.
func (t *caseTable) find(w *Worker, text []byte) [][]byte {
	w.lower = appendLower(w.lower[:0], text)
	if i := t.names.find(w.lower); i >= 0 {
		return t.literals[i]
	}
	for i := range t.globs {
		if t.globs[i].glob.match(w.lower) {
			return t.literals[t.globs[i].index]
		}
	}
	if t.other >= 0 {
		return t.literals[t.other]
	}
	return nil
}
