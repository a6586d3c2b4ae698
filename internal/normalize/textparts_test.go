package normalize

import (
	"fmt"
	"strings"
	"testing"
)

// mapAll maps one text each by a list of transforms, and returns what the document
// has for it, as JSON, or "".
func mapAll(t *testing.T, cases [][2]string) (got []string) {
	t.Helper()
	var table strings.Builder
	table.WriteString("define: [{name: probe, has: probe}]\nlog_types: [probe]\nfields:\n")
	for i, c := range cases {
		fmt.Fprintf(&table, "  - {to: y, from: x%d, as: %s}\n", i, c[0])
	}
	m, err := Compile(ECS, Options{Files: []File{{Name: "probe.yaml", Data: []byte(table.String())}}})
	if err != nil {
		t.Fatal(err)
	}
	w := m.Worker()
	for i, c := range cases {
		out, _ := append1(t, w, Input{}, fmt.Sprintf(`{"probe":1,"x%d":%q}`, i, c[1]))
		got = append(got, strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(out, "{}"), `{"y":`), "}"))
	}
	return got
}

func TestTextTransforms(t *testing.T) {
	const (
		tuple = "1542110379,10.0.0.4,203.0.113.9,59932,443,T,O,A,E,1,66,2,77"
		begin = "1542110379,10.0.0.4,203.0.113.9,59932,443,T,O,A,B,,,,"
		msg   = "TCP request from 10.0.0.4:5 to shop.example:443. Action: Deny. Rule Collection: web. Rule: no. 1"
		page  = "https://user@shop.example:8443/a/b.tar.gz?q=1&r=/2#top"
	)
	cases := []struct{ as, text, want string }{
		{"part 2", tuple, `"10.0.0.4"`},
		{"part 13", tuple, `"77"`},
		{"part 14", tuple, ""},
		{"part 10", begin, ""},
		{"part 13", begin, ""},
		{`"part 2-4"`, tuple, `"10.0.0.4,203.0.113.9,59932"`},
		{`"part 11,13"`, tuple, `"66,77"`},
		{`"part 1,12-13,20"`, tuple, `"1542110379,2,77,"`},
		{"part 3 blank", "a b c", `"c"`},
		{"part 2 ;", "a,b;c,d", `"c,d"`},
		{"part 99", strings.Repeat("x,", 98) + "y,z", `"y"`},
		{`["part 11,13", sum]`, tuple, `143`},
		{`["part 11,13", sum]`, begin, ""},
		{"sum", "1+2,,3", "6"},
		{"sum", "9223372036854775807", ""},
		{"sum", "1.5,2", ""},
		{"sum", "-1", ""},
		{"[part 1, timestamp]", tuple, `"2018-11-13T11:59:39.000Z"`},
		{`['past "Action: "', 'until ". "']`, msg, `"Deny"`},
		{`['past "Rule: "', 'until ". "']`, msg, `"no"`},
		{`'past "Rule: "'`, msg, `"no. 1"`},
		{`'past "Policy: "'`, msg, ""},
		{`'until " from"'`, msg, `"TCP request"`},
		{`'until "nothing"'`, "aab", `"aab"`},
		{"past aab", "aaabc", `"c"`},
		{"mac", "000D3AF8785f", `"00-0D-3A-F8-78-5F"`},
		{"mac", "00:0d:3a:f8:78:56", `"00-0D-3A-F8-78-56"`},
		{"mac", "000D3AF878", ""},
		{"mac", "not a mac", ""},
		{"url scheme", page, `"https"`},
		{"url domain", page, `"shop.example"`},
		{"[url port, number]", page, `8443`},
		{"url path", page, `"/a/b.tar.gz"`},
		{"url extension", page, `"gz"`},
		{"url query", page, `"q=1&r=/2"`},
		{"url fragment", page, `"top"`},
		{"url domain", "shop.example/a?u=http://x", `"shop.example"`},
		{"url scheme", "shop.example/a?u=http://x", ""},
		{"url path", "/a.d/b?c", `"/a.d/b"`},
		{"url domain", "/a.d/b?c", ""},
		{"url extension", "/a.d/b?c", ""},
		{"url domain", "http://[2001:db8::1]:80/", `"2001:db8::1"`},
		{"host", "shop.example:443", `"shop.example"`},
		{"host", "10.0.0.4:443", ""},
		{"host", "2001:db8::1", ""},
		{"host", "no host", ""},
		{"hyphens", "servicePrincipals", `"service-principals"`},
		{"hyphens", "$batch", `"batch"`},
		{"hyphens", "oauth2PermissionGrants", `"oauth2-permission-grants"`},
		{"hyphens", "ABCd e", `"abcd-e"`},
		{"hyphens", "$/", ""},
		{"[hyphens, add -read]", "me", `"me-read"`},
		{"[hyphens, add -read]", "$", ""},
		{"without x", "abc", `"abc"`},
		{"without b", "abc", ""},
		{"http_outcome", "204", `"success"`},
		{"http_outcome", "403", `"failure"`},
		{"http_outcome", "99", ""},
		{"http_outcome", "OK!", ""},
		{"duration_s", "0.013", "13000000"},
		{"duration_s", "12", "12000000000"},
		{"duration_s", "-1", ""},
		{"duration_ms", "462680", "462680000000"},
		{"duration_ms", "0.1", "100000"},
	}
	var in [][2]string
	for _, c := range cases {
		in = append(in, [2]string{c.as, c.text})
	}
	for i, got := range mapAll(t, in) {
		if c := cases[i]; got != c.want {
			t.Errorf("%s of %q = %s, want %s", c.as, c.text, got, c.want)
		}
	}
}

