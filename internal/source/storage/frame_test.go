package storage

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cutAll cuts text as if it had grown to each of the lengths in turn.
func cutAll(t testing.TB, f framer, text []byte, lengths ...int) (records []string, rest string) {
	t.Helper()
	offset := 0
	one := func(visible int, final bool) {
		last := 0
		taken := f.cut(text[offset:visible], final, func(start, end int, tooLarge bool) {
			if start < last || end <= start || end > visible-offset {
				t.Fatalf("record [%d:%d) behind byte %d of %d", start, end, last, visible-offset)
			}
			last = end
			record := string(text[offset+start : offset+end])
			if tooLarge {
				record = "too large: " + record
			}
			records = append(records, record)
		})
		if taken < last || taken > visible-offset {
			t.Fatalf("took %d bytes of %d, the last record ends at %d", taken, visible-offset, last)
		}
		offset += taken
	}
	for _, n := range lengths {
		one(n, false)
	}
	rest = string(text[offset:])
	one(len(text), true)
	return records, rest
}

func TestRecordsAreFound(t *testing.T) {
	for _, tc := range []struct {
		name   string
		format format
		text   string
		want   []string
		rest   string // what waits for more before the text is final
	}{
		{"lines", formatNDJSON, "{\"a\":1}\n{\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}, ""},
		{"lines of Windows", formatNDJSON, "\xef\xbb\xbf{\"a\":1}\r\n\r\n{\"b\":2}\r\n", []string{`{"a":1}`, `{"b":2}`}, ""},
		{"a whole object without a line feed", formatNDJSON, "{\"a\":1}\n{\"b\":\"}\\\"\"}", []string{`{"a":1}`, `{"b":"}\""}`}, ""},
		{"half an object", formatNDJSON, "{\"a\":1}\n{\"b\":\"}", []string{`{"a":1}`, `{"b":"}`}, `{"b":"}`},
		{"a damaged line costs no other", formatNDJSON, "{\"a\":\"1\n{\"b\":2}\nx\n", []string{`{"a":"1`, `{"b":2}`, "x"}, ""},
		{"line feeds in front", formatNDJSON, "\n{\"a\":1}\n{\"b\":2}", []string{`{"a":1}`, `{"b":2}`}, ""},
		{"wrapper", formatJSON, `{"records":[{"a":1},{"b":[{}]}]}`, []string{`{"a":1}`, `{"b":[{}]}`}, "]}"},
		{"wrapper, spaced", formatJSON, "\n{ \"records\" : [\n\t{\"a\": 1}\n,\n{\"b\":2}\n]\n}\n", []string{`{"a": 1}`, `{"b":2}`}, "\n]\n}\n"},
		{"empty wrapper", formatJSON, `{"records":[]}`, nil, `{"records":[]}`},
		{"array", formatJSON, `[{"a":1}, {"b":"]"}]`, []string{`{"a":1}`, `{"b":"]"}`}, "]"},
		{"indented objects", formatJSON, "{\n \"a\": {\n  \"x\": 1\n }\n}\n{\n}\n", []string{"{\n \"a\": {\n  \"x\": 1\n }\n}", "{\n}"}, "\n"},
		{"concatenated", formatJSON, `{"a":1}{"b":2},{"c":3}`, []string{`{"a":1}`, `{"b":2}`, `{"c":3}`}, ""},
		{"records in another place", formatJSON, `{"count":1,"records":[{"a":1}]}`, []string{`{"count":1,"records":[{"a":1}]}`}, ""},
		{"half a record of a wrapper", formatJSON, `{"records":[{"a":1},{"b":`, []string{`{"a":1}`, `{"b":`}, `,{"b":`},
		{"no object", formatJSON, "oops\n{\"a\":1}\n", []string{"oops", `{"a":1}`}, "\n"},
		{"text", formatText, "  one \r\n\n \t\ntwo\n three", []string{"  one ", "two", " three"}, " three"},
		{"csv", formatCSV, "1,\"a\nb\",\"say \"\"x\"\"\"\r\n2,c,d\n3,", []string{"1,\"a\nb\",\"say \"\"x\"\"\"", "2,c,d", "3,"}, "3,"},
		{"too large line", formatText, "short\n" + strings.Repeat("x", 60) + "\nshort\n", []string{"short", "too large: " + strings.Repeat("x", 60), "short"}, ""},
		{"too large object", formatJSON, `[{"a":"` + strings.Repeat("}", 60) + `"},{"b":2}]`, []string{`too large: {"a":"` + strings.Repeat("}", 60) + `"}`, `{"b":2}`}, "]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, rest := cutAll(t, framer{format: tc.format, max: 50}, []byte(tc.text), len(tc.text))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if rest != tc.rest {
				t.Errorf("%q waits, want %q", rest, tc.rest)
			}
		})
	}
}

