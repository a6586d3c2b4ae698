package decode

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// piece is a record or a bad part, as a test writes it down.
type piece struct {
	Raw     string
	JSON    string // the record as indexed, where that is not Raw
	Repairs string
	Bad     string // the class
}

func decodeAll(d *Decoder, payload string) (pieces []piece) {
	d.Decode([]byte(payload), func(r *Record) {
		p := piece{Raw: string(r.Raw), Repairs: r.Repairs.String()}
		if v := string(r.Index.Value(r.Node)); v != p.Raw {
			p.JSON = v
		}
		pieces = append(pieces, p)
	}, func(b Bad) {
		pieces = append(pieces, piece{Raw: string(b.Raw), Bad: b.Class})
	})
	return pieces
}

func good(raws ...string) (pieces []piece) {
	for _, r := range raws {
		pieces = append(pieces, piece{Raw: r})
	}
	return pieces
}

func gzipped(texts ...string) string {
	var b bytes.Buffer
	for _, text := range texts {
		w := gzip.NewWriter(&b)
		w.Write([]byte(text))
		w.Close()
	}
	return b.String()
}

func TestFraming(t *testing.T) {
	for _, tt := range []struct {
		name    string
		payload string
		want    []piece
	}{
		{"nothing", "", nil},
		{"white space", " \r\n\t\n", nil},
		{"wrapper", `{"records":[{"a":1},{"b":2}]}`, good(`{"a":1}`, `{"b":2}`)},
		{"wrapper, pretty-printed", "{\r\n  \"records\" : [\r\n    {\r\n \"a\" : 1 } ,\r\n {}\r\n ]\r\n}\r\n", good("{\r\n \"a\" : 1 }", `{}`)},
		{"wrapper, no records", `{"records":[]}`, nil},
		{"wrapper, records is not first", `{"count":2,"x":{"records":[1]},"records":[{"a":1},{"b":2}]}`, good(`{"a":1}`, `{"b":2}`)},
		{"wrapper, members after records", `{"records":[{"a":1}],"next":{"a":[{"b":1}]},"n":2} {"b":1}`, good(`{"a":1}`, `{"b":1}`)},
		{"wrapper, records twice", `{"records":[{"a":1}],"n":1,"records":[{"b":2}]}`, good(`{"a":1}`, `{"b":2}`)},
		{"wrappers, one a line", "{\"records\":[{\"a\":1}]}\n{\"n\":1,\"records\":[{\"b\":1},{\"c\":1}]}\n", good(`{"a":1}`, `{"b":1}`, `{"c":1}`)},
		{"wrappers in an array", `[{"records":[{"a":1}]},{"records":[{"b":1}],"n":1},{"c":1}]`, good(`{"a":1}`, `{"b":1}`, `{"c":1}`)},
		{"Records is a record", `{"Records":[{"a":1}]}`, good(`{"Records":[{"a":1}]}`)},
		{"records that is no array", `{"records":{"a":1}}`, good(`{"records":{"a":1}}`)},
		{
			"a record with records of its own", `{"time":"t","records":[{"a":1}]} {"n":1,"records":[]} {"n":1,"records":[1]}`,
			good(`{"time":"t","records":[{"a":1}]}`, `{"n":1,"records":[]}`, `{"n":1,"records":[1]}`),
		},
		{"records inside a record stays", `[{"a":1,"records":[{"b":1}]}]`, good(`{"a":1,"records":[{"b":1}]}`)},
		{"answer of an API is a record", `{"value":[{"a":1}]}`, good(`{"value":[{"a":1}]}`)},
		{"array", `[{"a":1}, {"b":2}]`, good(`{"a":1}`, `{"b":2}`)},
		{"empty array", `[]`, nil},
		{"arrays in arrays are flattened", `[[{"a":1}],[[{"b":2}],[]]]`, good(`{"a":1}`, `{"b":2}`)},
		{"single object", `{"a":1}`, good(`{"a":1}`)},
		{"single object, pretty-printed", "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n", good("{\n  \"a\": {\n    \"b\": 1\n  }\n}")},
		{"concatenated objects", `{"a":1}{"b":2} {"c":3}`, good(`{"a":1}`, `{"b":2}`, `{"c":3}`)},
		{"NDJSON, LF", "{\"a\":1}\n{\"b\":2}\n", good(`{"a":1}`, `{"b":2}`)},
		{"NDJSON, CRLF, as sign-in blobs have", "{\"a\":1}\r\n{\"b\":2}\r\n", good(`{"a":1}`, `{"b":2}`)},
		{"NDJSON, no final line feed", "{\"a\":1}\n{\"b\":2}", good(`{"a":1}`, `{"b":2}`)},
		{"NDJSON, blank lines", "\n\n{\"a\":1}\n \n\r\n{\"b\":2}\n\n", good(`{"a":1}`, `{"b":2}`)},
		{"BOM at the start and where files meet", "\xef\xbb\xbf{\"a\":1}\n\xef\xbb\xbf{\"b\":2}\n", good(`{"a":1}`, `{"b":2}`)},
		{"new part of a growing array", `,{"a":1},{"b":2}]}`, good(`{"a":1}`, `{"b":2}`)},
		{"first part of a growing array", `{"records":[{"a":1},{"b":2}`, good(`{"a":1}`, `{"b":2}`)},
		{"missing comma between records", `{"records":[{"a":1}{"b":2}]}`, good(`{"a":1}`, `{"b":2}`)},
		{"numbers, repeated names and order stay", `{"z":1e400,"a":12345678901234567890,"a":1.50}`, good(`{"z":1e400,"a":12345678901234567890,"a":1.50}`)},
		{"scalars in an array", `[1,"x",{"a":1},null]`, []piece{{Raw: `1`, Bad: ClassNotObject}, {Raw: `"x"`, Bad: ClassNotObject}, {Raw: `{"a":1}`}, {Raw: `null`, Bad: ClassNotObject}}},
		{"scalar", ` 12 `, []piece{{Raw: `12`, Bad: ClassNotObject}}},
		{"string", `"text {with} braces"`, []piece{{Raw: `"text {with} braces"`, Bad: ClassNotObject}}},
		{"text", "GET / 200\r\nGET /x 404\n", []piece{{Raw: `GET / 200`, Bad: ClassNotJSON}, {Raw: `GET /x 404`, Bad: ClassNotJSON}}},
		{"only brackets", `[[[`, []piece{{Raw: `[[[`, Bad: ClassCut}}},
		{"only a wrapper's start", `{"records":[`, []piece{{Raw: `{"records":[`, Bad: ClassCut}}},
		{"a string that holds no records", `"{\"records\":[]}"`, nil},
		{"gzip", gzipped(`{"records":[{"a":1},{"b":2}]}`), good(`{"a":1}`, `{"b":2}`)},
		{"gzip, several members", gzipped("{\"a\":1}\n", "{\"b\":2}\n"), good(`{"a":1}`, `{"b":2}`)},
		{"gzip, padded", gzipped("{\"a\":1}\n") + "\x00\x00", good(`{"a":1}`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d Decoder
			if diff := cmp.Diff(tt.want, decodeAll(&d, tt.payload)); diff != "" {
				t.Errorf("Decode(%q): -want +got\n%s", tt.payload, diff)
			}
			if !strings.HasPrefix(tt.name, "gzip") {
				checkCoverage(t, []byte(tt.payload))
			}
		})
	}
}