// The ids are those of the specification's own examples.
func TestCommunityID(t *testing.T) {
	cases := []struct{ flow, want string }{
		{"128.232.110.120,66.35.250.204,34855,80,6", `"1:LQU9qZlK+B5F3KDmev6m5PMibrg="`},
		{"66.35.250.204,128.232.110.120,80,34855,T", `"1:LQU9qZlK+B5F3KDmev6m5PMibrg="`},
		{"192.168.1.52,8.8.8.8,54585,53,UDP", `"1:d/FP5EW3wiY1vCndhwleRRKHowQ="`},
		{"8.8.8.8,192.168.1.52,53,54585,17", `"1:d/FP5EW3wiY1vCndhwleRRKHowQ="`},
		{"192.168.170.8,192.168.170.56,7,80,132", `"1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="`},
		{"2001:470:e5bf:dead:4957:2174:e82c:4887,2607:f8b0:400c:c03::1a,63943,25,6", `"1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="`},
		{"192.168.0.89,192.168.0.1,8,0,1", ""},
		{"192.168.0.89,192.168.0.1,,,6", ""},
		{"192.168.0.89,2001:db8::1,1,2,6", ""},
		{"shop.example,192.168.0.1,1,2,6", ""},
		{"192.168.0.89,192.168.0.1,1,70000,6", ""},
		{"192.168.0.89,192.168.0.1,1,2", ""},
		{"192.168.0.89,192.168.0.1,1,2,6,7", ""},
		{"192.168.0.89,192.168.0.1,1,2,256", ""},
		// Protocols without ports have one all the same, in both directions.
		{"192.0.2.1,192.0.2.2,,,47", ""},
		{"192.0.2.2,192.0.2.1,0,0,GRE", ""},
	}
	var in [][2]string
	for _, c := range cases {
		in = append(in, [2]string{"community_id", c.flow})
	}
	got := mapAll(t, in)
	n := len(got) - 2
	for i, got := range got[:n] {
		if c := cases[i]; got != c.want {
			t.Errorf("community id of %q = %s, want %s", c.flow, got, c.want)
		}
	}
	if there, back := got[n], got[n+1]; there == "" || there != back {
		t.Errorf("community id of GRE: %s and %s", there, back)
	}
}
