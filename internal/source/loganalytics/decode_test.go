package loganalytics

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/source/window"
)

// read decodes an answer into objects.
func read(in io.Reader, w *rowWriter) (bodies []string, reported *apiError, err error) {
	w.yield = func(r window.Row) error {
		bodies = append(bodies, string(r.Payload.Body))
		return nil
	}
	reported, err = newDecoder(in).answer(w)
	return bodies, reported, err
}

const sample = `{"tables":[{"name":"PrimaryResult","columns":[{"name":"TimeGenerated","type":"datetime"},{"name":"Big","type":"long"},{"name":"Real","type":"real"},` +
	`{"name":"Text","type":"string"},{"name":"Json","type":"dynamic"},{"name":"Ok","type":"bool"},{"name":"lazuli_ingested","type":"datetime"}],"rows":[` +
	`["2026-01-01T00:00:00.1234567Z",9007199254740993,0.1000000000000000055511151231257827,"a\"b\\","{\"n\":1e400}",true,"2026-01-01T00:00:01.0000001Z"],` + "\n" +
	` [ null , -1 , "NaN", "", null, false, "2026-01-01T00:00:02Z" ] ]}],"statistics":{"query":{"executionTime":0.1,"x":[1,{"y":"}"}]}},"render":null}`

func TestRowsKeepTheirBytes(t *testing.T) {
	want := []string{
		`{"TimeGenerated":"2026-01-01T00:00:00.1234567Z","Big":9007199254740993,"Real":0.1000000000000000055511151231257827,"Text":"a\"b\\","Json":"{\"n\":1e400}","Ok":true,"Type":"T_CL"}`,
		`{"Big":-1,"Real":"NaN","Ok":false,"Type":"T_CL"}`,
	}
	for name, in := range map[string]io.Reader{
		"whole": strings.NewReader(sample), "byte by byte": iotest.OneByteReader(strings.NewReader(sample)), "with its end": iotest.DataErrReader(strings.NewReader(sample)),
	} {
		var rows []window.Row
		w := &rowWriter{table: "T_CL", yield: func(r window.Row) error { rows = append(rows, r); return nil }}
		reported, err := newDecoder(in).answer(w)
		if err != nil || reported != nil {
			t.Fatalf("%s: %v, %v", name, reported, err)
		}
		var got []string
		for _, r := range rows {
			got = append(got, string(r.Payload.Body))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if at := time.Date(2026, 1, 1, 0, 0, 1, 100, time.UTC); !rows[0].Payload.Enqueued.Equal(at) || rows[0].Payload.Position != 17672256010000001 {
			t.Errorf("%s: taken in at %v, position %d; want %v", name, rows[0].Payload.Enqueued, rows[0].Payload.Position, at)
		}
	}
}

// Equal rows of tables whose rows have no id differ by the time at which they
// were taken in; with an id of their own they are one.
func TestIdentityOfRows(t *testing.T) {
	answer := func(ingested string) io.Reader {
		return strings.NewReader(`{"tables":[{"name":"x","columns":[{"name":"A","type":"long"},{"name":"lazuli_ingested","type":"datetime"}],"rows":[[1,"` + ingested + `"]]}]}`)
	}
	identity := func(unique bool, ingested string) (id window.Identity) {
		w := &rowWriter{unique: unique, yield: func(r window.Row) error { id = r.ID; return nil }}
		if _, err := newDecoder(answer(ingested)).answer(w); err != nil {
			t.Fatal(err)
		}
		return id
	}
	const first, second = "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.0000001Z"
	again := identity(false, first)
	if identity(false, first) == identity(false, second) || identity(false, first) != again {
		t.Error("rows without an id: want the time to tell them apart, and only that")
	}
	if identity(true, first) != identity(true, second) {
		t.Error("rows with an id: want the time not to matter")
	}
}

// An answer that is cut anywhere, or is something else, is an error: never a
// smaller answer.
func TestDamagedAnswersAreErrors(t *testing.T) {
	for n := range len(sample) {
		if _, _, err := read(strings.NewReader(sample[:n]), &rowWriter{}); err == nil {
			t.Fatalf("cut after %d bytes, %q: no error", n, sample[max(0, n-20):n])
		}
	}
	broken := errors.New("connection reset")
	if _, _, err := read(io.MultiReader(strings.NewReader(sample[:300]), iotest.ErrReader(broken)), &rowWriter{}); !errors.Is(err, broken) {
		t.Errorf("a broken connection: %v; want its error", err)
	}
	for _, bad := range []string{
		"", "null", "[]", "<html>busy</html>", `{"tables":{}}`, `{"tables":[{"rows":[[1]]}]}`, sample + "x", `{"tables":[]}{}`,
		`{"tables":[{"name":"x","columns":[{"name":"A","type":"long"}],"rows":[[1,2]]}]}`,
		`{"tables":[{"name":"x","columns":[{"name":"A","type":"long"}],"rows":[[nil]]}]}`,
		`{"tables":[{"name":"x","columns":[{"name":"A","type":"long"}],"rows":[[1 2]]}]}`,
		`{"tables":[{"name":"x","columns":[{"name":"lazuli_ingested","type":"datetime"}],"rows":[["yesterday"]]}]}`,
		`{"error":"x"}`, `{"x":` + strings.Repeat("[", 1000),
	} {
		if _, _, err := read(strings.NewReader(bad), &rowWriter{}); !errors.Is(err, errDamaged) && !errors.Is(err, io.EOF) {
			t.Errorf("%.60q: error %v; want one of a damaged answer", bad, err)
		}
	}
}

func TestErrorsInAnswers(t *testing.T) {
	const partial = `{"code":"PartialError","message":"There were some errors when processing your query.","details":[{"code":"EngineError","message":"Something went wrong processing your query on the server.",` +
		`"innererror":{"code":"-2133196797","message":"The results of this query exceed the set limit of 64000000 bytes, so not all records were returned (E_QUERY_RESULT_SET_TOO_LARGE, 0x80DA0003, ...)","severity":2,"severityName":"Error"}}]}`
	for _, text := range []string{`{"tables":[],"error":` + partial + `}`, `{"error":` + partial + `,"tables":[]}`} {
		_, reported, err := read(strings.NewReader(text), &rowWriter{})
		if err != nil || reported == nil || !truncated(reported) || !strings.Contains(reported.Error(), "64000000 bytes") {
			t.Errorf("%.40s: %v, %v; want the error that it is truncated", text, reported, err)
		}
	}
	other := &apiError{Code: "PartialError", Details: []apiError{{Code: "EngineError", Inner: &apiError{Code: "-2146233088", Message: "Unable to find shard"}}}}
	if truncated(other) {
		t.Error("another error of the engine is taken for one of size")
	}
}

// TestCorpus reads the answers and exports of the shared corpus
// ($LAZULI_SHARED/corpus) and loses no value. It is skipped where that is not at
// hand.
func TestCorpus(t *testing.T) {
	shared := os.Getenv("LAZULI_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "..", "shared")
	}
	root := filepath.Join(shared, "corpus")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no corpus: %v", err)
	}
	open := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	// check compares what comes out with the rows that go in.
	check := func(name string, answer []byte, want int) {
		bodies, reported, err := read(bytes.NewReader(answer), &rowWriter{})
		if err != nil || reported != nil || len(bodies) != want {
			t.Errorf("%s: %d rows, %v, %v; want %d", name, len(bodies), reported, err, want)
			return
		}
		var parsed struct {
			Tables []struct {
				Columns []column
				Rows    [][]json.RawMessage
			}
		}
		if err := json.Unmarshal(answer, &parsed); err != nil {
			t.Fatal(err)
		}
		for i, body := range bodies {
			var row map[string]json.RawMessage
			if err := json.Unmarshal([]byte(body), &row); err != nil {
				t.Fatalf("%s: %v in %s", name, err, body)
			}
			for at, cell := range parsed.Tables[0].Rows[i] {
				got := row[parsed.Tables[0].Columns[at].Name]
				if string(got) != string(cell) && !(got == nil && empty(cell)) {
					t.Errorf("%s: row %d, %s is %s; want %s", name, i, parsed.Tables[0].Columns[at].Name, got, cell)
				}
			}
		}
	}
	check("wazuh", open("wazuh/log_analytics_api/log_analytics_events.json"), 2)
	check("wazuh, nothing", open("wazuh/log_analytics_api/log_analytics_events_no_results.json"), 0)
	// Exports, as the answers that they were.
	asAnswer := func(columns []string, rows [][]any) []byte {
		named := []column{}
		for _, c := range columns {
			named = append(named, column{Name: c, Type: "string"})
		}
		// Members of a map are written in the order of their names: columns before rows.
		text, err := json.Marshal(map[string]any{"tables": []any{map[string]any{"name": "PrimaryResult", "columns": named, "rows": rows}}})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, name := range []string{
		"sentinel/signinlogs_la/sign-in_adelete_first7.csv", "sentinel/azureactivity_la/azureActivity_adele_first2.csv",
		"msticpy/securityalert_la/alertlist_first25.csv", "msticpy/nta_la/az_net_flows_first60.csv",
	} {
		lines, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(open(name), []byte("\xef\xbb\xbf")))).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rows := [][]any{}
		for _, line := range lines[1:] {
			row := []any{}
			for _, cell := range line {
				row = append(row, cell)
			}
			rows = append(rows, row)
		}
		check(name, asAnswer(lines[0], rows), len(lines)-1)
	}
	for _, name := range []string{"otrf/loganalytics_auditlogs/AADAuditEvents.json", "otrf/officeactivity/OfficeActivityEvents.json", "otrf/defender365/Microsoft365DefenderEvents.json"} {
		total := 0
		for line := range bytes.Lines(open(name)) {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			var row map[string]any
			d := json.NewDecoder(bytes.NewReader(line))
			d.UseNumber()
			if err := d.Decode(&row); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			columns, cells := []string{}, []any{}
			for c, v := range row {
				columns, cells = append(columns, c), append(cells, v)
			}
			check(name, asAnswer(columns, [][]any{cells}), 1)
			total++
		}
		t.Logf("%s: %d rows", name, total)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"error":{"code":"PartialError","details":[{"innererror":{"line":1}}]},"tables":[{"columns":[],"rows":[[],[]]}]}`))
	f.Add([]byte(`{"tables":[{"name":"x","columns":[{"name":"A\"","type":"long"}],"rows":[[{"a":[1,"\\"]}],["\u00e9"]]}]} `))
	f.Fuzz(func(t *testing.T, answer []byte) {
		bodies, _, err := read(bytes.NewReader(answer), &rowWriter{table: "T"})
		slow, _, err2 := read(iotest.OneByteReader(bytes.NewReader(answer)), &rowWriter{table: "T"})
		if (err == nil) != (err2 == nil) || cmp.Diff(bodies, slow) != "" {
			t.Fatalf("in one piece %q, %v; byte by byte %q, %v", bodies, err, slow, err2)
		}
		if !json.Valid(answer) {
			return
		}
		// What is JSON gives JSON, with the same values.
		for _, b := range bodies {
			if !json.Valid([]byte(b)) {
				t.Fatalf("row %q is no JSON", b)
			}
		}
	})
}
