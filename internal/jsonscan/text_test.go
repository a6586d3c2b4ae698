package jsonscan

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendUnescaped(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", ``, ""},
		{"plain", `plain text of more than eight bytes`, "plain text of more than eight bytes"},
		{"every short escape", `\"\\\/\b\f\n\r\t`, "\"\\/\b\f\n\r\t"},
		{"unicode", `\u00e9\u674e x`, "é李 x"},
		{"upper case hex", `\u00E9`, "é"},
		{"surrogate pair", `\ud83d\ude00!`, "😀!"},
		{"lone high surrogate", `a\ud83dz`, "a\ufffdz"},
		{"lone high surrogate before an escape", `\ud83d\n`, "\ufffd\n"},
		{"two high surrogates", `\ud83d\ud83d\ude00`, "\ufffd😀"},
		{"lone low surrogate", `\ude00`, "\ufffd"},
		{"U+FFFD escaped", `\ufffdx`, "\ufffdx"},
		{"NUL", `\u0000`, "\x00"},
		{"non-ASCII kept", `Zoë 李`, "Zoë 李"},
		{"not UTF-8", "a\xffb\xc3", "a\ufffdb\ufffd"},
		{"malformed: unknown escape", `a\xb`, `a\xb`},
		{"malformed: cut escape", `a\`, `a\`},
		{"malformed: cut hex", `a\u12`, `a\u12`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendUnescaped([]byte("<"), []byte(tt.text))); got != "<"+tt.want {
				t.Errorf("AppendUnescaped(%q) = %q, want %q", tt.text, got, "<"+tt.want)
			}
		})
	}
}

func TestAppendEscaped(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", ``},
		{"plain", "plain text of more than eight bytes", `plain text of more than eight bytes`},
		{"JSON", `{"a":"b\n"}`, `{\"a\":\"b\\n\"}`},
		{"short escapes", "\b\f\n\r\t", `\b\f\n\r\t`},
		{"control bytes", "\x00\x01\x1f\x7f", "\\u0000\\u0001\\u001f\x7f"},
		{"non-ASCII kept", "Zoë 李 😀 and so on", "Zoë 李 😀 and so on"},
		{"not UTF-8", "abc\xffdefgh\xc3", "abc\ufffddefgh\ufffd"},
		{"cut rune at a word's end", "1234567\xe6\x9d", "1234567\ufffd\ufffd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendEscaped([]byte("<"), []byte(tt.text))); got != "<"+tt.want {
				t.Errorf("AppendEscaped(%q) = %q, want %q", tt.text, got, "<"+tt.want)
			}
		})
	}
}

// TestEscapedGrows escapes what grows most, in every alignment.
func TestEscapedGrows(t *testing.T) {
	for n := range 200 {
		for _, c := range []string{"\x01", `"`, "\xff", "é", "1234567\x01"} {
			text := strings.Repeat(c, n)
			got := AppendEscaped(nil, []byte(text))
			want := strings.ReplaceAll(text, "\xff", "\ufffd")
			if back := string(AppendUnescaped(nil, got)); back != want {
				t.Fatalf("%d times %q: escaped %q, back %q", n, c, got, back)
			}
		}
	}
}

// TestEveryByte puts every byte in every place of two words, alone and between
// quotes, and holds what becomes of it against the standard library.
func TestEveryByte(t *testing.T) {
	var x Index
	for c := range 256 {
		for at := range 17 {
			text := []byte("0123456789abcdef0123456789")
			text[at+1] = byte(c)
			literal := append(append([]byte{'"'}, text...), '"')
			n, err := x.Scan(literal)
			if ok := err == nil && n == len(literal); ok != json.Valid(literal) {
				t.Fatalf("Scan(%q) = %d, %v; json.Valid = %v", literal, n, err, !ok)
			}
			text[at], text[at+2] = '"', '"'
			escaped := AppendEscaped([]byte{'"'}, text)
			var got string
			if err := json.Unmarshal(append(escaped, '"'), &got); err != nil || got != string([]rune(string(text))) {
				t.Fatalf("AppendEscaped(%q) = %q: %q, %v", text, escaped, got, err)
			}
		}
	}
}

