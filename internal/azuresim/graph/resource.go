package graph

import (
	"strings"
	"time"
)

// class is a group of resources that share a limit.
type class int

const (
	reports class = iota
	protection
	security
)

// paging is how a collection continues.
type paging int

const (
	byToken  paging = iota // an opaque $skiptoken, which stands behind an object
	byOffset               // $skip: what arrives meanwhile shifts the rest
)

// resource is a collection of Graph's, as its page in the reference describes it
// (learn.microsoft.com/graph/api/...). Where the reference is silent, the rule is
// marked assumed.
type resource struct {
	path     string // below the version
	kind     string // of its objects, in "@odata.type"
	versions []string
	roles    []string // any of them is enough; least privilege first
	// times are the members by which may be filtered and ordered in time. The
	// first decides the order.
	times     []string
	operators []string            // that the times take
	filters   map[string][]string // other members, and the operators they take
	orderBy   bool
	top       int // default page size
	maxTop    int
	paging    paging
	count     bool // knows $count
	skip      bool // knows $skip
	expand    []string
	class     class
	retention time.Duration
	premium   bool // needs a license for Entra ID P1 or P2
}

const day = 24 * time.Hour

func resources() []*resource {
	all := []string{"eq", "ge", "gt", "le", "lt"}
	text := []string{"eq", "startswith"}
	risk := map[string][]string{
		"riskLevel": {"eq"}, "riskState": {"eq"}, "riskDetail": {"eq"}, "userId": {"eq"}, "userPrincipalName": {"eq"}, "userDisplayName": {"eq"},
		"riskEventType": {"eq"}, "requestId": {"eq"}, "servicePrincipalId": {"eq"}, "detectionTimingType": {"eq"}, "id": {"eq"},
	}
	alert := map[string][]string{
		"assignedTo": {"eq"}, "classification": {"eq"}, "determination": {"eq"}, "severity": {"eq"}, "serviceSource": {"eq"}, "status": {"eq"},
	}
	return []*resource{
		{
			path: "auditLogs/signIns", kind: "microsoft.graph.signIn", versions: []string{"v1.0", "beta"}, roles: []string{"AuditLog.Read.All"},
			times: []string{"createdDateTime"}, operators: all,
			filters: map[string][]string{
				"signInEventTypes": {"any"}, "id": {"eq"}, "userId": {"eq"}, "userPrincipalName": text, "appId": {"eq"}, "appDisplayName": text,
				"ipAddress": text, "correlationId": {"eq"}, "isInteractive": {"eq"},
			},
			top: 1000, maxTop: 1000, class: reports, retention: 30 * day, premium: true,
		},
		{
			path: "auditLogs/directoryAudits", kind: "microsoft.graph.directoryAudit", versions: []string{"v1.0", "beta"}, roles: []string{"AuditLog.Read.All"},
			times: []string{"activityDateTime"}, operators: all, orderBy: true,
			filters: map[string][]string{"activityDisplayName": text, "category": {"eq"}, "correlationId": {"eq"}, "id": {"eq"}, "loggedByService": {"eq"}},
			// The size of a page is not documented; that of sign-ins is assumed.
			top: 1000, maxTop: 1000, class: reports, retention: 30 * day,
		},
		{
			path: "auditLogs/provisioning", kind: "microsoft.graph.provisioningObjectSummary", versions: []string{"v1.0", "beta"}, roles: []string{"AuditLog.Read.All", "ProvisioningLog.Read.All"},
			// The reference's filter table: eq, contains, gt, lt. No ge, no le.
			times: []string{"activityDateTime"}, operators: []string{"gt", "lt"}, orderBy: true,
			filters: map[string][]string{"id": {"eq", "contains"}, "jobId": {"eq", "contains"}, "cycleId": {"eq", "contains"}, "changeId": {"eq", "contains"}},
			top:     1000, maxTop: 1000, class: reports, retention: 30 * day, premium: true,
		},
		{
			path: "identityProtection/riskDetections", kind: "microsoft.graph.riskDetection", versions: []string{"v1.0", "beta"}, roles: []string{"IdentityRiskEvent.Read.All"},
			// That all three may be filtered is assumed; detectedDateTime and activityDateTime are used in published queries.
			times: []string{"detectedDateTime", "lastUpdatedDateTime", "activityDateTime"}, operators: all, filters: risk, orderBy: true,
			top: 20, maxTop: 500, class: protection, retention: 90 * day, premium: true,
		},
		{
			path: "identityProtection/servicePrincipalRiskDetections", kind: "microsoft.graph.servicePrincipalRiskDetection", versions: []string{"v1.0", "beta"}, roles: []string{"IdentityRiskyServicePrincipal.Read.All"},
			times: []string{"detectedDateTime", "lastUpdatedDateTime", "activityDateTime"}, operators: all, filters: risk, orderBy: true,
			top: 20, maxTop: 500, class: protection, retention: 90 * day, premium: true,
		},
		{
			path: "identityProtection/riskyUsers", kind: "microsoft.graph.riskyUser", versions: []string{"v1.0", "beta"}, roles: []string{"IdentityRiskyUser.Read.All"},
			times: []string{"riskLastUpdatedDateTime"}, operators: all, filters: risk, orderBy: true,
			top: 20, maxTop: 500, class: protection, premium: true,
		},
		{
			path: "identityProtection/riskyServicePrincipals", kind: "microsoft.graph.riskyServicePrincipal", versions: []string{"v1.0", "beta"}, roles: []string{"IdentityRiskyServicePrincipal.Read.All"},
			times: []string{"riskLastUpdatedDateTime"}, operators: all, filters: risk, orderBy: true,
			top: 20, maxTop: 500, class: protection, premium: true,
		},
		{
			path: "security/alerts_v2", kind: "microsoft.graph.security.alert", versions: []string{"v1.0", "beta"},
			roles: []string{"SecurityAlert.Read.All", "SecurityAlert.ReadWrite.All", "SecurityIncident.Read.All", "SecurityIncident.ReadWrite.All"},
			times: []string{"createdDateTime", "lastUpdateDateTime"}, operators: all, filters: alert,
			// Page sizes are not documented; assumed from answers that others have published.
			top: 100, maxTop: 1000, paging: byOffset, count: true, skip: true, class: security, retention: 180 * day,
		},
		{
			path: "security/incidents", kind: "microsoft.graph.security.incident", versions: []string{"v1.0", "beta"},
			roles: []string{"SecurityIncident.Read.All", "SecurityIncident.ReadWrite.All"},
			times: []string{"createdDateTime", "lastUpdateDateTime"}, operators: all, filters: alert, expand: []string{"alerts"},
			top: 50, maxTop: 50, paging: byOffset, count: true, skip: true, class: security, retention: 180 * day,
		},
	}
}

func (r *resource) in(version string) bool {
	for _, v := range r.versions {
		if v == version {
			return true
		}
	}
	return false
}

// timeIndex returns the number of a time member, or -1. Names are compared
// exactly, as Graph does in filters.
func (r *resource) timeIndex(member string) int {
	for i, name := range r.times {
		if name == member {
			return i
		}
	}
	return -1
}

// same reports whether a path of a request means this resource: Graph does not
// look at the case.
func (r *resource) same(path string) bool { return strings.EqualFold(r.path, path) }
