package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Has reports whether the workspace has a table for the records of a category.
func Has(category string) bool { return tableOf(category) != "" }

// tableOf names the table of a category
// (learn.microsoft.com/azure/azure-monitor/reference/logs-index). Flow logs have
// none; what Functions writes is no JSON.
func tableOf(category string) string {
	switch strings.ToLower(category) {
	case "signinlogs":
		return "SigninLogs"
	case "noninteractiveusersigninlogs", "serviceprincipalsigninlogs", "managedidentitysigninlogs":
		return "AAD" + category
	case "adfssigninlogs", "auditlogs", "microsoftgraphactivitylogs":
		return category
	case "provisioninglogs", "riskyusers", "userriskevents", "riskyserviceprincipals", "serviceprincipalriskevents":
		return "AAD" + category
	case "administrative", "security", "servicehealth", "alert", "recommendation", "policy", "autoscale", "resourcehealth":
		return "AzureActivity"
	case "storageread", "storagewrite", "storagedelete":
		return "StorageBlobLogs"
	case "networksecuritygroupflowevent", "flowlogflowevent", "functionapplogs", "":
		return ""
	}
	if strings.HasPrefix(category, "AZFW") {
		return category
	}
	return "AzureDiagnostics"
}

// standardTables are in every workspace, whether it has rows of them or not
// (those of the solution LogManagement).
func standardTables() []string {
	return []string{
		"SigninLogs", "AADNonInteractiveUserSignInLogs", "AADServicePrincipalSignInLogs", "AADManagedIdentitySignInLogs", "ADFSSignInLogs",
		"AuditLogs", "AADProvisioningLogs", "AADRiskyUsers", "AADUserRiskEvents", "AADRiskyServicePrincipals", "AADServicePrincipalRiskEvents",
		"MicrosoftGraphActivityLogs", "AzureActivity", "AzureDiagnostics", "StorageBlobLogs",
	}
}

// convert makes a row of a record.
func (s *Server) convert(category string, data []byte) (table string, row object, err error) {
	table = tableOf(category)
	if table == "" {
		return "", nil, fmt.Errorf("take a record of category %q in: no table has such records", category)
	}
	record, err := parseObject(data)
	if err != nil {
		return "", nil, fmt.Errorf("take a record of category %q in: %w", category, err)
	}
	b := &builder{}
	b.text("TenantId", s.options.Workspace)
	switch {
	case table == "AzureActivity":
		b.activity(record)
	case table == "AzureDiagnostics":
		b.diagnostics(record)
	case table == "StorageBlobLogs" || strings.HasPrefix(table, "AZFW"):
		b.resource(record)
	default:
		b.entra(table, record)
	}
	b.text("Type", table)
	return table, b.row, nil
}

// builder collects the columns of a row, each once.
type builder struct {
	row  object
	have map[string]bool
}

func (b *builder) add(name string, value json.RawMessage) {
	if b.have == nil {
		b.have = map[string]bool{}
	}
	if len(value) > 0 && string(value) != "null" && !b.have[name] {
		b.have[name] = true
		b.row = append(b.row, member{name, value})
	}
}

func (b *builder) text(name, value string) { b.add(name, quote(value)) }

