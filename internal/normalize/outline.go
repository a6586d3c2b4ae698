package normalize

import (
	"encoding/binary"
	"math/bits"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// outline.go remembers what records look like. Records of one kind have the same
// members in the same order, a few kinds make up a stream, and what can be told
// from names alone is the same for all records of one outline: where each path
// leads, which rows can give something, and in which order all of it is written.
// So it is found out once for an outline (see script.go), and a record is only
// held against the outline: one look at each name. docs/adr/0021 tells why.

// outline is the names of a record's members and how they are nested. Of a list it
// holds the first element: paths seldom lead to others. Values are not part of it.
type outline struct {
	places   []place // in the order of the record; the first is the record itself
	closed   []int16 // objects and lists in the order in which they end
	paths    []int16 // by their number, where the detector's paths lead; notFollowed until asked for
	looks    []look  // the top-level members that detection reads
	leaves   []int16 // the top-level members that hold nothing below them
	readings []reading
}

// place is where a value of a record stands.
type place struct {
	name   string
	length uint32 // of name
	kind   placeKind
	closes int16 // how many objects and lists end before this place
	end    int16 // the place after all that is in it
	// words are the first and the last 16 bytes of name. If it has fewer than eight,
	// mask says which of the first word are of it.
	words [4]uint64
	mask  uint64
}

type placeKind uint8

const (
	leaf        placeKind = iota // with nothing below it: a text, a number, null, an empty object or list
	objectPlace                  // with members
	listPlace                    // with elements
)

const (
	noPlace     = -1
	notFollowed = -2
	unknown     = -3 // the outline does not say where it leads
)

// look is a member that detection reads, and its role.
type look struct {
	place int16
	role  int32
}

const (
	// maxPlaces bounds an outline. What is larger is rare, and few of it are alike.
	maxPlaces = 1024
	// maxRemembered bounds the places of all outlines of a worker: about 6 MB with
	// their scripts. When they are full, all are forgotten.
	maxRemembered = 16 << 10
	// An outline and its scripts take as long to make as some five records do. It is
	// paid for by outlineCost records, and maxOwed bounds the debt: so records that seldom
	// repeat an outline cost at most a tenth more.
	outlineCost = 50
	maxOwed     = 256 * outlineCost
)

// outlines are those that a worker knows.
type outlines struct {
	known  map[uint64]*outline // by hash; nil if such records get none
	likely [256]*outline       // by sketch
	seen   [1024]uint64        // hashes of records without an outline; the second of one kind gets it
	owed   int                 // in records; see outlineCost
	places int                 // of all known
	off    bool                // for tests
}

// outlineOf returns the outline of the record at w.node, and notes in w.at where
// its places are. It returns nil if none is known.
func (w *Worker) outlineOf() *outline {
	k := &w.outlines
	if k.off || kindOfPlace(w.x.Nodes, w.node) != objectPlace {
		return nil
	}
	if k.owed > 0 {
		k.owed--
	}
	likely := &k.likely[sketch(w.x.Nodes, w.node)%uint64(len(k.likely))]
	if *likely != nil && w.match(*likely) {
		return *likely
	}
	left := maxPlaces
	h := hashOutline(w.x, w.node, 1, &left)
	if left < 0 {
		return nil
	}
	o, seen := k.known[h]
	if !seen {
		o = w.learn(h)
	}
	if o == nil || !w.match(o) { // the second: two outlines have one hash
		return nil
	}
	*likely = o
	return o
}

// sketch is a number that mostly tells outlines apart, and is had from a look at the
// record's own members.
func sketch(nodes []jsonscan.Node, n int) uint64 {
	h := uint64(0)
	end := nodes[n].Next
	for c := uint32(n) + 1; c < end; {
		node := &nodes[c]
		h = (h ^ uint64(node.Next-c)<<32 ^ uint64(node.KeyEnd-node.KeyStart)) * spread
		c = node.Next
	}
	return h >> 40
}

func kindOfPlace(nodes []jsonscan.Node, n int) placeKind {
	node := &nodes[n]
	switch {
	case int(node.Next) == n+1:
		return leaf
	case node.Kind == jsonscan.Object:
		return objectPlace
	}
	return listPlace
}

// hashOutline adds what the outline has of node n to h. It takes the number of
// places from left, which becomes negative if there are too many.
func hashOutline(x *jsonscan.Index, n int, h uint64, left *int) uint64 {
	nodes := x.Nodes
	end := int(nodes[n].Next)
	for c := n + 1; c < end; {
		node := &nodes[c]
		if *left--; *left < 0 {
			return h
		}
		head, mask := nameHead(x.Src, node)
		next := int(node.Next)
		below := uint64(min(next-c, 2)) << 32
		hi, lo := bits.Mul64(h^(head&mask), spread^uint64(node.KeyEnd-node.KeyStart)^below)
		h = hi ^ lo
		if next > c+1 {
			h = hashOutline(x, c, h+uint64(node.Kind), left)
		}
		if nodes[n].Kind == jsonscan.Array {
			break
		}
		c = next
	}
	return bits.RotateLeft64(h, 7)
}

// nameHead returns the eight bytes of the document at the name's start, and which of
// them are of the name. At the document's end they are nothing.
func nameHead(src []byte, node *jsonscan.Node) (head, mask uint64) {
	if int(node.KeyStart)+8 <= len(src) {
		head = binary.LittleEndian.Uint64(src[node.KeyStart:])
	}
	if length := node.KeyEnd - node.KeyStart; length < 8 {
		return head, 1<<(8*length) - 1
	}
	return head, ^uint64(0)
}

// match says whether the record has an outline, and notes where its places are.
func (w *Worker) match(o *outline) bool {
	nodes, src := w.x.Nodes, w.x.Src
	for len(w.at) < len(o.places) {
		w.at = append(w.at, 0)
	}
	places, closed := o.places, o.closed
	at := w.at[:len(places)]
	end := nodes[w.node].Next
	nodes = nodes[:end]
	at[0] = int32(w.node)
	i := uint32(w.node) + 1
	for p := 1; p < len(places); p++ {
		pl := &places[p]
		if pl.closes > 0 {
			if i = o.close(nodes, at, closed[:pl.closes], i); i == 0 {
				return false
			}
			closed = closed[pl.closes:]
		}
		if int(i) >= len(nodes) {
			return false
		}
		node := &nodes[i]
		if node.KeyEnd-node.KeyStart != pl.length {
			return false
		}
		if node.Next == i+1 {
			if pl.kind != leaf {
				return false
			}
		} else if pl.kind == leaf || (node.Kind == jsonscan.Object) != (pl.kind == objectPlace) {
			return false
		}
		start, length := int(node.KeyStart), int(pl.length)
		same := true
		switch {
		case length > 32 || start+8 > len(src):
			same = string(src[start:start+length]) == pl.name
		case length > 16:
			name := src[start : start+length]
			same = word(name) == pl.words[0] && word(name[8:]) == pl.words[1] && word(name[length-16:]) == pl.words[2] && word(name[length-8:]) == pl.words[3]
		case length > 8:
			same = word(src[start:]) == pl.words[0] && word(src[start+length-8:]) == pl.words[3]
		default:
			same = (word(src[start:])^pl.words[0])&pl.mask == 0
		}
		if !same {
			return false
		}
		at[p] = int32(i)
		i++
	}
	return o.close(nodes, at, closed, i) == end
}

// close returns the node after places that end before node i, or 0 if they do not. A
// list goes on after its first element.
func (o *outline) close(nodes []jsonscan.Node, at []int32, places []int16, i uint32) uint32 {
	for _, c := range places {
		next := nodes[at[c]].Next
		if o.places[c].kind == objectPlace && next != i {
			return 0
		}
		i = next
	}
	return i
}

// learn makes an outline of the record, if it is the second of its kind and not too
// much is owed.
func (w *Worker) learn(h uint64) *outline {
	k := &w.outlines
	if k.seen[h%uint64(len(k.seen))] != h || k.owed > maxOwed {
		k.seen[h%uint64(len(k.seen))] = h
		return nil
	}
	k.owed += outlineCost
	o := newOutline(w.x, w.node)
	places := 1 // what has no outline is remembered too
	if o != nil {
		places = len(o.places)
		o.prepare(w.m.detector)
	}
	if k.places += places; k.known == nil || k.places > maxRemembered {
		k.known, k.places = map[uint64]*outline{}, places
		clear(k.likely[:])
	}
	k.known[h] = o
	return o
}

// prepare finds what detection looks at.
func (o *outline) prepare(d *detector) {
	for range d.paths {
		o.paths = append(o.paths, notFollowed)
	}
	for c := 1; c < len(o.places); c = int(o.places[c].end) {
		if role := d.members.find([]byte(o.places[c].name)); role != -1 {
			o.looks = append(o.looks, look{int16(c), role})
		}
		if o.places[c].kind == leaf {
			o.leaves = append(o.leaves, int16(c))
		}
	}
}

// newOutline returns the outline of record n, or nil if it gets none: of two members
// with one name, which one counts depends on their values, and an empty name may
// become another's.
func newOutline(x *jsonscan.Index, n int) *outline {
	o := &outline{places: make([]place, 1, 64)}
	if !o.add(x, n, 0) {
		return nil
	}
	for _, c := range o.closed {
		if end := o.places[c].end; int(end) < len(o.places) {
			o.places[end].closes++
		}
	}
	o.closed = append(o.closed, 0)
	return o
}

// add adds what is in node n, which is at place p, or returns false.
func (o *outline) add(x *jsonscan.Index, n int, p int) bool {
	o.places[p].kind = kindOfPlace(x.Nodes, n)
	end := int(x.Nodes[n].Next)
	var names map[string]bool
	for c := n + 1; c < end; c = int(x.Nodes[c].Next) {
		node := &x.Nodes[c]
		if node.Flags&escapedKey != 0 {
			return false
		}
		child := len(o.places)
		o.places = append(o.places, place{name: string(x.Key(c)), length: node.KeyEnd - node.KeyStart})
		pl := &o.places[child]
		if o.places[p].kind == objectPlace {
			if names[pl.name] || pl.name == "" {
				return false
			}
			if names == nil {
				names = map[string]bool{}
			}
			names[pl.name] = true
			pl.setWords()
		}
		if !o.add(x, c, child) {
			return false
		}
		if o.places[child].kind != leaf {
			o.closed = append(o.closed, int16(child))
		}
		if o.places[p].kind == listPlace {
			break
		}
	}
	o.places[p].end = int16(len(o.places))
	return true
}

func (p *place) setWords() {
	var padded [16]byte
	n := copy(padded[:], p.name)
	p.words[0], p.words[1] = word(padded[:]), word(padded[8:])
	p.mask = ^uint64(0)
	if n < 8 {
		p.mask = 1<<(8*n) - 1
	}
	if end := []byte(p.name); len(end) > 8 {
		p.words[3] = word(end[len(end)-8:])
		if len(end) >= 16 {
			p.words[2] = word(end[len(end)-16:])
		}
	}
}

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// member returns the place of a member, or noPlace.
func (o *outline) member(p int, name string) int {
	if p < 0 || o.places[p].kind != objectPlace {
		return noPlace
	}
	for c := p + 1; c < int(o.places[p].end); c = int(o.places[c].end) {
		if o.places[c].name == name {
			return c
		}
	}
	return noPlace
}

// follow returns the node that a path leads to in a record with the outline, -1, or
// unknown.
func (o *outline) follow(w *Worker, path memberPath) int {
	p := o.paths[path.number]
	if p == notFollowed {
		to, known := o.walk(0, path.segments)
		if p = int16(to); !known {
			p = unknown
		}
		o.paths[path.number] = p
	}
	if p < 0 {
		return int(p)
	}
	n := int(w.at[p])
	if w.x.Nodes[n].Kind == jsonscan.Null {
		return -1
	}
	return n
}

// lookBy is Worker.look for a record with an outline.
func (w *Worker) lookBy(o *outline) overview {
	v := overview{category: -1, typ: -1}
	nodes, src := w.x.Nodes, w.x.Src
	times := w.times[:0]
	for _, l := range o.looks {
		n := int(w.at[l.place])
		if nodes[n].Kind == jsonscan.Null {
			continue
		}
		switch l.role {
		case roleCategory:
			if v.category < 0 {
				v.category, v.capital = n, src[nodes[n].KeyStart] == 'C'
			}
		case roleType:
			v.typ = n
		default:
			v.hasTime = v.hasTime || l.role == 0
			times = append(times, rankedNode{int(l.role), n})
		}
	}
	for _, p := range o.leaves {
		if node := &nodes[w.at[p]]; node.Kind == jsonscan.String && src[node.Start+1] == '{' {
			v.embedded = true
			break
		}
	}
	w.times = times
	return v
}
