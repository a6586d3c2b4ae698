package archive_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/archive"
	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

const account = "logs"

func start(t *testing.T, now *time.Time, keep time.Duration) (*blobs.Server, *archive.Writer) {
	t.Helper()
	clock := func() time.Time { return *now }
	s, err := blobs.New(blobs.Options{Options: storageapi.Options{Accounts: map[string]string{account: "a2V5"}, Now: clock}})
	if err != nil {
		t.Fatal(err)
	}
	return s, archive.New(archive.Options{Store: s, Account: account, Keep: keep, LateShare: 8, Now: clock})
}

func add(t *testing.T, w *archive.Writer, category, record string) {
	t.Helper()
	if err := w.Add(category, []byte(record)); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, w *archive.Writer) {
	t.Helper()
	if err := w.FlushLines(); err != nil {
		t.Fatal(err)
	}
	if err := w.FlushFlows(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s *blobs.Server, container, name string) string {
	t.Helper()
	data, err := s.Read(account, container, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRecordsGoWhereAzurePutsThem(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 30, 0, 0, time.UTC)
	s, w := start(t, &now, 0)
	tests := []struct{ category, record, container, name string }{
		{
			"AuditEvent", `{"resourceId":"/subscriptions/ab/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv"}`, "insights-logs-auditevent",
			"resourceId=/SUBSCRIPTIONS/AB/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/KV/y=2026/m=03/d=04/h=05/m=00/PT1H.json",
		},
		{
			"AuditLogs", `{"resourceId":"/tenants/7d0c/providers/Microsoft.aadiam"}`, "insights-logs-auditlogs",
			"tenantId=7d0c/y=2026/m=03/d=04/h=05/m=00/PT1H.json",
		},
		{
			"Administrative", `{"resourceId":"/SUBSCRIPTIONS/AB/RESOURCEGROUPS/RG"}`, "insights-activity-logs",
			"resourceId=/SUBSCRIPTIONS/AB/y=2026/m=03/d=04/h=05/m=00/PT1H.json",
		},
		{
			"NetworkSecurityGroupFlowEvent", `{"macAddress":"002248A1B2C3","resourceId":"/SUBSCRIPTIONS/AB/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.NETWORK/NETWORKSECURITYGROUPS/NSG"}`,
			"insights-logs-networksecuritygroupflowevent",
			"resourceId=/SUBSCRIPTIONS/AB/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.NETWORK/NETWORKSECURITYGROUPS/NSG/y=2026/m=03/d=04/h=05/m=00/macAddress=002248A1B2C3/PT1H.json",
		},
		{
			"FlowLogFlowEvent", `{"macAddress":"002248A1B2C3","flowLogResourceID":"/SUBSCRIPTIONS/AB/RESOURCEGROUPS/NETWORKWATCHERRG/PROVIDERS/MICROSOFT.NETWORK/NETWORKWATCHERS/NETWORKWATCHER_WESTEUROPE/FLOWLOGS/FL"}`,
			"insights-logs-flowlogflowevent",
			"flowLogResourceID=/AB_NETWORKWATCHERRG/NETWORKWATCHER_WESTEUROPE_FL/y=2026/m=03/d=04/h=05/m=00/macAddress=002248A1B2C3/PT1H.json",
		},
	}
	for _, tc := range tests {
		add(t, w, tc.category, tc.record)
		flush(t, w)
		want := tc.record + "\n"
		if archive.IsFlow(tc.category) {
			want = `{"records":[` + tc.record + `]}`
		}
		if got := read(t, s, tc.container, tc.name); got != want {
			t.Errorf("%s: %q, want %q", tc.category, got, want)
		}
	}
	for _, record := range []string{`{}`, `{"resourceId":"/tenants/x"}`} {
		if err := w.Add("Administrative", []byte(record)); err == nil {
			t.Errorf("an activity record %s without a subscription is archived", record)
		}
	}
}

func TestFlowLogsAreAValidDocumentAtAnyTime(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 30, 0, 0, time.UTC)
	s, w := start(t, &now, 0)
	const form = `{"macAddress":"A","n":%d,"resourceId":"/SUBSCRIPTIONS/AB/NSG"}`
	name, before := "resourceId=/SUBSCRIPTIONS/AB/NSG/y=2026/m=03/d=04/h=05/m=00/macAddress=A/PT1H.json", ""
	added := 0
	for i := range 20 {
		for j := range i % 3 {
			add(t, w, "NetworkSecurityGroupFlowEvent", fmt.Sprintf(form, i*10+j))
			added++
		}
		flush(t, w)
		if i == 0 {
			continue
		}
		text := read(t, s, "insights-logs-networksecuritygroupflowevent", name)
		var document struct{ Records []struct{ N int } }
		if err := json.Unmarshal([]byte(text), &document); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !strings.HasPrefix(text, before) {
			t.Fatalf("%s\ndoes not begin with what was there before\n%s", text, before)
		}
		before = strings.TrimSuffix(text, "]}")
		if len(document.Records) != added {
			t.Errorf("%d records after round %d, want %d", len(document.Records), i, added)
		}
	}
}

func TestLinesEndAsTheCategorysDo(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 30, 0, 0, time.UTC)
	s, w := start(t, &now, 0)
	for range 2 {
		add(t, w, "SignInLogs", `{"resourceId":"/tenants/t/x"}`)
		flush(t, w)
	}
	if got := read(t, s, "insights-logs-signinlogs", "tenantId=t/y=2026/m=03/d=04/h=05/m=00/PT1H.json"); got != strings.Repeat("{\"resourceId\":\"/tenants/t/x\"}\r\n", 2) {
		t.Errorf("%q", got)
	}
}

func TestSomeWritesAreLateAndOldBlobsGo(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 58, 0, 0, time.UTC)
	s, w := start(t, &now, 2*time.Hour)
	for range 100 {
		add(t, w, "AuditLogs", `{"resourceId":"/tenants/t/x"}`)
		now = now.Add(5 * time.Second)
		flush(t, w)
	}
	old := "tenantId=t/y=2026/m=03/d=04/h=05/m=00/PT1H.json"
	if n := strings.Count(read(t, s, "insights-logs-auditlogs", old), "\n"); n <= 24 {
		t.Errorf("%d records are in the hour's blob, want more than the 24 of its time", n)
	}
	now = now.Add(3 * time.Hour)
	flush(t, w)
	if names := s.Names(account, "insights-logs-auditlogs"); len(names) != 1 || names[0] == old {
		t.Errorf("blobs after three hours: %q", names)
	}
}
