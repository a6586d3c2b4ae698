package normalize

import (
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/normalize/ocsf"
)

// program is a compiled mapping table: where the values it needs lie in a
// record, and how the document is put together from them. It is immutable.
type program struct {
	paths *pathNode
	walks []walk
	slots int // how many values the paths and walks lead to
	root  *outNode
	// lacksDataStream: of ECS, no row gives a member data_stream.
	lacksDataStream bool
	// classes are what a record may become in OCSF, instead of root: the first
	// whose conditions hold.
	classes []classProgram
}

// classProgram makes an event of one class.
type classProgram struct {
	spec  *classSpec
	conds []cond
	root  *outNode
}

// walk leads from the value in a slot through lists to one value, which goes into
// another slot: rows that ask for a[0].b do not look for it one by one.
type walk struct {
	from, to int32
	path     []segment
}

// slotSet is a set of slots. Slots whose numbers differ by its size are one to it:
// it may only say "none of these" for sure.
type slotSet [4]uint64

func (s *slotSet) add(slot int32) { s[slot>>6&3] |= 1 << (slot & 63) }

func (s *slotSet) meets(o *slotSet) bool {
	return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0
}

func (s *slotSet) join(o *slotSet) {
	for i := range s {
		s[i] |= o[i]
	}
}

// gate says when a member need not be looked at: if it is shut unless one of
// these slots has a value.
type gate struct {
	needs slotSet
	shut  bool
}

// join makes g the gate of what either of two needs.
func (g *gate) join(o gate) {
	g.shut = g.shut && o.shut
	g.needs.join(&o.needs)
}

// pathNode is a node of the trie of source paths: the members looked for in one
// object.
type pathNode struct {
	names   nameTable // → index into members
	members []pathMember
}

type pathMember struct {
	slot int32     // where the member's value is noted, or -1
	sub  *pathNode // what is looked for inside it, or nil
}

// outNode is one member of the document. An object has children, trees or both;
// a value has rules: alternatives tried in order, or all of them for a list.
type outNode struct {
	key     []byte // `,"name":`
	rules   []*rule
	list    bool
	tells   tells       // what it says of the event
	members []outMember // what is read of children for every record
	trees   []*rule
	copied  *source // the only source, if there is but one and it needs no walk

	// Of an OCSF event:
	holds     holds         // by attribute
	observed  bool          // the member lists the observables
	observe   []byte        // what an observable of the value begins with
	fallback  []byte        // the value if there is no other
	each      []*eachRule   // objects made of values of the record, for a list or instead of children
	elements  []*outNode    // of a list of objects: its first, each from rows of its own
	checks    *objectChecks // of an object
	enum      *enumTexts    // of an attribute with an id
	rest      *treeRule     // the member holds what no other one does
	attribute *ocsf.Attribute
	merged    []*outNode // what this one stands for, for Explain
	spec      *rowSpec   // the row that gave fallback or rest, for Explain

	place    string // of the row that made it, for errors
	hash     uint32 // of key without the comma
	fixed    []byte // the member with its comma, if it is the same in every document
	children []*outNode
	gates    []gate // of children; layOut makes them part of members
}

// holds is what the value of an attribute is.
type holds uint8

const (
	aValue holds = iota
	values
	anObject
	objects
)

// objectChecks are what must be there of an object's members, by their bits.
type objectChecks struct{ required, anyOf, oneOf uint64 }

// eachRule makes objects of the values a source leads to.
type eachRule struct {
	spec   *rowSpec
	source source
	conds  []cond // of the value
	sub    program
}

// enumTexts are the members that stand for the values of an enum: the id, the
// caption and, for activities, the type of the event.
type enumTexts struct {
	members [][]byte
	names   nameTable // captions in lower case and ids → index into members
	// Other is a value that the enum does not have, between the caption it
	// gets from the record.
	other               int32
	otherHead, otherEnd []byte
}

