// Package status holds the health of every component, as the operator reads
// it: a state, the reason, and what to do about it.
package status

import (
	"sort"
	"sync"
	"time"
)

// State is how a component is doing.
type State string

// The states. Only Failed needs a person: the others pass by themselves.
const (
	Starting State = "starting"
	OK       State = "ok"
	Retrying State = "retrying"
	Failed   State = "failed"
	Stopped  State = "stopped"
)

// Board is the set of all components. Its methods may be called concurrently.
type Board struct {
	now func() time.Time

	mu    sync.Mutex
	parts map[string]*Component // guarded by mu
}

// NewBoard returns an empty board that reads the time from now.
func NewBoard(now func() time.Time) *Board {
	return &Board{now: now, parts: map[string]*Component{}}
}

// Component returns the component of that role ("source", "sink",
// "checkpoint") and name, adding it in state Starting if it is new.
func (b *Board) Component(role, name string) *Component {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := role + "/" + name
	c := b.parts[key]
	if c == nil {
		c = &Component{now: b.now, report: Report{Role: role, Name: name, State: Starting, Since: b.now()}}
		b.parts[key] = c
	}
	return c
}

// Snapshot returns a copy of every component's report, ordered by role and name.
func (b *Board) Snapshot() []Report {
	b.mu.Lock()
	all := make([]*Component, 0, len(b.parts))
	for _, c := range b.parts {
		all = append(all, c)
	}
	b.mu.Unlock()
	out := make([]Report, 0, len(all))
	for _, c := range all {
		out = append(out, c.Report())
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Role != out[j].Role {
			return out[i].Role < out[j].Role
		}
		return out[i].Name < out[j].Name
	})
	return out
}

// Report is one component's health.
type Report struct {
	Role   string    `json:"role"`
	Name   string    `json:"name"`
	State  State     `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Remedy string    `json:"remedy,omitempty"` // what the operator can do
	Since  time.Time `json:"since"`            // when State last changed
}

// Component is where one component says how it is doing.
type Component struct {
	now func() time.Time

	mu     sync.Mutex
	report Report // guarded by mu
}

// Set replaces the report. A nil Component ignores it.
func (c *Component) Set(s State, reason, remedy string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.report.State != s {
		c.report.Since = c.now()
	}
	c.report.State, c.report.Reason, c.report.Remedy = s, reason, remedy
}

// Report returns a copy of the current report.
func (c *Component) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}
