package loganalytics

import (
	"fmt"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/source/window"
)

const (
	placeFrom = "{from}"
	placeTo   = "{to}"

	// TimeGenerated is within two days before and one day after the time of
	// ingestion (azure:logs.time-generated); a day more costs nothing.
	slackBefore = 3 * 24 * time.Hour
	slackAfter  = 2 * 24 * time.Hour
)

// feed is one table or query of one workspace.
type feed struct {
	workspace string
	name      string // of the table or query
	table     string // of its rows, "" if it is not known
	basic     bool   // of the plan Basic or Auxiliary
	query     *Query // nil: a whole table
}

// partition names the feed among those of the source.
func (f *feed) partition() string { return strings.ToLower(f.workspace) + "/" + f.name }

// text is the query for a span, and the range of TimeGenerated it is about.
func (f *feed) text(s window.Span) (query, timespan string) {
	switch {
	case f.query != nil && !f.query.Windowed:
		return f.query.Query, ""
	case f.query != nil:
		// The user says where the window goes: nothing is added that could change
		// what the query means.
		return strings.NewReplacer(placeFrom, literal(s.From), placeTo, literal(s.To)).Replace(f.query.Query), ""
	}
	var b strings.Builder
	b.WriteString(f.name)
	early, late := s.From.Add(-slackBefore), s.To.Add(slackAfter)
	if f.basic {
		// These tables take the range of TimeGenerated beside the query, and no
		// sort (azure:logs.basic-tables).
		timespan = early.UTC().Format(time.RFC3339Nano) + "/" + late.UTC().Format(time.RFC3339Nano)
	} else {
		fmt.Fprintf(&b, "\n| where TimeGenerated >= %s and TimeGenerated < %s", literal(early), literal(late))
	}
	fmt.Fprintf(&b, "\n| where ingestion_time() >= %s and ingestion_time() < %s", literal(s.From), literal(s.To))
	if s.Parts > 1 {
		fmt.Fprintf(&b, "\n| where hash(tostring(pack_all()), %d) == %d", s.Parts, s.Part)
	}
	fmt.Fprintf(&b, "\n| extend %s = ingestion_time()", ingestedColumn)
	if !f.basic {
		fmt.Fprintf(&b, "\n| sort by %s asc", ingestedColumn)
	}
	return b.String(), timespan
}

// literal writes a time as KQL does, to the 100 ns.
func literal(t time.Time) string {
	return "datetime(" + t.UTC().Format("2006-01-02T15:04:05.9999999Z") + ")"
}

// hasID tells the tables whose rows carry an id of their own, so that equal rows
// are one event that Azure took in twice.
func hasID(table string) bool {
	switch table {
	case "SigninLogs", "AADNonInteractiveUserSignInLogs", "AADServicePrincipalSignInLogs", "AADManagedIdentitySignInLogs", "ADFSSignInLogs",
		"AuditLogs", "AADProvisioningLogs", "AADRiskyUsers", "AADUserRiskEvents", "AADRiskyServicePrincipals", "AADServicePrincipalRiskEvents",
		"AzureActivity", "SecurityAlert", "SecurityIncident", "MicrosoftGraphActivityLogs", "OfficeActivity":
		return true
	}
	return false
}
