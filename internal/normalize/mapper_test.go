package normalize

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

func TestCompileErrors(t *testing.T) {
	builtins, err := builtinFiles(ECS)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, file, want string }{
		{"not YAML", "fields: [", "user.yaml:1: not YAML"},
		{"unknown key", "fields:\n - to: a\n   form: b", `user.yaml:3: unknown key "form"`},
		{"unknown key of the file", "field: []", `user.yaml:1: unknown key "field"; the known ones are schema, define, forms, log_types`},
		{"key twice", "fields:\n - {to: a, from: b, to: c}", `user.yaml:2`},
		{"no target", "fields:\n - {from: b}", "user.yaml:2: a field needs to"},
		{"no source", "fields:\n - {to: b}", "user.yaml:2: field b needs exactly one of from, value, format, each and fallback, has 0"},
		{"two sources", "fields:\n - {to: b, from: a, value: 1}", "has 2"},
		{"unknown transform", "log_types: [unknown]\nfields:\n - {to: b, from: a, as: lowercase}", `user.yaml:3: field b: as: unknown transform "lowercase"; the known ones are tree, add, after`},
		{"missing argument", "log_types: [unknown]\nfields:\n - {to: b, from: a, as: before}", `as: "before" is written "before @"`},
		{"unknown part", "log_types: [unknown]\nfields:\n - {to: b, from: a, as: resource color}", `as: "resource color" is written "resource tenant|`},
		{"transform after the last", "log_types: [unknown]\nfields:\n - {to: b, from: a, as: [number, lower]}", `as: "number" must stand last, "lower" follows it`},
		{"unknown source", "log_types: [unknown]\nfields:\n - {to: b, from: $when}", `unknown source "$when"; the known ones are $id`},
		{"path with an empty name", "log_types: [unknown]\nfields:\n - {to: b, from: a..b}", `path "a..b" holds an empty name`},
		{"path with an open bracket", "log_types: [unknown]\nfields:\n - {to: b, from: 'a[0'}", `the bracket is not closed`},
		{"unknown kind", "log_types: [unknown]\nfields:\n - {to: b, from: a, only: string}", `only: "string" is no kind; the kinds are bool, list`},
		{"value where a built-in table has an object", "log_types: [entra_audit]\nfields:\n - {to: event, from: a}", "it lies inside a field that is a value in user.yaml:3"},
		{"object where a value is", "log_types: [unknown]\nfields:\n - {to: b, from: a}\n - {to: b.c, from: a}", "user.yaml:4: field b.c:"},
		{"value where an object is", "log_types: [door]\ndefine: [{name: door, category: d}]\nfields:\n - {to: b.c, from: a}\n - {to: b, from: a}", "user.yaml:5: field b: it is an object in user.yaml:4"},
		{"list and value", "log_types: [unknown]\nfields:\n - {to: b, from: a}\n - {to: 'b[]', from: a}", "write the target with [] in both or in none"},
		{"tree keys without a tree", "fields:\n - {to: b, from: a, omit: [c]}", "go with as: tree"},
		{"map that is no map", "log_types: [unknown]\nfields:\n - {to: b, from: a, map: c}", `map: there is no map "c"`},
		{"constant that is no number of JSON", "log_types: [unknown]\nfields:\n - {to: b, value: .inf}", "user.yaml:3"},
		{"unknown log type", "log_types: [door]", `there is no log type "door"`},
		{"log type that matches nothing", "define: [{name: door}]", `log type "door" would match nothing`},
		{"unknown include", "log_types: [unknown]\ninclude: [doors]", `there is no file "doors"`},
		{"include of itself", "log_types: [unknown]\ninclude: [user]", "do files include each other?"},
		{"form without a name", "forms: [{table: T}]", "user.yaml:1: a form needs a name"},
		{"unknown key of a form", "forms: [{name: a, tables: T}]", `unknown key "tables"; the known ones are name, like, table`},
		{"form that is like nothing", "forms: [{name: a, table: T, like: b}]", `form "a": like: there is no form "b"`},
		{"forms that are like each other", "forms: [{name: a, table: T, like: b}, {name: b, like: a}]", "or they are like each other"},
		{"form with a value where an object is", "forms: [{name: a, table: T, members: {b: x, b.c: y}}]", `b is a value in one place and an object in another`},
		{"form with an unknown naming", "forms: [{name: a, table: T, names: snake}]", `unknown naming "snake"; the known ones are camel_case, keep`},
		{"form with a bracket", "forms: [{name: a, table: T, members: {b: 'x[0]'}}]", "must name members, without brackets"},
		{"two documents", "a: 1\n---\nb: 2", "more than one YAML document"},
		{"anchors", "log_types: &a [unknown]", "is not supported here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := compileFiles(ECS, builtins, Options{Files: []File{{"user.yaml", []byte(c.file)}}})
			if e := (*MappingError)(nil); !errors.As(err, &e) {
				t.Fatalf("got %v, want a *MappingError", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	if _, err := Compile("ocfs", DefaultOptions()); err == nil || !strings.Contains(err.Error(), "raw, ecs and ocsf") {
		t.Errorf("unknown schema: %v", err)
	}
}

// TestUserFiles: a user's file defines a log type, adds to a built-in table and
// overrides it, and takes built-in fields away.
func TestUserFiles(t *testing.T) {
	files := []File{
		{"doors.yaml", []byte(`
define: [{name: door, category: Doors, id: properties.n, time: opened}]
log_types: [door]
include: [site]
fields: [{to: event.action, value: opened}, {to: "@timestamp", from: $time}, {to: data_stream.namespace, from: properties.site}]
`)},
		{"site.yaml", []byte(`fields: [{to: organization.name, value: Example}, {to: event.action, value: other}]`)},
		{"signins.yaml", []byte(`
log_types: [entra_signin]
remove: [geo.name, azure.signinlogs, azure.signinlogs.properties, related.user]
include: [site]
fields:
  - {to: user.name, from: properties.userPrincipalName, as: upper}
  - {to: "related.user[]", value: me}
`)},
	}
	w := compile(t, ECS, Options{Files: files}).Worker()
	got, r := append1(t, w, Input{}, `{"category":"dOORS","opened":"2026-03-04 05:06:07","time":"2020-01-01T00:00:00Z","properties":{"n":"door-0001"}}`)
	if want := `{"@timestamp":"2026-03-04T05:06:07.000Z","event":{"action":"opened"},"organization":{"name":"Example"}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r.LogType != "door" || r.ID != "door-0001" || r.LacksDataStream {
		t.Errorf("result %+v", r)
	}
	got, r = append1(t, w, Input{}, `{"category":"SignInLogs","properties":{"userPrincipalName":"a@b"}}`)
	if !r.LacksDataStream {
		t.Errorf("a document without data_stream is said to have one: %s", got)
	}
	for _, want := range []string{`"name":"A@B"`, `"user":["me"]`, `"organization":{"name":"Example"}`, `"category":["authentication"]`} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %s: %s", want, got)
		}
	}
	if strings.Contains(got, "signinlogs\":{") {
		t.Errorf("has what was removed: %s", got)
	}
	// Other sign-ins are as they were.
	got, _ = append1(t, w, Input{}, `{"category":"NonInteractiveUserSignInLogs","properties":{"userPrincipalName":"a@b"}}`)
	if !strings.Contains(got, `"user":{"domain":"b","email":"a@b","name":"a"}`) || strings.Contains(got, "organization") {
		t.Errorf("non-interactive: %s", got)
	}
}

func TestIdentity(t *testing.T) {
	origin := &event.Origin{Namespace: "ns/hub/3", Source: "entra", Tenant: "contoso"}
	workers := []*Worker{compile(t, Raw, DefaultOptions()).Worker(), compile(t, ECS, DefaultOptions()).Worker()}
	for _, c := range []struct {
		name, record string
		origin       *event.Origin
		want         event.ID
	}{
		{"native", `{"category":"SignInLogs","properties":{"id":"bbbbbbbb-1"}}`, origin, "bbbbbbbb-1"},
		{"native, escaped", `{"category":"AuditLogs","properties":{"id":"\u0041udit_12"}}`, origin, "Audit_12"},
		{"zeros are no id", `{"category":"SignInLogs","properties":{"id":"00000000-0000-0000-0000-000000000000"}}`, origin, "ns/hub/3/42/7"},
		{"a number is no id", `{"category":"SignInLogs","properties":{"id":12345678}}`, origin, "ns/hub/3/42/7"},
		{"position", `{"category":"Administrative","correlationId":"aaaaaaaa-1"}`, origin, "ns/hub/3/42/7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, w := range workers {
				_, r := append1(t, w, Input{Origin: c.origin, Position: 42, Number: 7}, c.record)
				if r.ID != c.want {
					t.Errorf("%s: got %q, want %q", r.Schema, r.ID, c.want)
				}
			}
		})
	}
	w := workers[1]
	if _, r := append1(t, w, Input{Origin: origin, Position: 42, Key: [16]byte{0xab, 15: 1}}, `{"a":1}`); r.ID != "ns/hub/3/ab000000000000000000000000000001/0" {
		t.Errorf("with a key the id is %q", r.ID)
	}
	_, a := append1(t, w, Input{}, `{"a":1}`)
	_, b := append1(t, w, Input{}, `{"a":2}`)
	_, again := append1(t, w, Input{}, `{"a":1}`)
	if a.ID == b.ID || a.ID != again.ID || len(a.ID) != 32 {
		t.Errorf("without an origin the hash of the bytes: got %s, %s, again %s", a.ID, b.ID, again.ID)
	}
	// Azure delivers a sign-in again with another time: it is the same.
	_, a = append1(t, w, Input{Origin: origin, Position: 1}, `{"time":"2025-04-22T20:00:51Z","category":"ManagedIdentitySignInLogs","properties":{"id":"bbbbbbbb-1"}}`)
	_, b = append1(t, w, Input{Origin: origin, Position: 2}, `{"time":"2025-04-22T20:01:12Z","category":"ManagedIdentitySignInLogs","properties":{"id":"bbbbbbbb-1"}}`)
	if a.ID != b.ID {
		t.Errorf("repeats are told apart: %s, %s", a.ID, b.ID)
	}
}

func TestLogTypes(t *testing.T) {
	w := compile(t, Raw, DefaultOptions()).Worker()
	for record, want := range map[string]string{
		`{"category":"signinLOGS"}`:                                             "entra_signin",
		`{"Category":"AuditEvent"}`:                                             "key_vault_audit",
		`{"category":"FrontdoorAccessLog"}`:                                     "frontdoor_access",
		`{"category":"FrontDoorAccessLog"}`:                                     "frontdoor_access",
		`{"category":"AuditLogs","properties":{"AuditEventId":"x"}}`:            "intune_audit",
		`{"category":"AuditLogs","properties":{}}`:                              "entra_audit",
		`{"category":"OperationalLogs"}`:                                        "messaging_operational",
		`{"category":{"value":"Administrative","localizedValue":"Verwaltung"}}`: "azure_activity",
		`{"Type":"AppRequests"}`:                                                "app_requests",
		`{"AlertType":"x","SystemAlertId":"y"}`:                                 "defender_alert",
		`{"AlertType":"x"}`:                                                     UnknownLogType,
		`{"category":"NeverSeen"}`:                                              UnknownLogType,
		`{"category":7}`:                                                        UnknownLogType,
		`{}`:                                                                    UnknownLogType,
		`[]`:                                                                    UnknownLogType,
	} {
		if _, r := append1(t, w, Input{}, record); r.LogType != want {
			t.Errorf("%s: got %s, want %s", record, r.LogType, want)
		}
	}
}

// TestFormsAreRecognized by what the source says, by the table that a row
// names, and by their members.
func TestFormsAreRecognized(t *testing.T) {
	w := compile(t, Raw, DefaultOptions()).Worker()
	for _, c := range []struct{ name, feed, record, want string }{
		{"row that names its table", "", `{"Type":"SigninLogs","TimeGenerated":"2026-03-04T05:06:07Z"}`, "entra_signin"},
		{"row of a table that the source names", "log_analytics:AADNonInteractiveUserSignInLogs", `{"Id":"1"}`, "entra_signin_noninteractive"},
		{"row known by its columns", "", `{"TimeGenerated":"2026-03-04T05:06:07Z","LoggedByService":"Core Directory","ActivityDisplayName":"x","Category":"Policy"}`, "entra_audit"},
		{"category of a row of AzureDiagnostics", "", `{"Type":"AzureDiagnostics","Category":"AuditEvent"}`, "key_vault_audit"},
		{"unknown table", "log_analytics:Custom_CL", `{"Type":"Custom_CL","TimeGenerated":"2026-03-04T05:06:07Z"}`, UnknownLogType},
		{"feed of Graph", "graph:riskyUsers", `{"id":"1"}`, "entra_risky_user"},
		{"feed by its name in the configuration", "graph:risky_users", `{"id":"1"}`, "entra_risky_user"},
		{"kind of sign-in", "graph:signIns", `{"signInEventTypes":["servicePrincipal"]}`, "entra_signin_service_principal"},
		{"sign-in without a kind", "graph:signIns", `{"id":"1"}`, "entra_signin"},
		{"managed identity known by its members", "", `{"createdDateTime":"2026-03-04T05:06:07Z","appId":"x","signInEventTypes":["managedIdentity"]}`, "entra_signin_managed_identity"},
		{"audit whose category is one of the activity log too", "", `{"category":"Policy","activityDisplayName":"x","loggedByService":"y","initiatedBy":{}}`, "entra_audit"},
		{"feed that is not the record's", "graph:signIns", `{"time":"2026-03-04T05:06:07Z","category":"AuditLogs","properties":{}}`, "entra_audit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, r := append1(t, w, Input{Origin: &event.Origin{Namespace: "ns", Feed: c.feed}}, c.record)
			if r.LogType != c.want {
				t.Errorf("got %s, want %s", r.LogType, c.want)
			}
		})
	}
}

func TestTimeOfRecord(t *testing.T) {
	w := compile(t, ECS, DefaultOptions()).Worker()
	enqueued := time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name, record string
		in           Input
		want         time.Time
		wantText     string // what the document has beside it
	}{
		{"time before the others", `{"TimeGenerated":"2020-01-01T00:00:00Z","time":"2026-03-04T05:06:07Z"}`, Input{Enqueued: enqueued}, time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), `"@timestamp":"2026-03-04T05:06:07.000Z"`},
		{"unreadable, then another", `{"time":"soon","timeStamp":"2026-03-04T05:06:07Z"}`, Input{Enqueued: enqueued}, time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), `"@timestamp":"2026-03-04T05:06:07.000Z"`},
		{"a number", `{"time":1772600767}`, Input{}, time.Unix(1772600767, 0), `"@timestamp":"2026-03-04T05:06:07.000Z"`},
		{"none", `{"time":null}`, Input{Enqueued: enqueued}, enqueued, `"tags":["lazuli_time_assumed"]`},
		{"none at all", `{}`, Input{}, time.Time{}, `"tags":["lazuli_time_assumed"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r := append1(t, w, c.in, c.record)
			if !r.Time.Equal(c.want) || !strings.Contains(got, c.wantText) {
				t.Errorf("time %v, want %v; document %s", r.Time, c.want, got)
			}
		})
	}
}

func TestRaw(t *testing.T) {
	w := compile(t, Raw, DefaultOptions()).Worker()
	for record, want := range map[string]string{
		"{ \"b\" : 1E400,\r\n\t\"a\":\"\\u00e9\", \"a\":[ ] }": `{"b":1E400,"a":"\u00e9","a":[]}`,
		"[1, 2]": `{"record":[1,2]}`,
	} {
		var x jsonscan.Index
		if _, err := x.Scan([]byte(record)); err != nil {
			t.Fatal(err)
		}
		out, r := w.Append(nil, Input{Index: &x})
		if string(out) != want || r.Schema != "raw" {
			t.Errorf("got %s (%s), want %s", out, r.Schema, want)
		}
	}
}

func TestRepairsAndOriginAreShown(t *testing.T) {
	in := Input{Repairs: []string{"cut_tail", "raw_control"}, Origin: &event.Origin{Source: "archive", Tenant: "contoso", TenantID: "11111111-2222-3333-4444-555555555555"}, Enqueued: time.Unix(1, 0)}
	for schema, wants := range map[Schema][]string{
		ECS: {
			`"lazuli":{"log_type":"unknown","repairs":["cut_tail","raw_control"],"source":"archive","tenant":"contoso"}`,
			`"tags":["lazuli_repaired"]`,
			`"azure":{"platformlogs":{"event_category":"Administrative"},"tenant_id":"11111111-2222-3333-4444-555555555555"}`,
			`"cloud":{"account":{"id":"11111111-2222-3333-4444-555555555555"},`,
		},
		OCSF: {
			`"labels":["repaired"]`,
			`"source":"archive"`,
			`"tags":[{"name":"log_type","value":"unknown"},{"name":"tenant","value":"contoso"}]`,
			`"tenant_uid":"11111111-2222-3333-4444-555555555555"`,
		},
	} {
		got, _ := append1(t, compile(t, schema, DefaultOptions()).Worker(), in, `{"time":"2026-03-04T05:06:07Z"}`)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("lacks %s: %s", want, got)
			}
		}
	}
}

