package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// node is a Node as a test writes it down.
type node struct {
	Kind       Kind
	Key, Value string
	Next       int
	Flags      Flags
}

func TestScan(t *testing.T) {
	src := ` {"a":1, "b" : ["x\n", {}, [ ], -0.5e3], "k\u0065y":{"d":null,"e":true},` + "\"\xff\":\"\xfe long enough for the second word\"" + `,"z":"é"} rest`
	want := []node{
		{Object, "", strings.TrimSuffix(src[1:], " rest"), 12, 0},
		{Number, "a", "1", 2, 0},
		{Array, "b", `["x\n", {}, [ ], -0.5e3]`, 7, 0},
		{String, "", `"x\n"`, 4, Escaped},
		{Object, "", "{}", 5, 0},
		{Array, "", "[ ]", 6, 0},
		{Number, "", "-0.5e3", 7, 0},
		{Object, `k\u0065y`, `{"d":null,"e":true}`, 10, KeyEscaped},
		{Null, "d", "null", 9, 0},
		{True, "e", "true", 10, 0},
		{String, "\xff", "\"\xfe long enough for the second word\"", 11, NotUTF8 | KeyNotUTF8},
		{String, "z", `"é"`, 12, 0},
	}
	var x Index
	for range 2 { // the second time in the memory of the first
		n, err := x.Scan([]byte(src))
		if err != nil || src[n:] != " rest" {
			t.Fatalf("Scan = %d, %v", n, err)
		}
		var got []node
		for i, n := range x.Nodes {
			got = append(got, node{n.Kind, string(x.Key(i)), string(x.Value(i)), int(n.Next), n.Flags})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if want := Escaped | KeyEscaped | NotUTF8 | KeyNotUTF8 | Spaced; x.Flags != want {
			t.Errorf("Flags = %b, want %b", x.Flags, want)
		}
	}
	var children []int
	for c := range x.Children(2) {
		children = append(children, c)
	}
	if diff := cmp.Diff([]int{3, 4, 5, 6}, children); diff != "" {
		t.Errorf("Children(2): -want +got\n%s", diff)
	}
	if got := string(x.AppendText(nil, 3)); got != "x\n" {
		t.Errorf("AppendText(3) = %q", got)
	}
}

// TestManySiblings has more containers than may be nested, none in another.
func TestManySiblings(t *testing.T) {
	src := "[" + strings.Repeat("[{}],", MaxDepth) + "0]"
	var x Index
	if n, err := x.Scan([]byte(src)); err != nil || n != len(src) || len(x.Nodes) != 2*MaxDepth+2 {
		t.Errorf("Scan = %d, %v with %d nodes", n, err, len(x.Nodes))
	}
}

func TestMember(t *testing.T) {
	var x Index
	if _, err := x.Scan([]byte(`{"a":{"b":1},"b":2,"b":3}`)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		want string
	}{{"a", `{"b":1}`}, {"b", "3"}, {"B", ""}, {"", ""}} {
		got := ""
		if i := x.Member(0, tt.name); i >= 0 {
			got = string(x.Value(i))
		}
		if got != tt.want {
			t.Errorf("Member(0, %q) is %q, want %q", tt.name, got, tt.want)
		}
	}
	if i := x.Member(2, "b"); i >= 0 {
		t.Errorf("a number has member %d", i)
	}
}

func TestScanErrors(t *testing.T) {
	deep := strings.Repeat("[", MaxDepth)
	for _, tt := range []struct {
		src                 string
		want                string
		incomplete, tooDeep bool
	}{
		{src: ``, want: "the document ends where a value should be at byte 0", incomplete: true},
		{src: `  `, want: "the document ends where a value should be at byte 2", incomplete: true},
		{src: `{`, want: "the document ends inside an object at byte 1", incomplete: true},
		{src: `{"a`, want: "the document ends inside a string at byte 3", incomplete: true},
		{src: `{"a"`, want: "the document ends after a member name at byte 4", incomplete: true},
		{src: `{"a":`, want: "the document ends where a value should be at byte 5", incomplete: true},
		{src: `{"a":1,`, want: "the document ends where a member name should be at byte 7", incomplete: true},
		{src: `[1`, want: "the document ends inside an array at byte 2", incomplete: true},
		{src: `[-`, want: "the document ends inside a number at byte 2", incomplete: true},
		{src: `[tru`, want: "the document ends inside a word at byte 4", incomplete: true},
		{src: `"\u00`, want: "the document ends inside a string at byte 5", incomplete: true},
		{src: `{a:1}`, want: "unexpected 'a' where a member name should be at byte 1"},
		{src: `{"a" 1}`, want: "unexpected '1' where a colon should be at byte 5"},
		{src: `{"a":1 "b":2}`, want: "unexpected '\"' after a value in an object at byte 7"},
		{src: `{"a":1]`, want: "unexpected ']' after a value in an object at byte 6"},
		{src: `[1}`, want: "unexpected '}' after a value in an array at byte 2"},
		{src: `[1,]`, want: "unexpected ']' where a value should be at byte 3"},
		{src: `[01]`, want: "unexpected '1' after a value in an array at byte 2"},
		{src: `[1.]`, want: "unexpected ']' after a decimal point at byte 3"},
		{src: `[1e+]`, want: "unexpected ']' in an exponent at byte 4"},
		{src: `[nul]`, want: "unexpected ']' in a word at byte 4"},
		{src: "\"a\nb\"", want: "unexpected byte 0x0a in a string at byte 2"},
		{src: `"a\x41"`, want: "unexpected 'x' after a backslash at byte 3"},
		{src: `"a\u12x4"`, want: `unexpected 'x' in a \u escape at byte 6`},
		{src: "\xef\xbb\xbf{}", want: "unexpected byte 0xef where a value should be at byte 0"},
		{src: deep + "[", want: "nested deeper than 512 at byte 512", tooDeep: true},
		{src: deep, want: "the document ends inside an array at byte 512", incomplete: true},
	} {
		var x Index
		_, err := x.Scan([]byte(tt.src))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("Scan(%.20q) = %v, want a SyntaxError", tt.src, err)
			continue
		}
		if syntax.Error() != tt.want || syntax.Incomplete != tt.incomplete || syntax.TooDeep != tt.tooDeep {
			t.Errorf("Scan(%.20q) = %q, %v, %v; want %q, %v, %v", tt.src, err, syntax.Incomplete, syntax.TooDeep, tt.want, tt.incomplete, tt.tooDeep)
		}
		if len(x.Nodes) > 0 {
			t.Errorf("Scan(%.20q) left %d nodes", tt.src, len(x.Nodes))
		}
	}
}

