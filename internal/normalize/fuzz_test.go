package normalize

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// FuzzNormalize gives any JSON to all schemas: each record is one event on one
// line of valid JSON, its ID and time do not depend on the schema, and its OCSF
// event is what the schema allows.
func FuzzNormalize(f *testing.F) {
	inputs, err := filepath.Glob("testdata/*/input*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range inputs {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.TrimSpace(data))
	}
	for _, s := range []string{
		`{}`, `[]`, `1`, `"x"`, `null`, `{"":""}`, `{"a":1,"a":2,"\u0061":3}`,
		`{"category":"SignInLogs","properties":"{\"id\":\"12345678\",\"location\":{}}"}`,
		`{"category":"SignInLogs","properties":{"createdDateTime":"x","created_at":"y","authenticationProcessingDetails":[{"key":"a","value":1},{"key":"a","value":2},{"key":""}]}}`,
		`{"category":"AuditLogs","properties":{"targetResources":[{"modifiedProperties":[[],{},null,1]},null,[[]]]}}`,
		`{"category":"Write","identity":{"claims":{"a.b":1,"a_b":2},"authorization":{"evidence":[]}}}`,
		`{"Type":"SigninLogs","TimeGenerated":"2026-03-04T05:06:07Z","":1,"Id":"12345678","id":"x","Status":"{\"errorCode\":0} ","DeviceDetail":"{broken","LocationDetails":"[[]]"}`,
		`{"Type":"AzureDiagnostics","Category":"AuditEvent","a_s":"1","a_d":2,"_s":3,"properties_s":"{}"}`,
		`{"eventTimestamp":1,"operationName":{"value":{}},"authorization":"[]","claims":{"a":[]}}`,
		`{"createdDateTime":"x","appId":[],"signInEventTypes":["servicePrincipal"],"status":{"errorCode":{}}}`,
		`{"category":"\ud800","time":"\u0032022-01-24T05:10:08.6816663Z"}`,
	} {
		f.Add([]byte(s))
	}
	raw, ecs := compile(f, Raw, DefaultOptions()).Worker(), compile(f, ECS, DefaultOptions()).Worker()
	slim := compile(f, ECS, Options{}).Worker()
	classed, slimClassed := compile(f, OCSF, DefaultOptions()).Worker(), compile(f, OCSF, Options{}).Worker()
	f.Fuzz(func(t *testing.T, record []byte) {
		var x jsonscan.Index
		n, err := x.Scan(record)
		if err != nil {
			return
		}
		in := Input{Index: &x, Raw: record[:n], Enqueued: time.Unix(1, 0), Repairs: []string{"a"}}
		if len(record)%2 == 0 {
			in.Origin = &event.Origin{Namespace: "ns", Tenant: "t"}
		}
		_, want := raw.Append(nil, in)
		for _, w := range []*Worker{raw, ecs, slim, classed, slimClassed} {
			out, r := w.Append(nil, in)
			if w == raw {
				// The record itself may repeat a name: it is passed on as it is.
				if !bytes.Equal(out, appendRecord(&x)) {
					t.Fatalf("raw: %s", out)
				}
			} else {
				checkEvent(t, out, r)
				if len(record) < 512 {
					if e := w.Explain(in); !bytes.Equal(e.Event, out) {
						t.Fatalf("explained %s, is %s", e.Event, out)
					}
				}
			}
			if w == classed || w == slimClassed {
				checkOCSF(t, out)
			}
			if r.ID != want.ID || !r.Time.Equal(want.Time) || r.LogType != want.LogType {
				t.Fatalf("schema %s says %v, raw says %v", r.Schema, r, want)
			}
		}
	})
}

func appendRecord(x *jsonscan.Index) []byte {
	out := jsonscan.AppendCompact(nil, x.Value(0))
	if x.Nodes[0].Kind != jsonscan.Object {
		out = append(append([]byte(`{"record":`), out...), '}')
	}
	return out
}

