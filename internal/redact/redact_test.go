package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

func run(t testing.TB, r Rules, document string) string {
	t.Helper()
	p, err := Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	x := new(jsonscan.Index)
	if _, err := x.Scan([]byte(document)); err != nil {
		t.Fatal(err)
	}
	return string(p.Worker().Append(nil, x))
}

func sum(text string) string {
	mac := hmac.New(sha256.New, []byte("k"))
	mac.Write([]byte(text))
	return `"hmac:` + hex.EncodeToString(mac.Sum(nil)[:16]) + `"`
}

func TestAppend(t *testing.T) {
	for name, tc := range map[string]struct {
		rules          Rules
		document, want string
	}{
		"nothing to do":             {Rules{Remove: []string{"x"}}, `{"a":1,"b":[2, {"c":"é"}]}`, `{"a":1,"b":[2, {"c":"é"}]}`},
		"a member":                  {Rules{Remove: []string{"b"}}, `{"a":1,"b":{"c":2},"d":3}`, `{"a":1,"d":3}`},
		"the first and the last":    {Rules{Remove: []string{"a", "d"}}, `{"a":1,"b":2,"d":3}`, `{"b":2}`},
		"the only one":              {Rules{Remove: []string{"a.b"}}, `{"a":{"b":1}}`, `{"a":{}}`},
		"through lists":             {Rules{Remove: []string{"a.b"}}, `{"a":[{"b":1,"c":2},[{"b":3}],4]}`, `{"a":[{"c":2},[{}],4]}`},
		"a quoted name":             {Rules{Remove: []string{"claims.'http://x.y/upn'"}}, `{"claims":{"http://x.y/upn":"a","b":1}}`, `{"claims":{"b":1}}`},
		"an escaped name":           {Rules{Remove: []string{"é"}}, `{"\u00e9":1,"b":2}`, `{"b":2}`},
		"a name twice":              {Rules{Remove: []string{"a"}}, `{"a":1,"b":2,"a":3}`, `{"b":2}`},
		"a text":                    {Rules{Hash: []string{"user.name"}, Key: "k"}, `{"user":{"name":"ann","id":"7"}}`, `{"user":{"name":` + sum("ann") + `,"id":"7"}}`},
		"escaped or not":            {Rules{Hash: []string{"a", "b"}, Key: "k"}, `{"a":"\u00e9","b":"é"}`, `{"a":` + sum("é") + `,"b":` + sum("é") + `}`},
		"elements":                  {Rules{Hash: []string{"related.user"}, Key: "k"}, `{"related":{"user":["a",null,2,true]}}`, `{"related":{"user":[` + sum("a") + `,null,` + sum("2") + `,` + sum("true") + `]}}`},
		"all in an object":          {Rules{Hash: []string{"user"}, Key: "k"}, `{"user":{"name":"a","more":{"id":"b"}}}`, `{"user":{"name":` + sum("a") + `,"more":{"id":` + sum("b") + `}}}`},
		"removed in what is hashed": {Rules{Hash: []string{"user"}, Remove: []string{"user.id"}, Key: "k"}, `{"user":{"name":"a","id":"b"}}`, `{"user":{"name":` + sum("a") + `}}`},
		"removed wins":              {Rules{Hash: []string{"a"}, Remove: []string{"a"}, Key: "k"}, `{"a":1,"b":2}`, `{"b":2}`},
		"a path through a value":    {Rules{Remove: []string{"a.b.c"}}, `{"a":"text"}`, `{"a":"text"}`},
		"no object":                 {Rules{Remove: []string{"a"}}, `7`, `7`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(t, tc.rules, tc.document); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	for want, r := range map[string]Rules{
		"hash needs a key":       {Hash: []string{"a"}},
		"a name is empty":        {Remove: []string{"a..b"}},
		`path "": a name is emp`: {Remove: []string{""}},
		"a quote is not closed":  {Remove: []string{"a.'b"}},
		"after a quoted name":    {Remove: []string{"'a'b"}},
		"lists need no brackets": {Remove: []string{"a[0].b"}},
	} {
		if _, err := Compile(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Compile(%v) = %v, want %q", r, err, want)
		}
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("a.b", "c", `{"a":[{"b":1}],"c":"x"}`)
	f.Fuzz(func(t *testing.T, remove, hash, document string) {
		p, err := Compile(Rules{Remove: []string{remove}, Hash: []string{hash}, Key: "k"})
		if err != nil {
			return
		}
		x := new(jsonscan.Index)
		if _, err := x.Scan([]byte(document)); err != nil || !json.Valid(x.Value(0)) {
			return
		}
		got := p.Worker().Append(nil, x)
		if !json.Valid(got) {
			t.Fatalf("remove %q, hash %q: %s became %s", remove, hash, document, got)
		}
		again := new(jsonscan.Index)
		if _, err := again.Scan(got); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		names, _ := Path(remove)
		if n := leads(again, 0, names); n {
			t.Fatalf("%q is still in %s", remove, got)
		}
	})
}

// leads tells whether a path leads to something.
func leads(x *jsonscan.Index, n int, names []string) bool {
	for c := range x.Children(n) {
		switch {
		case x.Nodes[n].Kind == jsonscan.Array:
			if leads(x, c, names) {
				return true
			}
		case string(jsonscan.AppendUnescaped(nil, x.Key(c))) == names[0]:
			if len(names) == 1 || leads(x, c, names[1:]) {
				return true
			}
		}
	}
	return false
}