func TestOriginal(t *testing.T) {
	var x jsonscan.Index
	if _, err := x.Scan([]byte(`{"a":"mended"}`)); err != nil {
		t.Fatal(err)
	}
	raw := []byte("{'a':\t'\\x41\"'}")
	out, _ := compile(t, ECS, DefaultOptions()).Worker().Append(nil, Input{Index: &x, Raw: raw})
	checkOriginal(t, string(out), raw)
	out, _ = compile(t, ECS, Options{}).Worker().Append(nil, Input{Index: &x, Raw: raw})
	if strings.Contains(string(out), "original") {
		t.Errorf("the original was not wanted: %s", out)
	}
}

// TestAllocations holds the budget of docs: at most two allocations an event.
// The ID is one.
func TestAllocations(t *testing.T) {
	for _, schema := range []Schema{Raw, ECS} {
		w := compile(t, schema, DefaultOptions()).Worker()
		for _, c := range benchCases {
			records, _ := benchRecords(c.template)
			var x jsonscan.Index
			if _, err := x.Scan(records[1]); err != nil {
				t.Fatal(err)
			}
			var out []byte
			in := Input{Index: &x, Raw: records[1], Origin: &event.Origin{Namespace: "ns"}}
			once := func() { out, _ = w.Append(out[:0], in) }
			once()
			once() // the outline is learned
			if got := testing.AllocsPerRun(100, once); got > 1 {
				t.Errorf("%s, %s: %v allocations an event, want 1", schema, c.name, got)
			}
		}
	}
}