// FuzzScan holds Scan against the standard library: both accept the same
// documents, and the index covers exactly the bytes of each value.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,{"b":null}],"c":"\u00e9\n"}`, `[]`, `{}`, `{"a":{},"b":[]}`, `-0.1e+9`, `"x`, `[1,]`, `{,}`, `{"a":1,}`, `tru`, "\"\x80\"", `[[[[`, `01`, `"\ud800"`, `{"a" : 1 , "b":2}`, `{"":"","\u0061":"\"","ä":"a long text of more than sixteen bytes ä","x":["",[""]],"n":12345678901234567890}`, "{\"a\":\n\"b\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var x Index
		n, err := x.Scan(src)
		if ok := err == nil && skipSpace(src, n) == len(src); ok != json.Valid(src) && depth(src) < MaxDepth {
			t.Fatalf("Scan(%q) = %d, %v; json.Valid = %v", src, n, err, !ok)
		}
		if err != nil {
			return
		}
		for i := range x.Nodes {
			if !json.Valid(x.Value(i)) {
				t.Fatalf("node %d of %q is %q, not a value", i, src, x.Value(i))
			}
			want := flagsOf(x.Key(i)) << keyShift
			if x.Nodes[i].Kind == String {
				want |= flagsOf(x.Text(i))
			}
			if got := x.Nodes[i].Flags; got != want || x.Flags&got != got {
				t.Fatalf("node %d of %q has flags %b, all together %b, want %b", i, src, got, x.Flags, want)
			}
			prefix := []byte("before")
			if got, want := x.AppendEscapedValue(prefix, i), AppendEscaped(prefix, x.Value(i)); !bytes.Equal(got, want) {
				t.Fatalf("node %d of %q escaped is\n%q, want\n%q", i, src, got, want)
			}
			if nx := int(x.Nodes[i].Next); nx <= i || nx > len(x.Nodes) {
				t.Fatalf("node %d of %q: Next = %d of %d", i, src, nx, len(x.Nodes))
			}
		}
	})
}

func depth(src []byte) (most int) {
	d := 0
	for _, c := range src {
		if c == '{' || c == '[' {
			d++
			most = max(most, d)
		}
	}
	return most
}

func flagsOf(content []byte) (f Flags) {
	if bytes.IndexByte(content, '\\') >= 0 {
		f |= Escaped
	}
	if !utf8.Valid(content) {
		f |= NotUTF8
	}
	return f
}
