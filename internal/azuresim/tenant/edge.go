package tenant

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What stands between the organization and the Internet: Azure Firewall
// (structured logs), Application Gateway and Front Door with their web
// application firewalls.

// internetTraffic writes that something passed the firewall, or not.
func (s *stage) internetTraffic() {
	switch weighted(s.rng, 55, 22, 16, 4, 2, 2) {
	case 0:
		s.firewallNetwork(s.chance(9))
	case 1:
		s.firewallApplication()
	case 2:
		s.firewallQuery()
	case 3:
		s.firewallNAT()
	case 4:
		s.firewallThreat(s.someMachine())
	default:
		s.firewallIntrusion(s.someMachine(), false)
	}
}

func (s *stage) someMachine() nic { return s.nicOf(s.rng.IntN(18)) }

func (s *stage) firewall(category string, properties func(w *writer)) {
	a := pick(s.rng, s.assetsOf("Microsoft.Network/azureFirewalls"))
	s.record(category, func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("resourceId", strings.ToUpper(a.id()), "category", category)
		w.object("properties", func() { properties(w) })
	})
}

// ends writes the ends of a connection. The far side and the port of who began
// carry the record's number.
func (w *writer) ends(protocol string, own nic, inbound bool, port int) {
	address := func(name string, far bool) {
		if !far {
			w.str(name, own.address)
			return
		}
		w.quotedMark(name, markFlowAddress, "", 0)
	}
	w.str("Protocol", protocol)
	address("SourceIp", inbound)
	w.name("SourcePort")
	w.mark(markFlowPort, "", 0)
	if inbound {
		w.str("DestinationIp", "20.61.14.9") // the firewall's own
	} else {
		address("DestinationIp", true)
	}
	w.num("DestinationPort", port)
}

func (w *writer) firewallRule(rule, collection string) {
	w.strs("Policy", "afwp-kestrel-hub", "RuleCollectionGroup", "DefaultNetworkRuleCollectionGroup", "RuleCollection", collection, "Rule", rule)
}

func (s *stage) firewallNetwork(denied bool) {
	s.firewall("AZFWNetworkRule", func(w *writer) {
		port := pick(s.rng, []int{443, 123, 5671, 9093, 22, 1883})
		w.ends(map[bool]string{true: "UDP", false: "TCP"}[port == 123], s.someMachine(), false, port)
		if denied {
			w.str("Action", "Deny")
			w.firewallRule("", "")
			w.str("ActionReason", "Default Action")
			return
		}
		w.str("Action", "Allow")
		w.firewallRule("allow-platform", "rc-platform")
		w.str("ActionReason", "")
	})
}

func (s *stage) firewallNAT() {
	own := s.someMachine()
	s.firewall("AZFWNatRule", func(w *writer) {
		w.ends("TCP", own, true, 8443)
		w.strs("TranslatedIp", own.address)
		w.num("TranslatedPort", 443)
		w.firewallRule("dnat-partner-portal", "rc-dnat")
	})
}

// firewallThreat writes that a machine talked to an address that Microsoft knows
// as bad.
func (s *stage) firewallThreat(own nic) {
	s.firewall("AZFWThreatIntel", func(w *writer) {
		w.ends("TCP", own, false, 443)
		w.strs("Action", "Deny", "ThreatDescription", "This IP address has been reported as a command and control server.", "Fqdn", "", "TargetUrl", "")
		w.flag("IsTlsInspected", false)
	})
}

func (s *stage) firewallIntrusion(own nic, severe bool) {
	s.firewall("AZFWIdpsSignature", func(w *writer) {
		w.ends("TCP", own, true, 8443)
		w.str("Action", map[bool]string{true: "deny", false: "alert"}[severe])
		if severe {
			w.str("SignatureId", "2034647")
			w.strs("Category", "Attempted Administrator Privilege Gain", "Description", "EXPLOIT JNDI lookup in a request header")
			w.num("Severity", 1)
			return
		}
		w.str("SignatureId", "2024897")
		w.strs("Category", "Attempted Information Leak", "Description", "SCAN unusual user agent")
		w.num("Severity", 3)
	})
}

