package normalize

import (
	"time"

	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// Input is one record and where it came from.
type Input struct {
	Index *jsonscan.Index
	Node  int // the record in Index; an object, as a rule
	// Raw is the record as received, for event.original; nil takes the bytes
	// of the node.
	Raw     []byte
	Repairs []string // names of what had to be repaired in Raw to read it
	// Origin, Position (or Key, where it is not zero) and Number make the ID of a
	// record that has none of its own. Origin may be nil.
	Origin   *event.Origin
	Position int64    // of the payload in its partition
	Key      [16]byte // of the payload in its partition
	Number   int      // of the record in its payload
	// Enqueued is when Azure took the record in; it stands in for the time of a
	// record that has none. May be zero.
	Enqueued time.Time
}

// Result is what is known of the event beside its bytes.
type Result struct {
	ID      event.ID
	Time    time.Time // by the record's own account, else Input.Enqueued
	LogType string
	Schema  string
	Dataset string // event.dataset of ECS; of what is only recognized, nothing
	// LacksDataStream is as that of an event.
	LacksDataStream bool
	// Severity is what the event says of it; of what is only recognized, nothing.
	Severity event.Severity
}

// Worker is the scratch memory of one goroutine. It is not safe for concurrent
// use.
type Worker struct {
	members memberCache // first, where it begins a line of the processor's cache
	m       *Mapper

	in          Input
	x           *jsonscan.Index // in.Index, or expanded
	node        int
	outline     *outline // of the record in x, if one is known
	at          []int32  // the nodes of its places
	slots       []int32  // node of each source path, or -1
	present     slotSet  // those with a node
	raw         []byte
	id          event.ID
	time        time.Time
	timeText    []byte // the time as the record writes it, if that is RFC 3339 in UTC
	logType     *logType
	form        *form  // nil: that of diagnostic settings
	timeAssumed bool   // the record has no readable time, it is Input.Enqueued
	timeWritten []byte // the time in any form the record writes it
	timeNode    int32  // where it stands, or -1
	idNode      int32  // where the record's own id stands, or -1
	ownID       bool   // the id is the record's own

	// Of an OCSF event:
	used     []int32    // nodes whose values stand in it
	partial  bool       // of the last value only a part stands in it
	observed []observed // values that are observables
	usedBits []uint64   // used as a set
	slotRoom []int32    // the slots of records and of the objects in them
	items    []int32    // values of which each makes an object
	open     [maxLevels]openObject

	outlines outlines
	severity event.Severity
	dataset  string
	texts    map[string]string // of severities and datasets, so that events share them

	record  uint32 // counts them, for derived
	derived derivedTexts

	text      []byte // unescaped and transformed texts of this record
	lower     []byte // a text in lower case, for a lookup
	names     []byte // an unescaped member name
	nodes     []int32
	marks     []span // elements of the list, or members of the tree, being written
	times     []rankedNode
	expanded  jsonscan.Index // the record with the JSON in its strings put in their place
	spliced   []byte         // its text
	spare     []byte
	mender    decode.Mender
	inner     jsonscan.Index // JSON in a string
	shaped    jsonscan.Index // the record in the form of diagnostic settings
	shapeText []byte
	feedCache
	resource resourceID
	located  located
	parts    partList
	url      urlText
	agent    userAgent
	agents   map[string]userAgent // by their text; see parseUserAgent
}

type span struct{ start, end int }

// Worker returns new scratch memory for one goroutine.
func (m *Mapper) Worker() *Worker { return &Worker{m: m} }

// Append appends the event of one record to dst: one JSON object in UTF-8
// without a line feed. It never fails. The result's ID and Time do not depend
// on the schema. Nothing of the input is kept after it returns, and dst must
// not overlap the input.
func (w *Worker) Append(dst []byte, in Input) (out []byte, r Result) {
	r = w.begin(in)
	if w.m.schema == Raw {
		dst = w.appendRaw(dst)
	} else {
		p := w.m.programs[w.logType.number]
		dst = w.appendDocument(dst, p)
		r.Severity, r.Dataset, r.LacksDataStream = w.severity, w.dataset, p.lacksDataStream
	}
	w.in, w.x, w.raw = Input{}, nil, nil
	return dst, r
}

// Recognize says what a record is, without making an event of it. The value
// node of x is the record with the JSON in its strings put in their place; it is
// valid until the worker's next call.
func (w *Worker) Recognize(in Input) (r Result, x *jsonscan.Index, node int) {
	r = w.begin(in)
	return r, w.x, w.node
}

func (w *Worker) begin(in Input) Result {
	w.in, w.x, w.node = in, in.Index, in.Node
	w.text = w.text[:0]
	w.record++
	w.located.source, w.resource.source, w.agent.source, w.parts.source, w.url.source = nil, nil, nil, nil, nil
	if w.raw = in.Raw; w.raw == nil {
		w.raw = in.Index.Value(in.Node)
	}
	w.detect()
	return Result{ID: w.id, Time: w.time, LogType: w.logType.name, Schema: string(w.m.schema)}
}

// appendRaw appends the record as it is, on one line; what is not an object is
// put into one, because every event is.
func (w *Worker) appendRaw(dst []byte) []byte {
	x, n := w.in.Index, w.in.Node
	if x.Nodes[n].Kind == jsonscan.Object {
		return x.AppendCompact(dst, n)
	}
	dst = append(dst, `{"record":`...)
	return append(x.AppendCompact(dst, n), '}')
}

func (w *Worker) appendDocument(dst []byte, p *program) []byte {
	w.used, w.observed, w.slotRoom = w.used[:0], w.observed[:0], w.slotRoom[:0]
	w.openSlots(p.slots)
	w.present, w.severity, w.dataset = alwaysPresent, event.Severity{}, ""
	var r *reading
	if w.outline != nil {
		r = w.outline.read(w, p)
		w.fillBy(r)
	} else {
		w.load(p)
	}
	root := p.root
	if p.classes != nil {
		root = w.class(p)
	}
	dst = append(dst, '{')
	w.marks = w.marks[:0]
	if r != nil {
		if s := r.script(w, root); !s.none {
			return append(w.perform(dst, s), '}')
		}
	}
	dst = w.appendMembers(dst, root)
	return append(dst, '}')
}

// noSlots are slots with nothing in them.
var noSlots = func() (none [64]int32) {
	for i := range none {
		none[i] = -1
	}
	return none
}()

// openSlots makes room for n slots with nothing in them.
func (w *Worker) openSlots(n int) {
	start := len(w.slotRoom)
	for left := n; left > 0; left -= len(noSlots) {
		w.slotRoom = append(w.slotRoom, noSlots[:min(left, len(noSlots))]...)
	}
	w.slots = w.slotRoom[start:len(w.slotRoom):len(w.slotRoom)]
}

// load fills the slots of p from the record, or object in it, at w.node.
func (w *Worker) load(p *program) {
	if w.x.Nodes[w.node].Kind != jsonscan.Object {
		return
	}
	w.fill(w.node, p.paths)
	for i := range p.walks {
		w.walkTo(&p.walks[i])
	}
}

// walkTo fills the slot that a walk leads to.
func (w *Worker) walkTo(k *walk) {
	from := w.slots[k.from]
	if from < 0 {
		return
	}
	w.nodes = w.nodes[:0]
	if w.walk(int(from), k.path); len(w.nodes) > 0 {
		w.slots[k.to] = w.nodes[0]
		w.present.add(k.to)
	}
}

// fill notes the nodes that source paths lead to. Null is nothing, and of
// members with one name the first counts.
func (w *Worker) fill(object int, p *pathNode) {
	nodes, src := w.x.Nodes, w.x.Src
	end := int(nodes[object].Next)
	for c := object + 1; c < end; c = int(nodes[c].Next) {
		node := &nodes[c]
		name := src[node.KeyStart:node.KeyEnd]
		if node.Flags&escapedKey != 0 {
			name = w.unescapedKey(c)
		}
		i := p.names.find(name)
		if i < 0 || node.Kind == jsonscan.Null {
			continue
		}
		m := &p.members[i]
		if m.slot >= 0 && w.slots[m.slot] < 0 {
			w.slots[m.slot] = int32(c)
			w.present.add(m.slot)
		}
		if m.sub != nil && node.Kind == jsonscan.Object {
			w.fill(c, m.sub)
		}
	}
}

// escapedKey are the flags of a member whose name does not stand in the record
// as it is.
const escapedKey = jsonscan.KeyEscaped | jsonscan.KeyNotUTF8

// key returns the name of a member, unescaped, until the next call.
func (w *Worker) key(n int) []byte {
	node := &w.x.Nodes[n]
	if node.Flags&escapedKey != 0 {
		return w.unescapedKey(n)
	}
	return w.x.Src[node.KeyStart:node.KeyEnd]
}

func (w *Worker) unescapedKey(n int) []byte {
	w.names = jsonscan.AppendUnescaped(w.names[:0], w.x.Key(n))
	return w.names
}

// find returns the first member of object n with that name that is not null, or -1.
func (w *Worker) find(n int, name string) int {
	nodes, src := w.x.Nodes, w.x.Src
	if nodes[n].Kind != jsonscan.Object {
		return -1
	}
	end := int(nodes[n].Next)
	for c := n + 1; c < end; {
		node := &nodes[c]
		if node.Flags&escapedKey != 0 {
			if string(w.unescapedKey(c)) == name && node.Kind != jsonscan.Null {
				return c
			}
		} else if int(node.KeyEnd-node.KeyStart) == len(name) && string(src[node.KeyStart:node.KeyEnd]) == name && node.Kind != jsonscan.Null {
			return c
		}
		c = int(node.Next)
	}
	return -1
}
