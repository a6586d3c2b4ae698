package normalize

import "github.com/lazuli-logs/lazuli/internal/jsonscan"

// appendUnused appends an object of all that the record holds and that stands in
// no other member of the event, in the places and under the names it has in
// the record. Empty values are left out.
func (w *Worker) appendUnused(dst []byte, t *treeRule) ([]byte, bool) {
	words := (len(w.x.Nodes) + 63) / 64
	for len(w.usedBits) < words {
		w.usedBits = append(w.usedBits, 0)
	}
	clear(w.usedBits[:words])
	for _, n := range w.used {
		w.usedBits[n>>6] |= 1 << (n & 63)
	}
	if w.isUsed(w.node) {
		return dst, false
	}
	switch w.x.Nodes[w.node].Kind {
	case jsonscan.Object:
		return w.appendUnusedObject(dst, w.node, t, w.outline != nil)
	case jsonscan.Null:
		return dst, false
	}
	dst = append(dst, `{"record":`...)
	return append(w.appendTree(dst, w.node, plainTrees[keepNames]), '}'), true
}

func (w *Worker) isUsed(n int) bool { return w.usedBits[n>>6]&(1<<(n&63)) != 0 }

// anyUsed says whether a node from first to before end is used.
func (w *Worker) anyUsed(first, end int) bool {
	for n := first; n < end; n = n&^63 + 64 {
		word := w.usedBits[n>>6] >> (n & 63)
		if left := end - n; left < 64 {
			word &= 1<<left - 1
		}
		if word != 0 {
			return true
		}
	}
	return false
}

// appendUnusedObject does it for object n, which is distinct if no name in it can stand
// there twice: the outline of a record says so of all but what is in lists.
func (w *Worker) appendUnusedObject(dst []byte, n int, t *treeRule, distinct bool) ([]byte, bool) {
	plain := t.naming == keepNames && t.names.len == 0
	if plain && distinct {
		return w.appendUnusedPlain(dst, n, t)
	}
	dst = append(dst, '{')
	opening, comma := len(dst), 1
	guard := nameGuard{w: w}
	guard.open()
	nodes := w.x.Nodes
	m := &w.members[0]
	for c := n + 1; c < int(nodes[n].Next); c = int(nodes[c].Next) {
		if w.isEmptyOrUsed(c) {
			continue
		}
		mark := len(dst)
		below := t
		var hash uint32
		if node := &nodes[c]; plain && node.KeyEnd+2 == node.Start && node.KeyEnd > node.KeyStart && node.Flags&(jsonscan.KeyEscaped|jsonscan.KeyNotUTF8) == 0 {
			// Most names go over as they stand, with the colon after them.
			name := w.x.Src[node.KeyStart-1 : node.Start]
			hash = hashName(name)
			if comma == 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, name...)
		} else {
			if m = w.member(c, t, m); m.omitted() {
				continue
			}
			dst = append(dst, m.key[comma:]...)
			below, hash = m.below, m.hash
		}
		if guard.taken(dst, mark+1-comma, hash) {
			dst = dst[:mark]
			continue
		}
		named := len(dst)
		var ok bool
		if dst, ok = w.appendUnusedValue(dst, c, below, false); !ok {
			dst = dst[:mark]
			continue
		}
		guard.reserve(mark+1-comma, named, hash)
		comma = 0
	}
	guard.close()
	return append(dst, '}'), len(dst) > opening
}

// appendUnusedPlain does it for an object with distinct names that stay as they are.
// Members that stand side by side in the record, without objects and lists, go over at
// once.
func (w *Worker) appendUnusedPlain(dst []byte, n int, t *treeRule) ([]byte, bool) {
	dst = append(dst, '{')
	opening := len(dst)
	nodes, src := w.x.Nodes, w.x.Src
	run := src[:0] // what is to go over
	first, last := 0, 0
	for c := n + 1; c < int(nodes[n].Next); c = int(nodes[c].Next) {
		if w.isEmptyOrUsed(c) {
			continue
		}
		node := &nodes[c]
		name := int(node.KeyStart) - 1
		tight := node.KeyEnd+2 == node.Start
		if tight && node.Kind < jsonscan.Object && node.Flags&jsonscan.NotUTF8 == 0 {
			if len(run) == 0 || name != last+1 {
				dst = appendMembersAsTheyAre(dst, opening, run)
				first = name
			}
			last = int(node.End)
			run = src[first:last]
			continue
		}
		dst = appendMembersAsTheyAre(dst, opening, run)
		run = run[:0]
		mark := len(dst)
		if mark > opening {
			dst = append(dst, ',')
		}
		dst = append(append(dst, src[name:node.KeyEnd+1]...), ':')
		var ok bool
		if dst, ok = w.appendUnusedValue(dst, c, t, true); !ok {
			dst = dst[:mark]
		}
	}
	dst = appendMembersAsTheyAre(dst, opening, run)
	return append(dst, '}'), len(dst) > opening
}

// appendMembersAsTheyAre appends members to the object that was opened at opening.
func appendMembersAsTheyAre(dst []byte, opening int, members []byte) []byte {
	if len(members) == 0 {
		return dst
	}
	if len(dst) > opening {
		dst = append(dst, ',')
	}
	return append(dst, members...)
}

func (w *Worker) isEmptyOrUsed(c int) bool {
	node := &w.x.Nodes[c]
	switch {
	case node.Kind == jsonscan.Null, w.isUsed(c):
		return true
	case node.Kind == jsonscan.String:
		return node.End-node.Start == 2
	}
	return node.Kind >= jsonscan.Object && int(node.Next) == c+1
}

func (w *Worker) appendUnusedValue(dst []byte, c int, t *treeRule, distinct bool) ([]byte, bool) {
	node := &w.x.Nodes[c]
	switch {
	case node.Kind < jsonscan.Object:
		return w.appendJSON(dst, c), true
	case node.Kind == jsonscan.Object:
		return w.appendUnusedObject(dst, c, t, distinct)
	case !w.anyUsed(c+1, int(node.Next)):
		return w.appendTree(dst, c, t), true
	}
	dst = append(dst, '[')
	opening := len(dst)
	for i := c + 1; i < int(w.x.Nodes[c].Next); i = int(w.x.Nodes[i].Next) {
		if w.isEmptyOrUsed(i) {
			continue
		}
		mark := len(dst)
		if mark > opening {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = w.appendUnusedValue(dst, i, t, false); !ok {
			dst = dst[:mark]
		}
	}
	return append(dst, ']'), len(dst) > opening
}
