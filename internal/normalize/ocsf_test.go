package normalize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/normalize/ocsf"
)

// checkOCSF fails if an event is not what the schema allows.
func checkOCSF(t testing.TB, doc []byte) {
	t.Helper()
	schema, err := ocsf.Load()
	if err != nil {
		t.Fatal(err)
	}
	if errs := schema.Validate(doc); errs != nil {
		t.Fatalf("%v\nin %s", errors.Join(errs...), doc)
	}
}

// TestOCSFGolden holds the event of each testdata/<case>/input.json that has a
// want_ocsf.json against it; -update accepts what is given now.
func TestOCSFGolden(t *testing.T) {
	wants, err := filepath.Glob("testdata/*/want_ocsf.json")
	if err != nil || len(wants) == 0 {
		t.Fatalf("found %d cases: %v", len(wants), err)
	}
	w := compile(t, OCSF, DefaultOptions()).Worker()
	for _, name := range wants {
		dir := filepath.Dir(name)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := goldenEvent(t, w, filepath.Join(dir, "input.json"))
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

// goldenEvent returns the event of a record, indented and without raw_data.
func goldenEvent(t *testing.T, w *Worker, input string) string {
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
	out, _ := append1(t, w, in, string(record))
	checkOCSF(t, []byte(out))
	var got bytes.Buffer
	if err := json.Indent(&got, cutRawData(t, out, record), "", "  "); err != nil {
		t.Fatal(err)
	}
	return got.String() + "\n"
}

// cutRawData checks that raw_data is the record and cuts it out: it only
// repeats the input.
func cutRawData(t *testing.T, doc string, record []byte) []byte {
	t.Helper()
	var x jsonscan.Index
	if _, err := x.Scan([]byte(doc)); err != nil {
		t.Fatal(err)
	}
	n := x.Member(0, "raw_data")
	if n < 0 {
		t.Fatalf("no raw_data in %s", doc)
	}
	if got := jsonscan.AppendUnescaped(nil, x.Text(n)); !bytes.Equal(got, record) {
		t.Errorf("raw_data is not the record:\n got %q\nwant %q", got, record)
	}
	node := x.Nodes[n]
	return []byte(strings.TrimSuffix(doc[:node.KeyStart-1], ",") + doc[node.End:])
}

// TestOCSFOfAllCases: the records of all cases, whatever they show, are valid
// events, with and without the original.
func TestOCSFOfAllCases(t *testing.T) {
	workers := []*Worker{compile(t, OCSF, DefaultOptions()).Worker(), compile(t, OCSF, Options{}).Worker()}
	inputs, err := filepath.Glob("testdata/*/input*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range inputs {
		record, err := os.ReadFile(input)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range workers {
			out, _ := append1(t, w, Input{}, string(bytes.TrimSpace(record)))
			checkOCSF(t, []byte(out))
			if strings.Contains(out, `"raw_data"`) != (i == 0) {
				t.Errorf("%s: keep_original %v: %s", input, i == 0, out)
			}
		}
	}
}

// TestOCSFOfHostileValues: the records of all cases, with values in them
// replaced by what their fields do not expect, are valid events.
func TestOCSFOfHostileValues(t *testing.T) {
	hostile := []string{
		`""`, `" "`, `"x"`, `0`, `-1`, `1e400`, `1.5`, `99`, `123456789012345678901234567890`, `true`, `null`, `{}`, `[]`, `[[1]]`, `{"":""}`,
		`{"id":1,"type":"User","key":"User-Agent","value":{},"displayName":[]}`, `["a",null,{"type":"User"}]`, `"300.1.2.3"`, `"::1%eth0"`, `"10.0.0.1:70000"`,
		`"http://a b/"`, `"https://x.example:443/%zz"`, `"//h"`, `"a@b"`, `"-.-"`, `"zz:zz"`, `"2026-13-45"`, `"other"`, `"\ud800\u0000\"\\"`, `"{\"a\":1"`,
		`"` + strings.Repeat("long ", 2000) + `"`, `"😀"`, `"1,2,3,4,5,6,7,8,9,10,11,12,13"`, `",,,,,,,,,,,,"`, `"TCP request from :: to ]. Action: . Url: . Signature: "`,
	}
	inputs, err := filepath.Glob("testdata/*/input*.json")
	if err != nil {
		t.Fatal(err)
	}
	w := compile(t, OCSF, DefaultOptions()).Worker()
	r := rand.New(rand.NewPCG(1, 2))
	for _, input := range inputs {
		data, err := os.ReadFile(input)
		if err != nil {
			t.Fatal(err)
		}
		var x jsonscan.Index
		if _, err := x.Scan(data); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			share := r.IntN(12) + 1
			record := string(replaceValues(nil, &x, 0, func(n int) []byte {
				name := string(x.Key(n))
				if n == 0 || name == "category" || name == "Type" || r.IntN(share) > 0 || x.Nodes[n].Kind >= jsonscan.Object && r.IntN(4) > 0 {
					return nil
				}
				return []byte(hostile[r.IntN(len(hostile))])
			}))
			var y jsonscan.Index
			if _, err := y.Scan([]byte(record)); err != nil {
				t.Fatalf("the test made no JSON: %v\n%s", err, record)
			}
			out, result := w.Append(nil, Input{Index: &y})
			checkEvent(t, out, result)
			checkOCSF(t, out)
		}
	}
}

// replaceValues appends node n with what by gives for it and the nodes in it in
// their place.
func replaceValues(dst []byte, x *jsonscan.Index, n int, by func(int) []byte) []byte {
	if other := by(n); other != nil {
		return append(dst, other...)
	}
	kind := x.Nodes[n].Kind
	if kind < jsonscan.Object {
		return append(dst, x.Value(n)...)
	}
	dst = append(dst, map[jsonscan.Kind]byte{jsonscan.Object: '{', jsonscan.Array: '['}[kind])
	for c := range x.Children(n) {
		if c > n+1 {
			dst = append(dst, ',')
		}
		if kind == jsonscan.Object {
			dst = fmt.Appendf(dst, `"%s":`, x.Key(c))
		}
		dst = replaceValues(dst, x, c, by)
	}
	return append(dst, map[jsonscan.Kind]byte{jsonscan.Object: '}', jsonscan.Array: ']'}[kind])
}

// TestOCSFOfCorpus reads every file of the shared corpus of public samples
// ($LAZULI_SHARED/corpus), and is skipped where that is not at hand: every
// record is one valid event, and of a known type one of a class that says what
// happened.
func TestOCSFOfCorpus(t *testing.T) {
	shared := os.Getenv("LAZULI_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	root := filepath.Join(shared, "corpus")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no corpus: %v", err)
	}
	w := compile(t, OCSF, DefaultOptions()).Worker()
	counts := map[string]int{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		payload, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		var d decode.Decoder
		d.Decode(payload, func(r *decode.Record) {
			out, result := w.Append(nil, Input{Index: r.Index, Node: r.Node, Raw: r.Raw, Number: r.Number})
			checkEvent(t, out, result)
			checkOCSF(t, out)
			var e struct {
				Class string `json:"class_name"`
			}
			if err := json.Unmarshal(out, &e); err != nil {
				t.Fatal(err)
			}
			counts[result.LogType+": "+e.Class]++
			if e.Class == "Base Event" && result.LogType != UnknownLogType {
				t.Errorf("%s: a record of type %s is only a base event: %.300s", name, result.LogType, out)
			}
		}, func(decode.Bad) {})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| log type | class | records |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		logType, class, _ := strings.Cut(name, ": ")
		fmt.Fprintf(&b, "| `%s` | %s | %d |\n", logType, class, counts[name])
	}
	if t.Log(b.String()); *update { // a measurement, so it is only written
		checkDocs(t, "ocsf.md", "counts", b.String())
	}
}