// pascal turns userId into UserId.
func pascal(name string) string {
	if name == "" {
		return name
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// entra: the tables of Entra have the envelope and the properties side by side.
func (b *builder) entra(table string, r object) {
	b.text("SourceSystem", "Azure AD")
	properties := r.inner("properties")
	signIn := strings.Contains(table, "SignIn") || table == "SigninLogs"
	graph := table == "MicrosoftGraphActivityLogs"
	for _, m := range r {
		switch m.name {
		case "properties", "tenantId":
		case "time":
			b.add("TimeGenerated", m.value)
		case "callerIpAddress":
			if !signIn && !graph && properties.get("ipAddress") == nil && table != "AuditLogs" {
				b.add("IpAddress", m.value)
			}
		case "category":
			if table != "AuditLogs" && !graph {
				b.add("Category", m.value)
			}
		case "location":
			if signIn {
				b.add("Location", m.value)
			}
		case "level", "Level":
			b.add("Level", m.value)
		case "durationMs":
			if !graph {
				b.add("DurationMs", m.value)
			}
		case "operationName", "operationVersion", "resultSignature", "correlationId", "identity", "resourceId":
			if !graph && !(strings.Contains(table, "Risk") && m.name == "correlationId") {
				b.add(pascal(m.name), m.value)
			}
		default:
			b.add(pascal(m.name), m.value)
		}
	}
	if signIn || table == "AuditLogs" {
		b.text("Resource", "Microsoft.aadiam")
		b.text("ResourceGroup", "Microsoft.aadiam")
	}
	for _, m := range properties {
		if graph && (strings.HasPrefix(m.name, "__") || strings.HasPrefix(m.name, "C_")) {
			continue // the table has no such columns
		}
		switch m.name {
		case "UserPrincipalObjectID":
			if properties.text("C_Idtyp") == "user" {
				b.add("UserId", m.value)
			}
		case "ipAddress":
			name := "IpAddress"
			if signIn || graph {
				name = "IPAddress"
			}
			b.add(name, m.value)
		case "location":
			if signIn {
				b.add("LocationDetails", m.value)
			} else {
				b.add("Location", m.value)
			}
		case "resourceId":
			b.add("ResourceIdentity", m.value)
		case "riskEventTypes_v2":
			b.add("RiskEventTypes_V2", m.value)
		case "appliedConditionalAccessPolicies":
			b.add("ConditionalAccessPolicies", m.value)
		case "tenantId":
			if graph {
				b.add("AadTenantId", m.value)
			} else {
				b.add("AADTenantId", m.value)
			}
		case "operationType":
			b.add("AADOperationType", m.value)
		case "timeGenerated":
		case "atContentH", "atContentP":
			b.add("AT"+pascal(m.name[2:]), m.value)
		default:
			b.add(pascal(m.name), m.value)
		}
	}
	if strings.Contains(table, "Risk") {
		b.add("CorrelationId", r.get("correlationId"))
	}
	if tenant := r.get("tenantId"); tenant != nil {
		if graph {
			b.add("AadTenantId", tenant)
		} else {
			b.add("AADTenantId", tenant)
		}
	}
}

// asText writes an object as a text.
func asText(v json.RawMessage) json.RawMessage {
	if len(v) == 0 || v[0] == '"' {
		return v
	}
	return quote(compact(v))
}

// activity: names with "Value", and JSON twice, as text and as dynamic.
func (b *builder) activity(r object) {
	b.text("SourceSystem", "Azure")
	identity, properties := r.inner("identity"), r.inner("properties")
	b.add("CallerIpAddress", r.get("callerIpAddress"))
	b.add("CategoryValue", r.get("category"))
	b.add("CorrelationId", r.get("correlationId"))
	b.add("Authorization", asText(identity.get("authorization")))
	b.add("Authorization_d", identity.get("authorization"))
	b.add("Claims", asText(identity.get("claims")))
	b.add("Claims_d", identity.get("claims"))
	b.add("Level", r.get("level"))
	b.add("OperationNameValue", r.get("operationName"))
	b.add("Properties", asText(r.get("properties")))
	b.add("Properties_d", r.get("properties"))
	claims := identity.inner("claims")
	for _, claim := range []string{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "appid"} {
		if v := claims.text(claim); v != "" {
			b.text("Caller", v)
			break
		}
	}
	b.add("EventDataId", properties.get("eventDataId"))
	b.add("EventSubmissionTimestamp", r.get("time"))
	parts := strings.Split(r.text("resourceId"), "/")
	b.text("ResourceGroup", after(parts, "RESOURCEGROUPS"))
	b.text("ResourceProviderValue", after(parts, "PROVIDERS"))
	b.add("ActivityStatusValue", r.get("resultType"))
	b.add("ActivitySubstatusValue", r.get("resultSignature"))
	b.add("Hierarchy", properties.get("hierarchy"))
	b.add("TimeGenerated", r.get("time"))
	b.text("SubscriptionId", strings.ToLower(after(parts, "SUBSCRIPTIONS")))
	b.text("_ResourceId", strings.ToLower(r.text("resourceId")))
}

// after returns the part of a resource id that follows another.
func after(parts []string, name string) string {
	for i := range parts {
		if strings.EqualFold(parts[i], name) && i+1 < len(parts) {
			return parts[i+1]
		}
	}
	return ""
}

// resource: tables of their own for the logs of resources.
func (b *builder) resource(r object) {
	b.text("SourceSystem", "Azure")
	for _, m := range r {
		switch m.name {
		case "properties":
			for _, p := range r.inner("properties") {
				b.add(pascal(p.name), p.value)
			}
		case "time":
			b.add("TimeGenerated", m.value)
		case "identity":
			for _, p := range r.inner("identity") {
				if p.name == "requester" {
					for _, q := range r.inner("identity").inner("requester") {
						b.add("Requester"+pascal(q.name), q.value)
					}
					continue
				}
				b.add("Authentication"+pascal(p.name), p.value)
			}
		case "resourceId":
			b.text("_ResourceId", strings.ToLower(r.text("resourceId")))
		default:
			b.add(pascal(m.name), m.value)
		}
	}
}

// diagnostics: one table for all others, in which the names of columns end in
// their type and nested members are columns of their own.
func (b *builder) diagnostics(r object) {
	resource := r.text("resourceId")
	parts := strings.Split(resource, "/")
	b.add("TimeGenerated", r.get("time"))
	b.text("ResourceId", strings.ToUpper(resource))
	b.add("Category", r.get("category"))
	b.text("ResourceGroup", strings.ToUpper(after(parts, "RESOURCEGROUPS")))
	b.text("SubscriptionId", strings.ToLower(after(parts, "SUBSCRIPTIONS")))
	b.text("ResourceProvider", strings.ToUpper(after(parts, "PROVIDERS")))
	b.text("Resource", strings.ToUpper(parts[len(parts)-1]))
	if len(parts) > 1 {
		b.text("ResourceType", strings.ToUpper(parts[len(parts)-2]))
	}
	b.text("SourceSystem", "Azure")
	for _, m := range r {
		switch m.name {
		case "time", "resourceId", "category":
		case "operationName", "resultType", "correlationId", "resultDescription", "operationVersion", "resultSignature", "durationMs":
			b.add(pascal(m.name), m.value)
		case "callerIpAddress":
			b.add("CallerIPAddress", m.value)
		case "level", "Level":
			b.add("Level", m.value)
		case "properties":
			b.flatten("", m.value, 0)
		default:
			b.flatten(m.name, m.value, 0)
		}
	}
	b.text("_ResourceId", strings.ToLower(resource))
}

func (b *builder) flatten(name string, v json.RawMessage, depth int) {
	v = bytes.TrimSpace(v)
	switch {
	case len(v) == 0 || string(v) == "null":
	case v[0] == '{' && depth < 5:
		o, err := parseObject(v)
		if err != nil {
			return
		}
		for _, m := range o {
			inner := m.name
			if name != "" {
				inner = name + "_" + m.name
			}
			b.flatten(columnName(inner), m.value, depth+1)
		}
	case v[0] == '{' || v[0] == '[':
		b.add(name+"_s", asText(v))
	case v[0] == '"':
		b.add(name+"_s", v)
	case v[0] == 't' || v[0] == 'f':
		b.add(name+"_b", v)
	default:
		b.add(name+"_d", v)
	}
}

// columnName replaces what a column's name cannot hold.
func columnName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '_', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, s)
}