// FuzzCompile gives any text as a mapping file: it is an error with file and
// line, or a mapper that works.
func FuzzCompile(f *testing.F) {
	for _, dir := range []string{"mappings/*.yaml", "mappings/*/*.yaml"} {
		names, err := filepath.Glob(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	for _, s := range []string{
		"define: [{name: x, category: X, id: a.b}]\nlog_types: [x]\ninclude: [envelope]\nfields:\n - {to: a, from: 'b[0].c', as: [lower, before @]}",
		"fields: [{to: a, from: b, as: split x}]", "fields: [{to: a.b, value: [1, 2, [true]]}]", "fields: [{to: a, from: b, map: {x: 1, '*': {}}}]",
		"log_types: [entra_audit]\nremove: [azure.auditlogs]", "a: &x [*x]", "? ? ?", "- - -", "{", "a: b: c", "\t", "a: |\n x", "a: !!binary x",
		"log_types: unknown\nfields: [{to: azure.platformlogs.x, from: ., as: tree, shape: {a: by_key}, names_below: {a.b: snake_case}}]",
	} {
		f.Add(s)
	}
	records := []string{
		`{"category":"SignInLogs","properties":{"id":"12345678","a":[1,{"b":null}]}}`,
		`{"Type":"SigninLogs","Id":"12345678","Status":"{}"}`, `{"createdDateTime":1,"appId":"x"}`,
		`{"category":"AuditLogs"}`, `{"category":"X","a":{"b":"12345678"}}`, `[{}]`,
	}
	for _, s := range []string{
		"schema: ocsf\nlog_types: unknown\nclasses: [{class: api_activity, when: {a: 'x*'}, fields: [{to: 'resources[0].uid', from: a}, {to: 'resources[]', each: 'b[c=d].e', fields: [{to: name, from: .}]}]}, {class: base_event}]",
		"schema: ocsf\nlog_types: entra_signin\nfields: [{to: user, fallback: {name: x}}, {to: status_id, from: a, map: {b: Success, '*': 99}}, {to: 'metadata.labels[]', from: a, as: split ;}, {to: unmapped, from: ., as: rest, omit: a}]",
	} {
		f.Add(s)
	}
	builtins := map[Schema][]*fileSpec{}
	for _, schema := range []Schema{ECS, OCSF} {
		files, err := builtinFiles(schema)
		if err != nil {
			f.Fatal(err)
		}
		builtins[schema] = files
	}
	f.Fuzz(func(t *testing.T, text string) {
		schema := ECS
		if strings.Contains(text, "ocsf") {
			schema = OCSF
		}
		m, err := compileFiles(schema, builtins[schema], Options{KeepOriginal: true, Files: []File{{Name: "user.yaml", Data: []byte(text)}}})
		if err != nil {
			if e, ok := err.(*MappingError); !ok || e.File == "" || e.Line < 1 {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		w := m.Worker()
		for _, record := range records {
			var x jsonscan.Index
			if _, err := x.Scan([]byte(record)); err != nil {
				t.Fatal(err)
			}
			out, r := w.Append(nil, Input{Index: &x})
			if checkEvent(t, out, r); schema == OCSF {
				checkOCSF(t, out)
			}
		}
	})
}

// FuzzAddress holds isAddress against net/netip.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "256.1.1.1", "01.2.3.4", "1.2.3", "::", "::1", "1::", "2001:db8::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "1::2::3", ":1", "1:", "12345::", "1:2:3:4:5:6:1.2.3.4", "fe80::1%eth0", "g::", "1:2:3:4:5:6:7:8:9", "::1:2:3:4:5:6:7:8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := netip.ParseAddr(s)
		want := err == nil && a.Zone() == ""
		if got := isAddress([]byte(s)); got != want {
			t.Fatalf("isAddress(%q) = %v, netip says %v", s, got, want)
		}
	})
}
