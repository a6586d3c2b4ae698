package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

func seeds() []string {
	return []string{
		`{"records":[{"time":"2026-11-22T08:00:00.1234567Z","properties":{"a":[1,2,{"b":null}]}},{"b":2}]}`,
		`{"count":1,"records":[{"a":1}],"next":null}`,
		`[{"a":1},[{"b":2}],{"records":[{"c":3}],"n":1}]`,
		"\xef\xbb\xbf{\"a\":1}\r\n{\"b\":2}\r\n\xef\xbb\xbf{\"c\":3}",
		`{"a":1}{"b":2} {"c":3}`,
		`,{"a":1},{"b":2}]}`,
		`{"p":{'m':'it\'s "x"\n', k: 1, 'l':[1,],}}`,
		"{\"a\":\"x\ny\x00\",\"b\":\"\\x41\\u12\"}\n{\"c\":1}",
		"{\"a\":1,\"b\":\"x\n{\"c\":1}\n{\"a\":{\"b\":[1,",
		`{"records":[{"t":1},[218 B blob data],{"t":2 "x":3},{"t":nil},{"t":"a"b"},{"t":3}]}`,
		"{\n  \"records\": [\n    {\n      \"t\": 1\n    },\n    {\n      \"t\": x\n    }\n  ]\n}\n",
		`"{\"records\":[{\"a\":\"\\u00e9\"},{\"b\":2}]}"`,
		"{\"\xff\":\"\xc3\",\"a\":1e400,\"a\":-0.0}",
		`[1,"x",null,{"a":1},true]`,
		`{"a":{"a":{"a":{`,
		strings.Repeat(`{"a":`, 600),
		strings.Repeat(`[`, 600),
		strings.Repeat(`"`, 300),
		"text\n\"quoted\"\n{}\n12",
		gzipped(`{"records":[{"a":1},{"b":2}]}`),
		gzipped("{\"a\":1}\n", "{\"b\":2}\n")[:40],
		`{"records":[],"a":{"records":[1]}}`,
		`{"records":[{"records":[{"x":1}],"z":[}],"y":2}`,
		`{"records":[` + nsgTwo + `,` + vnetTwo + `,{"a":1}]}`,
		nsgTwo[:180] + "\n" + vnetTwo + "\n" + strings.ReplaceAll(vnetTwo, `"`, `'`),
		`[` + strings.Replace(nsgTwo, `"c"`, "3", 1) + `,` + strings.Replace(vnetTwo, `"a"`, "\"\xff\"", 1) + `]`,
		gzipped(nsgTwo),
		`"` + strings.ReplaceAll(vnetTwo, `"`, `\"`) + `"`,
	}
}

// FuzzDecode holds the decoder to its invariant on any bytes at all.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > 1<<16 {
			return
		}
		before := bytes.Clone(payload)
		var d Decoder
		run := func() (trace string) {
			var kept [][]byte
			var narrowed narrowCheck
			d.Decode(payload, func(r *Record) {
				checkIndex(t, r)
				narrowed.record(t, payload, r)
				if r.Tuples == 0 {
					kept = append(kept, r.Raw)
				}
				trace += fmt.Sprintf("record %d at %d, %s: %s\n", r.Number, r.Offset, r.Repairs, r.Raw)
			}, func(b Bad) {
				kept = append(kept, b.Raw)
				trace += fmt.Sprintf("bad at %d, %s, %s: %s\n", b.Offset, b.Class, b.Reason, b.Raw)
			})
			narrowed.end(t, payload)
			for _, raw := range kept {
				if !strings.Contains(trace, string(raw)) {
					t.Fatalf("Decode(%q): Raw %q is not what it was when handed on", payload, raw)
				}
			}
			return trace
		}
		first := run()
		if again := run(); again != first {
			t.Fatalf("Decode(%q) is not the same twice:\n%s\n%s", payload, first, again)
		}
		if !bytes.Equal(before, payload) {
			t.Fatalf("Decode(%q) changed its payload to %q", before, payload)
		}
		if !isGzip(payload) {
			checkCoverage(t, payload)
		}
	})
}

// checkIndex checks that every value in a record's index is one, by the standard
// library's account, and that the record is an object.
func checkIndex(t *testing.T, r *Record) {
	t.Helper()
	if r.Index.Nodes[r.Node].Kind != jsonscan.Object {
		t.Fatalf("record %q is not an object", r.Raw)
	}
	if r.Repairs&^(InvalidUTF8|StringEncoded) == 0 && !bytes.Equal(r.Index.Value(r.Node), r.Raw) {
		t.Fatalf("record %q was not repaired, but is indexed as %q", r.Raw, r.Index.Value(r.Node))
	}
	for i := range r.Index.Nodes {
		if !json.Valid(r.Index.Value(i)) {
			t.Fatalf("record %q: value %d is %q, which is not JSON", r.Raw, i, r.Index.Value(i))
		}
		if name := r.Index.Key(i); len(name) > 0 && !json.Valid(fmt.Appendf(nil, `"%s"`, name)) {
			t.Fatalf("record %q: name %d is %q, which is not JSON", r.Raw, i, name)
		}
	}
}

// FuzzRepair holds the mender to this: what it calls mended is one object of
// JSON; it does not touch what is JSON already, but for white space; and what is
// cut anywhere loses no member that was complete.
func FuzzRepair(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s), 20)
	}
	f.Fuzz(func(t *testing.T, src []byte, at int) {
		if len(src) == 0 || src[0] != '{' {
			return
		}
		var m mender
		for _, cut := range []bool{false, true} {
			n, ok := m.object(src, cut)
			if n > len(src) {
				t.Fatalf("object(%q) read %d of %d bytes", src, n, len(src))
			}
			if ok && (!json.Valid(m.out) || m.out[0] != '{') {
				t.Fatalf("object(%q, %v) = %q, not an object", src, cut, m.out)
			}
		}
		var x jsonscan.Index
		end, err := x.Scan(src)
		if err != nil {
			return
		}
		want := string(jsonscan.AppendCompact(nil, src[:end]))
		if n, ok := m.object(src, true); !ok || n != end || m.done != 0 || string(jsonscan.AppendCompact(nil, m.out)) != want {
			t.Fatalf("object(%q) = %d, %v, %s, %q, want it as it is", src, n, ok, m.done, m.out)
		}
		if at < 0 || at >= end {
			return
		}
		complete := 0
		for c := range x.Children(0) {
			if int(x.Nodes[c].End) < at {
				complete++
			}
		}
		if _, ok := m.object(src[:at], true); ok != (complete > 0) && complete > 0 {
			t.Fatalf("object(%q) gave up on %d complete members", src[:at], complete)
		} else if ok {
			var mended map[string]json.RawMessage
			if err := json.Unmarshal(m.out, &mended); err != nil {
				t.Fatalf("object(%q) = %q: %v", src[:at], m.out, err)
			}
			kept := 0
			if _, err := x.Scan(m.out); err != nil {
				t.Fatal(err)
			}
			for range x.Children(0) {
				kept++
			}
			if kept < complete {
				t.Fatalf("object(%q) = %q kept %d of %d complete members", src[:at], m.out, kept, complete)
			}
		}
	})
}
