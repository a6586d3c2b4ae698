package normalize

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// A twin makes every event twice: as it comes, and by a worker that knows no outlines.
type twin struct{ worker, plain *Worker }

func twins(t testing.TB, files ...File) (all []twin) {
	for _, schema := range []Schema{Raw, ECS, OCSF} {
		opts := DefaultOptions()
		opts.Files = files
		m := compile(t, schema, opts)
		plain := m.Worker()
		plain.outlines.off = true
		all = append(all, twin{m.Worker(), plain})
	}
	return all
}

// hold normalizes a record and says whether it was done by an outline.
func (w *twin) hold(t testing.TB, record []byte) (known bool) {
	t.Helper()
	var x jsonscan.Index
	n, err := x.Scan(record)
	if err != nil {
		return false
	}
	in := Input{Index: &x, Raw: record[:n], Enqueued: time.Unix(1, 0), Origin: &event.Origin{Namespace: "ns", Tenant: "t"}}
	want, wantResult := w.plain.Append(nil, in)
	got, result := w.worker.Append(nil, in)
	if !bytes.Equal(got, want) || fmt.Sprint(result) != fmt.Sprint(wantResult) {
		t.Fatalf("of %s\nthe outline makes %s %v\nwithout it is  %s %v", record, got, result, want, wantResult)
	}
	return w.worker.outline != nil
}

// goldenInputs returns the records of all golden cases.
func goldenInputs(t testing.TB) (records [][]byte) {
	names, err := filepath.Glob("testdata/*/input*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden cases: %v", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, bytes.TrimSpace(data))
	}
	return records
}

// TestOutlines holds the events of all golden cases, and of records like them, that
// are made by outlines against those that are made without.
func TestOutlines(t *testing.T) {
	var records [][]byte
	for _, data := range goldenInputs(t) {
		records = append(records, data,
			bytes.ReplaceAll(data, []byte(`""`), []byte(`null`)), bytes.ReplaceAll(data, []byte(`null`), []byte(`"x"`)),
			bytes.ReplaceAll(data, []byte(`[]`), []byte(`{}`)), bytes.ReplaceAll(data, []byte(`true`), []byte(`[{"a":null}]`)),
			bytes.ReplaceAll(data, []byte(`0`), []byte(`1`)), bytes.ReplaceAll(data, []byte(`:"`), []byte(`:"\u0041`)))
	}
	for _, w := range twins(t) {
		known := 0
		for range 4 {
			known = 0
			for _, r := range records {
				if w.hold(t, r) {
					known++
				}
			}
		}
		if known < len(records)/2 {
			t.Errorf("%s: only %d of %d records were known by an outline", w.worker.m.schema, known, len(records))
		}
	}
}

// TestOutlinesOfOtherValues changes the values of the golden cases one by one: nothing
// about values may have been settled with the outline.
func TestOutlinesOfOtherValues(t *testing.T) {
	others := []string{`null`, `""`, `"x"`, `17`, `"a \"quoted\" text"`, `true`, `"192.0.2.77"`, `"2026-05-06T07:08:09Z"`, `{}`, `[]`}
	known, all := 0, 0
	for _, w := range twins(t)[1:] {
		for i, record := range goldenInputs(t) {
			var x jsonscan.Index
			if n, err := x.Scan(record); err != nil || n < len(record) {
				continue // it is mended first
			}
			w.worker.outlines = outlines{}
			w.hold(t, record)
			w.hold(t, record)
			for n := range x.Nodes {
				node := &x.Nodes[n]
				if int(node.Next) > n+1 {
					continue
				}
				other := []byte(others[(i+n)%len(others)])
				if n%3 == 0 && node.Kind == jsonscan.String { // a part of the text is another
					other = slices.Clone(x.Value(n))
					other[len(other)/2] = '3'
				}
				if w.hold(t, slices.Concat(record[:node.Start], other, record[node.End:])) {
					known++
				}
				all++
			}
		}
	}
	if known < all/2 {
		t.Errorf("only %d of %d records were known by an outline", known, all)
	}
}