// firewallApplication writes a request that is known by its host. Those of agents
// to a workspace have its id in their name; the record's id stands there.
func (s *stage) firewallApplication() {
	own := s.someMachine()
	s.firewall("AZFWApplicationRule", func(w *writer) {
		w.strs("Protocol", "HTTPS", "SourceIp", own.address)
		w.num("SourcePort", 1024+s.rng.IntN(31_000))
		w.num("DestinationPort", 443)
		w.id("Fqdn", "", ".ods.opinsights.azure.com")
		w.strs("TargetUrl", "", "Action", "Allow", "Policy", "afwp-kestrel-hub", "RuleCollectionGroup", "DefaultApplicationRuleCollectionGroup",
			"RuleCollection", "rc-monitoring", "Rule", "allow-azure-monitor", "ActionReason", "")
		w.flag("IsTlsInspected", false)
		w.str("WebCategory", "Computers + internet")
		w.flag("IsExplicitProxyRequest", false)
	})
}

func (s *stage) firewallQuery() {
	own := s.someMachine()
	s.firewall("AZFWDnsQuery", func(w *writer) {
		w.str("SourceIp", own.address)
		w.num("SourcePort", 1024+s.rng.IntN(31_000))
		w.num("QueryId", s.rng.IntN(65_536))
		w.strs("QueryType", pick(s.rng, []string{"A", "A", "AAAA"}), "QueryClass", "IN")
		w.id("QueryName", "", ".ods.opinsights.azure.com.")
		w.str("Protocol", "udp")
		w.num("RequestSize", 78)
		w.flag("DnssecOkBit", false)
		w.num("EDNS0BufferSize", 1224)
		w.strs("ResponseCode", "NOERROR", "ResponseFlags", "qr,rd,ra")
		w.num("ResponseSize", 180+s.rng.IntN(200))
		w.raw("RequestDurationSecs", fmt.Sprintf("0.00%07d", 1+s.rng.IntN(9_000_000)))
		w.num("ErrorNumber", 0)
		w.str("ErrorMessage", "")
	})
}

// webRequest is one request from outside; the record's id is what is asked for.
type webRequest struct {
	client, agent, method, path string
	status                      int
}

func (s *stage) customer() webRequest {
	place := &s.cities[s.rng.IntN(len(s.cities))]
	d := devices()[s.rng.IntN(6)]
	status := []int{200, 200, 200, 304, 404, 302, 500}[weighted(s.rng, 60, 20, 10, 6, 3, 3, 1)]
	return webRequest{client: s.address(s.rng, place), agent: d.agent, method: pick(s.rng, []string{"GET", "GET", "GET", "POST"}), path: "/api/shipments/", status: status}
}

// gatewayAccess writes a request to the Application Gateway, version 2.
func (s *stage) gatewayAccess(r webRequest) {
	a := pick(s.rng, s.assetsOf("Microsoft.Network/applicationGateways"))
	latency := fmt.Sprintf("%.3f", 0.004+s.rng.Float64()/4)
	s.record("ApplicationGatewayAccessLog", func(w *writer) {
		w.time("timeStamp", "2006-01-02T15:04:05+00:00", 0)
		w.strs("resourceId", strings.ToUpper(a.id()), "listenerName", "lst-track-https", "ruleName", "rule-track", "backendPoolName", "pool-track",
			"backendSettingName", "set-track", "operationName", "ApplicationGatewayAccess", "category", "ApplicationGatewayAccessLog")
		w.object("properties", func() {
			w.strs("instanceId", "appgw_"+strconv.Itoa(s.rng.IntN(3)), "clientIP", r.client)
			w.num("clientPort", 1024+s.rng.IntN(60_000))
			w.str("httpMethod", r.method)
			w.id("originalRequestUriWithArgs", r.path, "?view=full")
			w.id("requestUri", r.path, "")
			w.strs("requestQuery", "view=full", "userAgent", r.agent)
			w.num("httpStatus", r.status)
			w.str("httpVersion", "HTTP/1.1")
			w.num("receivedBytes", 400+s.rng.IntN(900))
			w.num("sentBytes", 300+s.rng.IntN(40_000))
			w.raw("clientResponseTime", "0.000")
			w.raw("timeTaken", latency)
			w.strs("WAFEvaluationTime", "0.001", "WAFMode", "Prevention", "transactionId", strings.ReplaceAll(s.guid(), "-", ""), "sslEnabled", "on",
				"sslCipher", "TLS_AES_256_GCM_SHA384", "sslProtocol", "TLSv1.3", "sslClientVerify", "NONE", "sslClientCertificateFingerprint", "",
				"sslClientCertificateIssuerName", "", "serverRouted", "10.20.4.10:443", "serverStatus", strconv.Itoa(r.status), "serverResponseLatency", latency,
				"upstreamSourcePort", strconv.Itoa(20_000+s.rng.IntN(40_000)), "originalHost", "track."+organizationDomain, "host", "track."+organizationDomain,
				"error_info", "ERRORINFO_NO_ERROR")
		})
	})
}

