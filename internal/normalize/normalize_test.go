package normalize

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

var update = flag.Bool("update", false, "write what the golden cases give as what they want")

func compile(t testing.TB, schema Schema, opts Options) *Mapper {
	t.Helper()
	m, err := Compile(schema, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// append1 normalizes one record and checks what holds for every event.
func append1(t testing.TB, w *Worker, in Input, record string) (string, Result) {
	t.Helper()
	var x jsonscan.Index
	if _, err := x.Scan([]byte(record)); err != nil {
		t.Fatalf("scan %s: %v", record, err)
	}
	in.Index, in.Raw = &x, []byte(record)
	out, r := w.Append([]byte("before"), in)
	if !bytes.HasPrefix(out, []byte("before")) {
		t.Fatalf("Append changed what stood in dst: %.40s", out)
	}
	out = out[len("before"):]
	checkEvent(t, out, r)
	return string(out), r
}

func checkEvent(t testing.TB, out []byte, r Result) {
	t.Helper()
	switch {
	case !json.Valid(out):
		t.Fatalf("not valid JSON: %s", out)
	case bytes.IndexByte(out, '\n') >= 0:
		t.Fatalf("more than one line: %q", out)
	case out[0] != '{':
		t.Fatalf("not an object: %s", out)
	case r.ID == "":
		t.Fatalf("no ID for %s", out)
	case r.LogType == "":
		t.Fatalf("no log type for %s", out)
	}
	checkNames(t, out)
	if want := datasetIn(t, out, r.Schema); r.Dataset != want {
		t.Fatalf("dataset %q, want %q of %s", r.Dataset, want, out)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(out, &members); err != nil {
		t.Fatal(err)
	}
	if r.LacksDataStream && (r.Schema != string(ECS) || members["data_stream"] != nil) {
		t.Fatalf("said to be ECS without data_stream: %s", out)
	}
	if want := severityIn(t, out, r.Schema); r.Severity != want {
		t.Fatalf("severity %+v, want %+v of %s", r.Severity, want, out)
	}
}

func datasetIn(t testing.TB, out []byte, schema string) string {
	t.Helper()
	var doc struct{ Event struct{ Dataset string } }
	if schema != string(ECS) {
		return ""
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("read %s: %v", out, err)
	}
	return doc.Event.Dataset
}

// severityIn reads from the document what the worker notes while it writes it.
func severityIn(t testing.TB, out []byte, schema string) (s event.Severity) {
	t.Helper()
	var doc struct {
		Event    struct{ Kind, Outcome any }
		Log      struct{ Level any }
		ID       uint8 `json:"severity_id"`
		Severity any
		Status   any
	}
	if schema == string(Raw) {
		return s
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("read %s: %v", out, err)
	}
	if schema == string(OCSF) {
		s.ID, s.Failed = doc.ID, doc.Status == "Failure"
		s.Text, _ = doc.Severity.(string)
		return s
	}
	s.Alert, s.Failed = doc.Event.Kind == "alert", doc.Event.Outcome == "failure"
	s.Text, _ = doc.Log.Level.(string)
	return s
}

// TestSeverity: what a record says of how grave it is need not be looked for in
// the document again.
func TestSeverity(t *testing.T) {
	record := func(level string) string {
		return `{"category":"SignInLogs","time":"2026-03-04T05:06:07Z","resultType":"50126","Level":` + level + `}`
	}
	for _, tc := range []struct {
		schema Schema
		record string
		want   event.Severity
	}{
		{ECS, record(`4`), event.Severity{Text: "4", Failed: true}},
		{ECS, record(`"War\"ning\u00e9"`), event.Severity{Text: `War"ningé`, Failed: true}},
		{OCSF, record(`"Warning"`), event.Severity{Text: "Medium", ID: 3, Failed: true}},
		{Raw, record(`4`), event.Severity{}},
		{ECS, `{}`, event.Severity{}}, // what came before is forgotten
	} {
		_, r := append1(t, compile(t, tc.schema, DefaultOptions()).Worker(), Input{}, tc.record)
		if r.Severity != tc.want {
			t.Errorf("%s of %s: severity %+v, want %+v", tc.schema, tc.record, r.Severity, tc.want)
		}
	}
}

// checkNames fails if an object has two members of one name, or one without a
// name: destinations refuse both.
func checkNames(t testing.TB, doc []byte) {
	t.Helper()
	var x jsonscan.Index
	if _, err := x.Scan(doc); err != nil {
		t.Fatalf("scan %s: %v", doc, err)
	}
	for n := range x.Nodes {
		if x.Nodes[n].Kind != jsonscan.Object {
			continue
		}
		seen := map[string]bool{}
		for c := range x.Children(n) {
			name := string(jsonscan.AppendUnescaped(nil, x.Key(c)))
			if name == "" || seen[name] {
				t.Fatalf("member name %q stands twice or is empty in %s", name, x.Value(n))
			}
			seen[name] = true
		}
	}
}

// TestGolden holds the ECS document of each testdata/<case>/input.json against
// want.json. After a change that is meant, run
//
//	go test ./internal/normalize -run Golden -update
//
// and read the difference.
func TestGolden(t *testing.T) {
	w := compile(t, ECS, DefaultOptions()).Worker()
	for _, dir := range goldenCases(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := goldenDocument(t, w, filepath.Join(dir, "input.json"))
			name := filepath.Join(dir, "want.json")
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got; -update accepts it):\n%s", name, diff)
			}
		})
	}
}

