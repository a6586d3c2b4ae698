package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSplitPage(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		want       []string
		next       string
		damaged    bool
	}{
		{"empty", `{"value":[]}`, nil, "", false},
		{"link first", `{"@odata.context":"c","@odata.nextLink":"https://x/y","value":[{"id":"1"},{"id":"2"}]}`, []string{`{"id":"1"}`, `{"id":"2"}`}, "https://x/y", false},
		{"link last", "{\"value\": [ {\"id\":\"1\"} ,\n{\"id\":\"2\"}\n], \"@odata.nextLink\":\"https://x/y\"}\n", []string{`{"id":"1"}`, `{"id":"2"}`}, "https://x/y", false},
		{"no link", `{"@odata.nextLink":null,"value":[{}],"@odata.count":7}`, []string{`{}`}, "", false},
		{
			"byte for byte", `{"value":[{"b": 12345678901234567890 , "a":1.0e+5,"é":"\u00e9\ud800","a":[{"value":[{"id":3}]},{"@odata.nextLink":"no"}]}]}`,
			[]string{`{"b": 12345678901234567890 , "a":1.0e+5,"é":"\u00e9\ud800","a":[{"value":[{"id":3}]},{"@odata.nextLink":"no"}]}`},
			"", false,
		},
		{"no objects are passed on too", `{"value":[null,3,"x",[1]]}`, []string{`null`, `3`, `"x"`, `[1]`}, "", false},
		{"cut in an object", `{"value":[{"id":"1"},{"id":`, []string{`{"id":"1"}`}, "", true},
		{"cut behind the list", `{"value":[{"id":"1"}]`, []string{`{"id":"1"}`}, "", true},
		{"cut before the list", `{"@odata.context":"c"`, nil, "", true},
		{"cut in the list", `{"value":[{"id":"1"}`, []string{`{"id":"1"}`}, "", true},
		{"nothing", ``, nil, "", true},
		{"no value", `{"error":{}}`, nil, "", true},
		{"value is no list", `{"value":{}}`, nil, "", true},
		{"link is no text", `{"@odata.nextLink":3,"value":[]}`, nil, "", true},
		{"a proxy's page", `<html>`, nil, "", true},
		{"a list", `[{"id":"1"}]`, nil, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			next, err := splitPage(iotest.OneByteReader(strings.NewReader(tc.body)), func(o []byte) error {
				got = append(got, string(o))
				return nil
			})
			if !slices.Equal(got, tc.want) || errors.Is(err, errDamaged) != tc.damaged || (err != nil) != tc.damaged {
				t.Errorf("objects %q, error %v; want %q, damaged %v", got, err, tc.want, tc.damaged)
			}
			if err == nil && next != tc.next {
				t.Errorf("nextLink %q, want %q", next, tc.next)
			}
		})
	}
	stop := errors.New("stop")
	_, err := splitPage(strings.NewReader(`{"value":[{},{}]}`), func([]byte) error { return stop })
	if !errors.Is(err, stop) || errors.Is(err, errDamaged) {
		t.Errorf("the consumer's error came back as %v", err)
	}
}

func TestCheckLink(t *testing.T) {
	base, _ := url.Parse("https://graph.microsoft.com")
	for link, want := range map[string]bool{
		"https://graph.microsoft.com/v1.0/auditLogs/signIns?$skiptoken=x": true,
		"https://GRAPH.microsoft.com/beta/a":                              true,
		"http://graph.microsoft.com/v1.0/a":                               false,
		"https://graph.microsoft.com:444/v1.0/a":                          false,
		"https://graph.microsoft.com.evil.example/v1.0/a":                 false,
		"https://graph.microsoft.com@evil.example/v1.0/a":                 false,
		"https://user@graph.microsoft.com/v1.0/a":                         false,
		"//graph.microsoft.com/v1.0/a":                                    false,
		"/v1.0/a":                                                         false,
		"nextLink":                                                        false,
		"https://graph.microsoft.com/%zz":                                 false,
	} {
		if err := checkLink(base, link); (err == nil) != want {
			t.Errorf("checkLink(%q) = %v; want accepted %v", link, err, want)
		}
	}
}

func FuzzSplitPage(f *testing.F) {
	f.Add([]byte(`{"@odata.nextLink":"https://x/y","value":[{"id":"1","n":1e400},null,"\u00e9"]}`))
	f.Add([]byte(`{"value":[{"a":[{"value":[1]}]}],"value":[2]}`))
	f.Add([]byte(`{"value":[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var got [][]byte
		next, err := splitPage(bytes.NewReader(body), func(o []byte) error { got = append(got, o); return nil })
		for _, o := range got {
			if !json.Valid(o) || !bytes.Contains(body, o) {
				t.Fatalf("%q is not a value of %q", o, body)
			}
		}
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatalf("error %v", err)
			}
			return
		}
		var whole map[string]json.RawMessage
		if json.NewDecoder(bytes.NewReader(body)).Decode(&whole) != nil {
			t.Fatalf("%q was read to its end", body)
		}
		var list []json.RawMessage
		if json.Unmarshal(whole["value"], &list) != nil || len(got) < len(list) {
			t.Fatalf("%d values of %q", len(got), body)
		}
		_ = next
	})
}

func FuzzCheckLink(f *testing.F) {
	base, _ := url.Parse("https://graph.microsoft.com")
	f.Add("https://graph.microsoft.com/v1.0/a?$skiptoken=x")
	f.Add("https://graph.microsoft.com\\@evil.example/")
	f.Fuzz(func(t *testing.T, link string) {
		if checkLink(base, link) != nil {
			return
		}
		u, err := url.Parse(link)
		if err != nil || !strings.EqualFold(u.Hostname(), "graph.microsoft.com") || u.Port() != "" || u.Scheme != "https" {
			t.Fatalf("%q was accepted", link)
		}
	})
}

func BenchmarkSplitPage(b *testing.B) {
	var page bytes.Buffer
	page.WriteString(`{"@odata.context":"c","value":[`)
	for i := range 1000 {
		if i > 0 {
			page.WriteByte(',')
		}
		page.Write(object("object", "createdDateTime", "2026-01-02T03:04:05Z", "text", strings.Repeat("of a sign-in ", 400)))
	}
	page.WriteString("]}")
	b.SetBytes(int64(page.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := splitPage(bytes.NewReader(page.Bytes()), func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