// TestOutlinesTellApart has records that differ in little: what an outline was
// learned of must not be taken for another.
func TestOutlinesTellApart(t *testing.T) {
	alike := []string{
		`{"category":"SignInLogs","properties":{"location":{"city":"x","state":"y"},"id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"location":{"city":"x"},"state":"y","id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"location":{"city":"x","state":"y","id":"12345678"}}}`,
		`{"category":"SignInLogs","properties":{"location":["city","x","y"],"id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"location":[["city"],"x"],"id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"location":[["city","x"]],"id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"location":[{"city":"x"}],"id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"location":"city","state":"x","code":"y","id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"location":null,"state":[],"code":{},"id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"location":null,"state":[],"code":{},"ie":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"userDisplayName":"x","servicePrincipalName1":"y","id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"userDisplayNamf":"x","servicePrincipalName1":"y","id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"userDisplayName":"x","serviceQrincipalName1":"y","id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"userDisplayName":"x","servicePrincipbmName1":"y","id":"12345678"}}`,
		`{"category":"SignInLogs","properties":{"id":"12345678","a name that is longer than thirty-two bytes":1}}`,
		`{"category":"SignInLogs","properties":{"id":"12345678","a name that is longer them thirty-two bytes":1}}`,
		`{"category":"SignInLogs","properties":{"id":"12345678","a name of thirty characters ..":1}}`,
		`{"category":"SignInLogs","properties":{"id":"12345678","a name of fhirty characters ..":1}}`,
		`{"category":"SignInLogs","properties":{"id":"12345678","a name of thirty cxaracters ..":1}}`,
		`{"category":"SignInLogs","properties":{"location":["x"],"":"y"}}`,
		`{"category":"SignInLogs","properties":{"location":"x","":"y"}}`,
		`{"category":"SignInLogs","properties":{"id":"12345678","\u0069d":"87654321"}}`,
		`{"category":"SignInLogs","properties":{"id":null,"id":"87654321"}}`,
		`{"category":"SignInLogs","properties":{"id":"87654321","id":null}}`,
		`{"Category":"SignInLogs","properties":{"id":"87654321"}}`,
		`{"category":"AuditLogs","properties":{"location":{"city":"x","state":"y"},"id":"12345678"}}`,
		`{"category":"SignInLogs","properties":"{\"location\":{\"city\":\"x\"},\"id\":\"12345678\"}"}`,
		`{"category":"SignInLogs","properties":"no object"}`,
		`{"a":1}`, `{"":1}`, `{"a":[]}`, `{"a":[1]}`, `{}`, `[]`,
	}
	for _, w := range twins(t) {
		for i, a := range alike {
			for _, b := range alike[:i] {
				for range 3 {
					w.hold(t, []byte(a))
					w.hold(t, []byte(b))
				}
			}
		}
	}
}

// TestOutlineMatches holds outlines against records of others, whether or not one is
// likely to be taken for the other.
func TestOutlineMatches(t *testing.T) {
	records := []string{
		`{"a":{"b":1,"c":2}}`, `{"a":{"b":1},"c":2}`, `{"a":[1],"":2}`, `{"a":1,"":2}`, `{"a":[[]],"b":1}`, `{"a":{"":1},"b":1}`,
		`{"a":1}`, `{"a":1,"b":2}`, `{"b":1}`, `{"ab":1}`, `{"":1}`, `{"a":{"b":{"c":1}}}`, `{"a":{"b":{"c":1,"d":1}}}`, `{"a":[{"b":1}]}`, `{"a":[{"b":1,"c":1}]}`,
	}
	w := compile(t, Raw, DefaultOptions()).Worker()
	for i, a := range records {
		var x jsonscan.Index
		if _, err := x.Scan([]byte(a)); err != nil {
			t.Fatal(err)
		}
		o := newOutline(&x, 0)
		if (o == nil) != strings.Contains(a, `"":`) {
			t.Fatalf("no outline of %s, or of an empty name", a)
		} else if o == nil {
			continue
		}
		for k, b := range records {
			var y jsonscan.Index
			if _, err := y.Scan([]byte(b)); err != nil {
				t.Fatal(err)
			}
			if w.x, w.node = &y, 0; w.match(o) != (i == k) {
				t.Errorf("the outline of %s: %s matches: %t", a, b, i != k)
			}
		}
	}
	more := []byte(`{"a":[{"b":1},{"c":[]},3]}`) // of lists, the first element counts
	var x, y jsonscan.Index
	if _, err := x.Scan([]byte(`{"a":[{"b":{}}]}`)); err != nil {
		t.Fatal(err)
	}
	o := newOutline(&x, 0)
	if _, err := y.Scan(more); err != nil {
		t.Fatal(err)
	}
	if w.x = &y; !w.match(o) {
		t.Errorf("the outline does not match %s", more)
	}
}

