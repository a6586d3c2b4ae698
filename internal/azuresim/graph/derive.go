package graph

import (
	"encoding/json"
	"fmt"
	"time"
)

// graphTime is how Graph writes times.
const graphTime = "2006-01-02T15:04:05.9999999Z"

// stories is what the server remembers of the alerts and incidents it made.
type stories struct {
	alerts    int
	open      []string          // alerts that nobody has looked at
	incidents map[string]string // user → incident
}

// derive lets a risk detection have its consequences: a risky user, an alert,
// and an incident for each user. Every third one lets an analyst work on an
// older alert. None of these carries the id of a record.
func (s *Server) derive(detection []byte) error {
	var d struct {
		UserID            string          `json:"userId"`
		UserDisplayName   string          `json:"userDisplayName"`
		UserPrincipalName string          `json:"userPrincipalName"`
		RiskEventType     string          `json:"riskEventType"`
		RiskLevel         string          `json:"riskLevel"`
		IPAddress         string          `json:"ipAddress"`
		Detected          string          `json:"detectedDateTime"`
		Updated           string          `json:"lastUpdatedDateTime"`
		HomeTenantID      string          `json:"homeTenantId"`
		Location          json.RawMessage `json:"location"`
	}
	if err := json.Unmarshal(detection, &d); err != nil {
		return err
	}
	now := s.now().UTC().Format(graphTime)
	user := fmt.Appendf(nil, `{"id":%s,"isDeleted":false,"isProcessing":false,"riskLevel":%s,"riskState":"atRisk","riskDetail":"none",`+
		`"riskLastUpdatedDateTime":%s,"userDisplayName":%s,"userPrincipalName":%s}`,
		quote(d.UserID), quote(d.RiskLevel), quote(d.Updated), quote(d.UserDisplayName), quote(d.UserPrincipalName))
	if err := s.putLocked("identityProtection/riskyUsers", user, time.Time{}); err != nil {
		return err
	}
	if s.stories.incidents == nil {
		s.stories.incidents = map[string]string{}
	}
	incident, known := s.stories.incidents[d.UserID]
	if !known {
		incident = fmt.Sprint(4100 + len(s.stories.incidents))
		s.stories.incidents[d.UserID] = incident
	}
	s.stories.alerts++
	alert := fmt.Sprintf("ad%018d_%d", 638500000000000000+s.stories.alerts, s.stories.alerts%2+1)
	if err := s.putLocked("security/alerts_v2", alertObject(alertFacts{
		id: alert, incident: incident, tenant: d.HomeTenantID, title: titleOf(d.RiskEventType), severity: d.RiskLevel,
		created: d.Detected, updated: now, userID: d.UserID, userName: d.UserPrincipalName, displayName: d.UserDisplayName, address: d.IPAddress,
	}), time.Time{}); err != nil {
		return err
	}
	if err := s.incident(known, incident, d.HomeTenantID, d.UserDisplayName, d.Detected, now); err != nil {
		return err
	}
	s.stories.open = append(s.stories.open, alert)
	if s.stories.alerts%3 != 0 {
		return nil
	}
	oldest := s.stories.open[0]
	s.stories.open = s.stories.open[1:]
	if s.collection("security/alerts_v2").byID[oldest] == nil {
		return nil // not retained any more
	}
	return s.updateLocked("security/alerts_v2", oldest, map[string]string{
		"status": "resolved", "classification": "truePositive", "determination": "compromisedAccount", "lastUpdateDateTime": now,
	})
}

// deriveServicePrincipal lets a detection make its service principal a risky one.
func (s *Server) deriveServicePrincipal(detection []byte) error {
	var d struct {
		ID      string `json:"servicePrincipalId"`
		Name    string `json:"servicePrincipalDisplayName"`
		AppID   string `json:"appId"`
		Level   string `json:"riskLevel"`
		State   string `json:"riskState"`
		Updated string `json:"lastUpdatedDateTime"`
	}
	if err := json.Unmarshal(detection, &d); err != nil {
		return err
	}
	return s.putLocked("identityProtection/riskyServicePrincipals", fmt.Appendf(nil, `{"id":%s,"appId":%s,"displayName":%s,"isEnabled":true,`+
		`"isProcessing":false,"servicePrincipalType":"Application","riskLevel":%s,"riskState":%s,"riskDetail":"none","riskLastUpdatedDateTime":%s}`,
		quote(d.ID), quote(d.AppID), quote(d.Name), quote(d.Level), quote(d.State), quote(d.Updated)), time.Time{})
}

