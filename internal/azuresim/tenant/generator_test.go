package tenant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ledger"
	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

const seed = 11

// noon is a working hour in most of the organization's cities.
func noon() time.Time { return time.Date(2026, 2, 3, 12, 0, 0, 123456700, time.UTC) }

// nativeID returns the field that identifies a record of its log type.
func nativeID(t *testing.T, record map[string]any) string {
	t.Helper()
	properties, _ := record["properties"].(map[string]any)
	text := func(m map[string]any, key string) string { s, _ := m[key].(string); return s }
	switch category := text(record, "category"); category {
	case "Administrative", "Policy", "Security", "ServiceHealth":
		return text(properties, "eventDataId")
	case "AuditLogs":
		parts := strings.Split(text(properties, "id"), "_")
		if len(parts) != 4 {
			t.Fatalf("audit id %q has %d parts, want 4", properties["id"], len(parts))
		}
		return parts[1]
	case "FunctionAppLogs":
		_, rest, _ := strings.Cut(text(record, "properties"), "'functionInvocationId':'")
		return rest[:min(recordid.Len, len(rest))]
	case "StorageRead", "StorageWrite", "StorageDelete", "AuditEvent", "MicrosoftGraphActivityLogs", "RiskyUsers":
		return text(record, "correlationId")
	case "SQLSecurityAuditEvents":
		return text(properties, "event_id")
	case "kube-audit":
		var call map[string]any
		if err := json.Unmarshal([]byte(text(properties, "log")), &call); err != nil {
			t.Fatalf("%v in %s", err, text(properties, "log"))
		}
		return text(call, "auditID")
	case "":
		if alert := text(record, "SystemAlertId"); alert != "" {
			return alert[strings.Index(alert, "_")+1:]
		}
		properties, _ = record["Properties"].(map[string]any) // of Application Insights
		return text(properties, "ShipmentId")
	default:
		return text(properties, "id")
	}
}

// kindOf returns what a record says that it is.
func kindOf(record map[string]any) string {
	for _, name := range []string{"category", "Type"} {
		if kind, ok := record[name].(string); ok {
			return kind
		}
	}
	if record["SystemAlertId"] != nil {
		return SecurityAlert
	}
	return ""
}

// withoutID reports whether the records of a category have no id of their own:
// theirs stands in a host's name, a path, or the ends of a connection.
func withoutID(category string) bool {
	return strings.HasPrefix(category, "AZFW") || strings.HasPrefix(category, "FrontDoor") || strings.HasPrefix(category, "ApplicationGateway")
}

func TestRecords(t *testing.T) {
	const records = 12_000
	for _, prepared := range []int{0, 500} {
		t.Run(fmt.Sprintf("prepared %d", prepared), func(t *testing.T) {
			g := New(seed, Options{Now: noon, Prepared: prepared, First: 77})
			ids := recordid.New(seed)
			accounts := ledger.New(seed)
			counts := map[string]int{}
			total := 0
			var line []byte
			for i := range uint64(records) {
				var number uint64
				var category string
				line, number, category = g.Next(line[:0])
				if number != 77+i {
					t.Fatalf("record %d has number %d", i, number)
				}
				var record map[string]any
				if err := json.Unmarshal(line, &record); err != nil {
					t.Fatalf("record %d: %v in %s", i, err, line)
				}
				if kind := kindOf(record); kind != category {
					t.Fatalf("category %v in a record reported as %q", kind, category)
				}
				if got := nativeID(t, record); !withoutID(category) && got != string(ids.Append(nil, number)) {
					t.Fatalf("%s: native id %q, want %q", category, got, ids.Append(nil, number))
				}
				if numbers, foreign := accounts.IDs(nil, line); len(numbers) != 1 || foreign != 0 {
					t.Fatalf("%s mentions records %v and %d foreign ids, want only itself", category, numbers, foreign)
				}
				if bytes.ContainsAny(line, "\n\r") {
					t.Fatalf("line end in %q", line)
				}
				counts[category]++
				total += len(line)
			}
			for _, category := range []string{
				"SignInLogs", "NonInteractiveUserSignInLogs", "ServicePrincipalSignInLogs", "ManagedIdentitySignInLogs", "ADFSSignInLogs",
				"AuditLogs", "Administrative", "Policy", "Security", "ServiceHealth", "MicrosoftGraphActivityLogs", "StorageRead", "AuditEvent", "FunctionAppLogs", "UserRiskEvents",
				"StorageWrite", "StorageDelete", "kube-audit", "SQLSecurityAuditEvents", "ProvisioningLogs", "RiskyUsers", SecurityAlert,
				"AZFWNetworkRule", "AZFWNatRule", "AZFWApplicationRule", "AZFWDnsQuery", "AZFWThreatIntel", "AZFWIdpsSignature",
				"ApplicationGatewayAccessLog", "ApplicationGatewayFirewallLog", "FrontDoorAccessLog", "FrontDoorWebApplicationFirewallLog",
				"AppRequests", "AppDependencies", "AppTraces", "AppExceptions",
			} {
				// 500 scenes do not hold every rare category.
				if counts[category] == 0 && prepared == 0 {
					t.Errorf("no record of %s among %d", category, records)
				}
			}
			if mean := total / records; mean < 1500 || mean > 4000 {
				t.Errorf("records have %d bytes in the mean, want 1,500 to 4,000", mean)
			}
		})
	}
}

