package normalize

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// TestExplain: an explanation shows every field of the event as it is, each of
// an ECS document with the row that sets it.
func TestExplain(t *testing.T) {
	for _, schema := range []Schema{ECS, OCSF} {
		m := compile(t, schema, DefaultOptions())
		for _, dir := range goldenCases(t) {
			record, err := os.ReadFile(filepath.Join(dir, "input.json"))
			if err != nil {
				t.Fatal(err)
			}
			var x jsonscan.Index
			if _, err := x.Scan(record); err != nil {
				t.Fatal(err)
			}
			in := Input{Index: &x, Raw: record}
			want, result := m.Worker().Append(nil, in)
			e := m.Worker().Explain(in)
			if string(e.Event) != string(want) || e.Result != result {
				t.Errorf("%s, %s: the event of the explanation is another:\n got %s\nwant %s", schema, dir, e.Event, want)
			}
			if (e.Class != "") != (schema == OCSF) {
				t.Errorf("%s, %s: class %q", schema, dir, e.Class)
			}
			var doc jsonscan.Index
			if _, err := doc.Scan(want); err != nil {
				t.Fatal(err)
			}
			shown := map[string]bool{}
			for _, f := range e.Fields {
				name, _, _ := strings.Cut(f.Name, ".")
				name, _, _ = strings.Cut(name, "[")
				shown[name] = true
				if f.Row == "" && schema == ECS {
					t.Errorf("%s, %s: %s = %s has no row", schema, dir, f.Name, f.Value)
				}
			}
			for c := range doc.Children(0) {
				if name := string(doc.Key(c)); !shown[name] && doc.Nodes[c].Next > uint32(c)+1 {
					t.Errorf("%s, %s: %s is not explained", schema, dir, name)
				}
			}
		}
	}
}

// TestExplainNamesTheRow: the row that won, the source that it took, the form
// and the user's own file.
func TestExplainNamesTheRow(t *testing.T) {
	file := File{"own.yaml", []byte("log_types: [entra_signin]\nfields:\n - {to: user.name, from: [properties.alias, properties.userPrincipalName]}\n - {to: labels.x, value: y, when: {properties.never: \"*\"}}\n")}
	w := compile(t, ECS, Options{Files: []File{file}}).Worker()
	var x jsonscan.Index
	record := []byte(`{"Type":"SigninLogs","TimeGenerated":"2026-03-04T05:06:07Z","Id":"bbbbbbbb-1","UserPrincipalName":"ada@example.org","DeviceDetail":{"deviceId":"d1"}}`)
	if _, err := x.Scan(record); err != nil {
		t.Fatal(err)
	}
	e := w.Explain(Input{Index: &x, Raw: record})
	if e.Form != "SigninLogs" || !strings.HasPrefix(e.FormPlace, "forms/entra.yaml:") || !strings.HasPrefix(e.TypePlace, "logtypes.yaml:") || !e.OwnID {
		t.Errorf("explanation %+v", e)
	}
	for name, want := range map[string]ExplainedField{
		"user.name":       {Value: `"ada@example.org"`, From: "properties.userPrincipalName", Row: "own.yaml:3"},
		"user.domain":     {Value: `"example.org"`, From: "properties.userPrincipalName", Row: "ecs/entra_signin.yaml:"},
		"related.user[0]": {Value: `"ada@example.org"`, From: "properties.userPrincipalName", Row: "ecs/entra_signin.yaml:"},
		"event.category":  {Value: `["authentication"]`, From: "constant", Row: "ecs/entra_signin.yaml:"},
		"azure.signinlogs.properties.device_detail.*": {Value: `{"device_id":"d1"}`, From: "properties (tree)", Row: "ecs/entra_signin.yaml:"},
	} {
		found := false
		for _, f := range e.Fields {
			if f.Name == name {
				found = true
				if f.Value != want.Value || f.From != want.From || !strings.HasPrefix(f.Row, want.Row) {
					t.Errorf("%s: got %+v, want %+v", name, f, want)
				}
			}
			if f.Name == "labels.x" {
				t.Errorf("a row whose condition does not hold is shown: %+v", f)
			}
		}
		if !found {
			t.Errorf("%s is not explained", name)
		}
	}
}

