package eventhub

import (
	"fmt"
	"sort"
	"sync"

	"github.com/lazuli-logs/lazuli/internal/status"
)

// health folds the problems of the source's parts into one report: the worst
// part speaks for all. Its methods may be called concurrently.
type health struct {
	report *status.Component

	mu    sync.Mutex
	parts map[string]problem // guarded by mu; a part without a problem has state OK or Starting
	last  problem            // guarded by mu; the newest note, shown while all is well
}

func newHealth(report *status.Component) *health {
	return &health{report: report, parts: map[string]problem{}}
}

func (h *health) set(part string, p problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts[part] = p
	h.publishLocked()
}

func (h *health) ok(part string) { h.set(part, problem{state: status.OK}) }

func (h *health) forget(part string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.parts, part)
	h.publishLocked()
}

// note keeps something the operator has to know although it is over.
func (h *health) note(reason, remedy string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = problem{state: status.OK, reason: reason, remedy: remedy}
	h.publishLocked()
}

// stopped is the last word: parts that report later are not heard.
func (h *health) stopped() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report.Set(status.Stopped, "", "")
	h.report = nil
}

func (h *health) publishLocked() {
	rank := map[status.State]int{status.OK: 0, status.Starting: 1, status.Retrying: 2, status.Failed: 3}
	names := make([]string, 0, len(h.parts))
	for name := range h.parts {
		names = append(names, name)
	}
	sort.Strings(names)
	worst, count, name := problem{state: status.OK}, 0, ""
	for _, n := range names {
		p := h.parts[n]
		switch r := rank[p.state] - rank[worst.state]; {
		case r > 0:
			worst, count, name = p, 1, n
		case r == 0:
			count++
		}
	}
	if len(h.parts) == 0 {
		worst.state = status.Starting
	}
	reason := worst.reason
	if reason != "" && name != partHub {
		reason = name + ": " + reason
		if count > 1 {
			reason = fmt.Sprintf("%s (and %d more)", reason, count-1)
		}
	}
	if worst.state == status.OK {
		reason, worst.remedy = h.last.reason, h.last.remedy
	}
	h.report.Set(worst.state, reason, worst.remedy)
}

// The parts beside the partitions.
const (
	partHub    = "hub"
	partClaims = "claims"
)

func partPartition(id string) string { return "partition " + id }