func TestSeedDecidesEverything(t *testing.T) {
	produce := func(seed uint64, prepared int) (all []byte) {
		g := New(seed, Options{Now: noon, Prepared: prepared})
		for range 300 {
			all, _, _ = g.Next(append(all, '\n'))
		}
		return all
	}
	for _, prepared := range []int{0, 50} {
		if diff := cmp.Diff(string(produce(1, prepared)), string(produce(1, prepared))); diff != "" {
			t.Errorf("two runs of one seed differ (prepared %d):\n%s", prepared, diff)
		}
	}
	if bytes.Equal(produce(1, 0), produce(2, 0)) {
		t.Error("two seeds give the same records")
	}
}

func TestMessages(t *testing.T) {
	const messages = 1000
	g := New(seed, Options{Now: noon, Prepared: 1000})
	accounts := ledger.New(seed)
	next := uint64(0)
	counts := map[int]bool{}
	over := 0
	for range messages {
		body, first, count := g.Message(nil, 1000)
		if first != next || count < 1 {
			t.Fatalf("message of %d records from %d, want from %d", count, first, next)
		}
		next = first + uint64(count)
		if len(body) > MaxMessage {
			t.Fatalf("message of %d bytes", len(body))
		}
		if len(body) > usualMessage {
			over++
		}
		counts[count] = true
		if !bytes.HasPrefix(body, []byte(messageHead+`{"`)) || !json.Valid(body) {
			t.Fatalf("message %.100s... is not a JSON object with records", body)
		}
		if numbers, _ := accounts.IDs(nil, body); len(numbers) != count || numbers[0] != first {
			t.Fatalf("%d records in a message said to have %d", len(numbers), count)
		}
	}
	if !counts[1] || !counts[20] || !counts[200] {
		t.Errorf("counts of records seen: %v, want 1, 20 and 200 among them", counts)
	}
	if over == 0 || over > messages/20 {
		t.Errorf("%d of %d messages exceed the usual size, want a few", over, messages)
	}
	if _, _, count := g.Message(nil, 1); count != 1 {
		t.Errorf("message of %d records, limit 1", count)
	}
	for _, want := range []int{7, 60, MaxRecords} {
		g = New(seed, Options{Now: noon, RecordsPerMessage: want})
		if _, _, count := g.Message(nil, 1000); count != want {
			t.Errorf("message of %d records, want the %d of the options", count, want)
		}
	}
}

func TestOperationsShareTheirCorrelation(t *testing.T) {
	g := New(seed, Options{Now: noon})
	type step struct {
		ResultType    string
		CorrelationID string
		OperationName string
	}
	steps := map[string][]step{}
	for range 6_000 {
		line, _, category := g.Next(nil)
		if category != "Administrative" {
			continue
		}
		var s step
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		steps[s.CorrelationID] = append(steps[s.CorrelationID], s)
	}
	ended := 0
	for id, s := range steps {
		if s[0].ResultType != "Start" {
			t.Errorf("operation %s begins with %q", id, s[0].ResultType)
		}
		if last := s[len(s)-1]; last.ResultType == "Success" || last.ResultType == "Failure" {
			ended++
			if last.OperationName != s[0].OperationName || len(s) > 3 {
				t.Errorf("operation %s has the steps %+v", id, s)
			}
		}
	}
	// The last operation may not have ended yet.
	if len(steps) < 100 || ended < len(steps)-1 {
		t.Errorf("%d of %d operations have ended", ended, len(steps))
	}
}

