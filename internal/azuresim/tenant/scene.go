package tenant

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

// stage is where a scene is made: something that happens in the tenant and
// leaves one record or several that belong together.
type stage struct {
	*organization
	ids   recordid.Space
	rng   *rand.Rand
	now   time.Time
	scene []template
	flows []string // categories of flow logs that may be made

	// For the records that are written next:
	after    time.Duration // since the start of the scene
	activity uint64
}

// record adds a record to the scene.
func (s *stage) record(category string, members func(w *writer)) {
	w := &writer{}
	w.category, w.after, w.activity = category, s.after, s.activity
	w.object("", func() { members(w) })
	s.scene = append(s.scene, w.template)
}

// later lets time pass before the next record.
func (s *stage) later(d time.Duration) { s.after += d }

// anew begins another operation, with a correlation id of its own.
func (s *stage) anew() { s.activity++ }

// chance is true one time in n.
func (s *stage) chance(n int) bool { return s.rng.IntN(n) == 0 }

// between returns a random duration of at least low and less than high.
func (s *stage) between(low, high time.Duration) time.Duration {
	return low + time.Duration(s.rng.Int64N(int64(high-low)))
}

func (s *stage) guid() string { return string(s.ids.AppendOther(nil, s.rng.Uint64())) }

// text returns random letters and digits.
func (s *stage) text(alphabet string, length int) string {
	b := make([]byte, length)
	for i := range b {
		b[i] = alphabet[s.rng.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	base36Letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// someone returns a member of the staff, most likely one who is at work now.
func (s *stage) someone() *user {
	u := &s.users[s.rng.IntN(len(s.users))]
	for range 6 {
		if u.atWork(s.now) {
			break
		}
		u = &s.users[s.rng.IntN(len(s.users))]
	}
	return u
}

// entraEnvelope writes the members at the top of Entra's logs up to
// "correlationId".
func (s *stage) entraEnvelope(w *writer, layout, operation, category, resultType, resultSignature, resultDescription, address string) {
	w.time("time", layout, 0)
	w.strs("resourceId", fmt.Sprintf("/tenants/%s/providers/Microsoft.aadiam", s.tenantID),
		"operationName", operation, "operationVersion", "1.0", "category", category, "tenantId", s.tenantID)
	if resultType != "" {
		w.str("resultType", resultType)
	}
	w.str("resultSignature", resultSignature)
	if resultDescription != "" {
		w.str("resultDescription", resultDescription)
	}
	if s.chance(20) { // both forms occur
		w.str("durationMs", "0")
	} else {
		w.num("durationMs", 0)
	}
	if address != "" {
		w.str("callerIpAddress", address)
	}
	w.correlation()
}

// flowShare makes one scene in so many a record of a flow log. With some fifteen
// tuples in each, flow logs are a third of all records; in most networks they are more.
const flowShare = 25

// play adds one scene of everyday life, or now and then an attack.
func (s *stage) play() {
	if len(s.flows) > 0 && s.chance(flowShare) {
		s.flowLog(pick(s.rng, s.flows))
		return
	}
	// In proportion to what a tenant of this size logs; only the noisiest (Kubernetes,
	// firewalls, web access) are fewer than they would be.
	scenes := []struct {
		weight int
		play   func()
	}{
		{3400, s.nonInteractiveSignIn},
		{1500, s.interactiveSignIn},
		{1400, s.servicePrincipalSignIn},
		{1400, s.managedIdentitySignIn},
		{60, s.federatedSignIn},
		{800, s.audit},
		{480, s.administrative},
		{60, s.policyAudit},
		{15, s.securityActivity},
		{25, s.serviceHealth},
		{300, s.graphActivity},
		{120, s.storageAccess},
		{90, s.keyVaultAudit},
		{30, s.functionLog},
		{20, func() {
			s.userRisk(s.someone(), &s.attackers[s.rng.IntN(len(s.attackers))], "unfamiliarFeatures", "medium")
		}},
		{20, s.attack},
		{900, func() { s.kubeAudit(s.clusterCall()) }},
		{700, s.internetTraffic},
		{300, func() { s.gatewayAccess(s.customer()) }},
		{20, func() { s.gatewayFirewall(s.address(s.rng, &s.attackers[s.rng.IntN(len(s.attackers))])) }},
		{300, func() { s.frontDoorAccess(s.customer()) }},
		{25, func() { s.frontDoorFirewall(s.address(s.rng, &s.attackers[s.rng.IntN(len(s.attackers))])) }},
		{300, s.applicationInsights},
		{150, s.usualStatement},
		{60, s.storageChange},
		{30, s.provisioning},
		{15, func() { s.riskyUser(s.someone(), pick(s.rng, []string{"low", "medium", "high"})) }},
		{15, func() {
			s.defenderAlert("VM_SuspiciousScriptExecution", "Suspicious script execution", "Medium", "Execution", s.address(s.rng, &s.attackers[0]))
		}},
	}
	weights := make([]int, len(scenes))
	for i := range scenes {
		weights[i] = scenes[i].weight
	}
	scenes[weighted(s.rng, weights...)].play()
}
