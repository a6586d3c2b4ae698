package kql

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// memory is a database of one table of events and a small one of users.
type memory map[string]*list

type list struct {
	columns []Column
	rows    []Row
	asked   [2]int64
}

func (m memory) Table(name string) (Table, bool) { t, ok := m[name]; return t, ok }
func (l *list) Columns() []Column                { return l.columns }
func (l *list) Rows(from, to int64, yield func(Row) bool) {
	l.asked = [2]int64{from, to}
	for _, r := range l.rows {
		if r.Ingested >= from && r.Ingested < to && !yield(r) {
			return
		}
	}
}

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func database() memory {
	events := &list{columns: []Column{
		{"TimeGenerated", "datetime"},
		{"User", "string"},
		{"Code", "long"},
		{"Score", "real"},
		{"Ok", "bool"},
		{"Details", "dynamic"},
		{"Took", "timespan"},
		{"Big", "long"},
	}}
	row := func(minute int, cells string) {
		var raw []json.RawMessage
		if err := json.Unmarshal([]byte(cells), &raw); err != nil {
			panic(err)
		}
		r := Row{Ingested: Ticks(noon.Add(time.Duration(minute) * time.Minute))}
		for _, c := range raw {
			r.Cells = append(r.Cells, c)
		}
		events.rows = append(events.rows, r)
	}
	row(0, `["2026-01-31T11:58:00Z","alice",0,1.5,true,"{\"ip\":\"10.0.0.1\",\"roles\":[\"a\",\"b\"]}","00:00:01",9007199254740993]`)
	row(1, `["2026-01-31T11:59:00.1234567Z","bob",50126,0.25,false,"{\"ip\":\"10.0.0.2\"}",null,1]`)
	row(2, `["2026-01-31T11:30:00Z","Alice Cooper",0,null,true,null,"1.02:03:04.5",2]`)
	row(3, `["2026-01-31T12:01:00Z","carol",50053,2,false]`)
	return memory{
		"Events": events,
		"Users":  &list{columns: []Column{{"User", "string"}, {"Country", "string"}}, rows: []Row{{Cells: [][]byte{[]byte(`"dora"`), []byte(`"NL"`)}}}},
	}
}