func TestTimes(t *testing.T) {
	g := New(seed, Options{Now: noon})
	layouts := map[string]string{
		"ApplicationGatewayAccessLog": "2006-01-02T15:04:05+00:00", "kube-audit": "2006-01-02T15:04:05.000000000Z", "RiskyUsers": timeUS, "ADFSSignInLogs": timeUS, "UserRiskEvents": timeUS, "FunctionAppLogs": timeUSShort,
	}
	for range 6_000 {
		line, _, category := g.Next(nil)
		var record struct{ Time, TimeStamp, TimeGenerated string }
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatal(err)
		}
		record.Time += record.TimeStamp + record.TimeGenerated
		layout := layouts[category]
		switch {
		case layout != "":
		case strings.Contains(record.Time, "."):
			layout = timeEnvelope
		default:
			layout = timeSeconds
		}
		at, err := time.Parse(layout, record.Time)
		if err != nil {
			t.Fatalf("%s: %v", category, err)
		}
		if at.After(noon()) || at.Before(noon().Add(-2*time.Hour)) {
			t.Errorf("%s is dated %s, the clock says %s", category, at, noon())
		}
	}
}

func TestQuirksOccur(t *testing.T) {
	g := New(seed, Options{Now: noon})
	var all []byte
	for range 15_000 {
		all, _, _ = g.Next(append(all, '\n'))
	}
	for _, text := range []string{
		`"durationMs":"0"`, `"durationMs":0`, `"Level":"4"`, `"Level":4`, `"level":"Information","Level":4`, // both forms
		`"properties":"{'appName':'`, `\\'import-manifests\\'`, // a JavaScript object in a string
		`"identity":{"authorization"`, `"identity":{"claim":`, `"identity":"`,
		`"newValue":"[{\"DeviceName\"`, `"oldValue":null`, `\"work\\\"`,
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "/SUBSCRIPTIONS/", "Østergaard", "Łukasz", "2001:db8:",
		`"errorCode":50126`, `"errorCode":500121`, "62e90394-69f5-4237-9190-012177145e10",
	} {
		if !bytes.Contains(all, []byte(text)) {
			t.Errorf("no %s among 15,000 records", text)
		}
	}
}

func TestAccountsAreASCIIAndDistinct(t *testing.T) {
	o := newOrganization(seed, recordid.New(seed))
	seen := map[string]string{}
	for _, u := range o.users {
		if i := strings.IndexFunc(u.principal, func(r rune) bool { return r > '~' || r < '!' }); i >= 0 {
			t.Errorf("%s has the account %q", u.name, u.principal)
		}
		if strings.HasPrefix(u.principal, ".") || strings.Contains(u.principal, ".@") {
			t.Errorf("%s has the account %q, a part of the name is missing", u.name, u.principal)
		}
		if other := seen[u.principal]; other != "" {
			t.Errorf("%s and %s share the account %q", u.name, other, u.principal)
		}
		seen[u.principal] = u.name
	}
	if len(o.users) < 190 || len(o.admins) < 3 || !slices.ContainsFunc(o.users, func(u user) bool { return u.guest }) {
		t.Errorf("%d users with %d administrators", len(o.users), len(o.admins))
	}
}

// BenchmarkNext makes every record anew.
func BenchmarkNext(b *testing.B) {
	g := New(seed, Options{Now: noon})
	var buffer []byte
	bytes := 0
	b.ReportAllocs()
	for b.Loop() {
		buffer, _, _ = g.Next(buffer[:0])
		bytes += len(buffer)
	}
	b.SetBytes(int64(bytes / b.N))
}

// BenchmarkPrepared is the way that fills hubs.
func BenchmarkPrepared(b *testing.B) {
	g := New(seed, Options{Now: time.Now, Prepared: 4096})
	var buffer []byte
	bytes, records := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		var count int
		buffer, _, count = g.Message(buffer[:0], 1000)
		bytes += len(buffer)
		records += count
	}
	b.SetBytes(int64(bytes / b.N))
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

func TestPunctualRecordsAreDatedByTheClock(t *testing.T) {
	late := func(punctual bool) (most time.Duration) {
		now := noon()
		g := New(seed, Options{Now: func() time.Time { return now }, Punctual: punctual})
		for range 2000 {
			record, _, category := g.Next(nil)
			if category == "AuditLogs" {
				var r struct{ Time time.Time }
				if err := json.Unmarshal(record, &r); err != nil {
					t.Fatal(err)
				}
				most = max(most, now.Sub(r.Time))
			}
			now = now.Add(time.Millisecond)
		}
		return most
	}
	if most := late(true); most < 0 || most > time.Second {
		t.Errorf("a record is %v late", most)
	}
	if most := late(false); most < time.Minute {
		t.Errorf("no record is more than %v late; there is nothing to be punctual about", most)
	}
}
