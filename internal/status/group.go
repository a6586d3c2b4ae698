package status

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Problem is how a part of a component is doing.
type Problem struct {
	State  State
	Reason string
	Remedy string
}

// Group folds the parts of a component, such as the partitions of a source, into
// its one report: the worst part speaks for all. Its methods may be called
// concurrently.
type Group struct {
	mu     sync.Mutex
	report *Component         // guarded by mu; nil: not reported, or stopped
	parts  map[string]Problem // guarded by mu
	last   Problem            // guarded by mu; the newest note, shown while all is well
}

// Whole is the name of a part that stands for the component itself: its reasons
// are shown without a name.
const Whole = ""

// NewGroup returns a group without parts, which is Starting.
func NewGroup(report *Component) *Group {
	return &Group{report: report, parts: map[string]Problem{}}
}

// Set says how a part is doing, and adds the part if it is new.
func (g *Group) Set(part string, p Problem) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parts[part] = p
	g.publishLocked()
}

// OK says that nothing is wrong with a part.
func (g *Group) OK(part string) { g.Set(part, Problem{State: OK}) }

// Forget removes a part.
func (g *Group) Forget(part string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.parts, part)
	g.publishLocked()
}

// Note keeps something the operator has to know although it is over.
func (g *Group) Note(reason, remedy string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = Problem{State: OK, Reason: reason, Remedy: remedy}
	g.publishLocked()
}

// Stop is the last word: parts that report later are not heard.
func (g *Group) Stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.report.Set(Stopped, "", "")
	g.report = nil
}

func (g *Group) publishLocked() {
	rank := map[State]int{OK: 0, Starting: 1, Retrying: 2, Failed: 3}
	worst, count, name := Problem{State: OK}, 0, Whole
	for _, n := range slices.Sorted(maps.Keys(g.parts)) {
		p := g.parts[n]
		switch r := rank[p.State] - rank[worst.State]; {
		case r > 0:
			worst, count, name = p, 1, n
		case r == 0:
			count++
		}
	}
	if len(g.parts) == 0 {
		worst.State = Starting
	}
	if worst.State == OK {
		worst = g.last
		worst.State = OK
	} else if worst.Reason != "" && name != Whole {
		worst.Reason = name + ": " + worst.Reason
		if count > 1 {
			worst.Reason = fmt.Sprintf("%s (and %d more)", worst.Reason, count-1)
		}
	}
	g.report.Set(worst.State, worst.Reason, worst.Remedy)
}
