package decode

import (
	"bytes"
	"strconv"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// Record is one record of a payload.
type Record struct {
	// Raw is the record's bytes as received: a part of the payload, or, if that
	// was compressed or a JSON string, of memory that is not used again. It stays
	// valid, and must not be changed. Where Tuples is not 0 it was put together,
	// and is valid until the next record.
	Raw []byte
	// Index holds the record's values until the next record. Its Src is Raw or,
	// where Repairs says so, the repaired bytes: read it by Index.Value and the
	// like, never by offsets into Raw.
	Index *jsonscan.Index
	// Node is the node of Index that is this record, an object.
	Node int
	// Offset is where Raw starts in the payload (decompressed, if it was
	// compressed), in bytes. For a record out of a JSON string it is where the
	// string starts.
	Offset int
	// Number counts the records of the payload, from 0. What is Bad has none.
	Number int
	// Repairs says what had to be mended before the record could be read.
	Repairs Repair
	// Tuples is how many records were made of the record at Offset, one for each
	// tuple of a flow log, or 0 if the record is as received.
	Tuples int
}

// Bad is a part of a payload that is not a record.
type Bad struct {
	Raw    []byte // as Record.Raw; all of the payload as received where decompressing failed
	Offset int    // as Record.Offset
	Reason string // what is wrong with it, for the operator
	Class  string // one of the Class constants, for a metric's label
}

// The classes of Bad.
const (
	ClassNotJSON   = "not_json"   // not JSON, and no known repair makes it so
	ClassNotObject = "not_object" // JSON, but a number, string or the like
	ClassCut       = "cut"        // ends in the middle, with no complete member before that
	ClassTooDeep   = "too_deep"   // nested deeper than jsonscan.MaxDepth
	ClassTooLarge  = "too_large"  // larger than Options allow
	ClassGzip      = "gzip"       // could not be decompressed to its end
)

// Options are limits against payloads that would take too much memory. Where one
// is 0, the default stands.
type Options struct {
	// MaxRecord is how many bytes a record may have; default 16 MiB. Indexing
	// one takes up to twelve times its size.
	MaxRecord int
	// MaxDecompressed is how many bytes a gzipped payload may have when
	// decompressed; default 256 MiB.
	MaxDecompressed int
}

const (
	defaultMaxRecord       = 16 << 20
	defaultMaxDecompressed = 256 << 20
	// keepNodes bounds what an idle Decoder holds on to: 1.5 MiB of nodes.
	keepNodes = 64 << 10
)

// Decoder cuts payloads into records. It is reused for its memory, and not safe
// for concurrent use. The zero value is ready and has the default limits.
type Decoder struct {
	options  Options
	index    jsonscan.Index
	mend     mender
	unzip    unzipper
	inner    *Decoder // reads what a JSON string holds; made when first needed
	isInner  bool
	current  Record
	narrowed narrower

	// What follows is about the payload at hand.
	record   func(*Record)
	bad      func(Bad)
	text     []byte
	pos      int
	number   int
	reported int   // records and bads so far
	stray    bool  // a bracket closed what was not open
	arrays   []int // how many arrays are open: at the top level, and in each open wrapper
	wasted   int   // bytes read without getting on; see window
	lineEnd  int   // endOfLine's last answer
}

// New returns a Decoder with those limits.
func New(options Options) *Decoder { return &Decoder{options: options} }

// Decode calls record for every record of payload, and bad for everything in it
// that is neither a record nor framing, in the payload's order. The *Record is
// valid until record returns, its Raw as long as payload is. The same payload
// always leads to the same calls.
func (d *Decoder) Decode(payload []byte, record func(*Record), bad func(Bad)) {
	d.record, d.bad = record, bad
	d.number, d.reported, d.wasted, d.lineEnd = 0, 0, 0, 0
	d.stray = false
	d.arrays = append(d.arrays[:0], 0)
	d.text, d.pos = payload, 0
	var damage *Bad
	if isGzip(payload) {
		d.text, damage = d.unzip.all(payload, d.limit(d.options.MaxDecompressed, defaultMaxDecompressed))
	}
	d.split()
	if damage != nil {
		bad(*damage)
	}
	d.record, d.bad, d.text = nil, nil, nil
	d.index.Src, d.current = nil, Record{}
	if cap(d.index.Nodes) > keepNodes {
		d.index.Nodes = nil
	}
	if cap(d.mend.out) > keepNodes {
		d.mend.out = nil
	}
	if n := &d.narrowed; max(cap(n.out), cap(n.tail), cap(n.index.Nodes)) > keepNodes {
		*n = narrower{}
	}
}

func (d *Decoder) limit(configured, otherwise int) int {
	if configured > 0 {
		return configured
	}
	return otherwise
}

// split reads framing until a record, string or stray byte stands at d.pos, and
// hands that on. Brackets and commas are framing whether or not they balance:
// so damage cannot put it out of step, and a piece of an array reads like an array.
func (d *Decoder) split() {
	for d.pos < len(d.text) {
		switch c := d.text[d.pos]; {
		case isSpace(c) || c == ',':
			d.pos++
		case c == '{':
			d.object()
		case c == '[':
			d.openArray()
		case c == ']':
			d.closeArray()
		case c == '}':
			d.stray = true
			d.pos++
		case c == '"':
			d.stringValue()
		case c == bom[0] && bytes.HasPrefix(d.text[d.pos:], []byte(bom)):
			d.pos += len(bom)
		default:
			d.garbage(d.pos)
		}
	}
	if d.reported == 0 && (d.stray || len(d.arrays) > 1 || d.arrays[0] > 0) {
		d.pos = 0
		d.reject(len(d.text), ClassCut, "there are brackets that do not match and no record: the payload was cut, or is not JSON")
	}
}

// bom may stand where files were put together.
const bom = "\xef\xbb\xbf"

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// object reads the wrapper or record at d.pos.
func (d *Decoder) object() {
	if array := recordsFirst(d.text, d.pos+1); array >= 0 {
		d.openWrapper(array)
		return
	}
	n, err := d.index.Scan(d.window(d.pos))
	if err != nil {
		d.damaged(err.(*jsonscan.SyntaxError)) //nolint:errorlint // Scan returns nothing else, and this is the hot path
		return
	}
	if d.atTop() {
		if array := d.recordsMember(); array >= 0 {
			d.openWrapper(d.pos + array)
			return
		}
	}
	d.emit(d.pos+n, 0)
}

// atTop says that no array is open.
func (d *Decoder) atTop() bool { return len(d.arrays) == 1 && d.arrays[0] == 0 }

// emit hands on the record that starts at d.pos and is in d.index.
func (d *Decoder) emit(end int, repairs Repair) {
	d.current = Record{
		Raw:     d.text[d.pos:end:end],
		Index:   &d.index,
		Offset:  d.pos,
		Number:  d.number,
		Repairs: repairs | invalidUTF8(&d.index),
	}
	d.reported++
	d.pos = end
	if s := d.flowShapeOf(); s != nil && d.narrow(s, d.current) {
		return
	}
	d.number++
	d.record(&d.current)
}

// invalidUTF8 returns the repair of that name if there is something to repair.
func invalidUTF8(x *jsonscan.Index) Repair {
	if x.Flags&(jsonscan.NotUTF8|jsonscan.KeyNotUTF8) != 0 {
		return InvalidUTF8
	}
	return 0
}

// reject hands on the bytes from d.pos to end as bad.
func (d *Decoder) reject(end int, class, reason string) {
	start := d.pos
	d.pos = end
	d.reported++
	d.bad(Bad{Raw: d.text[start:end:end], Offset: start, Class: class, Reason: reason})
}

// recordsFirst returns the offset of the array if the object whose content
// starts at i has "records" as its first member and that is an array, else -1.
func recordsFirst(text []byte, i int) int {
	const name = `"records"`
	if i = skipSpace(text, i); len(text)-i < len(name) || string(text[i:i+len(name)]) != name {
		return -1
	}
	if i = skipSpace(text, i+len(name)); i >= len(text) || text[i] != ':' {
		return -1
	}
	if i = skipSpace(text, i+1); i >= len(text) || text[i] != '[' {
		return -1
	}
	return i
}

// recordsMember returns the offset in the indexed object of the array that
// makes it a wrapper, or -1 if it is a record. An array named "records" may
// belong to a record too: one that is empty or holds anything but objects does,
// and so does one beside what every diagnostic-settings record has.
func (d *Decoder) recordsMember() int {
	array := -1
	for c := range d.index.Children(0) {
		switch string(d.index.Key(c)) {
		case "time", "category", "operationName":
			return -1
		case "records":
			if array < 0 && d.holdsObjects(c) {
				array = c
			}
		}
	}
	if array < 0 {
		return -1
	}
	return int(d.index.Nodes[array].Start)
}

// holdsObjects tells whether node n is an array of one or more objects.
func (d *Decoder) holdsObjects(n int) bool {
	if d.index.Nodes[n].Kind != jsonscan.Array || int(d.index.Nodes[n].Next) == n+1 {
		return false
	}
	for c := range d.index.Children(n) {
		if d.index.Nodes[c].Kind != jsonscan.Object {
			return false
		}
	}
	return true
}

func (d *Decoder) openWrapper(array int) {
	d.arrays = append(d.arrays, 1)
	d.pos = array + 1
}

// openArray reads the bracket at d.pos. It opens an array if a record, an array
// or its end follows, or if it is JSON as a whole: then its scalars are bad one
// by one. Text in brackets, such as the "[218 B blob data]" that journald puts
// in place of what it would not print, is bad as a whole.
func (d *Decoder) openArray() {
	next := skipSpace(d.text, d.pos+1)
	if next < len(d.text) && d.text[next] != '{' && d.text[next] != '[' && d.text[next] != ']' && !d.isJSON() {
		d.garbage(d.pos)
		return
	}
	d.arrays[len(d.arrays)-1]++
	d.pos++
}

// isJSON says whether the value at d.pos scans.
func (d *Decoder) isJSON() bool {
	if d.exhausted() {
		return false
	}
	n, err := d.index.Scan(d.window(d.pos))
	if err != nil {
		d.wasted += n
	}
	return err == nil
}

// closeArray reads the bracket at d.pos, and if it closes a wrapper's records,
// the rest of the wrapper.
func (d *Decoder) closeArray() {
	d.pos++
	top := len(d.arrays) - 1
	if d.arrays[top] == 0 {
		d.stray = true
		return
	}
	if d.arrays[top]--; d.arrays[top] > 0 || top == 0 {
		return
	}
	d.arrays = d.arrays[:top]
	i := skipSpace(d.text, d.pos)
	if i < len(d.text) && d.text[i] == ',' && !d.exhausted() {
		array, end := d.members(skipSpace(d.text, i+1))
		if array >= 0 { // "records" for a second time
			d.openWrapper(array)
			return
		}
		if end < 0 { // not members: split finds out what it is
			return
		}
		i = end
	}
	if i < len(d.text) && d.text[i] == '}' {
		d.pos = i + 1
	}
}

// members reads the members of a wrapper from the name at i on. It returns the
// offset of an array named "records", or else the offset of the closing brace
// (or of the end of the text), or -1 twice if there is something else.
func (d *Decoder) members(i int) (array, end int) {
	for {
		if i < len(d.text) && d.text[i] != '"' {
			return -1, -1
		}
		n, err := d.index.Scan(d.window(i))
		if err != nil {
			d.wasted += n
			return -1, -1
		}
		name := d.index.Text(0)
		if i = skipSpace(d.text, i+n); i >= len(d.text) || d.text[i] != ':' {
			return -1, -1
		}
		i = skipSpace(d.text, i+1)
		if i < len(d.text) && d.text[i] == '[' && string(name) == "records" {
			return i, -1
		}
		if n, err = d.index.Scan(d.window(i)); err != nil {
			d.wasted += n
			return -1, -1
		}
		if i = skipSpace(d.text, i+n); i >= len(d.text) || d.text[i] == '}' {
			return -1, i
		}
		if d.text[i] != ',' {
			return -1, -1
		}
		i = skipSpace(d.text, i+1)
	}
}

// stringValue reads the string at d.pos: it may hold what a payload may hold.
func (d *Decoder) stringValue() {
	n, err := d.index.Scan(d.window(d.pos))
	if err != nil {
		d.wasted += n
		d.garbage(d.pos)
		return
	}
	if d.isInner || !d.holdsJSON() {
		d.garbage(d.pos + n)
		return
	}
	text := d.index.AppendText(make([]byte, 0, n), 0)
	if d.inner == nil {
		d.inner = New(d.options)
		d.inner.isInner = true
	}
	if _, err := d.inner.index.Scan(text); err != nil {
		d.garbage(d.pos + n)
		return
	}
	offset := d.pos
	d.pos += n
	d.inner.Decode(text, func(r *Record) {
		r.Offset, r.Number = offset, d.number
		r.Repairs |= StringEncoded
		d.number++
		d.reported++
		d.record(r)
	}, func(b Bad) {
		b.Offset = offset
		d.reported++
		d.bad(b)
	})
}

// holdsJSON says whether the indexed string starts like an object or an array.
func (d *Decoder) holdsJSON() bool {
	text := d.index.Text(0)
	for len(text) > 0 && isSpace(text[0]) {
		text = text[1:]
	}
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

// describe makes a scan error into an operator's reason.
func describe(err *jsonscan.SyntaxError) string {
	return err.Reason() + ", at byte " + strconv.Itoa(err.Offset) + " of this piece"
}