// TestCutsDoNotMatter cuts texts at every byte, and at random ones.
func TestCutsDoNotMatter(t *testing.T) {
	lines := "{\"a\":\"ü\\\\\",\"n\":[1,{}]}\r\n{\"b\":\"\\\"\u2028\"}\n\n{\"c\":3}\n"
	for name, tc := range map[string]struct {
		format format
		text   string
	}{
		"ndjson":  {formatNDJSON, lines},
		"json":    {formatJSON, `{"records":[{"a":"]}"},{"b":{"c":[1,2]}},` + "\n" + `{"ü":"\"}"}]}`},
		"objects": {formatJSON, strings.ReplaceAll(lines, ":", ":\n")},
		"text":    {formatText, "eins\nzwei ü\r\ndrei"},
		"csv":     {formatCSV, "1,\"a\nb\"\"\"\n2,\"ü\"\r\n3,\"\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f, text := framer{format: tc.format, max: 1000}, []byte(tc.text)
			want, _ := cutAll(t, f, text)
			for i := range text {
				if got, _ := cutAll(t, f, text, i); !cmp.Equal(got, want) {
					t.Fatalf("cut at byte %d: %q, want %q", i, got, want)
				}
			}
			every := make([]int, len(text))
			for i := range every {
				every[i] = i
			}
			if got, _ := cutAll(t, f, text, every...); !cmp.Equal(got, want) {
				t.Fatalf("byte by byte: %q, want %q", got, want)
			}
		})
	}
}

// TestTooLargeComesInPieces shows that a record over the limit takes no memory:
// it is handed on as it comes, and what follows is found.
func TestTooLargeComesInPieces(t *testing.T) {
	for name, tc := range map[string]struct {
		format format
		large  string
	}{
		"text":   {formatText, strings.Repeat("x", 1000) + "\n"},
		"ndjson": {formatNDJSON, `{"a":"` + strings.Repeat(`}\"`, 400) + "\"}\n"},
		"json":   {formatJSON, `{"a":"` + strings.Repeat(`}\"`, 400) + `","b":[` + strings.Repeat(`{"c":"]"},`, 50) + "{}]},"},
		"csv":    {formatCSV, `1,"` + strings.Repeat("\n", 500) + "\",2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			text := []byte(tc.large + "{\"b\":2}\n")
			var every []int
			for i := 0; i < len(text); i += 30 {
				every = append(every, i)
			}
			records, _ := cutAll(t, framer{format: tc.format, max: 50}, text, every...)
			n := len(records)
			if n < 10 || records[n-1] != `{"b":2}` {
				t.Fatalf("%d records, the last is %q", n, records[n-1])
			}
			whole := ""
			for _, r := range records[:n-1] {
				piece, ok := strings.CutPrefix(r, "too large: ")
				if !ok || len(piece) > 90 {
					t.Fatalf("piece of %d bytes: %q", len(piece), r)
				}
				whole += piece
			}
			if want := strings.TrimRight(tc.large, ",\n"); whole != want {
				t.Errorf("the pieces make %q, want %q", whole, want)
			}
		})
	}
}

