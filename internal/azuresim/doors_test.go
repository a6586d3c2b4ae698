package azuresim

import (
	"slices"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// shelf is a door that keeps what comes.
type shelf struct{ records []Record }

func (s *shelf) take(records []Record) error {
	s.records = append(s.records, records...)
	return nil
}

func TestRecordsLeaveByTheDoorsOfTheirCategory(t *testing.T) {
	const events = 1000
	audits := &shelf{}
	s := start(t, Options{Seed: 7, Doors: func(category string) []Door {
		if category == "AuditLogs" {
			return []Door{Storage, EventHubs}
		}
		return []Door{EventHubs}
	}})
	s.doors[Storage] = audits
	if n, err := s.Produce(t.Context(), events, 0); n != events || err != nil {
		t.Fatalf("Produce = %d, %v", n, err)
	}
	if len(audits.records) == 0 {
		t.Fatal("no audit left by its second door")
	}
	for _, r := range audits.records {
		if r.Category != "AuditLogs" {
			t.Fatalf("record %d of category %q: %s", r.Number, r.Category, r.Data)
		}
		s.Ledger.SeenLine(r.Data)
	}
	if got := s.Ledger.Report(); got.Produced != events || got.Delivered != uint64(len(audits.records)) || got.Unknown != 0 {
		t.Errorf("ledger: %v", got)
	}
	client, err := azeventhubs.NewConsumerClientFromConnectionString(s.Endpoints.ConnectionString, Hub, ConsumerGroup, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(t.Context())
	receive(t, s, client, events)
	if got := s.Ledger.Report(); got.Lost != 0 || got.Duplicated > uint64(len(audits.records)) {
		t.Errorf("after the hub too: %v; want everything, no record more than twice", got)
	}
}

func TestADoorWithoutAServiceIsAnError(t *testing.T) {
	s := start(t, Options{Doors: func(string) []Door { return []Door{Door("window")} }})
	if _, err := s.Produce(t.Context(), 1, 0); err == nil {
		t.Error("records left by a door that does not exist")
	}
}

func TestParseDoors(t *testing.T) {
	doors, err := ParseDoors([]string{"FlowLogFlowEvent=storage", "AuditLogs=event_hubs,graph", "*=event_hubs,storage,graph"})
	if err != nil {
		t.Fatal(err)
	}
	for category, want := range map[string][]Door{
		"FlowLogFlowEvent": {Storage}, "NetworkSecurityGroupFlowEvent": {Storage}, "AuditLogs": {EventHubs, Graph},
		"SignInLogs": {EventHubs, Storage, Graph}, "AuditEvent": {EventHubs, Storage},
	} {
		if got := doors(category); !slices.Equal(got, want) {
			t.Errorf("%s leaves by %v, want %v", category, got, want)
		}
	}
	doors, err = ParseDoors([]string{"FlowLogFlowEvent=storage"})
	if err != nil || !slices.Equal(doors("AuditLogs"), []Door{EventHubs}) {
		t.Errorf("an unnamed category leaves by %v, %v", doors("AuditLogs"), err)
	}
	for _, text := range []string{"", "x", "=storage", "x=", "x=window"} {
		if _, err := ParseDoors([]string{text}); err == nil {
			t.Errorf("ParseDoors(%q) takes it", text)
		}
	}
}
