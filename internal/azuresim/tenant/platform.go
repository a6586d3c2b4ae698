package tenant

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Platform services of the organization: Kubernetes, databases, web programs,
// storage; and Defender's alerts about them.

// kubeCall is a call of the Kubernetes API.
type kubeCall struct {
	verb, uri, resource, namespace, name string
	user, group, agent, address          string
	code                                 int
	reason                               string
}

func (s *stage) clusterCall() kubeCall {
	calls := []kubeCall{
		{verb: "update", uri: "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler", resource: "leases", namespace: "kube-system", name: "kube-scheduler", user: "aksService", group: "system:masters", agent: "kube-scheduler/v1.31.3 (linux/amd64)"},
		{verb: "watch", uri: "/api/v1/pods?watch=true", resource: "pods", user: "system:serviceaccount:kube-system:replicaset-controller", group: "system:serviceaccounts", agent: "kube-controller-manager/v1.31.3 (linux/amd64)"},
		{verb: "get", uri: "/api/v1/namespaces/tracking/configmaps/track-config", resource: "configmaps", namespace: "tracking", name: "track-config", user: "system:serviceaccount:tracking:track-api", group: "system:serviceaccounts", agent: "track-api/5.2 (linux/amd64) kubernetes-client"},
		{verb: "patch", uri: "/api/v1/nodes/aks-nodepool1-31872401-vmss000002/status", resource: "nodes", name: "aks-nodepool1-31872401-vmss000002", user: "system:node:aks-nodepool1-31872401-vmss000002", group: "system:nodes", agent: "kubelet/v1.31.3 (linux/amd64)"},
		{verb: "list", uri: "/api/v1/namespaces/tracking/pods", resource: "pods", namespace: "tracking", user: s.admin().principal, group: "system:authenticated", agent: "kubectl/v1.31.1 (darwin/arm64)"},
		{verb: "create", uri: "/apis/authorization.k8s.io/v1/subjectaccessreviews", resource: "subjectaccessreviews", user: "system:serviceaccount:gatekeeper-system:gatekeeper-admin", group: "system:serviceaccounts", agent: "gatekeeper/3.17 (linux/amd64)"},
	}
	c := pick(s.rng, calls)
	c.code, c.address = 200, fmt.Sprintf("10.224.0.%d", 4+s.rng.IntN(90))
	if c.verb == "create" {
		c.code = 201
	}
	return c
}

// kubeAudit writes a call of the Kubernetes API: the API's own record, with a
// line end, as a string.
func (s *stage) kubeAudit(c kubeCall) {
	a := pick(s.rng, s.assetsOf("Microsoft.ContainerService/managedClusters"))
	s.record("kube-audit", func(w *writer) {
		w.strs("category", "kube-audit", "operationName", "Microsoft.ContainerService/managedClusters/diagnosticLogs/Read")
		w.object("properties", func() {
			w.strs("pod", "kube-apiserver-7c9d5f6b8-x2m4q", "containerID", strings.ToLower(s.text("0123456789ABCDEF", 64)))
			w.embedded("log", "\n", func(in *writer) {
				in.strs("kind", "Event", "apiVersion", "audit.k8s.io/v1", "level", "Metadata")
				in.id("auditID", "", "")
				in.strs("stage", "ResponseComplete", "requestURI", c.uri, "verb", c.verb)
				in.object("user", func() {
					in.str("username", c.user)
					in.list("groups", func() { in.str("", c.group); in.str("", "system:authenticated") })
				})
				in.list("sourceIPs", func() { in.str("", c.address) })
				in.str("userAgent", c.agent)
				in.object("objectRef", func() {
					in.strs("resource", c.resource)
					if c.namespace != "" {
						in.str("namespace", c.namespace)
					}
					if c.name != "" {
						in.str("name", c.name)
					}
					in.str("apiVersion", "v1")
				})
				in.object("responseStatus", func() {
					in.object("metadata", func() {})
					in.num("code", c.code)
				})
				in.time("requestReceivedTimestamp", "2006-01-02T15:04:05.000000Z", -9*time.Millisecond)
				in.time("stageTimestamp", "2006-01-02T15:04:05.000000Z", -2*time.Millisecond)
				in.object("annotations", func() {
					in.strs("authorization.k8s.io/decision", map[bool]string{true: "allow", false: "forbid"}[c.code < 400], "authorization.k8s.io/reason", c.reason)
				})
			})
			w.str("stream", "stdout")
		})
		w.strs("resourceId", strings.ToUpper(a.id()), "serviceBuild", "na")
		w.time("time", "2006-01-02T15:04:05.000000000Z", 0)
	})
}

