// Package storage reads the containers of an Azure storage account and hands on
// every record of every blob, also while blobs grow.
//
// The invariant: what is emitted of a blob is what follows the position its
// stream resumed from, record by record, without gaps; and a blob is forgotten
// only when all of it is confirmed and nothing can be added to it any more. It
// only lists and reads: nothing in the containers is written or deleted.
//
//	discover ── folders ── hours that are due ─┐
//	queue ───── notices of Event Grid ─────────┼─▶ schedule ─▶ workers ─▶ Emit
//	checkpoints ── blobs that can still grow ──┘      ▲           │
//	                                                  └─ turns ───┘─▶ settle
//
// A partition is a blob. Its position is a byte offset behind a whole record,
// with a fingerprint of the bytes before it: so blobs that were appended to,
// rewritten with more at the end, or replaced are told apart in the one request
// that reads what is new.
//
// Discovery does not grow with what is old. Blobs of Azure's own layout are in a
// folder for each resource, by the hour; a folder has a low mark, behind which
// nothing is listed, and its blobs are kept in mind only until they are finished
// and behind that. Containers of any other layout have to be listed as a whole,
// but only what changed lately takes memory.
//
// A worker reads a blob for the size of a turn, then the next blob has its turn.
// When a blob is read to its end, its stream is closed, which waits for the
// confirmations; what the store then holds decides whether the blob is done. So
// the source needs no acknowledgements, and the checkpoints are the only truth.
//
// The package must not know acknowledgements, sinks, or what a record means.
package storage
