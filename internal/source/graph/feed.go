package graph

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/lazuli-logs/lazuli/internal/source/window"
)

// feed is one collection of Graph and how it has to be asked. What the
// reference says about each stands in docs/azure/graph.md.
type feed struct {
	name    string // in the configuration; the partition
	version string // of the API
	path    string // below the version
	kind    string // one of the kinds of sign-ins; "" for what is no sign-in
	// time is the member by which is asked, and by which an object gets a new
	// version.
	time    string
	updated bool // objects change in place
	// strict says that the collection takes gt and lt only. The others take ge and
	// le, and not all of them document lt.
	strict bool
	// shifts says that pages are counted, so that what moves while they are read
	// shifts the rest: a window of several pages is read until nothing is new.
	shifts    bool
	top       int // objects in a page
	orderBy   bool
	expand    string
	limit     limitClass
	retention time.Duration // 0: the objects are a state, and stay
	logs      bool          // of Entra: kept for as long as the tenant's license says
	late      time.Duration // how much later than the overlap objects appear
	role      string        // application permission, least privilege
	license   string        // what it takes; "" if nothing
}

// resource is the last part of the path, in the feed's Origin.
func (f *feed) resource() string {
	for i := len(f.path) - 1; i > 0; i-- {
		if f.path[i] == '/' {
			return f.path[i+1:]
		}
	}
	return f.path
}

const (
	day       = 24 * time.Hour
	premium   = "Microsoft Entra ID P1 or P2"
	workloads = "Microsoft Entra Workload ID Premium"
)

// feeds are all there are, in the order of the documentation.
// azure:graph.filters, azure:graph.pages, azure:graph.limits,
// azure:graph.retention, azure:graph.permissions
func feeds() []*feed {
	signIns := func(name, version, kind string) *feed {
		return &feed{
			name: name, version: version, path: "auditLogs/signIns", kind: kind, time: "createdDateTime",
			top: 1000, limit: limitReports, retention: 30 * day, logs: true, role: "AuditLog.Read.All", license: premium,
		}
	}
	risk := func(name, path, member, role, license string, retention time.Duration) *feed {
		return &feed{
			name: name, version: "v1.0", path: "identityProtection/" + path, time: member, updated: true, strict: true,
			top: 500, limit: limitProtection, retention: retention, late: 8 * time.Hour, role: role, license: license,
		}
	}
	return []*feed{
		{
			name: "directory_audits", version: "v1.0", path: "auditLogs/directoryAudits", time: "activityDateTime",
			top: 1000, orderBy: true, limit: limitReports, retention: 30 * day, logs: true, role: "AuditLog.Read.All",
		},
		signIns("sign_ins", "v1.0", ""),
		signIns("sign_ins_noninteractive", "beta", "nonInteractiveUser"),
		signIns("sign_ins_service_principal", "beta", "servicePrincipal"),
		signIns("sign_ins_managed_identity", "beta", "managedIdentity"),
		{
			name: "provisioning", version: "v1.0", path: "auditLogs/provisioning", time: "activityDateTime", strict: true,
			top: 1000, orderBy: true, limit: limitReports, retention: 30 * day, logs: true, role: "AuditLog.Read.All", license: premium,
		},
		risk("risk_detections", "riskDetections", "lastUpdatedDateTime", "IdentityRiskEvent.Read.All", premium, 90*day),
		risk("risky_users", "riskyUsers", "riskLastUpdatedDateTime", "IdentityRiskyUser.Read.All", premium, 0),
		risk("service_principal_risk_detections", "servicePrincipalRiskDetections", "lastUpdatedDateTime", "IdentityRiskyServicePrincipal.Read.All", workloads, 90*day),
		risk("risky_service_principals", "riskyServicePrincipals", "riskLastUpdatedDateTime", "IdentityRiskyServicePrincipal.Read.All", workloads, 0),
		{
			name: "alerts", version: "v1.0", path: "security/alerts_v2", time: "lastUpdateDateTime", updated: true, strict: true, shifts: true,
			top: 100, limit: limitSecurity, retention: 180 * day, role: "SecurityAlert.Read.All",
		},
		{
			name: "incidents", version: "v1.0", path: "security/incidents", time: "lastUpdateDateTime", updated: true, strict: true, shifts: true,
			top: 50, limit: limitSecurity, retention: 180 * day, role: "SecurityIncident.Read.All",
		},
	}
}

func feedNamed(name string) *feed {
	for _, f := range feeds() {
		if f.name == name {
			return f
		}
	}
	return nil
}

// step is how exactly Graph is asked: in whole seconds, as its documentation does
// and as sign-ins are dated. What the operators let in beyond the half-open span
// is for its neighbors; see reader.within.
const step = time.Second

// first returns the address of the first page of a span.
func (f *feed) first(base string, s window.Span) string {
	from, to, ge, le := s.From.Truncate(step), s.To.Add(step-1).Truncate(step), "ge", "le"
	if f.strict {
		from, ge, le = from.Add(-step), "gt", "lt"
	}
	filter := fmt.Sprintf("%s %s %s and %s %s %s", f.time, ge, from.UTC().Format(time.RFC3339), f.time, le, to.UTC().Format(time.RFC3339))
	if f.kind != "" {
		filter += fmt.Sprintf(" and signInEventTypes/any(t: t eq '%s')", f.kind)
	}
	q := url.Values{"$filter": {filter}, "$top": {strconv.Itoa(f.top)}}
	if f.orderBy {
		q.Set("$orderby", f.time+" asc")
	}
	if f.expand != "" {
		q.Set("$expand", f.expand)
	}
	return base + "/" + f.version + "/" + f.path + "?" + q.Encode()
}