// gatewayFirewall writes that the gateway's firewall stopped a request.
func (s *stage) gatewayFirewall(client string) {
	a := pick(s.rng, s.assetsOf("Microsoft.Network/applicationGateways"))
	s.record("ApplicationGatewayFirewallLog", func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("resourceId", strings.ToUpper(a.id()), "operationName", "ApplicationGatewayFirewall", "category", "ApplicationGatewayFirewallLog")
		w.object("properties", func() {
			w.strs("instanceId", "appgw_0", "clientIp", client)
			w.id("requestUri", "/api/shipments/", "?id=1%27%20OR%20%271%27=%271")
			w.strs("ruleSetType", "OWASP CRS", "ruleSetVersion", "3.2.0", "ruleId", "942100", "ruleGroup", "REQUEST-942-APPLICATION-ATTACK-SQLI",
				"message", "SQL Injection Attack Detected via libinjection", "action", "Blocked", "site", "Global")
			w.object("details", func() {
				w.strs("message", "detected SQLi using libinjection with fingerprint 's&sos'", "data", "Matched Data: s&sos found within ARGS:id: 1' OR '1'='1",
					"file", "REQUEST-942-APPLICATION-ATTACK-SQLI.conf", "line", "65")
			})
			w.strs("hostname", "track."+organizationDomain, "transactionId", strings.ReplaceAll(s.guid(), "-", ""),
				"policyId", "/subscriptions/"+a.subscription+"/resourceGroups/"+a.group+"/providers/Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies/waf-track",
				"policyScope", "Global", "policyScopeName", "Global")
		})
	})
}

// frontDoorAccess writes a request to Front Door.
func (s *stage) frontDoorAccess(r webRequest) {
	a := pick(s.rng, s.assetsOf("Microsoft.Cdn/profiles"))
	s.record("FrontDoorAccessLog", func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("resourceId", strings.ToUpper(a.id()), "category", "FrontDoorAccessLog", "operationName", "Microsoft.Cdn/Profiles/AccessLog/Write")
		w.object("properties", func() {
			w.strs("trackingReference", s.trackingReference(), "httpMethod", r.method, "httpVersion", "2.0.0.0")
			w.id("requestUri", "https://www."+organizationDomain+":443"+r.path, "")
			w.strs("sni", "www."+organizationDomain, "requestBytes", strconv.Itoa(300+s.rng.IntN(900)), "responseBytes", strconv.Itoa(400+s.rng.IntN(90_000)), "userAgent", r.agent,
				"clientIp", r.client, "clientPort", strconv.Itoa(1024+s.rng.IntN(60_000)), "socketIp", r.client, "timeToFirstByte", "0.031", "timeTaken", "0.042",
				"requestProtocol", "HTTPS", "securityProtocol", "TLS 1.3", "rulesEngineMatchNames", "[]", "httpStatusCode", strconv.Itoa(r.status), "edgeActionsStatusCode", "",
				"httpStatusDetails", strconv.Itoa(r.status), "pop", "AMS", "cacheStatus", pick(s.rng, []string{"CACHE_NOCONFIG", "HIT", "MISS"}), "errorInfo", "NoError",
				"result", "N/A", "endpoint", "kestrel-track.z01.azurefd.net", "routingRuleName", "default-route", "clientJA4FingerPrint", "t13d1516h2_8daaf6152771_02713d6af862",
				"hostName", "www."+organizationDomain, "originUrl", "https://origin."+organizationDomain+":443"+r.path, "originIp", "10.20.5.11:443",
				"originName", "origin."+organizationDomain+":443", "originStatusCode", strconv.Itoa(r.status), "referer", "", "clientCountry", "Netherlands",
				"domain", "www."+organizationDomain+":443", "securityCipher", "TLS_AES_256_GCM_SHA384", "securityCurves", "0x11ec:X25519:prime256v1")
		})
	})
}