func TestAppendCompact(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"already compact", `{"a":[1,2.50,1e400],"a":"x y"}`, `{"a":[1,2.50,1e400],"a":"x y"}`},
		{"pretty", "{\r\n  \"a\" : [ 1 ,\t2 ] ,\n  \"b\" : { }\n}\n", `{"a":[1,2],"b":{}}`},
		{"white space in strings stays", `{ "a b" : "c  d \" e" }`, `{"a b":"c  d \" e"}`},
		{"escapes stay", `[ "\u0041\/" ]`, `["\u0041\/"]`},
		{"not UTF-8", "{\"a\xff\": \"b\xc3\", \"c\":\"ü\"}", "{\"a\ufffd\":\"b\ufffd\",\"c\":\"ü\"}"},
		{"scalar", ` "x" `, `"x"`},
		{"unfinished", `{ "a\`, `{"a\`},
		{"empty", ``, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendCompact([]byte("<"), []byte(tt.value))); got != "<"+tt.want {
				t.Errorf("AppendCompact(%q) = %q, want %q", tt.value, got, "<"+tt.want)
			}
			var x Index
			if _, err := x.Scan([]byte(tt.value)); err != nil {
				return
			}
			if got := string(x.AppendCompact([]byte("<"), 0)); got != "<"+tt.want {
				t.Errorf("with an index, %q = %q, want %q", tt.value, got, "<"+tt.want)
			}
		})
	}
}

// FuzzText holds the three appenders against the standard library.
func FuzzText(f *testing.F) {
	for _, s := range []string{`{"a": "b\n"}`, "a\xff\xfe", `\ud83d\ude00`, "\"", "{\n\"\xc3\" :\t1}", "12345678\"\\\x01é", `{"a":["12345678901234567","123456789012345678901234567890123",{"é":"\"\u0001"}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		AppendUnescaped(nil, b)
		AppendCompact(nil, b)
		literal := append(AppendEscaped([]byte{'"'}, b), '"')
		var want string
		if err := json.Unmarshal(literal, &want); err != nil {
			t.Fatalf("AppendEscaped(%q) = %q: %v", b, literal, err)
		}
		if got := string(AppendUnescaped(nil, literal[1:len(literal)-1])); got != want {
			t.Fatalf("AppendUnescaped(%q) = %q, want %q", literal, got, want)
		}
		if valid := string([]rune(string(b))); want != valid {
			t.Fatalf("%q came back as %q, want %q", b, want, valid)
		}
		if !json.Valid(b) {
			return
		}
		var std bytes.Buffer
		if err := json.Compact(&std, b); err != nil {
			t.Fatal(err)
		}
		got := AppendCompact(nil, b)
		if wantCompact := string([]rune(std.String())); string(got) != wantCompact {
			t.Fatalf("AppendCompact(%q) = %q, want %q", b, got, wantCompact)
		}
		var x Index
		if _, err := x.Scan(b); err == nil {
			if again := x.AppendCompact(nil, 0); !bytes.Equal(again, got) {
				t.Fatalf("with an index, %q became %q, want %q", b, again, got)
			}
			for n := range x.Nodes {
				want := string(AppendEscaped([]byte("<"), x.Value(n)))
				if got := string(x.AppendEscapedValue([]byte("<"), n)); got != want {
					t.Fatalf("with an index, %q is escaped as %q, want %q", x.Value(n), got, want)
				}
			}
		}
		if !utf8.Valid(got) || bytes.ContainsAny(got, "\n\r") {
			t.Fatalf("AppendCompact(%q) = %q: not one line of UTF-8", b, got)
		}
		if want := ""; b[0] == '"' && json.Unmarshal(b, &want) == nil && b[len(b)-1] == '"' {
			if text := string(AppendUnescaped(nil, b[1:len(b)-1])); text != want {
				t.Fatalf("AppendUnescaped(%q) = %q, want %q", b, text, want)
			}
		}
	})
}
