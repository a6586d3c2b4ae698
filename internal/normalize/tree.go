package normalize

import (
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// appendTreeMembers appends the members of object n to an object that was
// opened at opening, named and formed as t says. Null members are left out;
// empty ones are kept, because they say that Azure knew the field.
func (w *Worker) appendTreeMembers(dst []byte, opening, n int, t *treeRule, guard *nameGuard) []byte {
	nodes := w.x.Nodes
	end := int(nodes[n].Next)
	comma := 0 // where a key begins: the first goes without its comma
	if len(dst) == opening {
		comma = 1
	}
	m := &w.members[0]
	for c := n + 1; c < end; c = int(nodes[c].Next) {
		kind := nodes[c].Kind
		if kind == jsonscan.Null {
			continue
		}
		if m = w.member(c, t, m); m.omitted() {
			continue
		}
		mark := len(dst)
		dst = append(dst, m.key[comma:]...)
		if !guard.admit(dst, mark+1-comma, m.hash) {
			dst = dst[:mark]
			continue
		}
		comma = 0
		if kind < jsonscan.Object {
			dst = w.appendJSON(dst, c)
		} else {
			dst = w.appendTree(dst, c, m.below)
		}
	}
	return dst
}

// A memberCache remembers what becomes of the members of trees: their names are
// few, and come again with every record. A name may lie in a few places; if all
// are taken one is overwritten in place, so that names which never come again
// cost no memory.
type memberCache [1024]cachedMember

const cacheWays = 4

// cachedMember has what every use reads in its first 64 bytes, a line of the
// processor's cache.
type cachedMember struct {
	tree   *treeRule
	ends   nameEnds      // of name
	length uint32        // of name
	hash   uint32        // of key without the comma
	key    []byte        // `,"name":` in the document; empty if the member is left out
	next   *cachedMember // the member that came after it last time
	below  *treeRule
	name   []byte // in the record
	_      [32]byte
}

func (e *cachedMember) omitted() bool { return len(e.key) == 0 }

func (e *cachedMember) is(t *treeRule, name []byte, ends nameEnds) bool {
	return e.tree == t && e.ends == ends && int(e.length) == len(name) && (len(name) <= wholeEnds || string(e.name) == string(name))
}

// member returns what becomes of member n of an object under rule t, the one
// after previous: records of one kind have their members in the same order.
func (w *Worker) member(n int, t *treeRule, previous *cachedMember) *cachedMember {
	node := &w.x.Nodes[n]
	name := w.x.Src[node.KeyStart:node.KeyEnd]
	if node.Flags&escapedKey != 0 {
		name = w.unescapedKey(n)
	}
	ends := endsOf(name)
	if e := previous.next; e != nil && e.is(t, name, ends) {
		return e
	}
	e := w.lookUp(name, ends, t)
	previous.next = e
	return e
}

func (w *Worker) lookUp(name []byte, ends nameEnds, t *treeRule) *cachedMember {
	h := ends.hash(len(name)) ^ t.salt
	for i := range uint32(cacheWays) {
		e := &w.members[(h+i)%uint32(len(w.members))]
		if e.is(t, name, ends) {
			return e
		}
		if e.tree == nil {
			w.remember(e, name, ends, t)
			return e
		}
	}
	e := &w.members[(h+h>>16%cacheWays)%uint32(len(w.members))]
	w.remember(e, name, ends, t)
	return e
}

func (w *Worker) remember(e *cachedMember, name []byte, ends nameEnds, t *treeRule) {
	e.tree, e.ends, e.length, e.below = t, ends, uint32(len(name)), plainTrees[t.naming]
	e.name = append(e.name[:0], name...)
	e.key = e.key[:0]
	if i := t.names.find(name); i >= 0 {
		m := &t.members[i]
		if m.omit {
			return
		}
		e.key = append(e.key, m.key...)
		if m.rule != nil {
			e.below = m.rule
		}
	}
	if len(e.key) == 0 {
		e.key = w.appendName(e.key, name, t.naming)
	}
	e.hash = hashName(e.key[1:])
}

// appendTree appends value n as t says.
func (w *Worker) appendTree(dst []byte, n int, t *treeRule) []byte {
	node := &w.x.Nodes[n]
	switch node.Kind {
	case jsonscan.Object:
		if int(node.Next) == n+1 {
			return append(dst, '{', '}')
		}
		dst = append(dst, '{')
		guard := nameGuard{w: w}
		guard.open()
		dst = w.appendTreeMembers(dst, len(dst), n, t, &guard)
		guard.close()
		return append(dst, '}')
	case jsonscan.Array:
		if t.shape != asItIs {
			if out, ok := w.appendArrayAsObject(dst, n, t); ok {
				return out
			}
		}
		dst = append(dst, '[')
		opening := len(dst)
		end := int(node.Next)
		for c := n + 1; c < end; c = int(w.x.Nodes[c].Next) {
			if len(dst) > opening {
				dst = append(dst, ',')
			}
			dst = w.appendTree(dst, c, t)
		}
		return append(dst, ']')
	}
	return w.appendJSON(dst, n)
}

// appendArrayAsObject appends array n as an object: its elements by their
// index, or pairs of key and value by their keys. It returns false, and nothing
// is appended, if the elements are not such pairs.
func (w *Worker) appendArrayAsObject(dst []byte, n int, t *treeRule) ([]byte, bool) {
	start := len(dst)
	dst = append(dst, '{')
	opening := len(dst)
	guard := nameGuard{w: w}
	guard.open()
	defer guard.close()
	end := int(w.x.Nodes[n].Next)
	i := 0
	for c := n + 1; c < end; c = int(w.x.Nodes[c].Next) {
		mark := len(dst)
		if mark > opening {
			dst = append(dst, ',')
		}
		value, below := c, t
		name := len(dst)
		if t.shape == byIndex {
			dst = append(dst, '"')
			dst = appendInt(dst, i)
			dst = append(dst, '"', ':')
		} else {
			key := w.find(c, "key")
			value, below = w.find(c, "value"), plainTrees[t.naming]
			if key < 0 || w.x.Nodes[key].Kind != jsonscan.String || len(w.x.Text(key)) == 0 {
				return dst[:start], false
			}
			if value < 0 {
				dst = dst[:mark]
				continue
			}
			text, _ := w.textOf(0, key)
			dst = append(appendQuoted(dst, text), ':')
		}
		if guard.admit(dst, name, hashName(dst[name:])) {
			dst = w.appendTree(dst, value, below)
		} else {
			return dst[:start], false // two pairs with one key: only the list holds both
		}
		i++
	}
	return append(dst, '}'), true
}

// appendName appends a member's name as a rule forms it, with all that stands
// around it.
func (w *Worker) appendName(dst, name []byte, rule naming) []byte {
	if len(name) == 0 {
		return append(dst, `,"_":`...) // Elasticsearch takes no empty names
	}
	mark := len(w.text)
	w.text = jsonscan.AppendEscaped(w.text, name)
	name = w.text[mark:]
	dst = append(dst, ',', '"')
	switch rule {
	case snakeCase:
		dst = appendSnakeCase(dst, name)
	case snakeWords:
		dst = appendSnakeWords(dst, name)
	case lowerCase:
		dst = appendLower(dst, name)
	case dotsToUnderscores:
		start := len(dst)
		dst = append(dst, name...)
		for i := start; i < len(dst); i++ {
			if dst[i] == '.' {
				dst[i] = '_'
			}
		}
	default:
		dst = append(dst, name...)
	}
	w.text = w.text[:mark]
	return append(dst, '"', ':')
}

// appendSnakeCase appends createdDateTime as created_date_time: an underscore
// goes between a small and a capital letter, and all letters become small. A
// run of capitals is one word, as in isCAEToken, is_caetoken.
func appendSnakeCase(dst, name []byte) []byte {
	small := false
	for _, c := range name {
		if c-'A' <= 'Z'-'A' {
			if small {
				dst = append(dst, '_')
			}
			c |= 0x20
			small = false
		} else {
			small = c-'a' <= 'z'-'a'
		}
		dst = append(dst, c)
	}
	return dst
}

// appendSnakeWords appends OSFamily as os_family and $id as id: unlike in
// appendSnakeCase, a run of capitals before a word is a word of its own, and
// what is neither letter nor digit divides words too.
func appendSnakeWords(dst, name []byte) []byte {
	start := len(dst)
	for i, c := range name {
		switch {
		case c-'A' <= 'Z'-'A':
			afterSmall := i > 0 && (name[i-1]-'a' <= 'z'-'a' || name[i-1]-'0' <= 9)
			beforeSmall := i > 0 && i+1 < len(name) && name[i-1]-'A' <= 'Z'-'A' && name[i+1]-'a' <= 'z'-'a'
			if (afterSmall || beforeSmall) && len(dst) > start && dst[len(dst)-1] != '_' {
				dst = append(dst, '_')
			}
			c |= 0x20
		case c == '.' || c == '$' || c == '@' || c == ' ' || c == '-' || c == '_':
			if len(dst) == start || dst[len(dst)-1] == '_' {
				continue
			}
			c = '_'
		}
		dst = append(dst, c)
	}
	if len(dst) == start {
		dst = append(dst, '_')
	}
	return dst
}

func appendInt(dst []byte, i int) []byte {
	if i >= 10 {
		dst = appendInt(dst, i/10)
	}
	return append(dst, byte('0'+i%10))
}

// nameGuard keeps two members of one object from having the same name: an
// object may repeat one, two names may become one by renaming, and
// destinations refuse a document with such an object. The first stays; the
// original has both.
type nameGuard struct {
	w    *Worker
	base int // the names are at w.marks[base:]
	// bits holds the hashes of the names so far: most names are not in it, and
	// need no look at the others.
	bits [16]uint64
	many manyNames
}

func (g *nameGuard) open() { g.base = len(g.w.marks) }

func (g *nameGuard) close() { g.w.marks = g.w.marks[:g.base] }

// admit takes the name at the end of out, with its hash, or says that it is taken.
func (g *nameGuard) admit(out []byte, start int, h uint32) bool {
	if g.taken(out, start, h) {
		return false
	}
	g.reserve(start, len(out), h)
	return true
}

// taken says whether there is a member of the name at the end of out.
func (g *nameGuard) taken(out []byte, start int, h uint32) bool {
	marks := g.w.marks[g.base:]
	return (g.bits[h>>6&15]&(1<<(h&63)) != 0 || len(marks) >= fewNames) && g.many.hold(out, marks, out[start:])
}

// reserve takes a name that is known to be new.
func (g *nameGuard) reserve(start, end int, h uint32) {
	g.bits[h>>6&15] |= 1 << (h & 63)
	g.w.marks = append(g.w.marks, span{start, end})
}
