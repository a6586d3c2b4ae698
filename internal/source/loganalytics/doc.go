// Package loganalytics reads tables and KQL queries of Log Analytics workspaces
// through the query API, row by row and window by window.
//
// The invariant: an answer counts only if it was complete. An answer that was
// truncated at the service's limits (which is HTTP 200 with an error in it), cut
// on the way, or that took too long, moves no cursor: the window is asked for in
// smaller pieces (package window), down to one instant, which is split by the
// hash of its rows.
//
// Tables are read by ingestion_time(), the time at which Azure took a row in, so
// that an event that happened long before it arrived is not missed. Rows become
// JSON objects with the bytes of the answer's values: 64-bit integers digit for
// digit, dynamic columns as the text that the API gives. (Microsoft's azlogs
// client decodes through float64 and holds the whole answer in memory; only its
// endpoints and audiences are taken over.)
//
//	Run ─┬─ workspace 1 ─┬─ table A ── window.Reader ── query ── decode ── Emit
//	     │   (limiter)   └─ table B ── ...
//	     └─ workspace 2 ─── ...
//
// The package must not know acknowledgements, sinks, or what a row means.
package loganalytics