func TestRepairs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		payload string
		want    []piece
	}{
		{
			"Function App log in storage: a JavaScript object",
			`{ "category": "FunctionAppLogs", "properties": {'appName':'x','message':'it\'s "fine"\n','levelId':2,'eol':'a\\'}}`,
			[]piece{{
				Raw:     `{ "category": "FunctionAppLogs", "properties": {'appName':'x','message':'it\'s "fine"\n','levelId':2,'eol':'a\\'}}`,
				JSON:    `{"category":"FunctionAppLogs","properties":{"appName":"x","message":"it's \"fine\"\n","levelId":2,"eol":"a\\"}}`,
				Repairs: "single_quotes",
			}},
		},
		{
			"the same, one a line",
			"{\"p\":{'a':'1'}}\r\n{\"p\":{'a':'2'}}\r\n",
			[]piece{{Raw: `{"p":{'a':'1'}}`, JSON: `{"p":{"a":"1"}}`, Repairs: "single_quotes"}, {Raw: `{"p":{'a':'2'}}`, JSON: `{"p":{"a":"2"}}`, Repairs: "single_quotes"}},
		},
		{
			"the same over Event Hubs: a string, which is not for the decoder",
			`{"properties":"{'appName':'x'}"}`,
			good(`{"properties":"{'appName':'x'}"}`),
		},
		{
			"apostrophes that were not escaped",
			`{'m':'it can't, won't and shan't', 'n':''}`,
			[]piece{{Raw: `{'m':'it can't, won't and shan't', 'n':''}`, JSON: `{"m":"it can't, won't and shan't","n":""}`, Repairs: "single_quotes"}},
		},
		{
			"names without quotes, nested, and trailing commas",
			`{a:1,b_2:{$c:[{d:true,},],},}`,
			[]piece{{Raw: `{a:1,b_2:{$c:[{d:true,},],},}`, JSON: `{"a":1,"b_2":{"$c":[{"d":true}]}}`, Repairs: "unquoted_name,trailing_comma"}},
		},
		{
			"raw line feed, tab and NUL in a string",
			"{\"a\":\"x\ny\tz\x00\",\"b\":1}\n{\"c\":1}",
			[]piece{{Raw: "{\"a\":\"x\ny\tz\x00\",\"b\":1}", JSON: `{"a":"x\ny\tz\u0000","b":1}`, Repairs: "raw_control"}, {Raw: `{"c":1}`}},
		},
		{
			"invalid escapes",
			`{"a":"C:\xfiles\u12","b":"\u00e9\"","c":'\x41'}`,
			[]piece{{Raw: `{"a":"C:\xfiles\u12","b":"\u00e9\"","c":'\x41'}`, JSON: `{"a":"C:\\xfiles\\u12","b":"\u00e9\"","c":"\\x41"}`, Repairs: "single_quotes,invalid_escape"}},
		},
		{
			"not UTF-8: marked, kept",
			"[{\"a\":\"\xff\"},{\"\xc3\":1},{\"b\":\"\u00fc\"}]",
			[]piece{{Raw: "{\"a\":\"\xff\"}", Repairs: "invalid_utf8"}, {Raw: "{\"\xc3\":1}", Repairs: "invalid_utf8"}, {Raw: "{\"b\":\"\u00fc\"}"}},
		},
		{
			"payload cut in a string",
			`{"records":[{"a":1},{"b":2,"c":{"d":["x","y`,
			[]piece{{Raw: `{"a":1}`}, {Raw: `{"b":2,"c":{"d":["x","y`, JSON: `{"b":2,"c":{"d":["x","y"]}}`, Repairs: "cut_tail"}},
		},
		{"payload cut in a number: what it was is not known", `{"a":"x","b":12`, []piece{{Raw: `{"a":"x","b":12`, JSON: `{"a":"x"}`, Repairs: "cut_tail"}}},
		{"payload cut in a word", `{"a":"x","b":tr`, []piece{{Raw: `{"a":"x","b":tr`, JSON: `{"a":"x"}`, Repairs: "cut_tail"}}},
		{"payload cut in a name", `{"a":12,"bc`, []piece{{Raw: `{"a":12,"bc`, JSON: `{"a":12}`, Repairs: "cut_tail"}}},
		{"payload cut after a colon", `{"a":12,"b":`, []piece{{Raw: `{"a":12,"b":`, JSON: `{"a":12}`, Repairs: "cut_tail"}}},
		{"payload cut in an escape", `{"a":12,"b":"x\u00`, []piece{{Raw: `{"a":12,"b":"x\u00`, JSON: `{"a":12,"b":"x"}`, Repairs: "cut_tail"}}},
		{"payload cut after a number and a comma", `{"a":12,`, []piece{{Raw: `{"a":12,`, JSON: `{"a":12}`, Repairs: "cut_tail"}}},
		{"payload cut in single quotes", `{"a":{'b':1,'c':'x`, []piece{{Raw: `{"a":{'b':1,'c':'x`, JSON: `{"a":{"b":1,"c":"x"}}`, Repairs: "single_quotes,cut_tail"}}},
		{"payload cut after single quotes", `{"a":1,'b':'x'`, []piece{{Raw: `{"a":1,'b':'x'`, JSON: `{"a":1,"b":"x"}`, Repairs: "single_quotes,cut_tail"}}},
		{"payload cut with nothing complete", `{"a":"x`, []piece{{Raw: `{"a":"x`, Bad: ClassCut}}},
		{
			"line cut, the next is sound",
			"{\"a\":1,\"b\":\"x\n{\"c\":1}\r\n{\"a\":1,\"b\":[1,\n{\"d\":1}\n{\"a\":{\"b\":1\n",
			[]piece{
				{Raw: `{"a":1,"b":"x`, JSON: `{"a":1,"b":"x"}`, Repairs: "cut_tail"},
				{Raw: `{"c":1}`},
				{Raw: `{"a":1,"b":[1,`, JSON: `{"a":1,"b":[1]}`, Repairs: "cut_tail"},
				{Raw: `{"d":1}`},
				{Raw: `{"a":{"b":1`, Bad: ClassCut},
			},
		},
		{
			"wrapper cut, the next line is sound",
			"{\"records\":[{\"a\":1},{\"b\":1,\"c\n{\"records\":[{\"d\":1}]}\n",
			[]piece{{Raw: `{"a":1}`}, {Raw: `{"b":1,"c`, JSON: `{"b":1}`, Repairs: "cut_tail"}, {Raw: `{"d":1}`}},
		},
		{
			"pretty-printed array, quote not escaped, objects inside",
			"[\n  {\n    \"a\": \"x\"y\",\n    \"b\": [\n      {\n        \"c\": 1\n      }\n    ]\n  },\n  {\n    \"d\": 2\n  }\n]\n",
			[]piece{{Raw: "{\n    \"a\": \"x\"y\",\n    \"b\": [\n      {\n        \"c\": 1\n      }\n    ]\n  }", Bad: ClassNotJSON}, {Raw: "{\n    \"d\": 2\n  }"}},
		},
		{
			"one quote too few, names differ: the next sound object between commas",
			`[{"a":1,"b":"x},{"c":{"d":1}},{"e":2}]`,
			[]piece{{Raw: `{"a":1,"b":"x},`, JSON: `{"a":1,"b":"x},"}`, Repairs: "cut_tail"}, {Raw: `{"c":{"d":1}}`}, {Raw: `{"e":2}`}},
		},
		{
			"pretty-printed object cut",
			"{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2,\n    \"d\"",
			[]piece{{Raw: "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2,\n    \"d\"", JSON: `{"a":1,"b":{"c":2}}`, Repairs: "cut_tail"}},
		},
		{
			"a string that holds records",
			`"{\"records\":[{\"a\":\"\\u00e9\"},{\"b\":2}]}"`,
			[]piece{{Raw: `{"a":"\u00e9"}`, Repairs: "string_encoded"}, {Raw: `{"b":2}`, Repairs: "string_encoded"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d Decoder
			if diff := cmp.Diff(tt.want, decodeAll(&d, tt.payload)); diff != "" {
				t.Errorf("Decode(%q): -want +got\n%s", tt.payload, diff)
			}
			checkCoverage(t, []byte(tt.payload))
		})
	}
}

