package azuresim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/lazuli-logs/lazuli/internal/azuresim/archive"
	"github.com/lazuli-logs/lazuli/internal/azuresim/tenant"
)

// Door is a way by which the tenant's records leave Azure.
type Door string

// The doors there are.
const (
	EventHubs    Door = "event_hubs"    // diagnostic settings that stream
	Storage      Door = "storage"       // diagnostic settings that archive, flow logs
	LogAnalytics Door = "log_analytics" // a workspace, queried
	Graph        Door = "graph"         // Microsoft Graph
)

// Record is one record of the tenant in the form that diagnostic settings give
// it: a JSON object on one line, without a line feed. Data does not change.
type Record struct {
	Data     []byte
	Number   uint64 // recordid gives its id; a flow log's is that of its first tuple
	Category string
}

// receiver is the service behind a door.
type receiver interface {
	// take gets records in the order in which they were produced, and may keep
	// them. An error ends the production.
	take(records []Record) error
}

// flows are the categories of flow logs that the storage account is to get; they
// leave by no other door.
func (s *Sim) flows() []string {
	if s.options.Doors == nil {
		return nil
	}
	return slices.DeleteFunc(tenant.FlowCategories(), func(category string) bool { return !slices.Contains(s.options.Doors(category), Storage) })
}

// produceByDoors produces about limit records, at most most of them, and gives
// each to the doors that Options.Doors names for its category. The caller holds
// s.producing.
func (s *Sim) produceByDoors(limit, most int) (count int, err error) {
	from := len(s.block)
	first := s.generator.Number()
	byDoor := map[Door][]Record{}
	for count < min(limit, tenant.MaxRecords) && len(s.block)-from < tenant.MaxMessage-64<<10 {
		begin := len(s.block)
		block, number, category := s.generator.NextAtMost(s.block, most-count)
		s.block = block
		r := Record{Data: block[begin:len(block):len(block)], Number: number, Category: category}
		for _, door := range s.options.Doors(category) {
			if archive.IsFlow(category) && door != Storage {
				continue
			}
			byDoor[door] = append(byDoor[door], r)
		}
		count = int(s.generator.Number() - first)
	}
	// The ledger first: a record that has left and is not in the ledger would
	// count as unknown when it arrives.
	s.Ledger.Produced(first, uint64(count))
	for _, door := range slices.Sorted(maps.Keys(byDoor)) {
		records := byDoor[door]
		service := s.doors[door]
		if service == nil {
			return 0, fmt.Errorf("produce records for door %q: no service is behind it", door)
		}
		if err := service.take(records); err != nil {
			return 0, fmt.Errorf("produce records %d to %d for door %q: %w", first, first+uint64(count)-1, door, err)
		}
	}
	return count, nil
}

// hubDoor sends records to the hubs, all that come at once in one message.
type hubDoor struct{ s *Sim }

func (d hubDoor) take(records []Record) error {
	size := 0
	for i := range records {
		size += len(records[i].Data) + 1
	}
	message := append(make([]byte, 0, size+16), `{"records":[`...)
	for i := range records {
		if i > 0 {
			message = append(message, ',')
		}
		message = append(message, records[i].Data...)
	}
	return d.s.append(slices.Clip(append(message, "]}"...)))
}