func run(t *testing.T, query string) (columns, rows string) {
	t.Helper()
	q, err := Parse(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	r, err := q.Run(database(), noon)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var names, lines []string
	for _, c := range r.Columns {
		names = append(names, c.Name+":"+c.Type)
	}
	r.Rows(func(row Row) bool {
		var cells []string
		for i := range r.Columns {
			if c := row.cell(i); c != nil {
				cells = append(cells, string(c))
			} else {
				cells = append(cells, "null")
			}
		}
		lines = append(lines, strings.Join(cells, ","))
		return true
	})
	return strings.Join(names, " "), strings.Join(lines, "; ")
}

func TestQueries(t *testing.T) {
	for _, tc := range []struct{ query, want string }{
		{`Events | where Code == 0 | project User`, `"alice"; "Alice Cooper"`},
		{`Events | where Code != 0 and Ok == false | project User`, `"bob"; "carol"`},
		{`Events | where User == "ALICE" or User =~ "BOB" | project User`, `"bob"`},
		{`Events | where User has "alice" | project User`, `"alice"; "Alice Cooper"`},
		{`Events | where User has "ali" | count`, `0`},
		{`Events | where User contains "ALI" | count`, `2`},
		{`Events | where User !contains "ali" | count`, `2`},
		{`Events | where User startswith 'c' | count`, `1`},
		{`Events | where User in ("bob", 'carol') | project User`, `"bob"; "carol"`},
		{`Events | where User !in ("bob", 'carol') | count`, `2`},
		{`Events | where User in~ ("BOB") | count`, `1`},
		{`Events | where Code between (1 .. 50100) | project Code`, `50053`},
		{`Events | where TimeGenerated between (datetime(2026-01-31T11:58:00Z) .. 1m) | count`, `1`},
		{`Events | where TimeGenerated > ago(2m) | project User`, `"bob"; "carol"`},
		{`Events | where TimeGenerated >= now() - 30m and TimeGenerated < now() | count`, `3`},
		{`Events | where ingestion_time() >= datetime(2026-01-31T12:01:00Z) and ingestion_time() < datetime(2026-01-31 12:03) | project User`, `"bob"; "Alice Cooper"`},
		{`Events | where not(Ok) | count`, `2`},
		{`Events | where isnull(Score) | project User`, `"Alice Cooper"`},
		{`Events | where isnotempty(Details) | count`, `2`},
		{`Events | take 1 | project Big`, `9007199254740993`},
		{`Events | limit 0 | project Big`, ``},
		{`Events | project User, Big = Big + 1 | take 1`, `"alice",9007199254740994`},
		{`Events | extend it = ingestion_time() | sort by it asc | project it | take 1`, `"2026-01-31T12:00:00Z"`},
		{`Events | order by TimeGenerated asc | project User`, `"Alice Cooper"; "alice"; "bob"; "carol"`},
		{`Events | sort by Score, User asc | project User`, `"carol"; "alice"; "bob"; "Alice Cooper"`},
		{`Events | top 2 by Code | project Code`, `50126; 50053`},
		{`Events | summarize count() by Ok`, `true,2; false,2`},
		{`Events | summarize n = count(), failed = countif(Code > 0), max(Code), avg(Score), dcount(User)`, `4,2,50126,1.25,4`},
		{`Events | summarize count() by bin(TimeGenerated, 1h)`, `"2026-01-31T11:00:00Z",3; "2026-01-31T12:00:00Z",1`},
		{`Events | where Code == 7 | summarize count()`, `0`},
		{`Events | distinct Ok`, `true; false`},
		{`Events | project Details.ip, Details.roles[1] | take 1`, `"10.0.0.1","b"`},
		{`Events | where Details.ip == "10.0.0.2" | project Ok`, `false`},
		{`Events | extend ip = Details.ip | where ip == "10.0.0.2" | project ip`, `"10.0.0.2"`},
		{`Events | project-away TimeGenerated, Score, Ok, Details, Took, Big | take 1`, `"alice",0`},
		{`Events | project Took, Took + 1s | take 1`, `"00:00:01","00:00:02"`},
		{`Events | project Took | where isnotnull(Took) | sort by Took desc | take 1`, `"1.02:03:04.5"`},
		{`Events | where hash(User, 4) == hash("bob", 4) and User == "bob" | count`, `1`},
		{`union Events, Users | project User, Country | where Country == "NL" or User == "bob"`, `"bob",null; "dora","NL"`},
		{`Events | project User | union (Users | project User) | count`, `5`},
		{`let since = datetime(2026-01-31T11:59:00Z); let Late = Events | where TimeGenerated >= since; Late | summarize count() by Ok // two`, `false,2`},
		{`let E = Events; E | count`, `4`},
		{`print a = 1 + 2 * 3, b = strcat("x", 1), c = iff(1 < 2, "y", "z"), d = tostring(dynamic({"k":1}))`, `7,"x1","y","{\"k\":1}"`},
		{"Events\n// only one\n| where User == 'b\\u006fb' or User == \"bob\"\n| count;", `1`},
		{`['Events'] | where ['User'] == @"bob" | count`, `1`},
		{`print toint("12"), tolong("x"), todouble("1.5"), tobool("1"), todatetime("2026-01-31"), bin(17, 5), 7 / 2, 7 / 2.0, -3`, `12,null,1.5,true,"2026-01-31T00:00:00Z",15,3,3.5,-3`},
		{`print hash("World")`, `1846988464401551951`},
	} {
		if _, got := run(t, tc.query); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.query, got, tc.want)
		}
	}
}

func TestColumnsOfResults(t *testing.T) {
	for query, want := range map[string]string{
		`Events | project User, Half = Score / 2, Long = Code * 2`:                "User:string Half:real Long:long",
		`Events | summarize count(), max(TimeGenerated) by User`:                  "User:string count_:long max_TimeGenerated:datetime",
		`Events | extend Ok = "x", New = ingestion_time() | project-keep Ok, New`: "Ok:string New:datetime",
		`Events | count`: "Count:long",
	} {
		if got, _ := run(t, query); got != want {
			t.Errorf("%s: columns %s; want %s", query, got, want)
		}
	}
}