// clusterTakeover lets a stranger with a stolen token look around a cluster, give
// himself all rights, read its secrets and open a shell.
func (s *stage) clusterTakeover() {
	place := &s.attackers[s.rng.IntN(len(s.attackers))]
	thief := kubeCall{user: "system:serviceaccount:tracking:track-api", group: "system:serviceaccounts", agent: "kubectl/v1.30.0 (linux/amd64)", address: s.address(s.rng, place)}
	for _, step := range []kubeCall{
		{verb: "list", uri: "/api/v1/secrets?limit=500", resource: "secrets", code: 403},
		{verb: "create", uri: "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", resource: "selfsubjectrulesreviews", code: 201},
		{verb: "create", uri: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", resource: "clusterrolebindings", name: "track-api-admin", code: 201},
		{verb: "list", uri: "/api/v1/secrets?limit=500", resource: "secrets", code: 200},
		{verb: "create", uri: "/api/v1/namespaces/tracking/pods/track-api-0/exec?command=sh&stdin=true&tty=true", resource: "pods", namespace: "tracking", name: "track-api-0", code: 101},
	} {
		step.user, step.group, step.agent, step.address = thief.user, thief.group, thief.agent, thief.address
		s.kubeAudit(step)
		s.anew()
		s.later(s.between(3*time.Second, 40*time.Second))
	}
	s.defenderAlert("K8S_ClusterAdminBinding", "New high privileges role assigned", "High", "Persistence", thief.address)
}

// sqlAudit writes a statement that a program ran.
func (s *stage) sqlAudit(statement string, rows int) {
	a := pick(s.rng, s.assetsOf("Microsoft.Sql/servers"))
	database := pick(s.rng, []string{"shipments", "billing", "crew"})
	s.record("SQLSecurityAuditEvents", func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("LogicalServerName", strings.ToLower(a.name), "SubscriptionId", a.subscription, "ResourceGroup", a.group,
			"resourceId", strings.ToUpper(a.id())+"/DATABASES/"+strings.ToUpper(database), "category", "SQLSecurityAuditEvents", "operationName", "AuditEvent")
		w.object("properties", func() {
			w.num("audit_schema_version", 1)
			w.time("event_time", timeEnvelope, -3*time.Millisecond)
			w.num("sequence_number", 1)
			w.strs("action_id", "BCM ", "action_name", "BATCH COMPLETED", "succeeded", "true", "is_column_permission", "false")
			w.num("session_id", 60+s.rng.IntN(200))
			w.num("server_principal_id", 0)
			w.num("database_principal_id", 5)
			w.strs("object_id", "0", "transaction_id", "0", "class_type", "DB", "class_type_description", "DATABASE",
				"securable_class_type", "DATABASE", "duration_milliseconds", strconv.Itoa(1+s.rng.IntN(400)), "response_rows", strconv.Itoa(rows), "affected_rows", "0",
				"client_ip", fmt.Sprintf("10.20.3.%d", 10+s.rng.IntN(20)), "client_tls_version", "771", "client_tls_version_name", "1.2", "session_server_principal_name", "app_track",
				"server_principal_name", "app_track", "database_principal_name", "app_track", "server_instance_name", strings.ToLower(a.name),
				"database_name", database, "schema_name", "", "object_name", database, "statement", statement, "additional_information", "",
				"application_name", "Core Microsoft SqlClient Data Provider", "host_name", "track-api-0")
			w.id("event_id", "", "")
			w.strs("connection_id", strings.ToUpper(s.guid()), "data_sensitivity_information", "", "is_server_level_audit", "false")
		})
	})
}

