package syslog

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// writer makes messages and collects them. It is not safe for concurrent use.
type writer struct {
	facility int
	head     string // " HOSTNAME APP-NAME - "
	format   string
	fields   []field
	limit    int

	index jsonscan.Index
	text  []byte
	own   []byte      // what of the messages are not bytes of the events
	runs  net.Buffers // the messages in order
}

// field is a field of CEF or LEEF.
type field struct {
	name  string
	path  []string // of members, from the document
	text  string   // instead
	epoch bool     // a time, as milliseconds since 1970
}

// The built-in tables: what ECS has, in the names of ArcSight's Common Event
// Format (revision 25, extension dictionary) and of IBM's LEEF (predefined
// event attributes).
func cefFields() map[string]string {
	return map[string]string{
		"rt": "@timestamp", "externalId": "event.id", "act": "event.action", "outcome": "event.outcome", "reason": "event.reason",
		"src": "source.ip", "spt": "source.port", "smac": "source.mac", "dst": "destination.ip", "dpt": "destination.port", "dhost": "destination.domain",
		"suser": "user.name", "suid": "user.id", "duser": "user.target.name", "duid": "user.target.id", "proto": "network.transport", "app": "network.protocol",
		"in": "source.bytes", "out": "destination.bytes", "request": "url.original", "requestMethod": "http.request.method",
		"requestClientApplication": "user_agent.original", "msg": "message", "deviceFacility": "event.dataset",
	}
}

func leefFields() map[string]string {
	return map[string]string{
		"devTime": "@timestamp", "externalId": "event.id", "cat": "event.dataset", "action": "event.action", "outcome": "event.outcome", "reason": "event.reason",
		"src": "source.ip", "srcPort": "source.port", "srcMAC": "source.mac", "dst": "destination.ip", "dstPort": "destination.port",
		"usrName": "user.name", "accountName": "user.target.name", "proto": "network.transport", "srcBytes": "source.bytes", "dstBytes": "destination.bytes",
		"srcPackets": "source.packets", "dstPackets": "destination.packets", "url": "url.original", "policy": "rule.name", "msg": "message",
	}
}

func newWriter(c *Config) *writer {
	w := &writer{
		facility: facilities()[c.Facility], head: " " + c.hostname() + " " + header(c.AppName, 48) + " - ",
		format: c.Format, limit: int(c.MaxMessage),
	}
	table := map[string]string{}
	switch c.Format {
	case "cef":
		table = cefFields()
	case "leef":
		table = leefFields()
	}
	for name, from := range c.Fields {
		table[name] = from
	}
	for _, name := range sortedNames(table) {
		from := table[name]
		switch {
		case from == "":
		case strings.HasPrefix(from, "$"):
			w.fields = append(w.fields, field{name: name, text: from[1:]})
		default:
			w.fields = append(w.fields, field{name: name, path: strings.Split(from, "."), epoch: name == "rt" || name == "devTime"})
		}
	}
	return w
}

// severities of syslog (RFC 5424, table 2).
const (
	sevAlert  = 1
	sevError  = 3
	sevWarn   = 4
	sevNotice = 5
	sevInfo   = 6
)

// reset forgets the messages, and with them the events.
func (w *writer) reset() {
	clear(w.runs)
	w.own, w.runs = w.own[:0], w.runs[:0]
}

// frame is room for the size of a message, which is known last, and a blank;
// max_message has a maximum.
const frame = "67108864 "

// add adds one framed message, of which the event's bytes are a part. The error
// says why the event makes none.
func (w *writer) add(e *event.Event) error {
	severity := severity(&e.Severity)
	// What is in the old memory when this moves stays as it was.
	b := append(w.own, frame...)
	start := len(b)
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(w.facility*8+severity), 10)
	b = append(b, ">1 "...)
	if e.Time.IsZero() {
		b = append(b, '-')
	} else {
		b = e.Time.UTC().Truncate(time.Microsecond).AppendFormat(b, time.RFC3339Nano) // six digits at the most (RFC 5424, section 6.2.3)
	}
	b = append(b, w.head...)
	b = append(b, header(e.LogType, 32)...)
	b = append(b, ` [lazuli@32473 id="`...) // 32473 is the number for examples (RFC 5612): Lazuli has none
	b = appendParam(b, string(e.ID))
	b = append(b, `" schema="`...)
	b = appendParam(b, e.Schema)
	b = append(b, `"] `...)
	body := e.Data
	if w.format != "json" {
		if _, err := w.index.Scan(e.Data); err != nil {
			return fmt.Errorf("the event is not JSON: %w", err)
		}
		if body = nil; w.format == "cef" {
			b = w.appendCEF(b, e, severity)
		} else {
			b = w.appendLEEF(b, e)
		}
	}
	size := len(b) - start + len(body)
	if size > w.limit {
		return fmt.Errorf("the message has %d bytes, more than max_message (%d)", size, w.limit)
	}
	w.text = append(strconv.AppendInt(w.text[:0], int64(size), 10), ' ')
	start -= len(w.text)
	copy(b[start:], w.text)
	w.own = b
	w.runs = append(w.runs, b[start:len(b):len(b)])
	if body != nil {
		w.runs = append(w.runs, body)
	}
	return nil
}