// ocsfOf compiles a user's file for OCSF and gives it a record.
func ocsfOf(t *testing.T, table, record string) string {
	t.Helper()
	w := compile(t, OCSF, Options{Files: []File{{"user.yaml", []byte("schema: ocsf\n" + table)}}}).Worker()
	out, _ := append1(t, w, Input{}, record)
	checkOCSF(t, []byte(out))
	return out
}

const doors = `
define: [{name: door, category: Doors}]
log_types: [door]
include: [base]
`

func TestOCSFRows(t *testing.T) {
	for _, c := range []struct {
		name, table, record string
		want                []string
		lacks               []string
	}{
		{
			name: "the first class whose conditions hold",
			table: `
classes:
  - {class: application_lifecycle, when: {op: [start*, "*stop"]}, fields: [{to: app.name, value: x}, {to: activity_id, from: op, map: {start*: Start, "*stop": Stop}}]}
  - {class: base_event}`,
			record: `{"category":"Doors","op":"Full STOP"}`,
			want:   []string{`"class_uid":6002`, `"activity_id":4,"activity_name":"Stop"`, `"type_uid":600204`, `"type_name":"Application Lifecycle: Stop"`},
		},
		{
			name:   "the last class takes the others",
			table:  "\nclasses:\n  - {class: application_lifecycle, when: {op: start}, fields: [{to: app.name, value: x}]}\n  - {class: base_event}",
			record: `{"category":"Doors","op":"open"}`,
			want:   []string{`"class_uid":0`, `"type_uid":0`},
		},
		{
			name:   "an unknown value of an enum is Other, with its text",
			table:  "\nclasses: [{class: base_event}]\nfields: [{to: status_id, from: s, map: {good: Success, '*': Other}}]",
			record: `{"category":"Doors","s":"So \"so\""}`,
			want:   []string{`"status":"So \"so\"","status_id":99`},
			lacks:  []string{`"s":`},
		},
		{
			name:   "a caption is its own map",
			table:  "\nclasses: [{class: base_event}]\nfields: [{to: status_id, from: s}]",
			record: `{"category":"Doors","s":"FAILURE"}`,
			want:   []string{`"status":"Failure","status_id":2`},
		},
		{
			name:   "an object that lacks what it needs is none, and its values are unmapped",
			table:  "\nclasses: [{class: network_activity}]\nfields: [{to: src_endpoint.ip, from: ip}, {to: src_endpoint.port, from: port}, {to: src_endpoint, fallback: {name: nowhere}}]",
			record: `{"category":"Doors","ip":"300.1.1.1","port":"443"}`,
			want:   []string{`"src_endpoint":{"name":"nowhere"}`, `"unmapped":{"ip":"300.1.1.1","port":"443"}`},
			lacks:  []string{`observables`},
		},
		{
			name:   "values of a type that does not take them are unmapped",
			table:  "\nclasses: [{class: api_activity}]\nfields: [{to: duration, from: d}, {to: count, from: c}, {to: start_time, from: t}, {to: src_endpoint.hostname, from: h}, {to: src_endpoint.mac, from: m}, {to: src_endpoint, fallback: {name: x}}, {to: actor.app_name, value: x}, {to: api.operation, value: x}, {to: http_request.url.url_string, from: u}]",
			record: `{"category":"Doors","d":1.5,"c":3000000000,"t":"soon","h":"a b","m":"00-0D-3A","u":"http://x y/"}`,
			want:   []string{`"unmapped":{"d":1.5,"c":3000000000,"t":"soon","h":"a b","m":"00-0D-3A","u":"http://x y/"}`},
			lacks:  []string{`"duration"`, `"count"`, `"start_time"`, `"hostname"`, `"mac"`, `"url"`},
		},
		{
			name:   "values are put into the form of their type",
			table:  "\nclasses: [{class: api_activity}]\nfields: [{to: duration, from: d}, {to: start_time, from: t}, {to: src_endpoint.ip, from: a}, {to: src_endpoint.port, from: a}, {to: src_endpoint.mac, from: m}, {to: src_endpoint, fallback: {name: x}}, {to: actor.app_name, value: x}, {to: api.operation, from: o}, {to: api, fallback: {operation: x}}]",
			record: `{"category":"Doors","d":"15.00","t":"8/22/2022 6:11:52 PM","a":"[2001:db8::1]:443","m":"000D3AF87856","o":{"a":[1]}}`,
			want:   []string{`"duration":15`, `"start_time":1661191912000`, `"ip":"2001:db8::1"`, `"mac":"00:0D:3A:F8:78:56"`, `"port":443`, `"operation":"{\"a\":[1]}"`},
			lacks:  []string{`unmapped`},
		},
		{
			name:   "an object of each value",
			table:  "\nclasses: [{class: api_activity}]\nfields: [{to: 'resources[0].name', from: main}, {to: 'resources[]', each: 'list[*]', unless: {kind: door}, fields: [{to: uid, from: id}, {to: 'labels[]', from: 'tags[*]'}]}, {to: actor.app_name, value: x}, {to: api.operation, value: x}, {to: src_endpoint.name, value: x}]",
			record: `{"category":"Doors","main":"m","list":[{"id":"a","kind":"door"},{"kind":"wall"},{"id":"b","tags":["t",1]},7]}`,
			want:   []string{`"resources":[{"name":"m"},{"labels":["t","1"],"uid":"b"}]`, `"unmapped":{"list":[{"id":"a","kind":"door"},{"kind":"wall"},7]}`, `{"name":"resources[].uid","type":"Resource UID","type_id":99,"value":"b"}`},
		},
		{
			name:   "an object of the first value that makes one",
			table:  "\nclasses: [{class: account_change}]\nfields: [{to: user, each: 'list[*]', when: {kind: user}, fields: [{to: name, from: n}]}, {to: user.uid, from: actor}, {to: user, fallback: {name: nobody}}]",
			record: `{"category":"Doors","list":[{"n":"a"},{"kind":"user"},{"kind":"user","n":"b"},{"kind":"user","n":"c"}],"actor":"d"}`,
			want:   []string{`"user":{"name":"b"}`, `"actor":"d"`},
		},
		{
			name:   "an item with a name",
			table:  "\nclasses: [{class: base_event}]\nfields: [{to: message, from: 'p[key=door name].value', as: unquote}]",
			record: `{"category":"Doors","p":[{"key":"x","value":"1"},{"key":"door name","value":"\"a \\\"b\\\"\""}]}`,
			want:   []string{`"message":"a \"b\""`},
		},
		{
			name:   "a list from one text, and a list that would be empty",
			table:  "\nclasses: [{class: user_access}]\nfields: [{to: user.name, value: x}, {to: 'privileges[]', from: p, as: split blank}, {to: 'privileges[]', fallback: [none]}, {to: 'metadata.labels[]', from: l, as: split ;}]",
			record: `{"category":"Doors","l":"a; b;;a"}`,
			want:   []string{`"privileges":["none"]`, `"labels":["a","b","time_assumed"]`},
		},
		{
			name:   "a map with a name",
			table:  "\nmaps: {outcome: {good: Success, bad: Failure}}\nclasses: [{class: base_event}]\nfields: [{to: status_id, from: s, map: outcome}]",
			record: `{"category":"Doors","s":"bad"}`,
			want:   []string{`"status_id":2`},
		},
		{
			name:   "an attribute of a profile names it",
			table:  "\nclasses: [{class: base_event}]\nfields: [{to: action_id, value: Allowed}]",
			record: `{"category":"Doors"}`,
			want:   []string{`"profiles":["cloud","security_control"]`, `"action":"Allowed","action_id":1`},
		},
		{
			name:   "what is removed is not written",
			table:  "\nclasses: [{class: base_event}]\nremove: [observables, unmapped]\nfields: [{to: actor.user.name, from: n}]",
			record: `{"category":"Doors","n":"ada","m":1}`,
			want:   []string{`"actor":{"user":{"name":"ada"}}`},
			lacks:  []string{"observables", "unmapped"},
		},
		{
			name:   "a record that is no object",
			table:  "\nclasses: [{class: base_event}]",
			record: `[1,{"a":null}]`,
			want:   []string{`"unmapped":{"record":[1,{}]}`, `"time":0`},
		},
		{
			name:   "a number in the form of another",
			table:  "\nclasses: [{class: base_event}]\nfields: [{to: duration, from: s, as: scale 1000}]",
			record: `{"category":"Doors","s":"0.0134"}`,
			want:   []string{`"duration":13`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := ocsfOf(t, doors+c.table, c.record)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("lacks %s:\n%s", want, out)
				}
			}
			for _, lacks := range c.lacks {
				if strings.Contains(out, lacks) {
					t.Errorf("has %s:\n%s", lacks, out)
				}
			}
		})
	}
}