func (s *stage) usualStatement() {
	s.sqlAudit(pick(s.rng, []string{
		"SELECT Id, State, Eta FROM dbo.Shipments WHERE VesselId = @vessel", "UPDATE dbo.Shipments SET State = @state WHERE Id = @id",
		"INSERT INTO dbo.Events (ShipmentId, Kind, At) VALUES (@id, @kind, @at)", "EXEC dbo.NightlyRollup",
	}), s.rng.IntN(200))
}

// applicationInsights writes a row of one of the tables of web programs, which
// have no category but a type.
func (s *stage) applicationInsights() {
	a := pick(s.rng, s.assetsOf("Microsoft.Insights/components"))
	kind := []string{"AppRequests", "AppDependencies", "AppTraces", "AppExceptions"}[weighted(s.rng, 35, 40, 23, 2)]
	operation, span := strings.ReplaceAll(s.guid(), "-", ""), s.text("0123456789abcdef", 16)
	s.record(kind, func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("resourceId", strings.ToUpper(a.id()), "ResourceGUID", string(s.ids.AppendOther(nil, uint64(len(a.name)))), "Type", kind,
			"AppRoleInstance", "track-api-"+strconv.Itoa(s.rng.IntN(4)), "AppRoleName", "track-api", "AppVersion", "5.2.0", "ClientIP", "0.0.0.0", "ClientType", "PC",
			"IKey", string(s.ids.AppendOther(nil, ^uint64(len(a.name)))))
		w.num("_BilledSize", 700+s.rng.IntN(600))
		w.strs("OperationName", "GET Shipments/Get", "OperationId", operation, "ParentId", span, "SDKVersion", "dotnetc:2.23.0")
		w.object("Properties", func() {
			w.str("AspNetCoreEnvironment", "Production")
			w.id("ShipmentId", "", "")
		})
		switch kind {
		case "AppRequests":
			w.strs("Id", span, "Name", "GET Shipments/Get")
			w.id("Url", "https://track."+organizationDomain+"/api/shipments/", "")
			w.flag("Success", true)
			w.str("ResultCode", "200")
			w.raw("DurationMs", fmt.Sprintf("%d.%04d", 2+s.rng.IntN(300), s.rng.IntN(10_000)))
			w.str("PerformanceBucket", "<250ms")
		case "AppDependencies":
			w.strs("Id", span, "Target", "sql-kestrel.database.windows.net | shipments", "DependencyType", "SQL", "Name", "SQL: shipments", "Data", "SELECT Id, State, Eta FROM dbo.Shipments")
			w.flag("Success", true)
			w.raw("DurationMs", fmt.Sprintf("%d.%04d", 1+s.rng.IntN(90), s.rng.IntN(10_000)))
			w.str("PerformanceBucket", "<250ms")
		case "AppTraces":
			w.id("Message", "Shipment ", " has passed the gate")
			w.num("SeverityLevel", 1)
		default:
			w.strs("ProblemId", "System.TimeoutException at Track.Gate.Open", "ExceptionType", "System.TimeoutException", "Assembly", "Track, Version=5.2.0.0",
				"Method", "Track.Gate.Open", "OuterType", "System.TimeoutException", "OuterMessage", "The operation has timed out.", "InnermostMessage", "The operation has timed out.")
			w.num("SeverityLevel", 3)
		}
		w.num("ItemCount", 1)
	})
}

