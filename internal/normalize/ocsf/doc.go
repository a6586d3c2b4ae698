// Package ocsf knows the part of the Open Cybersecurity Schema Framework that
// Lazuli writes: the classes of events, the objects in them, their attributes
// and types. It stands in schema.yaml. Mapping tables are checked against it
// when they are compiled, and events against it in tests.
//
// The package is pure and, beside its own file, reads nothing.
package ocsf
