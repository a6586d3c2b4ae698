package normalize

import "github.com/lazuli-logs/lazuli/internal/jsonscan"

// perform appends what a script writes of the record, after a '{'.
func (w *Worker) perform(dst []byte, s *script) []byte {
	w.severity, w.dataset = s.told.severity, s.told.dataset
	nodes, src, lines, texts := w.x.Nodes, w.x.Src, s.lines, s.texts
	for i := range lines {
		l := &lines[i]
		before := len(dst)
		mark := before + int(l.head) // to which the line is cut back if there is no value
		from := int(l.text)
		if l.loose && dst[before-1] == '{' && l.kind != closeLine {
			from++
		}
		dst = appendRun(dst, texts, from, int(l.text)+int(l.length))
		ok := true
		switch l.kind {
		case textLine:
			continue
		case copyLine:
			n := w.slots[l.slot]
			if n < 0 {
				dst = dst[:mark]
				continue
			}
			node := &nodes[n]
			if node.Kind >= jsonscan.Object || node.Flags&jsonscan.NotUTF8 != 0 || !l.only.has(node.Kind) {
				dst, ok = w.appendValue(dst, l.rule, int(n))
			} else if ok = node.Kind != jsonscan.String || node.End-node.Start > 2; ok {
				dst = appendRun(dst, src, int(node.Start), int(node.End))
			}
		case ruleLine:
			n := w.slots[l.slot]
			if n < 0 {
				dst = dst[:mark]
				continue
			}
			node := &nodes[n]
			if l.rule.simple && node.Kind == jsonscan.String && node.Flags&(jsonscan.Escaped|jsonscan.NotUTF8) == 0 && l.rule.only.has(jsonscan.String) {
				dst, ok = w.appendSimple(dst, l.rule, src[node.Start+1:node.End-1])
			} else {
				dst, ok = w.appendValue(dst, l.rule, int(n))
			}
		case typedLine:
			n := w.slots[l.slot]
			if n < 0 {
				dst = dst[:mark]
				continue
			}
			start := len(dst)
			if dst, ok = w.appendValue(dst, l.rule, int(n)); ok {
				w.use(l.rule, n)
				w.observe(l.node, start, len(dst))
			}
		case leafLine:
			node := &nodes[w.at[l.place]]
			switch {
			case node.Kind == jsonscan.Null || l.bit != 0 && w.open[l.level].has&l.bit != 0:
				dst = dst[:mark]
			case node.Kind < jsonscan.Object && node.Flags&jsonscan.NotUTF8 == 0:
				dst = appendRun(dst, src, int(node.Start), int(node.End))
			default:
				dst = w.appendTree(dst, int(w.at[l.place]), s.trees[l.slot])
			}
			continue
		case branchLine:
			dst = w.appendTree(dst, int(w.at[l.place]), s.trees[l.slot])
			continue
		case startLine:
			w.open[l.level].has = 0
			continue
		case openLine:
			w.open[l.level].mark = ocsfMark{mark, len(w.used), len(w.observed)}
			w.open[l.level+1].has = l.bit
			continue
		default:
			dst, ok = w.performMember(dst, s, l, mark)
		}
		if !ok {
			dst = dst[:min(mark, len(dst))]
			continue
		}
		if l.bit != 0 {
			w.open[l.level].has |= l.bit
		}
		if l.tells != nothing {
			if dst[mark] == ',' {
				mark++
			}
			w.note(l.tells, dst[mark:])
		}
	}
	return append(dst, s.tail...)
}

// performMember does it for lines that are longer than what perform does by itself.
func (w *Worker) performMember(dst []byte, s *script, l *line, mark int) (out []byte, ok bool) {
	switch l.kind {
	case rowsLine:
		start := len(dst)
		if dst, ok = w.appendFirst(dst, l.node.rules); ok {
			w.observe(l.node, start, len(dst))
		}
	case listLine:
		if l.node.attribute != nil {
			return w.appendAttributeValue(dst, l.node)
		}
		return w.appendList(dst, l.node)
	case memberLine: // it writes its key itself
		return w.appendMember(dst[:mark], l.node, len(l.node.key)-(len(dst)-mark))
	case closeLine:
		end := &s.ends[l.slot]
		if ok = dst[len(dst)-1] != '{'; ok && end.check != nil {
			ok = end.check.met(w.open[l.level+1].has)
		}
		if ok {
			return append(dst, '}'), true
		}
		dst = w.cutBack(dst, w.open[l.level].mark)
		if ok = end.back != ""; ok {
			from := 0
			if l.loose && dst[len(dst)-1] == '{' {
				from = 1
			}
			dst = append(dst, end.back[from:]...)
		}
	}
	return dst, ok
}
