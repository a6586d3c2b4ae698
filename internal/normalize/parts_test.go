package normalize

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

func TestParseTime(t *testing.T) {
	at := func(hour, minute, second, nanos int) time.Time {
		return time.Date(2007, 1, 9, hour, minute, second, nanos, time.UTC)
	}
	for _, c := range []struct {
		text      string
		want      time.Time // zero: not readable
		written   string    // as the document has it
		canonical bool      // passed on as it is
	}{
		{text: "01/09/2007 09:41:00", want: at(9, 41, 0, 0), written: "2007-01-09T09:41:00.000Z"},
		{text: "1/9/2007 09:41:00", want: at(9, 41, 0, 0)},
		{text: "01/09/2007 09:41:00 AM", want: at(9, 41, 0, 0)},
		{text: "1/9/2007 9:41:00 AM", want: at(9, 41, 0, 0)},
		{text: "1/9/2007 9:41:00 PM", want: at(21, 41, 0, 0)},
		{text: "1/9/2007 12:41:00 AM", want: at(0, 41, 0, 0)},
		{text: "1/9/2007 12:41:00 PM", want: at(12, 41, 0, 0)},
		{text: "1/9/2007 10:41:00 AM +01:00", want: at(9, 41, 0, 0)},
		{text: "1/9/2007 9:41:00 AM +00:00", want: at(9, 41, 0, 0)},
		{text: "2007-01-09T09:41:00", want: at(9, 41, 0, 0)},
		{text: "2007-01-09 09:41:00.123", want: at(9, 41, 0, 123e6)},
		{text: "2007-01-09T09:41:00.22Z", want: at(9, 41, 0, 220e6), written: "2007-01-09T09:41:00.220Z"},
		{text: "2007-01-09T09:41:00.681Z", want: at(9, 41, 0, 681e6), canonical: true},
		{text: "2007-01-09T09:41:00.6816663Z", want: at(9, 41, 0, 681666300), canonical: true},
		{text: "2007-01-09T09:41:00.535404056Z", want: at(9, 41, 0, 535404056), canonical: true},
		{text: "2007-01-09T09:41:00.5354040567Z", want: at(9, 41, 0, 535404056), written: "2007-01-09T09:41:00.535404056Z"},
		{text: "2007-01-09T09:41:00.992099+00:00", want: at(9, 41, 0, 992099e3), written: "2007-01-09T09:41:00.992099Z"},
		{text: "2007-01-09T11:41:00+02:00", want: at(9, 41, 0, 0)},
		{text: "2007-01-09T04:41:00-0500", want: at(9, 41, 0, 0)},
		{text: "2007-01-09T9:41:00.958Z", want: at(9, 41, 0, 958e6), written: "2007-01-09T09:41:00.958Z"},
		{text: "2007-01-09T09:41Z", want: at(9, 41, 0, 0)},
		{text: "2007-01-08T24:00:00.000Z", want: at(0, 0, 0, 0), written: "2007-01-09T00:00:00.000Z"},
		{text: "1168335660", want: at(9, 41, 0, 0)},
		{text: "1168335660123", want: at(9, 41, 0, 123e6)},
		{text: "1168335660123456", want: at(9, 41, 0, 123456e3)},
		{text: "1168335660123456789", want: at(9, 41, 0, 123456789)},
		{text: "2008-02-29T00:00:00.000Z", want: time.Date(2008, 2, 29, 0, 0, 0, 0, time.UTC), canonical: true},
		{text: "2007-02-29T00:00:00.000Z"},
		{text: "13/01/2007 09:41:00"}, // month first, always
		{text: "1/9/2007 13:41:00 PM"},
		{text: "2007-01-09T25:00:00Z"},
		{text: "2007-01-09T09:41:00.Z"},
		{text: "2007-01-09T09:41:00X"},
		{text: "2007-01-09T09:41:00+99:00"},
		{text: "2025-04-11:21:02.3387000Z"}, // hour or minutes first? not guessed
		{text: "9999999999999999999"},
		{text: "12345678901"},
		{text: "yesterday"},
		{text: ""},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, canonical, ok := parseTime([]byte(c.text))
			if ok != !c.want.IsZero() || ok && !got.Equal(c.want) {
				t.Fatalf("got %v, %v; want %v", got, ok, c.want)
			}
			if canonical != c.canonical {
				t.Errorf("canonical = %v", canonical)
			}
			if written := string(appendTime(nil, got)); c.written != "" && written != c.written {
				t.Errorf("written %s, want %s", written, c.written)
			}
			// What is passed on as it is must be what would be written, but for
			// zeros at the end.
			if canonical && !strings.HasPrefix(c.text, strings.TrimSuffix(string(appendTime(nil, got)), "Z")) {
				t.Errorf("passed on as %s, is %s", c.text, appendTime(nil, got))
			}
		})
	}
}

