package tenant

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

// told is a record of a story as an analyst reads it.
type told struct {
	Time            time.Time
	Category        string
	OperationName   string
	ResultType      string
	CallerIPAddress string
	CorrelationID   string
	Properties      struct {
		UserID        string
		RiskEventType string
	}
}

// tell plays one story and returns its records in order.
func tell(t *testing.T, play func(*stage)) []told {
	t.Helper()
	ids := recordid.New(seed)
	s := &stage{organization: newOrganization(seed, ids), ids: ids, rng: rand.New(rand.NewPCG(seed, 3)), now: noon()}
	play(s)
	var story []told
	for i, part := range s.scene {
		line := part.appendRecord(nil, ids, stamp{number: uint64(i), correlation: part.activity, at: noon().Add(part.after)})
		var record told
		if part.category == "UserRiskEvents" || part.category == "RiskyUsers" { // its time has another form
			record.Category = part.category
		} else if err := json.Unmarshal(line, &record); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if i > 0 && part.after < s.scene[i-1].after {
			t.Errorf("record %d goes back in time", i)
		}
		story = append(story, record)
	}
	return story
}

func TestPasswordSpray(t *testing.T) {
	story := tell(t, (*stage).passwordSpray)
	users := map[string]bool{}
	for i, r := range story {
		users[r.Properties.UserID] = true
		if r.CallerIPAddress != story[0].CallerIPAddress {
			t.Errorf("record %d comes from %s, the others from %s", i, r.CallerIPAddress, story[0].CallerIPAddress)
		}
		if want := map[bool]string{true: "0", false: "50126"}[i == len(story)-1]; r.ResultType != want {
			t.Errorf("try %d of %d has the result %q, want %q", i+1, len(story), r.ResultType, want)
		}
	}
	if len(users) < 20 || len(users) != len(story) {
		t.Errorf("%d users in %d tries, want each once and 20 at least", len(users), len(story))
	}
}

func TestMFAFatigue(t *testing.T) {
	story := tell(t, (*stage).mfaFatigue)
	denied := len(story) - 2
	for i, r := range story[:denied] {
		if r.ResultType != "500121" || r.Properties.UserID != story[0].Properties.UserID {
			t.Errorf("record %d: result %q of user %s", i, r.ResultType, r.Properties.UserID)
		}
	}
	if story[denied].ResultType != "0" || story[denied+1].OperationName != "User registered security info" || denied < 8 {
		t.Errorf("after %d denials come %+v", denied, story[denied:])
	}
}

func TestOtherStories(t *testing.T) {
	tests := []struct {
		name string
		play func(*stage)
		want []string // operations or categories that follow each other
	}{
		{"impossible travel", (*stage).impossibleTravel, []string{"Sign-in activity", "Sign-in activity", "UserRiskEvents"}},
		{"illicit consent", (*stage).illicitConsent, []string{
			"Sign-in activity", "Add service principal", "Add delegated permission grant",
			"Consent to application", "Microsoft Graph Activity",
		}},
		{"role escalation", (*stage).roleEscalation, []string{
			"Sign-in activity", "Add member to role", "Update conditional access policy",
			"Add service principal credentials", "MICROSOFT.KEYVAULT/VAULTS/PROVIDERS/DIAGNOSTICSETTINGS/DELETE",
			"MICROSOFT.NETWORK/NETWORKSECURITYGROUPS/SECURITYRULES/WRITE", "MICROSOFT.STORAGE/STORAGEACCOUNTS/LISTKEYS/ACTION",
		}},
		{"web attack", (*stage).webAttack, []string{"ApplicationGatewayFirewallLog", "ApplicationGatewayAccessLog", "SQLSecurityAuditEvents", "AZFWIdpsSignature", "AZFWThreatIntel"}},
		{"cluster takeover", (*stage).clusterTakeover, []string{"kube-audit", "kube-audit", "kube-audit", "kube-audit", "kube-audit"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			story := tell(t, tc.play)
			want := tc.want
			for _, r := range story {
				if len(want) > 0 && (r.OperationName == want[0] || r.Category == want[0]) {
					want = want[1:]
				}
			}
			if len(want) > 0 {
				t.Errorf("the story lacks, in this order, %q of %q", want, tc.want)
			}
		})
	}
}