// rule is one compiled row of a table.
type rule struct {
	spec     *rowSpec // the row, for Explain
	conds    []cond
	sources  []source // empty for a constant
	literals [][]byte // the constant: one JSON value, or the elements for a list
	format   []formatPart
	only     kindSet
	steps    []step
	cases    *caseTable
	finish   finisher // nil: pass the value on as it is
	argument string   // of finish
	tree     *treeRule

	part   int       // all it does is to take that part of a text
	simple bool      // it has steps, cases or finish, and no type
	typed  bool      // the value is made one of typ
	typ    ocsf.Type // of the attribute
	keeps  bool      // nothing of the value is lost
	split  string    // the text holds several elements
	enum   int32     // of a constant: index into members of the enum
}

type formatPart struct {
	text   string
	source source
	isText bool
}

// source is where a value comes from: a slot and what is to be walked from
// there, or something that does not stand in the record.
type source struct {
	special special
	slot    int32 // wholeRecord for "."
	path    []segment
}

const wholeRecord = -1

// isMember says that the value is what the slot holds, with nothing to walk.
func (s *source) isMember() bool { return s.special == notSpecial && s.slot >= 0 && s.path == nil }

type special uint8

const (
	notSpecial special = iota
	eventTime
	timeAsWritten
	eventID
	logTypeName
	originalBytes
	repairNames
	timeAssumed
	originSource
	originTenant
	originTenantID
)

var specials = map[string]special{
	"$time":         eventTime,
	"$time_text":    timeAsWritten,
	"$id":           eventID,
	"$log_type":     logTypeName,
	"$original":     originalBytes,
	"$repairs":      repairNames,
	"$time_assumed": timeAssumed,
	"$source":       originSource,
	"$tenant":       originTenant,
	"$tenant_id":    originTenantID,
}

// cond holds if the source has a value (one of values, unless any is set), or
// with negate if it has not.
type cond struct {
	source source
	any    bool
	values nameTable
	globs  []glob
	negate bool
}

// caseTable replaces a text, compared without case, by JSON values.
type caseTable struct {
	names    nameTable
	globs    []caseGlob
	literals [][][]byte
	other    int // index of the literals for any other text, or -1
}

type caseGlob struct {
	glob  glob
	index int32
}

// kindSet is a set of JSON kinds, one bit each.
type kindSet uint8

func (s kindSet) has(k jsonscan.Kind) bool { return s == 0 || s&(1<<k) != 0 }

var kindSets = map[string]kindSet{
	"text":   1 << jsonscan.String,
	"number": 1 << jsonscan.Number,
	"bool":   1<<jsonscan.True | 1<<jsonscan.False,
	"object": 1 << jsonscan.Object,
	"list":   1 << jsonscan.Array,
}

// treeRule says how the members of an object are named and formed when it is
// passed on as a whole. An array passes it on to its elements.
type treeRule struct {
	naming  naming
	shape   shape
	names   nameTable // → index into members: those that differ
	members []treeMember
	salt    uint32 // tells rules apart in the cache of members
}

type treeMember struct {
	omit bool
	key  []byte // `,"new_name":`, or nil to name it as the rule says
	rule *treeRule
}

type naming uint8

const (
	keepNames naming = iota
	snakeCase
	dotsToUnderscores
	snakeWords
	lowerCase
)

var namings = map[string]naming{"keep": keepNames, "snake_case": snakeCase, "dots_to_underscores": dotsToUnderscores, "snake_words": snakeWords, "lower_case": lowerCase}

type shape uint8

const (
	asItIs shape = iota
	byIndex
	byKey
)

var shapes = map[string]shape{"by_index": byIndex, "by_key": byKey}

// plainTrees are the rules for what no rule names.
var plainTrees = [...]*treeRule{
	keepNames:         {naming: keepNames},
	snakeCase:         {naming: snakeCase, salt: 1},
	dotsToUnderscores: {naming: dotsToUnderscores, salt: 2},
	snakeWords:        {naming: snakeWords, salt: 3},
	lowerCase:         {naming: lowerCase, salt: 4},
}
