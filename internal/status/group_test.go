package status

import (
	"testing"
	"time"
)

func TestTheWorstPartSpeaksForAll(t *testing.T) {
	c := NewBoard(time.Now).Component("source", "s")
	g := NewGroup(c)
	for _, step := range []struct {
		name string
		do   func()
		want Problem
	}{
		{"starting", func() { g.Set("a", Problem{State: Starting}) }, Problem{State: Starting}},
		{"ok", func() { g.OK("a"); g.OK("b") }, Problem{State: OK}},
		{"a note is shown while all is well", func() { g.Note("a gap", "longer retention") }, Problem{OK, "a gap", "longer retention"}},
		{"retrying", func() { g.Set("b", Problem{Retrying, "busy", "wait"}) }, Problem{Retrying, "b: busy", "wait"}},
		{"failed is worse", func() { g.Set("a", Problem{Failed, "no role", "grant it"}) }, Problem{Failed, "a: no role", "grant it"}},
		{"others are counted", func() { g.Set("b", Problem{Failed, "no role", "grant it"}) }, Problem{Failed, "a: no role (and 1 more)", "grant it"}},
		{"the whole needs no name", func() { g.Set(Whole, Problem{Failed, "no sign-in", ""}) }, Problem{Failed, "no sign-in", ""}},
		{"forgotten", func() { g.Forget(Whole); g.Forget("a"); g.OK("b") }, Problem{OK, "a gap", "longer retention"}},
		{"nothing is heard after the end", func() { g.Stop(); g.Set("b", Problem{State: Failed}) }, Problem{State: Stopped}},
	} {
		step.do()
		r := c.Report()
		if got := (Problem{r.State, r.Reason, r.Remedy}); got != step.want {
			t.Errorf("%s: %+v, want %+v", step.name, got, step.want)
		}
	}
	NewGroup(nil).OK("x") // a group that reports to nobody
}
