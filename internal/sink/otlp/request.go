package otlp

import (
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// The fields of opentelemetry-proto that a request has
// (opentelemetry/proto/{collector/logs,logs,resource,common}/v1). Their numbers
// are fixed: the protocol is stable.
const (
	requestResourceLogs protowire.Number = 1

	resourceLogsResource  protowire.Number = 1
	resourceLogsScopeLogs protowire.Number = 2
	resourceAttributes    protowire.Number = 1

	scopeLogsScope      protowire.Number = 1
	scopeLogsLogRecords protowire.Number = 2
	scopeName           protowire.Number = 1

	recordTime           protowire.Number = 1
	recordSeverityNumber protowire.Number = 2
	recordSeverityText   protowire.Number = 3
	recordBody           protowire.Number = 5
	recordAttributes     protowire.Number = 6
	recordObservedTime   protowire.Number = 11
	recordEventName      protowire.Number = 12

	keyValueKey   protowire.Number = 1
	keyValueValue protowire.Number = 2

	anyString protowire.Number = 1
	anyBool   protowire.Number = 2
	anyInt    protowire.Number = 3
	anyDouble protowire.Number = 4
	anyArray  protowire.Number = 5
	anyList   protowire.Number = 6

	listValues protowire.Number = 1 // of ArrayValue and of KeyValueList
)

// request is an ExportLogsServiceRequest with the logs of some events, those of
// one origin under one resource. It is written as it is put on the wire: the
// messages of the generated code would cost more than all the rest. It refers to
// the events and may be filled again.
type request struct {
	s        *Sink
	events   []event.Event
	observed uint64
	groups   []group
	records  []record
	known    map[event.Origin]int // groups

	index jsonscan.Index
	arena []byte // bodies that are not the event's own bytes
	text  []byte
	frame []byte
}

// group is the logs of one resource.
type group struct {
	resource    []byte // encoded
	size        int    // of its log records in the scope
	first, last int    // of records
}

// record is one log.
type record struct {
	body []byte // its AnyValue; nil for the event as a text
	size int    // of the LogRecord
	next int    // of the same group; -1 for the last
}

// fill makes a request of events.
func (r *request) fill(events []event.Event) {
	r.events, r.observed = events, unixNano(r.s.now())
	r.groups, r.records, r.arena = r.groups[:0], r.records[:0], r.arena[:0]
	clear(r.known)
	var last *event.Origin
	at := -1
	for i := range events {
		e := &events[i]
		if at < 0 || e.Origin != last {
			at, last = r.group(e.Origin), e.Origin
		}
		r.records = append(r.records, record{body: r.body(e), next: -1})
		one := &r.records[i]
		one.size = r.recordSize(i)
		g := &r.groups[at]
		if g.first < 0 {
			g.first = i
		} else {
			r.records[g.last].next = i
		}
		g.last = i
		g.size += sizeBytes(scopeLogsLogRecords, one.size)
	}
}

// group returns the index of the group of an origin.
func (r *request) group(o *event.Origin) int {
	var key event.Origin
	if o != nil {
		key = event.Origin{Source: o.Source, Tenant: o.Tenant, TenantID: o.TenantID}
	}
	i, known := r.known[key]
	if !known {
		i = len(r.groups)
		r.known[key] = i
		r.groups = append(r.groups, group{resource: r.s.resource(&key), first: -1})
	}
	return i
}

// scope is the InstrumentationScope of all logs.
var scope = protowire.AppendString(protowire.AppendTag(nil, scopeName, protowire.BytesType), "lazuli")

func (g *group) scopeLogsSize() int { return sizeBytes(scopeLogsScope, len(scope)) + g.size }

func (g *group) resourceLogsSize() int {
	return sizeBytes(resourceLogsResource, len(g.resource)) + sizeBytes(resourceLogsScopeLogs, g.scopeLogsSize())
}

// size is how many bytes writeTo writes.
func (r *request) size() (n int) {
	for i := range r.groups {
		n += sizeBytes(requestResourceLogs, r.groups[i].resourceLogsSize())
	}
	return n
}

// writeTo writes the request to memory, which does not fail: the bodies, which
// stay as they are until it is filled again, with share.
func (r *request) writeTo(w io.Writer, share func([]byte) (int, error)) {
	b := r.frame[:0]
	for i := range r.groups {
		g := &r.groups[i]
		b = appendHead(b, requestResourceLogs, g.resourceLogsSize())
		b = appendBytes(b, resourceLogsResource, g.resource)
		b = appendHead(b, resourceLogsScopeLogs, g.scopeLogsSize())
		b = appendBytes(b, scopeLogsScope, scope)
		for at := g.first; at >= 0; at = r.records[at].next {
			b = appendHead(b, scopeLogsLogRecords, r.records[at].size)
			b = r.appendBeforeBody(b, at)
			_, _ = w.Write(b)
			if body := r.records[at].body; body != nil {
				_, _ = share(body)
			} else {
				_, _ = share(r.events[at].Data)
			}
			b = r.appendAfterBody(b[:0], at)
		}
	}
	_, _ = w.Write(b)
	r.frame = b
}

func (r *request) recordSize(i int) int {
	e := &r.events[i]
	size := sizeBytes(recordBody, r.bodySize(i))
	if unixNano(e.Time) != 0 {
		size += protowire.SizeTag(recordTime) + protowire.SizeFixed64()
	}
	if r.observed != 0 {
		size += protowire.SizeTag(recordObservedTime) + protowire.SizeFixed64()
	}
	if n := severity(&e.Severity); n != 0 {
		size += protowire.SizeTag(recordSeverityNumber) + protowire.SizeVarint(uint64(n))
	}
	if text := severityText(&e.Severity); text != "" {
		size += sizeBytes(recordSeverityText, len(text))
	}
	for _, a := range attributes(e) {
		size += sizeBytes(recordAttributes, sizeKeyText(a))
	}
	if e.LogType != "" {
		size += sizeBytes(recordEventName, len(e.LogType))
	}
	return size
}

func (r *request) bodySize(i int) int {
	if body := r.records[i].body; body != nil {
		return len(body)
	}
	return sizeBytes(anyString, len(r.events[i].Data))
}

func (r *request) appendBeforeBody(b []byte, i int) []byte {
	e := &r.events[i]
	b = appendTime(b, recordTime, unixNano(e.Time))
	if n := severity(&e.Severity); n != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, recordSeverityNumber, protowire.VarintType), uint64(n))
	}
	if text := severityText(&e.Severity); text != "" {
		b = appendText(b, recordSeverityText, text)
	}
	b = appendHead(b, recordBody, r.bodySize(i))
	if r.records[i].body == nil {
		b = appendHead(b, anyString, len(e.Data))
	}
	return b
}