// storageChange writes that a program put or deleted a blob.
func (s *stage) storageChange() {
	a, p := pick(s.rng, s.assetsOf("Microsoft.Storage/storageAccounts")), &s.services[s.rng.IntN(len(s.services))]
	category, operation, status := "StorageWrite", "PutBlob", 201
	if s.chance(5) {
		category, operation, status = "StorageDelete", "DeleteBlob", 202
	}
	blob := fmt.Sprintf("/%s/exports/2026/%05d.csv", a.name, s.rng.IntN(100_000))
	s.record(category, func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("resourceId", a.id()+"/blobServices/default", "category", category, "operationName", operation, "operationVersion", "2021-12-02", "schemaVersion", "1.0")
		w.num("statusCode", status)
		w.str("statusText", "Success")
		w.num("durationMs", 4+s.rng.IntN(90))
		w.str("callerIpAddress", fmt.Sprintf("%s:%d", p.address, 1024+s.rng.IntN(60_000)))
		w.id("correlationId", "", "")
		w.object("identity", func() {
			w.strs("type", "SAS", "tokenHash", "key1("+s.text("0123456789ABCDEF", 64)+"),SasSignature("+s.text("0123456789ABCDEF", 64)+")")
		})
		w.str("location", a.region)
		w.object("properties", func() {
			w.strs("accountName", a.name, "userAgentHeader", "AzCopy/10.27.1 azsdk-go-azblob/v1.4.0", "clientRequestId", s.guid(), "serviceType", "blob", "objectKey", blob,
				"metricResponseType", "Success")
			w.num("serverLatencyMs", 3+s.rng.IntN(40))
			w.strs("tlsVersion", "TLS 1.3")
		})
		w.strs("uri", "https://"+a.name+".blob.core.windows.net:443"+strings.TrimPrefix(blob, "/"+a.name)+"?sv=2024-11-04&sr=c&sp=cwd&sig=XXXXX", "protocol", "HTTPS",
			"resourceType", "Microsoft.Storage/storageAccounts/blobServices")
	})
}

// SecurityAlert is the category under which Defender's alerts, which name none,
// are reported: the name of their table.
const SecurityAlert = "SecurityAlert"

// defenderAlert writes an alert of Defender for Cloud as continuous export sends
// it to a hub.
func (s *stage) defenderAlert(kind, title, severity, intent, address string) {
	a := pick(s.rng, s.assetsOf("Microsoft.Compute/virtualMachines"))
	s.record(SecurityAlert, func(w *writer) {
		w.strs("VendorName", "Microsoft", "AlertType", kind, "ProductName", "Microsoft Defender for Cloud")
		w.time("StartTimeUtc", timeEnvelope, -3*time.Minute)
		w.time("EndTimeUtc", timeEnvelope, -3*time.Minute)
		w.time("TimeGenerated", timeEnvelope, 0)
		w.time("ProcessingEndTime", timeEnvelope, 0)
		w.strs("Severity", severity, "Status", "New")
		for _, name := range []string{"ProviderAlertStatus", "ConfidenceLevel", "ConfidenceScore", "ConfidenceReasons"} {
			w.null(name)
		}
		w.flag("IsIncident", false)
		w.id("SystemAlertId", "2517184898549829577_", "")
		w.null("CorrelationKey")
		w.strs("Intent", intent, "AzureResourceId", a.id(), "WorkspaceId", s.policies[2], "WorkspaceSubscriptionId", a.subscription, "WorkspaceResourceGroup", a.group)
		w.null("AgentId")
		w.strs("CompromisedEntity", a.name, "AlertDisplayName", title, "Description", "Defender for Cloud found a sign of an attack on "+a.name+".")
		w.list("Entities", func() {
			w.object("", func() {
				w.strs("$id", "5", "Address", address)
				w.object("Location", func() { w.strs("CountryCode", "RO", "CountryName", "Romania", "City", "Bucharest") })
				w.flag("Asset", false)
				w.str("Type", "ip")
			})
		})
		w.list("ResourceIdentifiers", func() {
			w.object("", func() {
				w.strs("$id", "2", "AzureResourceId", a.id(), "Type", "AzureResource", "AzureResourceTenantId", s.tenantID)
			})
			w.object("", func() { w.strs("$id", "3", "AadTenantId", s.tenantID, "Type", "AAD") })
		})
		w.list("RemediationSteps", func() { w.str("", "Review the activity and block the address.") })
		w.object("ExtendedProperties", func() {
			w.strs("resourceType", "Virtual Machine", "Client IP address", address)
			w.id("Alert Id", "", "")
		})
		w.id("AlertUri", "https://portal.azure.com/#blade/Microsoft_Azure_Security_AzureDefenderForData/AlertBlade/alertId/2517184898549829577_", "/subscriptionId/"+a.subscription)
	})
}