// TestExplainNamesFallbacks: the constant that stands in for an object, and the
// row that keeps what no other maps.
func TestExplainNamesFallbacks(t *testing.T) {
	w := compile(t, OCSF, DefaultOptions()).Worker()
	var x jsonscan.Index
	record := []byte(`{"time":"2026-03-04T05:06:07Z","category":"StorageRead","callerIpAddress":"192.0.2.10","properties":{"serviceType":"file"}}`)
	if _, err := x.Scan(record); err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, f := range w.Explain(Input{Index: &x, Raw: record}).Fields {
		file, _, _ := strings.Cut(f.Row, ":")
		rows[f.Name] = strings.TrimSpace(f.From + " " + file)
	}
	for name, want := range map[string]string{
		"actor.app_name":  "constant ocsf/storage.yaml",
		"file.name":       "constant ocsf/storage.yaml",
		"src_endpoint.ip": "callerIpAddress ocsf/caller.yaml", // it has a fallback too
		"unmapped":        ". ocsf/base.yaml",
		"class_uid":       "",
	} {
		if got, ok := rows[name]; got != want || !ok {
			t.Errorf("%s: from %q, want %q", name, got, want)
		}
	}
}

// TestExplainNamesRowsOfEach: the row that makes objects of items, and those
// that set their members.
func TestExplainNamesRowsOfEach(t *testing.T) {
	w := compile(t, OCSF, DefaultOptions()).Worker()
	var x jsonscan.Index
	record := []byte(`{"time":"2026-03-04T05:06:07Z","category":"AuditLogs","operationName":"Remove member from role","properties":{"category":"RoleManagement","targetResources":[{"id":"u1","type":"User","userPrincipalName":"ada@example.org"},{"id":"r1","type":"Role"}]}}`)
	if _, err := x.Scan(record); err != nil {
		t.Fatal(err)
	}
	got := map[string]ExplainedField{}
	for _, f := range w.Explain(Input{Index: &x, Raw: record}).Fields {
		got[f.Name] = f
	}
	for _, want := range []ExplainedField{
		{Name: "user.*", Value: `{"email_addr":"ada@example.org","name":"ada@example.org","type":"User","type_id":1,"uid":"u1"}`, From: "each properties.targetResources[*]"},
		{Name: "user.uid", Value: `"u1"`, From: "id"},
		{Name: "user.type", Value: `"User"`, From: "type"},
		{Name: "resources[0].uid", Value: `"r1"`, From: "id"},
	} {
		f := got[want.Name]
		if f.From != want.From || f.Row == "" || f.Value != want.Value {
			t.Errorf("%s: got %+v, want %+v", want.Name, f, want)
		}
	}
}

// TestGoldenCasesShowEveryRow: what no case shows may be wrong without anybody
// seeing it. A row that nothing can show does nothing: it is to be deleted.
func TestGoldenCasesShowEveryRow(t *testing.T) {
	row := regexp.MustCompile(`^\s*- (\{\s*)?(to|tree):`)
	for schema, want := range map[Schema]string{ECS: "want.json", OCSF: "want_ocsf.json"} {
		folder := string(schema)
		shown := map[string]bool{}
		w := compile(t, schema, DefaultOptions()).Worker()
		wants, err := filepath.Glob("testdata/*/" + want)
		if err != nil || len(wants) == 0 {
			t.Fatalf("found %d cases: %v", len(wants), err)
		}
		for _, name := range wants {
			record, err := os.ReadFile(filepath.Join(filepath.Dir(name), "input.json"))
			if err != nil {
				t.Fatal(err)
			}
			var x jsonscan.Index
			if _, err := x.Scan(record); err != nil {
				t.Fatal(err)
			}
			in := Input{
				Index: &x, Raw: record, Repairs: []string{"raw_control"},
				Origin: &event.Origin{Source: "archive", Tenant: "contoso", TenantID: "11111111-2222-3333-4444-555555555555"},
			}
			for _, f := range w.Explain(in).Fields {
				shown[f.Row] = true
			}
		}
		files, err := filepath.Glob("mappings/" + folder + "/*.yaml")
		if err != nil || len(files) == 0 {
			t.Fatalf("found %d tables: %v", len(files), err)
		}
		for _, file := range files {
			table, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			number := 0
			for line := range strings.Lines(string(table)) {
				number++
				place := fmt.Sprintf("%s/%s:%d", folder, filepath.Base(file), number)
				if row.MatchString(line) && !shown[place] {
					t.Errorf("%s: no golden case shows this row:\n%s", place, line)
				}
			}
		}
	}
}