// appendParam appends a value of structured data (RFC 5424, section 6.3.3).
func appendParam(dst []byte, s string) []byte {
	from := 0
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' || c == ']' {
			dst = append(append(dst, s[from:i]...), '\\')
			from = i
		}
	}
	return append(dst, s[from:]...)
}

// severity is what a severity of ECS or OCSF is on syslog's scale.
func severity(s *event.Severity) int {
	switch {
	case s.Alert:
		return sevAlert
	case s.Failed:
		return sevNotice
	case strings.EqualFold(s.Text, "error") || strings.EqualFold(s.Text, "critical"):
		return sevError
	case strings.EqualFold(s.Text, "warning"):
		return sevWarn
	}
	return sevInfo
}

// find returns the node that a path of members leads to, or -1.
func (w *writer) find(path ...string) int {
	n := 0
	for _, name := range path {
		if n = w.index.Member(n, name); n < 0 {
			return -1
		}
	}
	return n
}

// value appends the value of a field and reports whether there is one. Of a list
// it takes the first element; objects are none.
func (w *writer) value(dst []byte, f *field) ([]byte, bool) {
	if f.path == nil {
		return append(dst, f.text...), true
	}
	n := w.find(f.path...)
	if n >= 0 && w.index.Nodes[n].Kind == jsonscan.Array {
		if int(w.index.Nodes[n].Next) == n+1 {
			return dst, false
		}
		n++
	}
	if n < 0 {
		return dst, false
	}
	switch w.index.Nodes[n].Kind {
	case jsonscan.String:
		from := len(dst)
		dst = w.index.AppendText(dst, n)
		if f.epoch {
			if at, err := time.Parse(time.RFC3339, string(dst[from:])); err == nil {
				dst = strconv.AppendInt(dst[:from], at.UnixMilli(), 10)
			}
		}
		return dst, len(dst) > from
	case jsonscan.Number, jsonscan.True, jsonscan.False:
		return append(dst, w.index.Value(n)...), true
	}
	return dst, false
}

// appendCEF appends
// CEF:0|vendor|product|version|class|name|severity|key=value ...
func (w *writer) appendCEF(dst []byte, e *event.Event, severity int) []byte {
	dst = append(dst, "CEF:0|Lazuli|Azure|1|"...)
	dst = appendCEFHeader(dst, e.LogType)
	dst = append(dst, '|')
	w.text = w.text[:0]
	if n := w.find("event", "action"); n >= 0 {
		w.text = w.index.AppendText(w.text, n)
	} else {
		w.text = append(w.text, e.LogType...)
	}
	dst = appendCEFHeader(dst, string(w.text))
	dst = append(dst, '|')
	// 0 to 10 in CEF; syslog counts down.
	dst = strconv.AppendInt(dst, int64(map[int]int{sevAlert: 9, sevError: 7, sevWarn: 6, sevNotice: 4, sevInfo: 3}[severity]), 10)
	dst = append(dst, '|')
	first := true
	for i := range w.fields {
		f := &w.fields[i]
		text, ok := w.value(w.text[:0], f)
		if w.text = text; !ok {
			continue
		}
		if !first {
			dst = append(dst, ' ')
		}
		first = false
		dst = append(append(dst, f.name...), '=')
		for _, c := range text {
			switch c {
			case '\\', '=':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			default:
				dst = append(dst, c)
			}
		}
	}
	return dst
}

func appendCEFHeader(dst []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\', '|':
			dst = append(dst, '\\', c)
		case '\n', '\r':
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendLEEF appends LEEF:2.0|vendor|product|version|id|x09|key=value<tab>...
// LEEF has no escapes: what would end a value becomes a blank.
func (w *writer) appendLEEF(dst []byte, e *event.Event) []byte {
	dst = append(dst, "LEEF:2.0|Lazuli|Azure|1|"...)
	for i := range len(e.LogType) {
		if c := e.LogType[i]; c == '|' || c < ' ' {
			dst = append(dst, '_')
		} else {
			dst = append(dst, c)
		}
	}
	dst = append(dst, "|x09|"...)
	first := true
	for i := range w.fields {
		f := &w.fields[i]
		text, ok := w.value(w.text[:0], f)
		if w.text = text; !ok {
			continue
		}
		if !first {
			dst = append(dst, '\t')
		}
		first = false
		dst = append(append(dst, f.name...), '=')
		for _, c := range text {
			if c == '\t' || c == '\n' || c == '\r' {
				c = ' '
			}
			dst = append(dst, c)
		}
	}
	return dst
}