// TestAllocationsOfForms: a record that is put into shape needs no more.
func TestAllocationsOfForms(t *testing.T) {
	w := compile(t, ECS, DefaultOptions()).Worker()
	record, err := os.ReadFile("testdata/forms_of_signin/input_log_analytics.json")
	if err != nil {
		t.Fatal(err)
	}
	var x jsonscan.Index
	if _, err := x.Scan(record); err != nil {
		t.Fatal(err)
	}
	var out []byte
	in := Input{Index: &x, Raw: record, Origin: &event.Origin{Namespace: "ns", Feed: "log_analytics:AADNonInteractiveUserSignInLogs"}}
	once := func() { out, _ = w.Append(out[:0], in) }
	once()
	once() // the outlines are learned
	if got := testing.AllocsPerRun(100, once); got > 1 {
		t.Errorf("%v allocations an event, want 1", got)
	}
}

// TestWorkersShareAMapper: workers of one mapper give the same documents at the
// same time; with -race it shows that the mapper is not written to.
func TestWorkersShareAMapper(t *testing.T) {
	m := compile(t, ECS, DefaultOptions())
	var records [][]byte
	for _, c := range benchCases {
		r, _ := benchRecords(c.template)
		records = append(records, r...)
	}
	all := func() (docs string) {
		w := m.Worker()
		var x jsonscan.Index
		for _, r := range records {
			if _, err := x.Scan(r); err != nil {
				t.Error(err)
			}
			out, _ := w.Append(nil, Input{Index: &x, Raw: r})
			docs += string(out) + "\n"
		}
		return docs
	}
	want := all()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if diff := cmp.Diff(want, all()); diff != "" {
				t.Errorf("another worker's documents differ:\n%.500s", diff)
			}
		})
	}
	wg.Wait()
}