// A filter by ingestion_time() is answered by the table, not by reading all of it.
func TestFiltersReachTheTable(t *testing.T) {
	db := database()
	q, err := Parse(`Events | where TimeGenerated > datetime(2020-01-01) | where ingestion_time() >= datetime(2026-01-31T12:01:00Z) and ingestion_time() < datetime(2026-01-31T12:02:00Z) | extend a = 1`)
	if err != nil {
		t.Fatal(err)
	}
	r, err := q.Run(db, noon)
	if err != nil {
		t.Fatal(err)
	}
	r.Rows(func(Row) bool { return true })
	if want := [2]int64{Ticks(noon.Add(time.Minute)), Ticks(noon.Add(2 * time.Minute))}; db["Events"].asked != want {
		t.Errorf("the table was asked for %v; want %v", db["Events"].asked, want)
	}
}

func TestMistakes(t *testing.T) {
	for _, tc := range []struct {
		query, code string
		line, pos   int
		token       string
	}{
		{"Events | whre Code == 1", "SYN0002", 1, 9, "whre"},
		{"Events\n| where Code = 1", "SYN0002", 2, 13, "="},
		{"Events | where", "SYN0001", 1, 14, ""},
		{"Events | where (Code == 1", "SYN0001", 1, 25, ""},
		{"Events | where User == 'bob", "SYN0001", 1, 27, ""},
		{"", "SYN0001", 1, 0, ""},
		{"Events | take 10 extra", "SYN0002", 1, 17, "extra"},
		{"Nothing | take 1", "SEM0100", 1, 0, ""},
		{"Events | where Nobody == 1", "SEM0100", 1, 15, ""},
		{"Events | where User > 1", "SEM0064", 1, 20, ""},
		{"Events | where User", "SEM0064", 1, 15, ""},
		{"Events | extend x = frobnicate(1)", "SEM0260", 1, 20, ""},
		{"Events | summarize median(Code)", "SEM0260", 1, 19, ""},
		{"Events | where ago(1) > now()", "SEM0064", 1, 15, ""},
		{"Events | where Code == 5x", "SYN0002", 1, 23, "5x"},
		{"Events | where Code == §", "SYN0002", 1, 23, "§"},
	} {
		q, err := Parse(tc.query)
		if err == nil {
			_, err = q.Run(database(), noon)
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != tc.code || e.Line != tc.line || e.Pos != tc.pos || e.Token != tc.token {
			t.Errorf("%q: %+v; want %s at [%d,%d] %q", tc.query, err, tc.code, tc.line, tc.pos, tc.token)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		`Events | where Code == 0 and not(Ok) | summarize count() by bin(TimeGenerated, 1h) | top 3 by count_`,
		`let a = 5m; let T = Events | where TimeGenerated > ago(a); union T, (Users | project User) | distinct User`,
		`Events | extend x = Details.roles[0], h = hash(tostring(pack_all()), 7) | sort by h desc, User asc nulls last | take 5`,
		`print datetime(2026-01-31), dynamic({"a":[1,2]}), 1.5h, @'x''y', "\n", -1 % 0`,
		`Events | where User !has 'x' and Code !between (1 .. 2) and User in~ ("a")`,
	} {
		f.Add(q)
	}
	db := database()
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T is no *Error", err)
			}
			return
		}
		r, err := q.Run(db, noon)
		if err != nil {
			return
		}
		n := 0
		r.Rows(func(row Row) bool {
			for i := range r.Columns {
				if c := row.cell(i); c != nil && !json.Valid(c) {
					t.Fatalf("cell %q of %s is no JSON", c, text)
				}
			}
			n++
			return n < 1000
		})
	})
}

func TestSpans(t *testing.T) {
	for text, want := range map[string]string{"1d": "1.00:00:00", "90m": "01:30:00", "1.5h": "01:30:00", "5ms": "00:00:00.0050000", "1tick": "00:00:00.0000001", "-01:00:00": "-01:00:00", "2.03:04:05.25": "2.03:04:05.2500000"} {
		ticks, ok := parseSpan(text)
		if got := formatSpan(ticks); !ok || got != want {
			t.Errorf("%s = %s, %v; want %s", text, got, ok, want)
		}
	}
	if at := Time(Ticks(noon.Add(-100 * 366 * 24 * time.Hour))); fmt.Sprint(at) != fmt.Sprint(noon.Add(-100*366*24*time.Hour)) {
		t.Errorf("a time before 1970 became %v", at)
	}
}
