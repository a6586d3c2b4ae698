// Package logs simulates the query API of Log Analytics for one workspace: what
// Microsoft's azlogs clients and plain REST clients see of it.
//
//	POST /v1/workspaces/{id}/query     KQL (package kql) over the tables
//	POST /v1/workspaces/{id}/search    the same for tables of the Basic plan
//
// Tables are filled with records in the form of diagnostic settings, which
// become rows with the column names and types of the real tables (convert.go).
// Each row has the time at which it was taken in, which is ingestion_time(), and
// one at which queries first see it.
//
// Invariant: a row that was taken in is in every complete answer about its time
// from its visibility on, with the same bytes. An answer that is not complete
// says so as the service does: status 200 with an error of code PartialError.
//
// The package must not know who asks, or the tenant's generator.
package logs