// TestForms: the record of a case in other forms, input_<form>.json, gives the
// same id, time, log type and document. What a form does not have is listed in
// the case's differs.txt, and only that.
func TestForms(t *testing.T) {
	w := compile(t, ECS, DefaultOptions()).Worker()
	for _, dir := range goldenCases(t) {
		inputs, err := filepath.Glob(filepath.Join(dir, "input_*.json"))
		if err != nil {
			t.Fatal(err)
		}
		if len(inputs) == 0 {
			continue
		}
		want, wantResult := leavesOf(t, goldenDocument(t, w, filepath.Join(dir, "input.json")))
		meant := map[string]bool{}
		if list, err := os.ReadFile(filepath.Join(dir, "differs.txt")); err == nil {
			for line := range strings.Lines(string(list)) {
				meant[strings.TrimSpace(line)] = false
			}
		}
		for _, input := range inputs {
			form := strings.TrimSuffix(filepath.Base(input), ".json")
			t.Run(filepath.Base(dir)+"/"+form, func(t *testing.T) {
				got, gotResult := leavesOf(t, goldenDocument(t, w, input))
				if got, want := gotResult, wantResult; got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				for _, path := range slices.Sorted(maps.Keys(mergeMaps(want, got))) {
					if want[path] == got[path] {
						continue
					}
					allowed := false
					for entry := range meant {
						if f, field, _ := strings.Cut(entry, " "); f == form && (path == field || strings.HasPrefix(path, field+".")) {
							allowed, meant[entry] = true, true
						}
					}
					if !allowed {
						t.Errorf("%s: got %q, want %q", path, got[path], want[path])
					}
				}
			})
		}
		for entry, used := range meant {
			if !used {
				t.Errorf("%s/differs.txt: %q does not differ", dir, entry)
			}
		}
	}
}

// TestEveryLogTypeHasAGoldenCase in each schema.
func TestEveryLogTypeHasAGoldenCase(t *testing.T) {
	has := map[string]bool{}
	for _, dir := range goldenCases(t) {
		want, err := os.ReadFile(filepath.Join(dir, "want.json"))
		if err != nil {
			t.Fatal(err)
		}
		_, logType, _ := strings.Cut(string(want), "// log type ")
		logType = strings.TrimSpace(logType)
		has["ECS "+logType] = true
		if _, err := os.Stat(filepath.Join(dir, "want_ocsf.json")); err == nil {
			has["OCSF "+logType] = true
		}
	}
	for _, known := range compile(t, Raw, DefaultOptions()).detector.types {
		for _, schema := range []string{"ECS", "OCSF"} {
			if !has[schema+" "+known.name] {
				t.Errorf("log type %s has no golden case of %s", known.name, schema)
			}
		}
	}
}

func goldenCases(t testing.TB) (dirs []string) {
	t.Helper()
	inputs, err := filepath.Glob("testdata/*/input.json")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("found %d cases: %v", len(inputs), err)
	}
	for _, input := range inputs {
		dirs = append(dirs, filepath.Dir(input))
	}
	return dirs
}

// goldenDocument returns the document of a record, indented and without
// event.original, and what is known of it.
func goldenDocument(t *testing.T, w *Worker, input string) string {
	t.Helper()
	record, err := os.ReadFile(input)
	if err != nil {
		t.Fatal(err)
	}
	record = bytes.TrimSpace(record)
	in := Input{
		Origin:   &event.Origin{Namespace: "ns.servicebus.windows.net/insights/3", TenantID: "11111111-2222-3333-4444-555555555555"},
		Position: 42, Number: 7,
		Enqueued: time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	out, r := append1(t, w, in, string(record))
	checkOriginal(t, out, record)
	var got bytes.Buffer
	if err := json.Indent(&got, removeOriginal(t, out), "", "  "); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&got, "\n// id %s\n// time %s\n// log type %s\n", r.ID, r.Time.Format(time.RFC3339Nano), r.LogType)
	return got.String()
}

// leavesOf takes a golden document apart.
func leavesOf(t *testing.T, golden string) (leaves map[string]string, result string) {
	t.Helper()
	doc, result, _ := strings.Cut(golden, "\n// ")
	var v any
	if err := json.Unmarshal([]byte(doc), &v); err != nil {
		t.Fatal(err)
	}
	leaves = map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if m, ok := v.(map[string]any); ok {
			for k, v := range m {
				walk(strings.TrimPrefix(path+"."+k, "."), v)
			}
			return
		}
		leaves[path] = fmt.Sprintf("%T %v", v, v)
	}
	walk("", v)
	return leaves, result
}

func checkOriginal(t *testing.T, doc string, record []byte) {
	t.Helper()
	var d struct {
		Event struct{ Original string }
	}
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		t.Fatal(err)
	}
	if d.Event.Original != string(record) {
		t.Errorf("event.original is not the record:\n got %q\nwant %q", d.Event.Original, record)
	}
}

// removeOriginal cuts event.original, which is never the first member of event,
// out of a document: it only repeats the input.
func removeOriginal(t *testing.T, doc string) []byte {
	t.Helper()
	var x jsonscan.Index
	if _, err := x.Scan([]byte(doc)); err != nil {
		t.Fatal(err)
	}
	n := x.Nodes[x.Member(x.Member(0, "event"), "original")]
	return []byte(strings.TrimSuffix(doc[:n.KeyStart-1], ",") + doc[n.End:])
}