func (s *Server) incident(known bool, id, tenant, who, created, now string) error {
	const path = "security/incidents"
	if known && s.collection(path).byID[id] != nil {
		return s.updateLocked(path, id, map[string]string{"lastUpdateDateTime": now, "status": "active"})
	}
	raw := fmt.Appendf(nil, `{"id":%s,"incidentWebUrl":%s,"redirectIncidentId":null,"tenantId":%s,"displayName":%s,`+
		`"createdDateTime":%s,"lastUpdateDateTime":%s,"assignedTo":null,"classification":"unknown","determination":"unknown","status":"active",`+
		`"severity":"medium","customTags":[],"systemTags":[],"description":null,"lastModifiedBy":"Microsoft 365 Defender-AlertCorrelation",`+
		`"resolvingComment":null,"summary":null,"comments":[]}`,
		quote(id), quote("https://security.microsoft.com/incidents/"+id+"?tid="+tenant), quote(tenant),
		quote("Sign-ins at risk involving one user ("+who+")"), quote(created), quote(now))
	return s.putLocked(path, raw, time.Time{})
}

func titleOf(kind string) string {
	switch kind {
	case "unlikelyTravel":
		return "Atypical travel"
	case "unfamiliarFeatures":
		return "Unfamiliar sign-in properties"
	default:
		return "Risky sign-in: " + kind
	}
}

type alertFacts struct {
	id, incident, tenant, title, severity, created, updated string
	userID, userName, displayName, address                  string
}

// alertObject is an alert of Identity Protection as Defender shows it.
func alertObject(a alertFacts) []byte {
	return fmt.Appendf(nil, `{"id":%s,"providerAlertId":%s,"incidentId":%s,"status":"new","severity":%s,"classification":null,"determination":null,`+
		`"serviceSource":"azureAdIdentityProtection","detectionSource":"azureAdIdentityProtection","productName":"AAD Identity Protection",`+
		`"detectorId":%s,"tenantId":%s,"title":%s,"description":%s,"recommendedActions":"","category":"InitialAccess","assignedTo":null,`+
		`"alertWebUrl":%s,"incidentWebUrl":%s,"actorDisplayName":null,"threatDisplayName":null,"threatFamilyName":null,"mitreTechniques":["T1078","T1078.004"],`+
		`"createdDateTime":%s,"lastUpdateDateTime":%s,"resolvedDateTime":null,"firstActivityDateTime":%s,"lastActivityDateTime":%s,`+
		`"systemTags":[],"alertPolicyId":null,"comments":[],"evidence":[{"@odata.type":"#microsoft.graph.security.userEvidence","createdDateTime":%s,`+
		`"verdict":"suspicious","remediationStatus":"none","remediationStatusDetails":null,"roles":["compromised"],"detailedRoles":[],"tags":[],"stream":null,`+
		`"userAccount":{"accountName":%s,"domainName":null,"userSid":null,"azureAdUserId":%s,"userPrincipalName":%s,"displayName":%s}},`+
		`{"@odata.type":"#microsoft.graph.security.ipEvidence","createdDateTime":%s,"verdict":"suspicious","remediationStatus":"none",`+
		`"remediationStatusDetails":null,"roles":[],"detailedRoles":[],"tags":[],"ipAddress":%s,"countryLetterCode":null}],"additionalData":null}`,
		quote(a.id), quote(a.id), quote(a.incident), quote(a.severity), quote(a.title), quote(a.tenant), quote(a.title), quote(a.title+" of "+a.displayName),
		quote("https://security.microsoft.com/alerts/"+a.id+"?tid="+a.tenant), quote("https://security.microsoft.com/incidents/"+a.incident+"?tid="+a.tenant),
		quote(a.created), quote(a.updated), quote(a.created), quote(a.created), quote(a.created),
		quote(a.userName), quote(a.userID), quote(a.userName), quote(a.displayName), quote(a.created), quote(a.address))
}