func TestParseResourceID(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		name, id string
		want     resourceID
	}{
		{"tenant", "/tenants/T/providers/Microsoft.aadiam", resourceID{tenant: b("T"), provider: b("Microsoft.aadiam")}},
		{"tenant in upper case", "/TENANTS/T/PROVIDERS/MICROSOFT.AADIAM", resourceID{tenant: b("T"), provider: b("MICROSOFT.AADIAM")}},
		{
			"virtual machine", "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachines/vm1",
			resourceID{subscription: b("S"), group: b("G"), provider: b("Microsoft.Compute/virtualMachines"), name: b("vm1")},
		},
		{
			"mixed case", "/SUBSCRIPTIONS/S/resourcegroups/G/PROVIDERS/Microsoft.Web/sites/x/slots/y",
			resourceID{subscription: b("S"), group: b("G"), provider: b("Microsoft.Web/sites"), name: b("x/slots/y")},
		},
		{
			"authorization rule", "/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.EVENTHUB/NAMESPACES/N/AUTHORIZATIONRULES/R",
			resourceID{subscription: b("S"), group: b("G"), provider: b("MICROSOFT.EVENTHUB"), namespace: b("N"), authorization: b("R")},
		},
		{
			"namespace", "/subscriptions/S/resourceGroups/G/providers/Microsoft.EventHub/namespaces/N",
			resourceID{subscription: b("S"), group: b("G"), provider: b("Microsoft.EventHub/namespaces"), name: b("N")},
		},
		{
			"extension", "/subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/storageAccounts/A/providers/Microsoft.Authorization/locks/L",
			resourceID{subscription: b("S"), group: b("G"), provider: b("Microsoft.Authorization/locks"), name: b("L")},
		},
		{
			"subscription and provider", "/subscriptions/S/providers/Microsoft.Security/locations/w",
			resourceID{subscription: b("S"), provider: b("Microsoft.Security/locations"), name: b("w")},
		},
		{"group", "/subscriptions/S/resourceGroups/G", resourceID{subscription: b("S"), group: b("G")}},
		{"subscription", "/subscriptions/S", resourceID{subscription: b("S")}},
		{"nothing", "/", resourceID{}},
		{"words without parts", "/subscriptions", resourceID{subscription: b("")}},
		{"no id", "vm1", resourceID{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := parseResourceID([]byte(c.id))
			got.source = nil
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(resourceID{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseUserAgent(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/97.0.4692.99 Safari/537.36 Edg/97.0.1072.69", "Edge 97.0.1072.69, Windows 10, Other"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/70.0.3538.102 Safari/537.36 Edge/18.19042", "Edge 18.19042, Windows 10, Other"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/135.0.0.0 Safari/537.36", "Chrome 135.0.0.0, Mac OS X 10.15.7, Mac"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15", "Safari 17.1, Mac OS X 10.15.7, Mac"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 15_1_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.1 Mobile/15E148 Safari/604.1", "Mobile Safari 15.1, iOS 15.1.1, iPhone"},
		{"Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/116.0.0.0 Mobile Safari/537.36", "Chrome Mobile 116.0.0.0, Android 13, "},
		{"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0", "Firefox 115.0, Ubuntu , Other"},
		{"Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko", "IE 11.0, Windows 7, Other"},
		{"python-requests/2.28.1", "Python Requests 2.28.1,  , Other"},
		{"Windows-AzureAD-Authentication-Provider/1.0", "Other ,  , Other"},
	} {
		w := &Worker{}
		for _, time := range []string{"first", "second"} { // the second time from memory
			text := []byte(c.text)
			w.parseUserAgent(text)
			a := w.agent
			got := a.name + " " + string(a.version) + ", " + a.osName + " " + string(a.osVersion) + ", " + a.device
			if got != c.want {
				t.Errorf("%s, %s time\n got %s\nwant %s", c.text, time, got, c.want)
			}
			clear(text) // the record is gone
			w.text = append(w.text[:0], "another record's"...)
		}
	}
}

func TestSnakeCase(t *testing.T) {
	for name, want := range map[string]string{
		"createdDateTime": "created_date_time", "riskEventTypes_v2": "risk_event_types_v2", "RequestSequence": "request_sequence",
		"isCAEToken": "is_caetoken", "already_snake": "already_snake", "ipv4Address": "ipv4address", "": "", "Ä": "Ä", "aÄB": "aÄb",
	} {
		if got := string(appendSnakeCase(nil, []byte(name))); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestSplitAddress(t *testing.T) {
	for _, c := range []struct{ text, ip, port string }{
		{"10.0.0.1", "10.0.0.1", ""},
		{"10.0.0.1:49539", "10.0.0.1", "49539"},
		{" 10.0.0.1 ", "10.0.0.1", ""},
		{"2001:db8::1", "2001:db8::1", ""},
		{"[2001:db8::1]:443", "2001:db8::1", "443"},
		{"[2001:db8::1]", "2001:db8::1", ""},
		{"::ffff:10.0.0.1", "::ffff:10.0.0.1", ""},
		{"10.0.0.1:0", "10.0.0.1", ""},
		{"10.0.0.1:70000", "10.0.0.1", ""},
		{"10.0.0.1:x", "10.0.0.1", ""},
		{"00.00.0.000", "", ""},
		{"XX:2a02::1", "", ""},
		{"fe80::1%eth0", "", ""},
		{"host:443", "", ""},
		{"[", "", ""},
		{":", "", ""},
	} {
		ip, ok := stepIP(nil, []byte(c.text), "")
		if !ok {
			ip = nil
		}
		port, ok := stepPort(nil, []byte(c.text), "")
		if !ok {
			port = nil
		}
		if string(ip) != c.ip || string(port) != c.port {
			t.Errorf("%q: got %q port %q, want %q port %q", c.text, ip, port, c.ip, c.port)
		}
	}
}

// TestTransforms takes one value through each transform.
func TestTransforms(t *testing.T) {
	for _, c := range []struct{ name, as, value, want string }{
		{"number as text", "text", `4`, `{"x":"4"}`},
		{"object as text", "text", `{ "a": 1 }`, `{"x":"{\"a\":1}"}`},
		{"lower", "lower", `"ÄBc"`, `{"x":"Äbc"}`},
		{"upper", "upper", `"aß1"`, `{"x":"Aß1"}`},
		{"trim", "trim", `" a "`, `{"x":"a"}`},
		{"trim to nothing", "trim", `"  "`, `{}`},
		{"before", "before @", `"a@b@c"`, `{"x":"a@b"}`},
		{"before, without", "before @", `"abc"`, `{"x":"abc"}`},
		{"after", "after @", `"a@b@c"`, `{"x":"c"}`},
		{"after, without", "after @", `"abc"`, `{}`},
		{"escapes survive", "before @", `"a\"\\\u00e9\n@b"`, `{"x":"a\"\\é\n"}`},
		{"number", "number", `"0012"`, `{}`},
		{"number of digits", "number", `"12345678901234567890.10"`, `{"x":12345678901234567890.10}`},
		{"number of a number", "number", `-1e5`, `{"x":-1e5}`},
		{"number of words", "number", `"ten"`, `{}`},
		{"bool", "bool", `"False"`, `{"x":false}`},
		{"bool of a bool", "bool", `true`, `{"x":true}`},
		{"bool of words", "bool", `"maybe"`, `{}`},
		{"timestamp", "timestamp", `"8/22/2022 6:11:52 PM"`, `{"x":"2022-08-22T18:11:52.000Z"}`},
		{"timestamp of words", "timestamp", `"soon"`, `{}`},
		{"duration", "duration_ms", `3343`, `{"x":3343000000}`},
		{"duration in a string", "duration_ms", `"866182"`, `{"x":866182000000}`},
		{"duration with a fraction", "duration_ms", `0.5`, `{"x":500000}`},
		{"duration beyond 64 bits", "duration_ms", `9223372036855`, `{}`},
		{"negative duration", "duration_ms", `-1`, `{}`},
		{"duration of words", "duration_ms", `"NaN"`, `{}`},
		{"split", "split ;", `"a; b;;c"`, `{"x":["a","b","c"]}`},
		{"split at blanks", "split blank", `"User.Read  Mail.Read"`, `{"x":["User.Read","Mail.Read"]}`},
		{"split of nothing", "split ;", `";"`, `{}`},
		{"json", "json", `"{\"a\":[1, null]}\n"`, `{"x":{"a":[1,null]}}`},
		{"json with a name twice", "json", `"{\"a\":1,\"a\":2}"`, `{"x":{"a":1}}`},
		{"json of words", "json", `"not {json"`, `{"x":"not {json"}`},
		{"json of a number", "json", `"12"`, `{"x":"12"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := "log_types: [unknown]\nfields: [{to: x, from: v, as: '" + c.as + "'}]"
			if got := mapAlone(t, rows, `{"v":`+c.value+`}`); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// mapAlone maps a record by one table and nothing else.
func mapAlone(t *testing.T, table, record string) string {
	t.Helper()
	f, err := readFile("test.yaml", []byte(table))
	if err != nil {
		t.Fatal(err)
	}
	p, err := compileRows(f.rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &Mapper{schema: ECS, detector: newDetector(), programs: []*program{p}}
	out, _ := append1(t, m.Worker(), Input{}, record)
	return out
}

// TestRows shows what the other parts of a row do.
func TestRows(t *testing.T) {
	for _, c := range []struct{ name, rows, record, want string }{
		{"first that gives a value", `{to: x, from: [a, b]}, {to: x, value: z}`, `{"a":"","b":null}`, `{"x":"z"}`},
		{"of members with one name the first", `{to: x, from: a}`, `{"a":null,"a":1,"a":2}`, `{"x":1}`},
		{"objects without members are not written", `{to: x.y.z, from: a}, {to: w, value: 1}`, `{}`, `{"w":1}`},
		{"lists hold each value once", `{to: "x[]", from: [a, b, "c[*].d"]}, {to: "x[]", value: [k, p]}`, `{"a":"p","b":"q","c":[{"d":"p"},{"d":"r"},1]}`, `{"x":["p","q","r","k"]}`},
		{"lists without elements are not written", `{to: "x[]", from: a}`, `{"a":""}`, `{}`},
		{"list of cases", `{to: "x[]", from: a, map: {u: [p, q], v: q}}`, `{"a":"V"}`, `{"x":["q"]}`},
		{"list of cases after steps", `{to: "x[]", from: a, as: after /, map: {write: [p, q]}}`, `{"a":"b/c/WRITE"}`, `{"x":["p","q"]}`},
		{"list under conditions", `{to: "x[]", from: a, when: {b: "*"}}, {to: "x[]", value: k, unless: {a: "*"}}, {to: "x[]", format: "{a}!"}`, `{"a":"p"}`, `{"x":["p!"]}`},
		{"list of what does not stand in the record", `{to: "x[]", from: [$log_type, a], as: upper}`, `{"a":"p"}`, `{"x":["UNKNOWN","P"]}`},
		{"cases without case", `{to: x, from: a, map: {SucceSS: ok}}`, `{"a":"sUCCESS"}`, `{"x":"ok"}`},
		{"no case", `{to: x, from: a, map: {b: c}}`, `{"a":"x"}`, `{}`},
		{"any other case", `{to: x, from: a, as: text, map: {"0": ok, "*": bad}}`, `{"a":7}`, `{"x":"bad"}`},
		{"when", `{to: x, value: 1, when: {a: [p, q], b: "*"}}`, `{"a":"Q","b":false}`, `{"x":1}`},
		{"when not", `{to: x, value: 1, when: {a: p}}`, `{"a":"q"}`, `{}`},
		{"unless", `{to: x, from: a, unless: {a: "0"}}`, `{"a":0}`, `{}`},
		{"unless absent", `{to: x, value: 1, unless: {a: "0"}}`, `{}`, `{"x":1}`},
		{"only", `{to: x, from: [a, b], only: text}`, `{"a":{"c":1},"b":"t"}`, `{"x":"t"}`},
		{"index", `{to: x, from: "a[1].b"}`, `{"a":[{"b":1},{"b":2}]}`, `{"x":2}`},
		{"quoted name", `{to: x, from: "a.'b.c/d'"}`, `{"a":{"b.c/d":3}}`, `{"x":3}`},
		{"escaped name", `{to: x, from: "a\"b"}`, `{"a\u0022b":4}`, `{"x":4}`},
		{"format", `{to: x, format: "{a} ({b})"}, {to: y, format: "{a}{c}"}`, `{"a":"p\"","b":2}`, `{"x":"p\" (2)"}`},
		{"tree", `{to: t, from: ., as: tree, omit: [a.c], rename: {a: b}, names_below: {a: snake_case}}`, `{"a":{"c":1,"dE":[{"fG":null,"hI":""}]},"jK":{}}`, `{"t":{"b":{"d_e":[{"h_i":""}]},"jK":{}}}`},
		{"rows win over a tree", `{to: t.b, value: 9}, {to: t, from: ., as: tree}`, `{"a":1,"b":2}`, `{"t":{"b":9,"a":1}}`},
		{"by index", `{to: t, from: ., as: tree, shape: {a: by_index}}`, `{"a":[1,{"b":2}]}`, `{"t":{"a":{"0":1,"1":{"b":2}}}}`},
		{"by key", `{to: t, from: ., as: tree, shape: {a: by_key}}`, `{"a":[{"key":"k.1","value":{"b":2}},{"key":"n","value":null}]}`, `{"t":{"a":{"k.1":{"b":2}}}}`},
		{"not by key", `{to: t, from: ., as: tree, shape: {a: by_key}}`, `{"a":[{"key":"k","value":1},"x"]}`, `{"t":{"a":[{"key":"k","value":1},"x"]}}`},
		{"lower case", `{to: t, from: ., as: tree, names: lower_case}`, `{"Aß":{"B c":1},"d":2}`, `{"t":{"aß":{"b c":1},"d":2}}`},
		{"names that become one", `{to: t, from: ., as: tree, names: snake_case}`, `{"aB":1,"a_b":2,"AB":3}`, `{"t":{"a_b":1,"ab":3}}`},
		{"a tree of no object", `{to: t, from: a, as: tree}`, `{"a":"x"}`, `{}`},
		{"a tree without members is not written", `{to: t, from: a, as: tree}`, `{"a":{}}`, `{}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mapAlone(t, "log_types: [unknown]\nfields: ["+c.rows+"]", c.record); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestWorkGrowsLinearly: with work in the square of the number of members or
// elements this would not end before the test's time-out.
func TestWorkGrowsLinearly(t *testing.T) {
	const many = 300_000
	var b strings.Builder
	b.WriteString(`{"category":"AuditLogs","properties":{"targetResources":[`)
	for i := range many {
		fmt.Fprintf(&b, `{"id":"%d"},`, i)
	}
	b.WriteString(`{"id":"0"}]}`)
	for i := range many {
		fmt.Fprintf(&b, `,"m%d":0`, i)
	}
	b.WriteString(`,"m0":1}`)
	record := []byte(b.String())
	var x jsonscan.Index
	if _, err := x.Scan(record); err != nil {
		t.Fatal(err)
	}
	out, _ := compile(t, ECS, Options{}).Worker().Append(nil, Input{Index: &x, Raw: record})
	for part, want := range map[string]int{`"m0":`: 1, fmt.Sprintf(`"m%d":`, many-1): 1, `["0",`: 1, `,"0"]`: 0} {
		if got := bytes.Count(out, []byte(part)); got != want {
			t.Errorf("%s stands %d times, want %d", part, got, want)
		}
	}
}