func TestFormatIsDetected(t *testing.T) {
	for _, tc := range []struct {
		name, head string
		final      bool
		want       format
	}{
		{"PT1H.json", "", true, ""},
		{"PT1H.json", "\xef\xbb\xbf \r\n", true, ""},
		{"PT1H.json", "{\"a\":1}\n{\"b\"", false, formatNDJSON},
		{"PT1H.json", "{\"a\":1}\r\n", false, formatNDJSON},
		{"PT1H.json", "{\"a\":1}", false, formatNDJSON},
		{"PT1H.json", "{\"a\":{", false, ""},
		{"PT1H.json", "{\"a\":{", true, formatNDJSON},
		{"PT1H.json", "{\"a\":\"x\n{\"b\":2}\n", false, formatNDJSON}, // the first line is damaged
		{"PT1H.json", `{"rec`, false, ""},
		{"PT1H.json", `{"records":[`, false, formatJSON},
		{"PT1H.json", "{ \"records\" :\n [", false, formatJSON},
		{"x.json", "{\n  \"a\": 1,\n", false, formatJSON},
		{"x.json", "{\n", false, ""},
		{"x.json", "{\"a\":\n{", false, formatJSON},
		{"x.json", "[", false, ""},
		{"x.json", "[\n {", false, formatJSON},
		{"x.json", "[]", false, formatJSON},
		{"x.log", "[218 B blob data]", false, formatText},
		{"x.log", "#Fields: date", false, formatText},
		{"x.CSV", "date,level", false, formatCSV},
		{"x.csv.gz", "date,level", false, formatCSV},
		{"x.csv", `{"a":1}`, false, formatNDJSON},
	} {
		if got := detect(tc.name, []byte(tc.head), tc.final); got != tc.want {
			t.Errorf("detect(%q, %q, %v) = %q, want %q", tc.name, tc.head, tc.final, got, tc.want)
		}
	}
}

// FuzzFramer checks, for any text cut anywhere, that every byte that is not
// space or framing is in a record, and that the cuts do not change which.
func FuzzFramer(f *testing.F) {
	for _, seed := range []string{
		"{\"a\":1}\n{\"b\":\"}\n", `{"records":[{"a":1},{"b":"\"}"}]}`, "a,b\n\"1\n\",2\n", "x\r\n\r\ny", "[{}]\xef\xbb\xbf{", `{"records":`,
	} {
		for i := range 4 {
			f.Add([]byte(seed), uint8(i), uint64(7))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, kind uint8, seed uint64) {
		fr := framer{format: []format{formatNDJSON, formatJSON, formatText, formatCSV}[kind%4], max: 20}
		random := rand.New(rand.NewPCG(seed, 1))
		var lengths []int
		for n := 0; n < len(text); n += 1 + random.IntN(12) {
			lengths = append(lengths, n)
		}
		solid := func(records []string) string {
			var b strings.Builder
			for _, r := range records {
				b.WriteString(strings.TrimPrefix(r, "too large: "))
			}
			return strings.Join(strings.Fields(strings.ReplaceAll(b.String(), bom, "")), "")
		}
		whole, _ := cutAll(t, fr, text)
		pieces, _ := cutAll(t, fr, text, lengths...)
		if fr.format != formatJSON {
			all := strings.Join(strings.Fields(strings.ReplaceAll(string(text), bom, "")), "")
			if got := solid(whole); got != all {
				t.Fatalf("records hold %q, the text %q", got, all)
			}
		}
		if a, b := solid(whole), solid(pieces); a != b {
			t.Fatalf("in one: %q\nin pieces at %v: %q", whole, lengths, pieces)
		}
	})
}

func TestTextBecomesJSON(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"plain", `{"message":"plain"}`},
		{"a\"b\\c\td\x01ü", `{"message":"a\"b\\c\td\u0001ü"}`},
		{"a\xff", `{"message":"a` + "\ufffd" + `","message_base64":"Yf8="}`},
	} {
		if got := string(appendText(nil, []byte(tc.line))); got != tc.want {
			t.Errorf("line %q: %s, want %s", tc.line, got, tc.want)
		}
	}
	row := []byte("7,\"say \"\"x\"\"\",\xff,extra")
	want := fmt.Sprintf(`{"message":%s,"message_base64":"%s","columns":{"id":"7","text":"say \"x\"","3":"%s","4":"extra"}}`,
		appendString(nil, row), base64.StdEncoding.EncodeToString(row), "\ufffd")
	if got := string(appendRow(nil, []string{"id", "text", ""}, row)); got != want {
		t.Errorf("row:\n%s\nwant\n%s", got, want)
	}
}
