package archive

import (
	"bytes"
	"fmt"
	"strings"
)

// place is where the records of one resource and category go.
type place struct {
	container string
	prefix    string // up to "y="
	suffix    string // after "m=00/"
	flow      bool   // a block blob with one document
	lineEnd   string
}

const activityContainer = "insights-activity-logs"

// activityCategory reports whether a category is the activity log's, which has one container
// (learn.microsoft.com/azure/azure-monitor/platform/activity-log-schema).
func activityCategory(category string) bool {
	switch category {
	case "Administrative", "Security", "ServiceHealth", "Alert", "Recommendation", "Policy", "Autoscale", "ResourceHealth":
		return true
	}
	return false
}

// windowsLines are the categories whose lines end with CR and LF; others end
// with LF alone (observed in archives).
func windowsLines(category string) bool {
	switch category {
	case "SignInLogs", "NonInteractiveUserSignInLogs", "MicrosoftGraphActivityLogs", "UserRiskEvents":
		return true
	}
	return false
}

// IsFlow reports whether the records of a category are flow logs.
func IsFlow(category string) bool {
	return category == "NetworkSecurityGroupFlowEvent" || category == "FlowLogFlowEvent"
}

// placeOf finds where a record goes.
func placeOf(category string, record []byte) (place, error) {
	p := place{container: "insights-logs-" + strings.ToLower(category), suffix: "PT1H.json", lineEnd: "\n", flow: IsFlow(category)}
	if windowsLines(category) {
		p.lineEnd = "\r\n"
	}
	resource := strings.ToUpper(member(record, "resourceId"))
	if resource == "" { // Defender's alerts; Azure has no such archive, a simulator may
		resource = strings.ToUpper(member(record, "AzureResourceId"))
	}
	switch {
	case activityCategory(category):
		p.container = activityContainer
		subscription := strings.Split(resource, "/")
		if len(subscription) < 3 || subscription[1] != "SUBSCRIPTIONS" {
			return p, fmt.Errorf("archive a record of category %q: its resource %q is in no subscription", category, resource)
		}
		p.prefix = "resourceId=/SUBSCRIPTIONS/" + subscription[2] + "/"
	case category == "FlowLogFlowEvent":
		// /SUBSCRIPTIONS/S/RESOURCEGROUPS/NETWORKWATCHERRG/PROVIDERS/MICROSOFT.NETWORK/NETWORKWATCHERS/W/FLOWLOGS/N
		parts := strings.Split(strings.ToUpper(member(record, "flowLogResourceID")), "/")
		if len(parts) != 11 {
			return p, fmt.Errorf("archive a record of category %q: its flowLogResourceID has %d parts, not 11", category, len(parts))
		}
		p.prefix = "flowLogResourceID=/" + parts[2] + "_" + parts[4] + "/" + parts[8] + "_" + parts[10] + "/"
	case strings.HasPrefix(resource, "/TENANTS/"):
		p.prefix = "tenantId=" + strings.ToLower(strings.Split(resource, "/")[2]) + "/"
	case resource == "":
		return p, fmt.Errorf("archive a record of category %q: it names no resource", category)
	default:
		p.prefix = "resourceId=" + resource + "/"
	}
	if p.flow {
		p.suffix = "macAddress=" + member(record, "macAddress") + "/" + p.suffix
	}
	return p, nil
}

// member returns the first text with this name, which in logs is the envelope's.
func member(record []byte, name string) string {
	_, rest, found := bytes.Cut(record, []byte(`"`+name+`":"`))
	if !found {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte{'"'})
	return string(value)
}