// TestNeighbors puts damage that no repair is known for between sound records.
func TestNeighbors(t *testing.T) {
	for _, damage := range []struct{ name, raw, class string }{
		{"text in brackets, as journald writes it", `[218 B blob data]`, ClassNotJSON},
		{"stray text", `a stray box`, ClassNotJSON},
		{"stray bytes", "\x01\x02\xff", ClassNotJSON},
		{"half a member", `"x":1`, ClassNotJSON},
		{"missing comma between members", `{"t":1 "x":2}`, ClassNotJSON},
		{"unknown word", `{"t":nil,"x":{"y":[1,{"t":2}]}}`, ClassNotJSON},
		{"quote that was not escaped", `{"t":"he said "no" to it"}`, ClassNotJSON},
		{"one quote too few", `{"t":x"}`, ClassNotJSON},
		{"quote that was not escaped, an object inside", `{"t":"a"b","x":{"t":1,"y":{"z":[]}}}`, ClassNotJSON},
		{"objects inside that look like the next record", `{"t":nil,"x":[{"t":1},{"t":2},"` + strings.Repeat("x", 3000) + `"]}`, ClassNotJSON},
		{"too large, objects inside that look like the next record", `{"t":1,"x":[{"t":1},{"t":2},"` + strings.Repeat("x", 70000) + `"]}`, ClassTooLarge},
		{"too deep", `{"t":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, ClassTooDeep},
		{"too large", `{"t":"` + strings.Repeat("x", 5000) + `"}`, ClassTooLarge},
	} {
		for _, frame := range []struct{ name, before, between, after string }{
			{"wrapper", `{"records":[`, `,`, `]}`},
			{"wrapper, records not first", `{"n":1,"records":[`, `, `, `],"m":2}`},
			{"wrapper, pretty-printed", "{\n  \"records\": [\n    ", ",\n    ", "\n  ]\n}\n"},
			{"array", `[`, `,`, `]`},
			{"NDJSON", ``, "\n", "\n"},
			{"NDJSON, CRLF", ``, "\r\n", ""},
			{"concatenated", ``, ``, ``},
		} {
			t.Run(damage.name+"/"+frame.name, func(t *testing.T) {
				first, last := `{"t":1,"z":{"t":2}}`, `{"t":3}`
				payload := frame.before + first + frame.between + damage.raw + frame.between + last + frame.after
				want := []piece{{Raw: first}, {Raw: damage.raw, Bad: damage.class}, {Raw: last}}
				d := New(Options{MaxRecord: 4000})
				if diff := cmp.Diff(want, decodeAll(d, payload)); diff != "" {
					t.Errorf("Decode(%.200q): -want +got\n%s", payload, diff)
				}
			})
		}
	}
}

// TestMuchDamage damages every record but one in five, on one line, as a service
// that forgets to escape does. The bound on work must not cost the sound ones.
func TestMuchDamage(t *testing.T) {
	for _, size := range []int{0, 300, 2000} {
		filler := strings.Repeat("x", size)
		for _, damaged := range []string{
			`{"t":"` + filler + `","m":"he said "no" to it","z":{"t":[]}}`,
			`{"t":"` + filler + `","m":nil,"z":{"t":[]}}`,
			`{"t":"` + filler + `","m":x"}`,
		} {
			const groups = 100
			payload := `{"records":[` + strings.Repeat(strings.Repeat(damaged+",", 4)+`{"t":"sound"},`, groups) + `]}`
			records, bads := checkCoverage(t, []byte(payload))
			if records != groups || bads != 4*groups {
				t.Errorf("%d bytes each, like %.100s: %d sound, %d bad, want %d and %d", len(damaged), damaged, records, bads, groups, 4*groups)
			}
		}
	}
}

func TestGzipDamage(t *testing.T) {
	whole := gzipped(`{"a":1}` + "\n" + `{"b":2}`)
	big := gzipped(strings.Repeat(`{"a":1}`+"\n", 1000))
	for _, tt := range []struct {
		name    string
		payload string
		want    []piece
	}{
		{"cut", whole[:len(whole)-6], []piece{{Raw: `{"a":1}`}, {Raw: `{"b":2}`}, {Raw: whole[:len(whole)-6], Bad: ClassGzip}}},
		{"wrong checksum", whole[:len(whole)-8] + "\x00\x00\x00\x00" + whole[len(whole)-4:], []piece{{Raw: `{"a":1}`}, {Raw: `{"b":2}`}, {Raw: whole[:len(whole)-8] + "\x00\x00\x00\x00" + whole[len(whole)-4:], Bad: ClassGzip}}},
		{"something after it", whole + "text", []piece{{Raw: `{"a":1}`}, {Raw: `{"b":2}`}, {Raw: whole + "text", Bad: ClassGzip}}},
		{"only the first bytes", whole[:5], []piece{{Raw: whole[:5], Bad: ClassGzip}}},
		{"larger than the limit", big, []piece{{Raw: big, Bad: ClassTooLarge}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := New(Options{MaxDecompressed: 7999})
			if diff := cmp.Diff(tt.want, decodeAll(d, tt.payload)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	if got := len(decodeAll(New(Options{MaxDecompressed: 8000}), big)); got != 1000 {
		t.Errorf("exactly at the limit: %d records, want 1000", got)
	}
}

// TestPositions checks what identifies a record.
func TestPositions(t *testing.T) {
	payload := "{\"records\":[{\"a\":1}, nil, {\"b\":2}]}\n\"{\\\"c\\\":3}\"\n{\"d\":4}"
	type position struct{ Offset, Number int }
	want := []position{{12, 0}, {26, 1}, {36, 2}, {48, 3}}
	var got []position
	var d Decoder
	d.Decode([]byte(payload), func(r *Record) { got = append(got, position{r.Offset, r.Number}) }, func(b Bad) {
		if b.Offset != 21 || string(b.Raw) != "nil" {
			t.Errorf("Bad at %d: %q, want nil at 21", b.Offset, b.Raw)
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestReasonsTellWhatAndWhere(t *testing.T) {
	for payload, want := range map[string]string{
		`{"a":nil}`: `unexpected 'i' in a word, at byte 6 of this piece`,
		`12`:        `it is JSON, but not an object, so it cannot be a record`,
	} {
		var d Decoder
		d.Decode([]byte(payload), func(r *Record) { t.Errorf("%s: a record", payload) }, func(b Bad) {
			if b.Reason != want {
				t.Errorf("%s: %q, want %q", payload, b.Reason, want)
			}
		})
	}
}

// TestRawOutlivesDecode keeps what it was given, as sinks do, while the decoder
// goes on to other payloads.
func TestRawOutlivesDecode(t *testing.T) {
	payloads := []string{
		gzipped(`{"records":[{"a":1},{"b":2}]}`),
		`{'m':"long text"}`,
		`"[{\"c\":3}]"`,
		`{'n':"long text"}`,
		gzipped("{\"d\":4}\nbad\n"),
		`{"e":5}`,
		"[{\"f\":6,",
	}
	var d Decoder
	var kept [][]byte
	for _, p := range payloads {
		d.Decode([]byte(p), func(r *Record) { kept = append(kept, r.Raw) }, func(b Bad) { kept = append(kept, b.Raw) })
	}
	got := string(bytes.Join(kept, []byte("|")))
	if want := `{"a":1}|{"b":2}|{'m':"long text"}|{"c":3}|{'n':"long text"}|{"d":4}|bad|{"e":5}|{"f":6,`; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
}

// TestDecoderForgets reads payloads one after the other: none may change how the
// next one is read.
func TestDecoderForgets(t *testing.T) {
	var used Decoder
	for _, first := range seeds() {
		for _, second := range seeds() {
			decodeAll(&used, first)
			got := decodeAll(&used, second)
			if diff := cmp.Diff(decodeAll(new(Decoder), second), got); diff != "" {
				t.Fatalf("Decode(%q) after %q: -fresh +used\n%s", second, first, diff)
			}
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	payload := []byte(`{"records":[` + strings.Repeat(`{"a":1,"b":{"c":"text"}},{"p":{'x':'y'}},`, 100) + `{"z":0}]}`)
	var d Decoder
	records := 0
	record, bad := func(*Record) { records++ }, func(Bad) {}
	// The scanner's errors allocate; only damaged records meet them.
	sound := bytes.ReplaceAll(payload, []byte(`'`), []byte(`"`))
	d.Decode(sound, record, bad)
	if n := testing.AllocsPerRun(20, func() { d.Decode(sound, record, bad) }); n > 0 {
		t.Errorf("%v allocations for 201 sound records, want 0", n)
	}
	if records = 0; records == 0 {
		d.Decode(payload, record, bad)
	}
	if records != 201 {
		t.Errorf("%d records, want 201", records)
	}
}

// checkCoverage checks the package's invariant on a payload that is not
// compressed: records and bads are disjoint and in order, the index of each
// record is JSON, and what is between them is white space and framing. It returns
// how many of each there are.
func checkCoverage(t *testing.T, payload []byte) (records, bads int) {
	t.Helper()
	reached := 0
	mended := false // the last record became several and was mended: where it ended is not known here
	between := func(offset int) {
		if offset < reached {
			t.Fatalf("Decode(%q): a piece at %d, and one before it reaches to %d", payload, offset, reached)
		}
		if rest := notFraming(payload[reached:offset]); len(rest) > 0 && !mended {
			t.Fatalf("Decode(%q): lost %q before byte %d", payload, rest, offset)
		}
		mended = false
	}
	inString := -1
	cover := func(raw []byte, offset int) {
		if offset == inString {
			return
		}
		between(offset)
		reached = offset + len(raw)
		if len(raw) == 0 || reached > len(payload) || !bytes.Equal(raw, payload[offset:reached]) {
			if payload[offset] != '"' {
				t.Fatalf("Decode(%q): piece %q is not at %d", payload, raw, offset)
			}
			inString = offset
			end := json.NewDecoder(bytes.NewReader(payload[offset:]))
			var s string
			if err := end.Decode(&s); err != nil {
				t.Fatalf("Decode(%q): piece %q out of no string at %d: %v", payload, raw, offset, err)
			}
			reached = offset + int(end.InputOffset())
		}
	}
	inTuples := -1 // the offset of a record that became several
	d := New(Options{})
	d.Decode(payload, func(r *Record) {
		if r.Number != records {
			t.Fatalf("Decode(%q): record %d has number %d", payload, records, r.Number)
		}
		records++
		if r.Tuples > 0 && payload[r.Offset] == '{' {
			if r.Offset != inTuples {
				inTuples = r.Offset
				in := json.NewDecoder(bytes.NewReader(payload[r.Offset:]))
				var v json.RawMessage
				if in.Decode(&v) != nil {
					between(r.Offset)
					reached, mended = r.Offset+1, true
				} else {
					cover(payload[r.Offset:][:in.InputOffset()], r.Offset)
				}
			}
		} else {
			cover(r.Raw, r.Offset)
		}
		if v := r.Index.Value(r.Node); !json.Valid(v) || v[0] != '{' {
			t.Fatalf("Decode(%q): record %q is indexed as %q, not an object", payload, r.Raw, v)
		}
	}, func(b Bad) {
		bads++
		cover(b.Raw, b.Offset)
		if b.Reason == "" || b.Class == "" {
			t.Fatalf("Decode(%q): no reason for %q", payload, b.Raw)
		}
	})
	between(len(payload))
	return records, bads
}

// notFraming returns what is left of a gap between records without the framing:
// white space, BOMs, commas, brackets, and members of wrappers. It is written
// with the standard library's decoder, not the package's.
func notFraming(gap []byte) []byte {
	value := func(b []byte) int {
		var v json.RawMessage
		in := json.NewDecoder(bytes.NewReader(b))
		if in.Decode(&v) != nil {
			return -1
		}
		return int(in.InputOffset())
	}
	opened := false // a wrapper's brace, with its records still to come
	for len(gap) > 0 {
		c := gap[0]
		switch {
		case isSpace(c) || c == ',' || !opened && (c == ']' || c == '}' || c == '['):
			gap = gap[1:]
		case bytes.HasPrefix(gap, []byte(bom)):
			gap = gap[len(bom):]
		case c == '{' && !opened:
			opened = true
			gap = gap[1:]
		case c == '"':
			n := value(gap)
			if n < 0 {
				return gap
			}
			name, rest := gap[:n], bytes.TrimLeft(gap[n:], " \t\r\n")
			if len(rest) == 0 || rest[0] != ':' {
				// No member: a string that holds nothing but framing.
				var text string
				if json.Unmarshal(name, &text) != nil || !strings.ContainsAny(text, "[{") || notFraming([]byte(text)) != nil {
					return gap
				}
				gap = rest
				continue
			}
			rest = bytes.TrimLeft(rest[1:], " \t\r\n")
			if string(name) == `"records"` && len(rest) > 0 && rest[0] == '[' {
				opened = false
				gap = rest
				continue
			}
			if n = value(rest); n < 0 {
				return gap
			}
			gap = rest[n:]
		default:
			return gap
		}
	}
	if opened {
		return []byte("{")
	}
	return nil
}
