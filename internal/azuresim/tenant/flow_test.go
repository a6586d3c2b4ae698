package tenant

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ledger"
)

// tuplesOf returns the tuples of a record of a flow log.
func tuplesOf(t *testing.T, line []byte) (tuples []string) {
	t.Helper()
	type group struct {
		Rule       string
		FlowTuples []string
	}
	var record struct {
		FlowRecords struct {
			Flows []struct{ FlowGroups []group }
		}
		Properties struct {
			Flows []struct {
				Rule  string
				Flows []group
			}
		}
	}
	if err := json.Unmarshal(line, &record); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	for _, f := range record.FlowRecords.Flows {
		for _, g := range f.FlowGroups {
			tuples = append(tuples, g.FlowTuples...)
		}
	}
	for _, f := range record.Properties.Flows {
		for _, g := range f.Flows {
			tuples = append(tuples, g.FlowTuples...)
		}
	}
	return tuples
}

func TestFlowLogs(t *testing.T) {
	g := New(seed, Options{Now: noon, Prepared: 2000, Flows: FlowCategories()})
	accounts := ledger.New(seed)
	seen, flows := map[string]int{}, 0
	const records = 20_000
	for g.Number() < records {
		before := g.Number()
		line, number, category := g.Next(nil)
		count := g.Number() - before
		if number != before {
			t.Fatalf("record %d has number %d", before, number)
		}
		numbers, foreign := accounts.IDs(nil, line)
		if uint64(len(numbers)) != count || numbers[0] != number || numbers[count-1] != g.Number()-1 || foreign != 0 {
			t.Fatalf("%s takes %d numbers from %d and mentions %v: %s", category, count, number, numbers, line)
		}
		if category != virtualNetworkFlow && category != networkSecurityGroupFlow {
			continue
		}
		tuples := tuplesOf(t, line)
		if uint64(len(tuples)) != count {
			t.Fatalf("%d tuples, %d numbers", len(tuples), count)
		}
		flows += len(tuples)
		begun := map[string]string{}
		for i, tuple := range tuples {
			// As a collector would hand it on that makes a record of each tuple.
			one := fmt.Appendf(nil, `{"flowTuples":["%s"]}`, tuple)
			if numbers, _ := accounts.IDs(nil, one); len(numbers) != 1 || numbers[0] != number+uint64(i) {
				t.Fatalf("tuple %d of record %d is read as %v: %s", i, number, numbers, tuple)
			}
			f := strings.Split(tuple, ",")
			key := strings.Join(f[1:7], ",")
			switch {
			case category == virtualNetworkFlow && len(f) == 13:
				seen["v4 "+f[7]]++
				if f[7] == "E" && begun[key] == "B" {
					seen["v4 B+E"]++
				}
				begun[key] = f[7]
			case category == networkSecurityGroupFlow && len(f) == 13:
				seen["v2 "+f[7]+f[8]]++
			case category == networkSecurityGroupFlow && len(f) == 8:
				seen["v1 "+f[7]]++
			default:
				t.Fatalf("a tuple of %s has %d fields: %s", category, len(f), tuple)
			}
		}
	}
	for _, kind := range []string{"v4 B", "v4 C", "v4 E", "v4 D", "v4 B+E", "v2 AB", "v2 AC", "v2 AE", "v2 DB", "v1 A", "v1 D"} {
		if seen[kind] == 0 {
			t.Errorf("no tuple %s among %v", kind, seen)
		}
	}
	if flows < records/10 || flows > records/2 {
		t.Errorf("%d of %d records are tuples", flows, records)
	}
}

func TestFlowLogsKeepToTheLimit(t *testing.T) {
	g := New(seed, Options{Now: noon, Prepared: 2000, Flows: FlowCategories()})
	for range 5000 {
		for _, most := range []int{1, 3, 20} {
			before := g.Number()
			if _, _, category := g.NextAtMost(nil, most); g.Number() > before+uint64(most) {
				t.Fatalf("a record of %s takes %d numbers, the limit is %d", category, g.Number()-before, most)
			}
		}
	}
}
