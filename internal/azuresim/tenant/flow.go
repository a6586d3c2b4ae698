package tenant

import (
	"fmt"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

// The categories of flow logs, which leave by a storage account alone.
const (
	networkSecurityGroupFlow = "NetworkSecurityGroupFlowEvent"
	virtualNetworkFlow       = "FlowLogFlowEvent"
)

// FlowCategories are the categories of flow logs that Options.Flows may name.
func FlowCategories() []string { return []string{virtualNetworkFlow, networkSecurityGroupFlow} }

// nic is a network interface of a virtual machine.
type nic struct{ address, mac string }

// nicOf returns the network interface of virtual machine i.
func (o *organization) nicOf(i int) nic {
	return nic{address: fmt.Sprintf("10.20.%d.%d", i%6, 10+i), mac: fmt.Sprintf("002248%06X", recordid.Mix(uint64(i))&0xFFFFFF)}
}

// connection is what a tuple tells of.
type connection struct {
	inbound, private, udp, denied bool
	port                          int
	sent, received                int // packets
}

// flowRule is a rule with the connections that it decided on.
type flowRule struct {
	name        string
	connections []connection
}

// service is a port that others connect to.
type servicePort struct {
	port int
	udp  bool
}

// traffic makes up what passes one network interface in a minute: tuples of it
// at the most.
func (s *stage) traffic(tuples int) []flowRule {
	outbound := []servicePort{{443, false}, {443, false}, {443, false}, {80, false}, {53, true}, {123, true}, {5671, false}, {443, true}}
	internal := []servicePort{{1433, false}, {5432, false}, {6379, false}, {443, false}, {445, false}, {53, true}, {389, false}}
	scanned := []int{22, 23, 445, 3389, 8080, 5900, 1433, 6379, 2375, 8443, 9200, 25, 21, 5060, 81, 11211}
	rules := make([]flowRule, 5)
	for i, name := range []string{"DefaultRule_AllowInternetOutBound", "DefaultRule_AllowVnetOutBound", "DefaultRule_AllowVnetInBound", "UserRule_allow-https-in", "DefaultRule_DenyAllInBound"} {
		rules[i].name = name
	}
	few := func() int { return 1 + s.rng.IntN(1+s.rng.IntN(200)) }
	add := func(rule int, c connection) {
		c.sent, c.received = few(), few()
		rules[rule].connections = append(rules[rule].connections, c)
	}
	// Now and then many strangers try many doors within a minute.
	scan := s.chance(12)
	for left := tuples; left > 1; left -= 2 { // a connection has two tuples at the most
		kind := weighted(s.rng, 45, 15, 10, 12, 18)
		if scan {
			kind = 4
		}
		switch kind {
		case 0:
			p := pick(s.rng, outbound)
			add(0, connection{port: p.port, udp: p.udp})
		case 1:
			p := pick(s.rng, internal)
			add(1, connection{port: p.port, udp: p.udp, private: true})
		case 2:
			p := pick(s.rng, internal)
			add(2, connection{port: p.port, udp: p.udp, private: true, inbound: true})
		case 3:
			add(3, connection{port: 443, inbound: true})
		default:
			add(4, connection{port: pick(s.rng, scanned), inbound: true, denied: true})
		}
	}
	kept := rules[:0]
	for _, rule := range rules {
		if len(rule.connections) > 0 {
			kept = append(kept, rule)
		}
	}
	return kept
}

// tupleForm is how a log writes a tuple.
type tupleForm uint8

const (
	tupleNSG1 tupleForm = iota + 1
	tupleNSG2
	tupleVNet
)

// tuple writes one tuple of a connection in a state: B(egin), C(ontinue), E(nd),
// or none for a denied one. The far side and the port of who began carry the
// record number that the tuple has.
func (w *writer) tuple(form tupleForm, own nic, c connection, state byte, begun bool, shift time.Duration) {
	first := w.count
	if state == 'E' && begun { // it is that of the beginning
		first--
	}
	flow := mark{tuple: first, begun: begun, private: c.private}
	place := func(kind markKind) {
		m := flow
		m.at, m.kind = len(w.text), kind
		w.marks = append(w.marks, m)
	}
	w.name("")
	w.text = append(w.text, '"')
	if form == tupleVNet {
		w.mark(markMillis, "", shift)
	} else {
		w.mark(markUnix, "", shift)
	}
	w.text = append(w.text, ',')
	if c.inbound {
		place(markFlowAddress)
		w.text = append(w.text, ","+own.address+","...)
	} else {
		w.text = append(w.text, own.address+","...)
		place(markFlowAddress)
		w.text = append(w.text, ',')
	}
	place(markFlowPort)
	protocol, direction, decision := "T", "O", "A"
	if c.udp {
		protocol = "U"
	}
	if form == tupleVNet {
		protocol = map[bool]string{false: "6", true: "17"}[c.udp]
	}
	if c.inbound {
		direction = "I"
	}
	if c.denied {
		decision = "D"
	}
	w.text = fmt.Appendf(w.text, ",%d,%s,%s,", c.port, protocol, direction)
	sent, received := c.sent, c.received
	counters := fmt.Sprintf("%d,%d,%d,%d", sent, 60+sent*(40+c.port%900), received, 60+received*(40+(c.port*7)%1300))
	switch form {
	case tupleNSG1:
		w.text = append(w.text, decision...)
	case tupleNSG2:
		if state == 'B' || c.denied { // nothing is counted yet
			state, counters = 'B', ",,,"
		}
		w.text = fmt.Appendf(w.text, "%s,%c,%s", decision, state, counters)
	case tupleVNet:
		encryption := "NX"
		if c.private {
			encryption = "X"
		}
		if c.denied {
			state = 'D'
		}
		if state == 'B' || c.denied {
			counters = "0,0,0,0"
		}
		w.text = fmt.Appendf(w.text, "%c,%s,%s", state, encryption, counters)
	}
	w.text = append(w.text, '"')
	w.count++
}

// tuples writes the tuples of connections: short ones begin and end within the
// minute.
func (s *stage) tuples(w *writer, form tupleForm, own nic, connections []connection) {
	w.list("flowTuples", func() {
		for _, c := range connections {
			at := -s.between(2*time.Second, 59*time.Second)
			switch {
			case c.denied || form == tupleNSG1:
				w.tuple(form, own, c, 'B', false, at)
			case s.chance(2):
				w.tuple(form, own, c, 'B', true, at)
				w.tuple(form, own, c, 'E', true, at+s.between(time.Millisecond, -at))
			default:
				w.tuple(form, own, c, pick(s.rng, []byte{'B', 'C', 'C', 'E'}), false, at)
			}
		}
	})
}

// flowLog writes a record of one minute at one network interface.
func (s *stage) flowLog(category string) {
	machines := s.assetsOf("Microsoft.Compute/virtualMachines")
	i := s.rng.IntN(len(machines))
	own := s.nicOf(i)
	tuples := 2 + s.rng.IntN(1+s.rng.IntN(58))
	s.record(category, func(w *writer) {
		if category == virtualNetworkFlow {
			s.virtualNetworkRecord(w, machines[i], own, tuples)
		} else {
			s.securityGroupRecord(w, i, own, tuples)
		}
	})
}

func (s *stage) virtualNetworkRecord(w *writer, machine *asset, own nic, tuples int) {
	networks := s.assetsOf("Microsoft.Network/virtualNetworks")
	network := networks[len(machine.name)%len(networks)]
	w.time("time", timeEnvelope, 0)
	w.strs("flowLogGUID", string(s.ids.AppendOther(nil, recordid.Mix(uint64(len(network.name))))), "macAddress", own.mac, "category", virtualNetworkFlow,
		"flowLogResourceID", strings.ToUpper(fmt.Sprintf("/subscriptions/%s/resourceGroups/NetworkWatcherRG/providers/Microsoft.Network/networkWatchers/NetworkWatcher_%s/flowLogs/fl-%s",
			network.subscription, network.region, network.name)), "targetResourceID", network.id())
	w.num("flowLogVersion", 4)
	w.str("operationName", virtualNetworkFlow)
	w.object("flowRecords", func() {
		w.list("flows", func() {
			w.object("", func() {
				w.str("aclID", string(s.ids.AppendOther(nil, recordid.Mix(^uint64(len(network.name))))))
				w.list("flowGroups", func() {
					for _, rule := range s.traffic(tuples) {
						w.object("", func() {
							w.str("rule", rule.name)
							s.tuples(w, tupleVNet, own, rule.connections)
						})
					}
				})
			})
		})
	})
}

func (s *stage) securityGroupRecord(w *writer, machine int, own nic, tuples int) {
	groups := s.assetsOf("Microsoft.Network/networkSecurityGroups")
	group := groups[machine%len(groups)]
	form := tupleNSG2
	if machine%len(groups) == 0 { // one was never moved to the newer version
		form = tupleNSG1
	}
	w.time("time", timeEnvelope, 0)
	w.strs("systemId", string(s.ids.AppendOther(nil, uint64(machine))), "macAddress", own.mac, "category", networkSecurityGroupFlow,
		"resourceId", strings.ToUpper(group.id()), "operationName", "NetworkSecurityGroupFlowEvents")
	w.object("properties", func() {
		w.num("Version", int(form))
		w.list("flows", func() {
			for _, rule := range s.traffic(tuples) {
				w.object("", func() {
					w.str("rule", rule.name)
					w.list("flows", func() {
						w.object("", func() {
							w.str("mac", own.mac)
							s.tuples(w, form, own, rule.connections)
						})
					})
				})
			}
		})
	})
}
