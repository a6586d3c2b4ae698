// Package config reads Lazuli's configuration: one YAML document, strict, with
// defaults, references to secrets, and every mistake reported at once with its
// path, line, rule and fix.
//
// It knows the document's shape but no component: what kinds of sources and
// sinks exist is passed in by the component table.
package config

// Component is the settings of one source or sink, a pointer to a struct that
// holds the kind's defaults and is filled from the document. Fields carry the
// tags yaml (name), doc (one sentence for the reference), and, where they
// apply, required:"true", enum:"a|b", min and max (in the option's notation,
// inclusive) and example (in YAML). An option named tenant refers to a tenant.
// Catalog.Check finds mistakes in them.
//
// Structs inside, at any depth, may have a Validate of their own and a
// SetDefaults for elements of lists and maps.
type Component interface {
	// Validate reports every rule that the values break and that the tags
	// cannot say. It does not touch the network or the disk. It is also called
	// when tags refuse a value: what it says about that option is left out.
	Validate(r *Report)
}

// Kinds maps a kind, e.g. "event_hub", to its default settings.
type Kinds map[string]func() Component

// Report collects the mistakes found in one part of the document.
type Report struct {
	Problems []Problem
}

// Problem is one mistake.
type Problem struct {
	Path string // relative to the component, e.g. "start" or "batch.events"
	Rule string // what is wrong, with the value: `is "yesterday"; it must be earliest, latest or a time`
	Fix  string // what to write instead
}

// Add reports that the value at path breaks a rule.
func (r *Report) Add(path, rule, fix string) {
	r.Problems = append(r.Problems, Problem{Path: path, Rule: rule, Fix: fix})
}