// TestOCSFUserFiles: a user's file adds rows and classes to a built-in table.
func TestOCSFUserFiles(t *testing.T) {
	record := `{"category":"SignInLogs","resultType":"0","properties":{"userPrincipalName":"ada@example.org","appDisplayName":"Kiosk","badge":"17"}}`
	out := ocsfOf(t, "log_types: [entra_signin]\nremove: [is_remote]\nfields:\n - {to: user.uid_alt, from: properties.badge}", record)
	for _, want := range []string{`"uid_alt":"17"`, `"name":"ada@example.org"`} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %s: %s", want, out)
		}
	}
	if strings.Contains(out, "is_remote") {
		t.Errorf("has what was removed: %s", out)
	}
	out = ocsfOf(t, "log_types: [entra_signin]\nclasses:\n - {class: application_lifecycle, when: {properties.appDisplayName: kiosk}, fields: [{to: app.name, value: kiosk}, {to: activity_id, value: Start}]}", record)
	if !strings.Contains(out, `"type_uid":600203`) {
		t.Errorf("not the user's class: %s", out)
	}
	// A file for ECS adds nothing but its definitions.
	m := compile(t, OCSF, Options{Files: []File{{"user.yaml", []byte("define: [{name: door, category: Doors}]\nlog_types: [door, entra_signin]\nfields: [{to: user.color, value: red}]")}}})
	out, r := append1(t, m.Worker(), Input{}, `{"category":"Doors"}`)
	if checkOCSF(t, []byte(out)); r.LogType != "door" || strings.Contains(out, "red") {
		t.Errorf("%v %s", r, out)
	}
}

