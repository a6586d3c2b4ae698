package ledger

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

func TestTrafficIsKnownByItsEnds(t *testing.T) {
	const seed = 5
	l, ids := New(seed), recordid.New(seed)
	far, port := ids.Place(recordid.Flow{Number: 41})
	begun, begunPort := ids.Place(recordid.Flow{Number: 50, Begun: true, Private: true})
	quote := func(text string) string {
		b, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	nsg := fmt.Sprintf(`{"properties":{"Version":2,"flows":[{"rule":"r","flows":[{"mac":"A","flowTuples":["1,10.20.0.1,%s,%d,443,T,O,A,C,1,2,3,4","1,%s,10.20.0.1,%d,443,T,I,A,B,,,,","1,%s,10.20.0.1,%d,443,T,I,A,E,1,2,3,4"]}]}]}}`,
		far, port, begun, begunPort, begun, begunPort)
	vnet := fmt.Sprintf(`{"flowTuples":["1,%s,10.20.0.1,%d,443,6,I,E,NX,1,2,3,4"]}`, begun, begunPort)
	firewall := fmt.Sprintf(`{"properties":{"Protocol":"TCP","SourceIp":"10.20.0.1","SourcePort":%d,"DestinationIp":"%s","DestinationPort":443}}`, port, far)
	tests := []struct {
		name, line string
		want       []uint64
	}{
		{"security group", nsg, []uint64{41, 50, 51}},
		{"in a string", `{"event":{"original":` + quote(nsg) + `}}`, []uint64{41, 50, 51}},
		{"in a string in a string", `{"raw_data":` + quote(`{"x":`+quote(nsg)+`}`) + `}`, []uint64{41, 50, 51}},
		{"virtual network", vnet, []uint64{51}},
		{"firewall", firewall, []uint64{41}},
		{"firewall in a string", `{"event":{"original":` + quote(firewall) + `}}`, []uint64{41}},
		{"two firewall records", `{"records":[` + firewall + `,` + firewall + `]}`, []uint64{41}},
		{"version 1", fmt.Sprintf(`{"flowTuples":["1,%s,10.20.0.1,%d,443,T,I,D"]}`, far, port), []uint64{41}},
		{"ECS", fmt.Sprintf(`{"source":{"ip":"10.20.0.1","port":%d},"destination":{"ip":"%s","port":443}}`, port, far), []uint64{41}},
		{"ECS, begin", fmt.Sprintf(`{"source":{"ip":"%s","port":%d,"bytes":0},"destination":{"ip":"10.20.0.1","port":443,"bytes":0}}`, begun, begunPort), []uint64{50}},
		{"ECS, end", fmt.Sprintf(`{"source":{"ip":"%s","port":%d,"bytes":9},"destination":{"ip":"10.20.0.1","port":443}}`, begun, begunPort), []uint64{51}},
		{"OCSF, end", fmt.Sprintf(`{"src_endpoint":{"ip":"%s","port":%d},"dst_endpoint":{"ip":"10.20.0.1","port":443},"traffic":{"bytes_out":7}}`, begun, begunPort), []uint64{51}},
		{"ECS and original", fmt.Sprintf(`{"source":{"ip":"%s","port":%d},"event":{"original":%s}}`, begun, begunPort, quote(vnet)), []uint64{51}},
		{"others' traffic", `{"source":{"ip":"81.2.69.142","port":50000},"destination":{"ip":"10.20.0.1","port":443}}`, nil},
		{"no traffic", `{"flowTuples":["x",""],"SourceIp":"","SourcePort":1}`, nil},
		{"torn", `{"flowTuples":["1,10.20.0.1,`, nil},
	}
	for _, tc := range tests {
		got, foreign := l.IDs(nil, []byte(tc.line))
		if fmt.Sprint(got) != fmt.Sprint(tc.want) || foreign != 0 {
			t.Errorf("%s: %v and %d foreign, want %v", tc.name, got, foreign, tc.want)
		}
	}
}

func FuzzFlows(f *testing.F) {
	f.Add([]byte(`{"flowTuples":["1,10.20.0.1,1.2.3.4,40000,443,T,O,A,C,1,2,3,4"]}`))
	f.Add([]byte(`{"SourceIp":"1.2.3.4","SourcePort":40000,"DestinationIp":"::1"}`))
	f.Add([]byte(`{"source":{"ip":"1.2.3.4","port":1e9}}`))
	l := New(1)
	f.Fuzz(func(_ *testing.T, line []byte) { l.IDs(nil, line) })
}
