// Package normalize turns one indexed record into one event of a schema: the
// record itself on one line (raw), a document of the Elastic Common Schema (ecs),
// or an event of the Open Cybersecurity Schema Framework (ocsf). What is mapped to what stands in the tables under mappings/; README.md
// describes their language. They are compiled once, into a trie of the source
// paths and a program that appends the document (program.go, run.go). What a
// program does for all records with the same names is done once more, for each
// such outline (outline.go, script.go, perform.go).
//
// Invariant: a record is never lost here. Whatever a record lacks or holds in
// an odd form is left out of the document, and what no table knows is passed
// on in a generic form; every record gives exactly one line of valid JSON and
// an ID. The same record gives the same ID, whatever the schema.
//
// The package is pure: it must not know sources, sinks, files, the network or
// the clock.
package normalize
