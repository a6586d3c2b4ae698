package tenant

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

// How Azure writes times, by log type (all seen in real records).
const (
	timeEnvelope = "2006-01-02T15:04:05.0000000Z"      // "time" of nearly every category
	timeOffset   = "2006-01-02T15:04:05.9999999+00:00" // inside sign-ins: zeros at the end are cut
	timeSeconds  = "2006-01-02T15:04:05Z"              // audits of some services
	timeUS       = "1/2/2006 3:04:05 PM"               // AD FS sign-ins and risk events
	timeUSShort  = "01/02/2006 15:04:05"               // Functions
	timeMillis   = "2006-01-02T15:04:05.000Z"          // inside risk events
)

// template is a record with the values left out that differ each time it is
// produced: text holds what stands between them.
type template struct {
	category string
	text     []byte
	marks    []mark
	// after is when the record happens, counted from the start of its scene.
	after time.Duration
	// activity numbers the operations of a scene: the records of one operation
	// have the same correlation id.
	activity uint64
	// count is how many record numbers the template takes, if not one: a record of
	// a flow log has one for each of its tuples, and no id.
	count uint64
}

// numbers is how many record numbers the template takes.
func (t *template) numbers() uint64 { return max(t.count, 1) }

// mark is a place in a template where a value is put in.
type mark struct {
	at     int // offset in text before which the value stands
	kind   markKind
	layout string        // of a time
	shift  time.Duration // of a time, against the record's own

	// Of a flow: which of the record's tuples it is, and what recordid.Flow says.
	tuple          uint64
	begun, private bool
}

type markKind uint8

const (
	markID markKind = iota
	markCorrelation
	markTime
	markUnix        // seconds
	markToken       // a GUID in Base64, as in "uniqueTokenIdentifier"
	markMillis      // milliseconds
	markFlowAddress // of the far side
	markFlowPort    // of who began
)

// stamp is what is put into a template.
type stamp struct {
	number      uint64 // of the record
	correlation uint64 // the same for all records of an operation
	at          time.Time
}

// appendRecord appends the template with its values put in.
func (t *template) appendRecord(dst []byte, ids recordid.Space, s stamp) []byte {
	from := 0
	for i := range t.marks {
		m := &t.marks[i]
		dst = append(dst, t.text[from:m.at]...)
		from = m.at
		switch m.kind {
		case markID:
			dst = ids.Append(dst, s.number)
		case markCorrelation:
			dst = ids.AppendOther(dst, s.correlation)
		case markTime:
			dst = s.at.Add(m.shift).AppendFormat(dst, m.layout)
		case markUnix:
			dst = strconv.AppendInt(dst, s.at.Add(m.shift).Unix(), 10)
		case markMillis:
			dst = strconv.AppendInt(dst, s.at.Add(m.shift).UnixMilli(), 10)
		case markFlowAddress, markFlowPort:
			address, port := ids.Place(recordid.Flow{Number: s.number + m.tuple, Begun: m.begun, Private: m.private})
			if m.kind == markFlowAddress {
				dst = address.AppendTo(dst)
			} else {
				dst = strconv.AppendUint(dst, uint64(port), 10)
			}
		case markToken:
			var token [16]byte
			binary.BigEndian.PutUint64(token[:], recordid.Mix(s.number))
			binary.BigEndian.PutUint64(token[8:], recordid.Mix(^s.number))
			dst = base64.RawURLEncoding.AppendEncode(dst, token[:])
		}
	}
	return append(dst, t.text[from:]...)
}

// writer builds a template: one JSON value with its members in the order of the
// calls. Objects and lists are written by functions, so they always end.
type writer struct {
	template
	comma bool
}

func (w *writer) mark(kind markKind, layout string, shift time.Duration) {
	w.marks = append(w.marks, mark{at: len(w.text), kind: kind, layout: layout, shift: shift})
}

// name begins a member, or an element of a list where name is "".
func (w *writer) name(name string) {
	if w.comma {
		w.text = append(w.text, ',')
	}
	w.comma = true
	if name != "" {
		w.text = append(appendQuoted(w.text, name), ':')
	}
}

// raw writes a member whose value is given as JSON.
func (w *writer) raw(name, json string) {
	w.name(name)
	w.text = append(w.text, json...)
}

func (w *writer) str(name, value string) {
	w.name(name)
	w.text = appendQuoted(w.text, value)
}

// strs writes members with string values, from pairs of name and value.
func (w *writer) strs(pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		w.str(pairs[i], pairs[i+1])
	}
}

func (w *writer) num(name string, value int) { w.raw(name, strconv.Itoa(value)) }

func (w *writer) flag(name string, value bool) { w.raw(name, strconv.FormatBool(value)) }

func (w *writer) null(name string) { w.raw(name, "null") }

// id writes the record's own id, with what the log type puts around it.
func (w *writer) id(name, prefix, suffix string) {
	w.name(name)
	w.text = appendEscaped(append(w.text, '"'), prefix)
	w.mark(markID, "", 0)
	w.text = append(appendEscaped(w.text, suffix), '"')
}

func (w *writer) quotedMark(name string, kind markKind, layout string, shift time.Duration) {
	w.name(name)
	w.text = append(w.text, '"')
	w.mark(kind, layout, shift)
	w.text = append(w.text, '"')
}

func (w *writer) correlation() { w.quotedMark("correlationId", markCorrelation, "", 0) }

func (w *writer) token(name string) { w.quotedMark(name, markToken, "", 0) }

// time writes the record's time, shifted.
func (w *writer) time(name, layout string, shift time.Duration) {
	w.quotedMark(name, markTime, layout, shift)
}

// unix writes the record's time, shifted, as seconds in a string.
func (w *writer) unix(name string, shift time.Duration) { w.quotedMark(name, markUnix, "", shift) }

// embedded writes an object, with a suffix, as a string.
func (w *writer) embedded(name, suffix string, members func(in *writer)) {
	in := &writer{}
	in.object("", func() { members(in) })
	w.name(name)
	w.text = append(w.text, '"')
	from := 0
	for _, m := range in.marks {
		w.text = appendEscaped(w.text, string(in.text[from:m.at]))
		from, m.at = m.at, len(w.text)
		w.marks = append(w.marks, m)
	}
	w.text = append(appendEscaped(w.text, string(in.text[from:])+suffix), '"')
}

func (w *writer) group(name string, open, end byte, members func()) {
	w.name(name)
	w.text = append(w.text, open)
	w.comma = false
	members()
	w.text = append(w.text, end)
	w.comma = true
}

func (w *writer) object(name string, members func()) { w.group(name, '{', '}', members) }

func (w *writer) list(name string, elements func()) { w.group(name, '[', ']', elements) }

// appendQuoted appends text as a JSON string.
func appendQuoted(dst []byte, text string) []byte {
	return append(appendEscaped(append(dst, '"'), text), '"')
}

// appendEscaped appends text as it stands inside a JSON string. Non-ASCII text
// stays as it is, as Azure leaves it.
func appendEscaped(dst []byte, text string) []byte {
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, `\u00`...)
			dst = append(dst, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// quoted returns text as a JSON string.
func quoted(text string) string { return string(appendQuoted(nil, text)) }