func (r *request) appendAfterBody(b []byte, i int) []byte {
	e := &r.events[i]
	for _, a := range attributes(e) {
		b = appendKeyText(b, recordAttributes, a)
	}
	b = appendTime(b, recordObservedTime, r.observed)
	if e.LogType != "" {
		b = appendText(b, recordEventName, e.LogType)
	}
	return b
}

// unixNano is a time of the data model; 0 means that it is not known.
func unixNano(t time.Time) uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return 0
	}
	return uint64(t.UnixNano())
}

type attribute struct{ name, value string }

func attributes(e *event.Event) [3]attribute {
	return [...]attribute{{"log.record.uid", string(e.ID)}, {"lazuli.log_type", e.LogType}, {"lazuli.schema", e.Schema}}
}

// resource encodes where logs come from: service.* and cloud.* by
// OpenTelemetry's semantic conventions.
func (s *Sink) resource(o *event.Origin) (b []byte) {
	list := []attribute{{"service.name", "lazuli"}, {"cloud.provider", "azure"}}
	for _, a := range []attribute{{"azure.tenant.id", o.TenantID}, {"lazuli.source", o.Source}, {"lazuli.tenant", o.Tenant}} {
		if a.value != "" {
			list = append(list, a)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Resource)) {
		list = append(list, attribute{name, s.cfg.Resource[name]})
	}
	for _, a := range list {
		b = appendKeyText(b, resourceAttributes, a)
	}
	return b
}

// severity is what a severity of ECS or OCSF is on the scale of the data model
// (opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber).
func severity(s *event.Severity) logs.SeverityNumber {
	switch {
	case s.Alert:
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN3
	case s.ID > 0: // OCSF: 1 informational to 6 fatal
		scale := [...]logs.SeverityNumber{
			1: logs.SeverityNumber_SEVERITY_NUMBER_INFO, 2: logs.SeverityNumber_SEVERITY_NUMBER_INFO3, 3: logs.SeverityNumber_SEVERITY_NUMBER_WARN,
			4: logs.SeverityNumber_SEVERITY_NUMBER_WARN3, 5: logs.SeverityNumber_SEVERITY_NUMBER_ERROR, 6: logs.SeverityNumber_SEVERITY_NUMBER_FATAL,
		}
		if int(s.ID) < len(scale) {
			return scale[s.ID]
		}
		return logs.SeverityNumber_SEVERITY_NUMBER_UNSPECIFIED
	}
	switch s.Text {
	case "", "Unknown": // the latter is OCSF's
		return logs.SeverityNumber_SEVERITY_NUMBER_UNSPECIFIED
	case "Critical", "critical":
		return logs.SeverityNumber_SEVERITY_NUMBER_FATAL
	case "Error", "error":
		return logs.SeverityNumber_SEVERITY_NUMBER_ERROR
	case "Warning", "warning":
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN
	case "Verbose", "verbose":
		return logs.SeverityNumber_SEVERITY_NUMBER_DEBUG
	}
	return logs.SeverityNumber_SEVERITY_NUMBER_INFO
}