func (s *stage) trackingReference() string {
	return s.now.UTC().Format("20060102T150405Z") + "-" + strings.ToLower(s.text(base36Letters, 20)) + "0000000" + s.text("0123456789abcdef", 8)
}

// frontDoorFirewall writes that Front Door's firewall matched a request.
func (s *stage) frontDoorFirewall(client string) {
	a := pick(s.rng, s.assetsOf("Microsoft.Cdn/profiles"))
	s.record("FrontDoorWebApplicationFirewallLog", func(w *writer) {
		w.time("time", timeEnvelope, 0)
		w.strs("resourceId", strings.ToUpper(a.id()), "category", "FrontDoorWebApplicationFirewallLog", "operationName", "Microsoft.Cdn/Profiles/WebApplicationFirewallLog/Write")
		w.object("properties", func() {
			w.strs("clientIP", client, "clientPort", strconv.Itoa(1024+s.rng.IntN(60_000)), "socketIP", client)
			w.id("requestUri", "https://www."+organizationDomain+":443/search/", "?q=<script>alert(1)</script>")
			w.strs("ruleName", "Microsoft_DefaultRuleSet-2.1-XSS-941100", "policy", "wafkestrel", "action", "Block", "host", "www."+organizationDomain,
				"trackingReference", s.trackingReference(), "policyMode", "prevention")
			w.object("details", func() {
				w.list("matches", func() {
					w.object("", func() {
						w.strs("matchVariableName", "QueryParamValue:q", "matchVariableValue", "<script>alert(1)</script>")
					})
				})
				w.strs("msg", "XSS Attack Detected via libinjection", "data", "Matched Data: XSS data found within QueryParamValue:q")
			})
		})
	})
}

// webAttack tries to break into the web application from one address, until a
// request passes; then the database gives more than ever, and a machine calls home.
func (s *stage) webAttack() {
	place := &s.attackers[s.rng.IntN(len(s.attackers))]
	client := s.address(s.rng, place)
	for range 6 + s.rng.IntN(10) {
		s.gatewayFirewall(client)
		s.anew()
		s.later(s.between(200*time.Millisecond, 3*time.Second))
	}
	s.gatewayAccess(webRequest{client: client, agent: "sqlmap/1.8.11#stable (https://sqlmap.org)", method: "GET", path: "/api/shipments/", status: 200})
	s.later(s.between(time.Second, 20*time.Second))
	for range 3 {
		s.sqlAudit("SELECT * FROM dbo.Customers WHERE 1=1 UNION ALL SELECT name,password FROM dbo.Logins", 48_211)
		s.later(s.between(time.Second, 9*time.Second))
	}
	own := s.someMachine()
	s.firewallIntrusion(own, true)
	s.later(s.between(time.Second, 30*time.Second))
	s.firewallThreat(own)
	s.later(s.between(time.Minute, 4*time.Minute))
	s.defenderAlert("SQL.DB_PotentialSqlInjection", "Potential SQL Injection", "High", "PreAttack", client)
}