// TestOutlinesOfTrees has rows for members that trees bring too: the rows win if they
// have a value.
func TestOutlinesOfTrees(t *testing.T) {
	file := File{Name: "doors.yaml", Data: []byte(`
define: [{name: doors, category: Doors}]
log_types: [doors]
include: [envelope]
fields:
  - {to: azure.a.first, from: properties.opened, as: text}
  - {to: azure.a.second, from: properties.opened, as: text}
  - {to: azure.a.third, from: properties.opened, as: text}
  - {to: azure.door.badge.owner, from: properties.owner}
  - {to: azure.door.fixed, value: 1}
  - {to: azure.door.opened, from: properties.opened, as: number}
  - {to: azure.door, from: properties, as: tree}
  - {to: azure.door.badge, from: properties.badge, as: tree, names: snake_case}
  - {to: azure.window, from: [properties.window, properties.badge], as: tree, names: snake_case}
  - {to: azure.window, from: properties.list, as: tree}
`)}
	values := []string{`"5"`, `"x"`, `null`, `""`, `5`, `{"owner":"x","ownerId":1}`, `{"owner_id":1,"ownerId":2}`, `{}`, `[]`, `[{"owner":1}]`}
	var records [][]byte
	for _, opened := range values {
		for _, badge := range values {
			for _, owner := range values[:5] {
				records = append(records, fmt.Appendf(nil, `{"category":"Doors","properties":{"opened":%s,"badge":%s,"owner":%s,"fixed":%s,"window":%s,"list":%s}}`, opened, badge, owner, opened, opened, badge))
			}
		}
	}
	records = append(records, []byte(`{"category":"Doors","properties":{"badge":{"owner":"x"}}}`), []byte(`{"category":"Doors","properties":{"owner":"x"}}`),
		[]byte(`{"category":"Doors","properties":{}}`), []byte(`{"category":"Doors"}`))
	w := twins(t, file)[1]
	for range 3 {
		for _, r := range records {
			w.worker.outlines.owed = 0
			w.hold(t, r)
		}
	}
}

// TestOutlinesAreBounded gives a worker records that are never alike, and then some
// that are.
func TestOutlinesAreBounded(t *testing.T) {
	w := twins(t)[1]
	most := 0
	for i := range 600 {
		record := fmt.Appendf(nil, `{"category":"SignInLogs","a%d":1`, i)
		for m := range 100 {
			record = fmt.Appendf(record, `,"m%d":null`, m)
		}
		record = append(record, '}')
		w.hold(t, record)
		w.hold(t, record)
		most = max(most, w.worker.outlines.places)
	}
	if most < maxRemembered/2 {
		t.Fatalf("only %d places were remembered", most)
	}
	if most > maxRemembered {
		t.Errorf("%d places were remembered", most)
	}
	record := []byte(benchAudit)
	known := false
	for range maxOwed {
		known = known || w.hold(t, record)
	}
	if !known {
		t.Error("a record that came again and again was not known in the end")
	}
}

// FuzzOutlines gives two records in turn to workers that know outlines and to some
// that do not.
func FuzzOutlines(f *testing.F) {
	var before []byte
	for _, data := range goldenInputs(f) {
		f.Add(data, before)
		before = data
	}
	all := twins(f)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, w := range all {
			w.worker.outlines = outlines{} // so that what an input does hangs on it alone
			for range 3 {
				w.hold(t, a)
				w.hold(t, b)
			}
		}
	})
}

// TestNextRecordInTheSamePlace has records one after another in the same memory, as
// sources have them: what was made of the first must not be taken for the second.
func TestNextRecordInTheSamePlace(t *testing.T) {
	buffer := make([]byte, 0, 4096)
	for _, w := range twins(t) {
		for i := range 8 {
			buffer = fmt.Appendf(buffer[:0], `{"time":"2026-03-04T05:06:0%d.1Z","resourceId":"/SUBSCRIPTIONS/%d/RESOURCEGROUPS/G%d","category":"Administrative","callerIpAddress":"192.0.2.%d"}`, i, i, i, i)
			w.plain = w.worker.m.Worker()
			w.plain.outlines.off = true
			w.hold(t, buffer)
		}
	}
}