func severityText(s *event.Severity) string {
	if s.Alert {
		return "alert"
	}
	return s.Text
}

// body returns the AnyValue of an event, nil for its bytes as a text.
func (r *request) body(e *event.Event) []byte {
	if r.s.cfg.Body != "map" {
		return nil
	}
	if _, err := r.index.Scan(e.Data); err != nil {
		return nil
	}
	start := len(r.arena)
	// The arena may move while it grows; bodies in the old one stay as they were.
	r.arena = r.appendValue(r.arena, 0)
	return r.arena[start:len(r.arena):len(r.arena)]
}

// appendValue appends the AnyValue of a JSON value, without a head. Whole numbers
// of 64 bits stay exact; larger ones become texts rather than lose digits.
func (r *request) appendValue(b []byte, n int) []byte {
	x := &r.index
	switch x.Nodes[n].Kind {
	case jsonscan.True, jsonscan.False:
		return protowire.AppendVarint(protowire.AppendTag(b, anyBool, protowire.VarintType), protowire.EncodeBool(x.Nodes[n].Kind == jsonscan.True))
	case jsonscan.Number:
		digits := string(x.Value(n))
		if whole, err := strconv.ParseInt(digits, 10, 64); err == nil {
			return protowire.AppendVarint(protowire.AppendTag(b, anyInt, protowire.VarintType), uint64(whole))
		}
		if f, err := strconv.ParseFloat(digits, 64); err == nil && !isWhole(digits) {
			return protowire.AppendFixed64(protowire.AppendTag(b, anyDouble, protowire.Fixed64Type), math.Float64bits(f))
		}
		return appendText(b, anyString, digits)
	case jsonscan.String:
		r.text = x.AppendText(r.text[:0], n)
		return appendBytes(b, anyString, r.text)
	case jsonscan.Array:
		return appendMessage(b, anyArray, func(b []byte) []byte {
			for c := range x.Children(n) {
				b = appendMessage(b, listValues, func(b []byte) []byte { return r.appendValue(b, c) })
			}
			return b
		})
	case jsonscan.Object:
		return appendMessage(b, anyList, func(b []byte) []byte {
			for c := range x.Children(n) {
				b = appendMessage(b, listValues, func(b []byte) []byte {
					r.text = jsonscan.AppendUnescaped(r.text[:0], x.Key(c))
					b = appendBytes(b, keyValueKey, r.text)
					return appendMessage(b, keyValueValue, func(b []byte) []byte { return r.appendValue(b, c) })
				})
			}
			return b
		})
	}
	return b // null: no value
}

func isWhole(digits string) bool {
	for i := range len(digits) {
		if c := digits[i]; c == '.' || c == 'e' || c == 'E' {
			return false
		}
	}
	return true
}

// appendMessage appends a message whose size is only known when it is there.
func appendMessage(b []byte, field protowire.Number, content func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	start := len(b)
	b = content(b)
	var size [10]byte
	return slices.Insert(b, start, protowire.AppendVarint(size[:0], uint64(len(b)-start))...)
}

// appendHead appends what stands before size bytes of a message, text or bytes.
func appendHead(b []byte, field protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(size))
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte { //nolint:unparam // that all are 1 so far is chance
	return append(appendHead(b, field, len(value)), value...)
}

func appendText(b []byte, field protowire.Number, value string) []byte {
	return append(appendHead(b, field, len(value)), value...)
}

func appendTime(b []byte, field protowire.Number, at uint64) []byte {
	if at == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), at)
}

// appendKeyText appends a KeyValue with a text.
func appendKeyText(b []byte, field protowire.Number, a attribute) []byte {
	b = appendHead(b, field, sizeKeyText(a))
	b = appendText(b, keyValueKey, a.name)
	b = appendHead(b, keyValueValue, sizeBytes(anyString, len(a.value)))
	return appendText(b, anyString, a.value)
}

func sizeKeyText(a attribute) int {
	return sizeBytes(keyValueKey, len(a.name)) + sizeBytes(keyValueValue, sizeBytes(anyString, len(a.value)))
}

// sizeBytes is the size of a field that holds n bytes.
func sizeBytes(field protowire.Number, n int) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(n)
}
