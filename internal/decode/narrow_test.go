package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	nsgTwo  = `{"time":"2026-11-27T08:00:00.1Z","category":"NetworkSecurityGroupFlowEvent","properties":{"Version":2,"flows":[{"rule":"r1","flows":[{"mac":"m1","flowTuples":["a","b"]},{"mac":"m2","flowTuples":["c"]}]},{"rule":"r2","flows":[{"flowTuples":["d"],"mac":"m1"}]}],"z":1}}`
	vnetTwo = `{"flowRecords":{"flows":[{"aclID":"1","flowGroups":[{"rule":"r1","flowTuples":["a","b"]}]}]},"category":"FlowLogFlowEvent"}`
)

func TestNarrow(t *testing.T) {
	nsg := func(flow string) string {
		return `{"time":"2026-11-27T08:00:00.1Z","category":"NetworkSecurityGroupFlowEvent","properties":{"Version":2,"flows":[` + flow + `],"z":1}}`
	}
	wrap := func(records ...string) string { return `{"records":[` + strings.Join(records, ",") + `]}` }
	whole := func(record string) (string, []string) { return record, []string{record} }
	oneTuple := nsg(`{"rule":"r1","flows":[{"mac":"m1","flowTuples":["a"]}]}`)
	tests := map[string]func() (payload string, want []string){
		"network security group": func() (string, []string) {
			return nsgTwo, []string{
				nsg(`{"rule":"r1","flows":[{"mac":"m1","flowTuples":["a"]}]}`),
				nsg(`{"rule":"r1","flows":[{"mac":"m1","flowTuples":["b"]}]}`),
				nsg(`{"rule":"r1","flows":[{"mac":"m2","flowTuples":["c"]}]}`),
				nsg(`{"rule":"r2","flows":[{"flowTuples":["d"],"mac":"m1"}]}`),
			}
		},
		"virtual network, category last": func() (string, []string) {
			return vnetTwo, []string{strings.Replace(vnetTwo, `,"b"`, ``, 1), strings.Replace(vnetTwo, `"a",`, ``, 1)}
		},
		"among others, in a wrapper": func() (string, []string) {
			return wrap(`{"n":1}`, vnetTwo, `{"n":2}`), []string{
				`{"n":1}`, strings.Replace(vnetTwo, `,"b"`, ``, 1), strings.Replace(vnetTwo, `"a",`, ``, 1), `{"n":2}`,
			}
		},
		"white space around the tuple stays": func() (string, []string) {
			text := "{ \"category\" : \"flowlogflowevent\", \"flowRecords\":{\"flows\":[\n {\"flowGroups\": [\n  {\"flowTuples\" : [\n   \"a\" ,\n   \"b\"\n  ]\n  } ] } ] } }"
			return text, []string{strings.Replace(text, " ,\n   \"b\"", "", 1), strings.Replace(text, "\"a\" ,\n   ", "", 1)}
		},
		"one tuple": func() (string, []string) { return whole(oneTuple) },
		"no tuple":  func() (string, []string) { return whole(nsg(`{"rule":"r1","flows":[{"mac":"m1","flowTuples":[]}]}`)) },
		"no flow":   func() (string, []string) { return whole(nsg(``)) },
		"no group":  func() (string, []string) { return whole(nsg(`{"rule":"r1","flows":[]}`)) },
		"other category": func() (string, []string) {
			return whole(strings.Replace(vnetTwo, "FlowLogFlowEvent", "FlowLogFlowEvenT2", 1))
		},
		"category twice": func() (string, []string) { return whole(`{"category":"x",` + vnetTwo[1:]) },
		"other shape": func() (string, []string) {
			return whole(strings.Replace(nsgTwo, `"mac":"m2","flowTuples"`, `"mac":"m2","tuples"`, 1))
		},
		"tuples twice": func() (string, []string) {
			return whole(strings.Replace(nsgTwo, `"mac":"m2"`, `"flowTuples":["x"]`, 1))
		},
		"a number":        func() (string, []string) { return whole(strings.Replace(nsgTwo, `"c"`, `3`, 1)) },
		"text for flows":  func() (string, []string) { return whole(nsg(`"flows"`)) },
		"text for groups": func() (string, []string) { return whole(nsg(`{"flows":"x"}`)) },
		"properties in a string": func() (string, []string) {
			return whole(`{"category":"NetworkSecurityGroupFlowEvent","properties":"{\"flows\":[]}"}`)
		},
		"empty ones beside one tuple": func() (string, []string) {
			return nsg(`{"rule":"r0","flows":[]},{"rule":"r1","flows":[{"mac":"m0","flowTuples":[]},{"mac":"m1","flowTuples":["a"]}]},{"rule":"r2","flows":[]}`),
				[]string{oneTuple}
		},
		"grows too much": func() (string, []string) {
			return whole(nsg(`{"rule":"` + strings.Repeat("r", 10_000) + `","flows":[{"mac":"m1","flowTuples":["a"` + strings.Repeat(`,""`, 100) + `]}]}`))
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			payload, want := test()
			var d Decoder
			var got []string
			for range 2 { // the second time with used memory
				got = nil
				d.Decode([]byte(payload), func(r *Record) {
					if r.Number != len(got) {
						t.Errorf("record %d has number %d", len(got), r.Number)
					}
					if v := string(r.Index.Value(r.Node)); v != string(r.Raw) {
						t.Errorf("record %s is indexed as %s", r.Raw, v)
					}
					got = append(got, string(r.Raw))
				}, func(b Bad) { t.Errorf("bad: %s: %s", b.Reason, b.Raw) })
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// A record that has to be mended is narrowed as mended, and says so in each part.
func TestNarrowMended(t *testing.T) {
	payload := strings.ReplaceAll(vnetTwo, `"a","b"`, "'a',\"\xff\",")
	var got []string
	var d Decoder
	d.Decode([]byte(payload), func(r *Record) {
		got = append(got, fmt.Sprintf("%s %d %d", r.Repairs, r.Offset, r.Tuples))
	}, func(b Bad) { t.Errorf("bad: %s", b.Reason) })
	want := []string{"single_quotes,trailing_comma 0 2", "single_quotes,trailing_comma,invalid_utf8 0 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("repairs, offset and tuples (-want +got):\n%s", diff)
	}
}

// Ten thousand tuples take as much memory as one.
func TestNarrowKeepsMemory(t *testing.T) {
	payload := flowBlob(1, 10_000)
	var d Decoder
	count := 0
	run := func() {
		count = 0
		d.Decode(payload, func(*Record) { count++ }, func(b Bad) { t.Fatal(b.Reason) })
	}
	run()
	if count != 10_000 {
		t.Fatalf("%d records, want one for each of 10,000 tuples", count)
	}
	if allocs := testing.AllocsPerRun(3, run); allocs > 20 {
		t.Errorf("%v allocations for %d records", allocs, count)
	}
	if c := cap(d.narrowed.out) + cap(d.narrowed.tail); c > 8<<10 {
		t.Errorf("%d bytes are held for records of %d", c, len(payload)/10_000)
	}
}

// flowBlob is a blob of flow log records of Azure's size.
func flowBlob(records, tuples int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"records":[`)
	for i := range records {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"time":"2026-11-27T08:%02d:00.1234567Z","flowLogVersion":4,"flowLogGUID":"6a1f2c3d-1111-4222-8333-abcdefabcdef","macAddress":"000D3A123456","category":"FlowLogFlowEvent","flowLogResourceID":"/SUBSCRIPTIONS/6A1F2C3D-1111-4222-8333-ABCDEFABCDEF/RESOURCEGROUPS/NETWORKWATCHERRG/PROVIDERS/MICROSOFT.NETWORK/NETWORKWATCHERS/NETWORKWATCHER_WESTEUROPE/FLOWLOGS/SHOP-FLOWS","targetResourceID":"/subscriptions/6a1f2c3d-1111-4222-8333-abcdefabcdef/resourceGroups/shop/providers/Microsoft.Network/virtualNetworks/shop","operationName":"FlowLogFlowEvent","flowRecords":{"flows":[{"aclID":"00000000-1234-abcd-ef00-c1c2c3c4c5c6","flowGroups":[{"rule":"DefaultRule_AllowInternetOutBound","flowTuples":[`, i%60)
		for k := range tuples {
			if k > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `"1795766400%03d,10.0.0.%d,203.0.113.%d,%d,443,6,O,E,NX,%d,%d,%d,%d"`, k%1000, k%250, k%199, 1024+k, k, k*60, k*2, k*99)
		}
		b.WriteString(`]}]}]}}`)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// tuplesByOracle returns the tuples of a record, or of a list or wrapper of
// records, by the standard library's account, sorted.
func tuplesByOracle(v any) (tuples []string) {
	for _, path := range []string{"records properties flows flows flowTuples", "records flowRecords flows flowGroups flowTuples"} {
		tuples = append(tuples, textsAt(v, strings.Fields(path))...)
		tuples = append(tuples, textsAt(v, strings.Fields(path)[1:])...)
	}
	slices.Sort(tuples)
	return tuples
}

// textsAt returns the texts at a path, which leads through lists.
func textsAt(v any, path []string) (texts []string) {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			texts = append(texts, textsAt(element, path)...)
		}
	case map[string]any:
		if len(path) > 0 && v[path[0]] != nil {
			texts = textsAt(v[path[0]], path[1:])
		}
	case string:
		if len(path) == 0 {
			texts = []string{v}
		}
	}
	return texts
}

// narrowCheck holds what comes of flow records to this: as many records as
// tuples, one after the other; in each exactly one tuple; all of them together
// those of the record; and each such that it is handed on as it is.
type narrowCheck struct {
	offset, left int
	tuples       []string
}

func (c *narrowCheck) record(t *testing.T, payload []byte, r *Record) {
	t.Helper()
	if r.Tuples == 0 {
		c.end(t, payload)
		return
	}
	if c.left == 0 {
		*c = narrowCheck{offset: r.Offset, left: r.Tuples}
	} else if c.offset != r.Offset && payload[r.Offset] != '"' {
		t.Fatalf("Decode(%q): %d records are missing of the one at %d", payload, c.left, c.offset)
	}
	var v any
	if err := json.Unmarshal(r.Raw, &v); err != nil {
		t.Fatalf("Decode(%q): narrowed record %q: %v", payload, r.Raw, err)
	}
	tuples := tuplesByOracle(v)
	if len(tuples) != 1 && r.Index.Flags == 0 {
		t.Fatalf("Decode(%q): narrowed record %q has %d tuples", payload, r.Raw, len(tuples))
	}
	c.tuples = append(c.tuples, tuples...)
	var again Decoder
	again.Decode(bytes.Clone(r.Raw), func(n *Record) {
		if n.Tuples != 0 || !bytes.Equal(n.Raw, r.Raw) {
			t.Fatalf("Decode(%q): narrowed record %q is narrowed again", payload, r.Raw)
		}
	}, func(b Bad) { t.Fatalf("Decode(%q): narrowed record %q: %s", payload, r.Raw, b.Reason) })
	if c.left--; c.left > 0 || isGzip(payload) || payload[r.Offset] != '{' || r.Repairs != 0 {
		return
	}
	in := json.NewDecoder(bytes.NewReader(payload[r.Offset:]))
	if in.Decode(&v) != nil {
		return
	}
	slices.Sort(c.tuples)
	if want := tuplesByOracle(v); len(want) != r.Tuples || !slices.Equal(want, c.tuples) {
		t.Fatalf("Decode(%q): tuples %q came of the record at %d, want %q", payload, c.tuples, r.Offset, want)
	}
}

func (c *narrowCheck) end(t *testing.T, payload []byte) {
	t.Helper()
	if c.left > 0 {
		t.Fatalf("Decode(%q): %d records are missing of the one at %d", payload, c.left, c.offset)
	}
}

func BenchmarkNarrow(b *testing.B) {
	for _, tuples := range []int{1, 10, 1000} {
		payload := flowBlob(1000/tuples, tuples)
		b.Run(fmt.Sprintf("%d tuples a record", tuples), func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			var d Decoder
			n := 0
			for b.Loop() {
				d.Decode(payload, func(*Record) { n++ }, func(bad Bad) { b.Fatal(bad.Reason) })
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
