package jsonscan

import (
	"encoding/json"
	"testing"
)

// FuzzScan holds Scan against the standard library: both accept the same
// documents, and the index covers exactly the bytes of each value.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,{"b":null}],"c":"\u00e9\n"}`, `[]`, `{}`, `{"a":{},"b":[]}`, `-0.1e+9`, `"x`, `[1,]`, `{,}`, `{"a":1,}`, `tru`, "\"\x80\"", `[[[[`, `01`, `"\ud800"`, `{"a" : 1 , "b":2}`} {
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