func TestOCSFCompileErrors(t *testing.T) {
	builtins, err := builtinFiles(OCSF)
	if err != nil {
		t.Fatal(err)
	}
	base := doors + "classes: [{class: base_event}]\nfields:\n"
	for _, c := range []struct{ name, file, want string }{
		{"unknown schema", "schema: ocfs", `user.yaml:1: schema: a table is for ecs or ocsf, not for "ocfs"`},
		{"unknown class", "schema: ocsf" + doors + "classes: [{class: doors}]", `user.yaml:5: class doors: there is no such class; the classes are account_change`},
		{"no class", "schema: ocsf" + doors, `log type "door" has no class`},
		{"class without a name", "schema: ocsf\nclasses:\n - {when: {a: b}}", "user.yaml:3: a class needs class"},
		{"last class with a condition", "schema: ocsf" + doors + "classes:\n - {class: base_event, when: {a: b}}", "user.yaml:6: class base_event: the last class must take every record"},
		{"class that is never chosen", "schema: ocsf" + doors + "classes:\n - {class: base_event}\n - {class: base_event}", "user.yaml:6: class base_event: it takes every record"},
		{"unknown attribute", "schema: ocsf" + base + " - {to: colour, from: a}", "user.yaml:7: field colour: OCSF knows no attribute colour of base_event"},
		{"unknown attribute of an object", "schema: ocsf" + base + " - {to: actor.user.colour, from: a}", "user.yaml:7: field actor.user.colour: OCSF knows no attribute colour of user"},
		{"list without brackets", "schema: ocsf" + base + " - {to: metadata.labels, from: a}", "write labels[]"},
		{"brackets without a list", "schema: ocsf" + base + " - {to: 'message[]', from: a}", "OCSF knows no attribute message[] of base_event"},
		{"object as a value", "schema: ocsf" + base + " - {to: actor, from: a}", "it is an object: write the attributes in it, as in actor.app_name"},
		{"number in a list", "schema: ocsf" + base + " - {to: 'metadata.tags[99].name', from: a}", "from 0 to 15"},
		{"constant of another type", "schema: ocsf" + base + " - {to: duration, value: long}", `"long" is no value of the attribute's type`},
		{"constant that is no address", "schema: ocsf" + base + " - {to: actor.user.email_addr, value: ada}", `"ada" is no value of the attribute's type`},
		{"caption that the enum lacks", "schema: ocsf" + base + " - {to: status_id, value: Perfect}", `"Perfect" is no value of it; the values are Unknown, Success, Failure, Other`},
		{"caption that the enum lacks in a map", "schema: ocsf" + base + " - {to: status_id, from: a, map: {x: Perfect}}", `"Perfect" is no value of it`},
		{"caption beside its id", "schema: ocsf" + base + " - {to: status_id, value: Success}\n - {to: status, value: Success}", "status is set by the attribute with the id"},
		{"computed attribute", "schema: ocsf" + base + " - {to: type_uid, value: 1}", "it is computed; remove the row"},
		{"transform that the type does", "schema: ocsf" + base + " - {to: duration, from: a, as: number}", `as: "number" does not go with OCSF`},
		{"map that there is not", "schema: ocsf" + base + " - {to: status_id, from: a, map: outcomes}", `there is no map "outcomes"`},
		{"fallback that is not enough", "schema: ocsf" + base + " - {to: actor, fallback: {user: {name: x}}}", "it is an object"},
		{"fallback without what is needed", "schema: ocsf" + base + " - {to: actor.idp, fallback: {domain: x}}", "the fallback itself lacks one of name, uid"},
		{"each without fields", "schema: ocsf" + base + " - {to: actor.user, each: a}", "each and fields go together"},
		{"mistake in fields", "schema: ocsf" + base + " - to: actor.user\n   each: a\n   fields:\n    - {to: colour, from: a}", "line 10: colour: OCSF knows no attribute colour of user"},
		{"required attribute that may be missing", "schema: ocsf" + doors + "classes:\n - {class: application_lifecycle, fields: [{to: app.name, from: a}]}", "user.yaml:6: class application_lifecycle: an event could be without app; add a last row"},
		{"one of several that may all be missing", "schema: ocsf" + doors + "classes:\n - {class: network_activity, fields: [{to: src_endpoint.ip, from: a}]}", "an event could be without one of dst_endpoint, src_endpoint"},
		{"attribute of a profile that the class lacks", "schema: ocsf" + base + " - {to: verdict_id, value: Benign}", "OCSF knows no attribute verdict_id of base_event"},
		{"classes for ECS", "classes: [{class: base_event}]", "only OCSF has classes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := compileFiles(OCSF, builtins, Options{Files: []File{{"user.yaml", []byte(c.file)}}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	if _, err := Compile(ECS, Options{Files: []File{{"user.yaml", []byte("log_types: [unknown]\nfields: [{to: a, fallback: {}}]")}}}); err == nil || !strings.Contains(err.Error(), "each and fallback go with OCSF") {
		t.Errorf("fallback in ECS: %v", err)
	}
}

// TestOCSFMapsEveryLogType: no known type is only a base event.
func TestOCSFMapsEveryLogType(t *testing.T) {
	m := compile(t, OCSF, DefaultOptions())
	for i, logType := range m.detector.types {
		for _, c := range m.programs[i].classes {
			if c.spec.class == "base_event" && logType.name != UnknownLogType {
				t.Errorf("%s may be a base event", logType.name)
			}
		}
	}
}

// TestOCSFDocs holds docs/ocsf.md against the tables; -update rewrites it.
func TestOCSFDocs(t *testing.T) {
	m := compile(t, OCSF, DefaultOptions())
	schema, err := ocsf.Load()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| log type | class | when |\n|---|---|---|\n")
	for i, logType := range m.detector.types {
		for _, c := range m.programs[i].classes {
			class := schema.Classes[c.spec.class]
			var conds []string
			never := false
			for _, cond := range c.spec.conds {
				if cond.path == "$log_type" {
					never = never || !slices.Contains(cond.values, logType.name)
					continue
				}
				is := "is"
				if cond.negate {
					is = "is not"
				}
				values := strings.Join(cond.values, "`, `")
				if cond.any {
					values = "*"
				}
				conds = append(conds, fmt.Sprintf("`%s` %s `%s`", cond.path, is, values))
			}
			if never {
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %s %d | %s |\n", logType.name, class.Caption, class.UID, strings.Join(conds, "; "))
			if conds == nil {
				break
			}
		}
	}
	checkDocs(t, "ocsf.md", "classes", b.String())
}

// TestOCSFReadme: the example in README.md compiles and maps.
func TestOCSFReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(readme), "```yaml\nschema: ocsf\n")
	example, _, _ = strings.Cut(example, "```")
	if !found {
		t.Fatal("README.md has no example of a table of OCSF")
	}
	for record, want := range map[string]string{
		`{"category":"DoorEvents","operationName":"Show badge","properties":{"opened":true,"badge":{"owner":"ada"}}}`:                                `"user":{"uid":"ada"}`,
		`{"category":"DoorEvents","operationName":"Open","properties":{"doors":[{"kind":"wall","id":"w"},{"kind":"door","id":"d1","name":"East"}]}}`: `"resources":[{"name":"East","uid":"d1"}]`,
	} {
		if out := ocsfOf(t, example, record); !strings.Contains(out, want) {
			t.Errorf("lacks %s: %s", want, out)
		}
	}
}

