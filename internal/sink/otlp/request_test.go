package otlp

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

func str(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

func pairs(texts ...string) (list []*common.KeyValue) {
	for i := 0; i < len(texts); i += 2 {
		list = append(list, &common.KeyValue{Key: texts[i], Value: str(texts[i+1])})
	}
	return list
}

// TestRequestsAreTheOfficialMessages: what is written by hand is what the
// generated code of opentelemetry-proto writes for the same logs.
func TestRequestsAreTheOfficialMessages(t *testing.T) {
	at, observed := time.Date(2026, 1, 2, 3, 4, 5, 678_000_001, time.UTC), time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)
	long := strings.Repeat("é\"\n", 10_000) // its sizes take three bytes
	north, south := &event.Origin{Source: "s", Tenant: "north", TenantID: "1", Partition: "0"}, &event.Origin{Source: "s", Tenant: "south", Partition: "0"}
	again := *north
	again.Partition = "1"
	events := []event.Event{
		{ID: "a", Time: at, LogType: "entra_signin", Schema: "ecs", Data: []byte(`{"a":1}`), Origin: north, Severity: event.Severity{Text: "Error", Failed: true}},
		{ID: event.ID(long), Time: time.Unix(-1, 0), LogType: long, Schema: "ocsf", Data: []byte(`{"b":"` + strings.Repeat("x", 1<<20) + `"}`), Origin: south, Severity: event.Severity{Text: "Low", ID: 2}},
		{Data: []byte(`{"c":[true,false,null,-1,9007199254740993,18446744073709551615,1e3,-0.5,"",{},[[]],{"é\n":{"z":"\u00e9"}}]}`)},
		{ID: "d", LogType: "x", Schema: "ecs", Data: []byte(`{"d":"` + strings.Repeat("y", 200) + `"}`), Origin: &again, Severity: event.Severity{Alert: true, Text: "Warning"}},
		{ID: "e", LogType: "x", Schema: "ecs", Data: []byte(`{}`), Origin: south, Severity: event.Severity{ID: 99, Text: "Other"}},
	}
	integer := func(n int64) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}}
	}
	boolean := func(b bool) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: b}}
	}
	double := func(f float64) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: f}}
	}
	list := func(values ...*common.AnyValue) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: values}}}
	}
	object := func(members ...*common.KeyValue) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: members}}}
	}
	member := func(name string, value *common.AnyValue) *common.KeyValue {
		return &common.KeyValue{Key: name, Value: value}
	}
	maps := []*common.AnyValue{
		object(member("a", integer(1))),
		object(pairs("b", strings.Repeat("x", 1<<20))...),
		object(member("c", list(boolean(true), boolean(false), &common.AnyValue{}, integer(-1), integer(9007199254740993), str("18446744073709551615"),
			double(1000), double(-0.5), str(""), object(), list(list()), object(member("é\n", object(pairs("z", "é")...)))))),
		object(pairs("d", strings.Repeat("y", 200))...),
		object(),
	}
	log := func(i int, body *common.AnyValue, number logs.SeverityNumber, text string) *logs.LogRecord {
		e := &events[i]
		r := &logs.LogRecord{
			ObservedTimeUnixNano: uint64(observed.UnixNano()), SeverityNumber: number, SeverityText: text, Body: body, EventName: e.LogType,
			Attributes: pairs("log.record.uid", string(e.ID), "lazuli.log_type", e.LogType, "lazuli.schema", e.Schema),
		}
		if i == 0 {
			r.TimeUnixNano = uint64(at.UnixNano())
		}
		return r
	}
	of := func(attributes []*common.KeyValue, records ...*logs.LogRecord) *logs.ResourceLogs {
		return &logs.ResourceLogs{
			Resource:  &resource.Resource{Attributes: append(pairs("service.name", "lazuli", "cloud.provider", "azure"), attributes...)},
			ScopeLogs: []*logs.ScopeLogs{{Scope: &common.InstrumentationScope{Name: "lazuli"}, LogRecords: records}},
		}
	}
	for _, form := range []string{"text", "map"} {
		t.Run(form, func(t *testing.T) {
			body := func(i int) *common.AnyValue {
				if form == "map" {
					return maps[i]
				}
				return str(string(events[i].Data))
			}
			want := &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{
				of(pairs("azure.tenant.id", "1", "lazuli.source", "s", "lazuli.tenant", "north", "x", "y"),
					log(0, body(0), logs.SeverityNumber_SEVERITY_NUMBER_ERROR, "Error"), log(3, body(3), logs.SeverityNumber_SEVERITY_NUMBER_WARN3, "alert")),
				of(pairs("lazuli.source", "s", "lazuli.tenant", "south", "x", "y"),
					log(1, body(1), logs.SeverityNumber_SEVERITY_NUMBER_INFO3, "Low"), log(4, body(4), logs.SeverityNumber_SEVERITY_NUMBER_UNSPECIFIED, "Other")),
				of(pairs("x", "y"), log(2, body(2), logs.SeverityNumber_SEVERITY_NUMBER_UNSPECIFIED, "")),
			}}
			s := &Sink{cfg: Config{Body: form, Resource: map[string]string{"x": "y"}}, now: func() time.Time { return observed }}
			r := &request{s: s, known: map[event.Origin]int{}}
			for range 2 { // the second in the memory of the first
				r.fill(events)
				var out bytes.Buffer
				r.writeTo(&out, out.Write)
				if out.Len() != r.size() {
					t.Errorf("size() = %d, %d bytes were written", r.size(), out.Len())
				}
				got := new(collector.ExportLogsServiceRequest)
				if err := proto.Unmarshal(out.Bytes(), got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
					t.Fatalf("the request differs (-want +got):\n%.3000s", diff)
				}
				if official, err := (proto.MarshalOptions{Deterministic: true}).Marshal(want); err != nil || !bytes.Equal(official, out.Bytes()) {
					t.Errorf("other bytes than the generated code's (%v)", err)
				}
			}
		})
	}
}

func TestSeverityNumbers(t *testing.T) {
	for text, want := range map[string]logs.SeverityNumber{
		"": 0, "4": logs.SeverityNumber_SEVERITY_NUMBER_INFO, "Informational": logs.SeverityNumber_SEVERITY_NUMBER_INFO, "Verbose": logs.SeverityNumber_SEVERITY_NUMBER_DEBUG,
		"warning": logs.SeverityNumber_SEVERITY_NUMBER_WARN, "Error": logs.SeverityNumber_SEVERITY_NUMBER_ERROR, "Critical": logs.SeverityNumber_SEVERITY_NUMBER_FATAL,
	} {
		if got := severity(&event.Severity{Text: text}); got != want {
			t.Errorf("severity(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	s := &Sink{cfg: *DefaultConfig(), now: time.Now}
	r := &request{s: s, known: map[event.Origin]int{}}
	events := sinktest.Events("a", 100, 2000)
	allocs := testing.AllocsPerRun(10, func() {
		r.fill(events)
		r.writeTo(io.Discard, io.Discard.Write)
	})
	if perEvent := allocs / float64(len(events)); perEvent > 0.2 { // those of the resource
		t.Errorf("%.2f allocations per event, want at most 0.2", perEvent)
	}
}
