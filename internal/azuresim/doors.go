package azuresim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/azuresim/archive"
	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
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

// hubDoor sends records to the hubs.
type hubDoor struct{ s *Sim }

func (d hubDoor) take(records []Record) error {
	for len(records) > 0 {
		// As diagnostic settings do: mostly few records in a message, at times many.
		few := d.s.options.RecordsPerMessage
		if few == 0 {
			few = 1 + int(recordid.Mix(records[0].Number)%60)
		}
		few = min(few, len(records))
		if err := d.message(records[:few]); err != nil {
			return err
		}
		records = records[few:]
	}
	return nil
}

func (d hubDoor) message(records []Record) error {
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

// ParseDoors reads what Options.Doors is to say from texts such as
// "FlowLogFlowEvent=storage", "AuditLogs=event_hubs,graph" and "*=event_hubs".
// Categories that none names leave by event hubs. Of "*", a category takes the
// doors that have it: flow logs a storage account alone, Graph and a workspace
// what they know.
func ParseDoors(texts []string) (func(category string) []Door, error) {
	named := map[string][]Door{}
	for _, text := range texts {
		category, list, ok := strings.Cut(text, "=")
		if !ok || category == "" {
			return nil, fmt.Errorf("door %q: write CATEGORY=DOOR, e.g. FlowLogFlowEvent=storage", text)
		}
		var doors []Door
		for name := range strings.SplitSeq(list, ",") {
			door := Door(name)
			if !slices.Contains([]Door{EventHubs, Storage, LogAnalytics, Graph}, door) {
				return nil, fmt.Errorf("door %q: there is no door %q; there are event_hubs, storage, log_analytics and graph", text, name)
			}
			doors = append(doors, door)
		}
		named[category] = doors
	}
	return func(category string) []Door {
		if doors, ok := named[category]; ok {
			return doors
		}
		doors := slices.DeleteFunc(slices.Clone(named["*"]), func(door Door) bool {
			switch door {
			case Graph:
				return !GraphHas(category)
			case LogAnalytics:
				return !LogsHas(category)
			case EventHubs:
				return archive.IsFlow(category)
			default:
				return false
			}
		})
		if len(doors) == 0 {
			return []Door{EventHubs}
		}
		return doors
	}, nil
}