// TestOCSFForms: the record of a case in other forms, input_<form>.json, gives
// the same event but for what nothing is mapped to and what the form does not have.
func TestOCSFForms(t *testing.T) {
	w := compile(t, OCSF, DefaultOptions()).Worker()
	for _, dir := range goldenCases(t) {
		inputs, err := filepath.Glob(filepath.Join(dir, "input_*.json"))
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for _, input := range inputs {
			if want == "" {
				want = goldenEvent(t, w, filepath.Join(dir, "input.json"))
			}
			t.Run(filepath.Base(dir)+"/"+filepath.Base(input), func(t *testing.T) {
				if diff := cmp.Diff(comparable(t, want), comparable(t, goldenEvent(t, w, input))); diff != "" {
					t.Errorf("%s", diff)
				}
			})
		}
	}
}

// comparable returns an event without what forms do not all have: the members
// that Azure's envelope alone has, the time in the record's own writing, and
// what is left over.
func comparable(t *testing.T, doc string) (e map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(doc), &e); err != nil {
		t.Fatal(err)
	}
	delete(e, "unmapped")
	delete(e, "duration")
	metadata := e["metadata"].(map[string]any)
	for _, name := range []string{"log_level", "log_provider", "log_version", "original_time"} {
		delete(metadata, name)
	}
	delete(e["cloud"].(map[string]any), "region")
	return e
}