// TestReadme: the example in README.md compiles and maps, and every transform
// and key of the language is described there.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(readme), "```yaml\n")
	example, rest, _ := strings.Cut(example, "```")
	_, forms, _ := strings.Cut(rest, "```yaml\n")
	forms, _, _ = strings.Cut(forms, "```")
	w := compile(t, ECS, Options{Files: []File{{"README.md", []byte(example)}, {"README.md", []byte(forms)}}}).Worker()
	if got, r := append1(t, w, Input{}, `{"TimeGenerated":"2026-03-04T05:06:07Z","BadgeOwner":"Ada ","EventId":"door-0001","Opened":true,"TenantId":"x"}`); r.LogType != "door_log" || r.ID != "door-0001" || !strings.Contains(got, `"user":{"name":"ada"}`) {
		t.Errorf("the row of the second example gives %+v %s", r, got)
	}
	got, r := append1(t, w, Input{}, `{"category":"DoorEvents","identity":" ADA ","properties":{"eventId":"door-0001","opened":true,"door":"East","internalState":1,"controllers":[{"address":"192.0.2.1:80"}]}}`)
	for _, want := range []string{`"outcome":"success"`, `"user":{"name":"ada"}`, `"related":{"ip":["192.0.2.1"]}`, `"message":"East opened by  ADA "`, `"doors":{"event_id"`} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %s: %s", want, got)
		}
	}
	if r.LogType != "door_log" || r.ID != "door-0001" || strings.Contains(got, "internal") {
		t.Errorf("%+v %s", r, got)
	}
	describes := func(names ...string) {
		for _, name := range names {
			if !strings.Contains(string(readme), "`"+name) {
				t.Errorf("README.md does not describe `%s`", name)
			}
		}
	}
	for name := range steps {
		describes(name)
	}
	for name := range finishers {
		describes(name)
	}
	for name := range specials {
		describes(name)
	}
	for name := range namings {
		describes(name)
	}
	for name := range shapes {
		describes(name)
	}
	for name := range memberNamings {
		describes(name)
	}
	for name := range kindSets {
		describes(name)
	}
	describes(resourceParts...)
	describes(userAgentParts...)
	describes(geoParts...)
}
