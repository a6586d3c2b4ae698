package otlp

import (
	"slices"
	"strconv"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// request puts events into one request, those of one origin under one resource.
// The texts are copies: gRPC may still send when Deliver has returned.
func (s *Sink) request(events []event.Event) *collector.ExportLogsServiceRequest {
	request := new(collector.ExportLogsServiceRequest)
	scopes := map[event.Origin]*logs.ScopeLogs{}
	observed := unixNano(s.now())
	var x jsonscan.Index
	for i := range events {
		e := &events[i]
		origin := event.Origin{}
		if e.Origin != nil {
			origin = event.Origin{Source: e.Origin.Source, Tenant: e.Origin.Tenant, TenantID: e.Origin.TenantID}
		}
		scope := scopes[origin]
		if scope == nil {
			scope = &logs.ScopeLogs{Scope: &common.InstrumentationScope{Name: "lazuli"}}
			scopes[origin] = scope
			request.ResourceLogs = append(request.ResourceLogs, &logs.ResourceLogs{Resource: s.resource(&origin), ScopeLogs: []*logs.ScopeLogs{scope}})
		}
		scope.LogRecords = append(scope.LogRecords, s.record(e, observed, &x))
	}
	return request
}

func unixNano(t time.Time) uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return 0 // unknown, by the data model
	}
	return uint64(t.UnixNano())
}

// resource names where logs come from: service.* and cloud.* by OpenTelemetry's
// semantic conventions.
func (s *Sink) resource(o *event.Origin) *resource.Resource {
	r := &resource.Resource{Attributes: []*common.KeyValue{text("service.name", "lazuli"), text("cloud.provider", "azure")}}
	for _, a := range []struct{ name, value string }{
		{"azure.tenant.id", o.TenantID}, {"lazuli.source", o.Source}, {"lazuli.tenant", o.Tenant},
	} {
		if a.value != "" {
			r.Attributes = append(r.Attributes, text(a.name, a.value))
		}
	}
	names := make([]string, 0, len(s.cfg.Resource))
	for name := range s.cfg.Resource {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r.Attributes = append(r.Attributes, text(name, s.cfg.Resource[name]))
	}
	return r
}

func (s *Sink) record(e *event.Event, observed uint64, x *jsonscan.Index) *logs.LogRecord {
	r := &logs.LogRecord{
		TimeUnixNano: unixNano(e.Time), ObservedTimeUnixNano: observed, EventName: e.LogType,
		Attributes: []*common.KeyValue{text("log.record.uid", string(e.ID)), text("lazuli.log_type", e.LogType), text("lazuli.schema", e.Schema)},
	}
	if _, err := x.Scan(e.Data); err != nil {
		r.Body = textValue(string(e.Data))
		return r
	}
	r.SeverityNumber, r.SeverityText = severity(x)
	if s.cfg.Body == "map" {
		r.Body = value(x, 0)
	} else {
		r.Body = textValue(string(e.Data))
	}
	return r
}

// severity is what ECS and OCSF have of one (opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber).
func severity(x *jsonscan.Index) (logs.SeverityNumber, string) {
	if n := member(x, "event", "kind"); n >= 0 && string(x.Text(n)) == "alert" {
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN3, "alert"
	}
	if n := x.Member(0, "severity_id"); n >= 0 { // OCSF: 1 informational to 6 fatal
		text := ""
		if m := x.Member(0, "severity"); m >= 0 && x.Nodes[m].Kind == jsonscan.String {
			text = string(x.AppendText(nil, m))
		}
		id, _ := strconv.Atoi(string(x.Value(n)))
		return map[int]logs.SeverityNumber{
			1: logs.SeverityNumber_SEVERITY_NUMBER_INFO, 2: logs.SeverityNumber_SEVERITY_NUMBER_INFO3, 3: logs.SeverityNumber_SEVERITY_NUMBER_WARN,
			4: logs.SeverityNumber_SEVERITY_NUMBER_WARN3, 5: logs.SeverityNumber_SEVERITY_NUMBER_ERROR, 6: logs.SeverityNumber_SEVERITY_NUMBER_FATAL,
		}[id], text
	}
	n := member(x, "log", "level")
	if n < 0 {
		return logs.SeverityNumber_SEVERITY_NUMBER_UNSPECIFIED, ""
	}
	text := string(x.AppendText(nil, n))
	switch text {
	case "Critical", "critical":
		return logs.SeverityNumber_SEVERITY_NUMBER_FATAL, text
	case "Error", "error":
		return logs.SeverityNumber_SEVERITY_NUMBER_ERROR, text
	case "Warning", "warning":
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN, text
	case "Verbose", "verbose":
		return logs.SeverityNumber_SEVERITY_NUMBER_DEBUG, text
	}
	return logs.SeverityNumber_SEVERITY_NUMBER_INFO, text
}

// member returns the text that a path of members leads to, or -1.
func member(x *jsonscan.Index, path ...string) int {
	n := 0
	for _, name := range path {
		if n = x.Member(n, name); n < 0 {
			return -1
		}
	}
	if x.Nodes[n].Kind != jsonscan.String {
		return -1
	}
	return n
}

func text(name, s string) *common.KeyValue {
	return &common.KeyValue{Key: name, Value: textValue(s)}
}

func textValue(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

// value returns a JSON value in the data model. Whole numbers of 64 bits stay
// exact; larger ones become texts rather than lose digits.
func value(x *jsonscan.Index, n int) *common.AnyValue {
	switch x.Nodes[n].Kind {
	case jsonscan.True, jsonscan.False:
		return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: x.Nodes[n].Kind == jsonscan.True}}
	case jsonscan.Number:
		digits := string(x.Value(n))
		if whole, err := strconv.ParseInt(digits, 10, 64); err == nil {
			return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: whole}}
		}
		if f, err := strconv.ParseFloat(digits, 64); err == nil && !isWhole(digits) {
			return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: f}}
		}
		return textValue(digits)
	case jsonscan.String:
		return textValue(string(x.AppendText(nil, n)))
	case jsonscan.Array:
		list := new(common.ArrayValue)
		for c := range x.Children(n) {
			list.Values = append(list.Values, value(x, c))
		}
		return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: list}}
	case jsonscan.Object:
		object := new(common.KeyValueList)
		for c := range x.Children(n) {
			object.Values = append(object.Values, &common.KeyValue{Key: string(jsonscan.AppendUnescaped(nil, x.Key(c))), Value: value(x, c)})
		}
		return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: object}}
	}
	return new(common.AnyValue) // null: no value
}

func isWhole(digits string) bool {
	for i := range len(digits) {
		if c := digits[i]; c == '.' || c == 'e' || c == 'E' {
			return false
		}
	}
	return true
}
