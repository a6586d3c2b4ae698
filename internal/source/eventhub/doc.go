// Package eventhub reads an Azure event hub over AMQP 1.0 and hands every
// message to the pipeline, in order, partition by partition.
//
// The invariant: within a partition, what is emitted is exactly what follows
// the cursor the stream resumed from, without gaps. Where Azure no longer has
// it (retention, a re-created hub) the missing range is reported, never skipped
// in silence. A cursor always stands behind a whole message.
//
// It stands on Microsoft's azeventhubs: its clients, its CheckpointStore
// interface and its blob format, so that instances of Lazuli and of any other
// SDK program share a consumer group's partitions fairly and can take over from
// each other. The SDK's Processor type itself is not used. Read in v2.0.2, it
// only logs why a partition could not be opened, never opens a partition again
// once listing the checkpoints has failed, chooses the start before the stream
// is opened, and ends on the first error of the store. Claiming (claim.go) is
// the small part of it that was needed.
//
//	Run ── partitions of the hub ── claim ─┬─ reader 0 ── link ── Emit
//	 │                                     ├─ reader 1 ── link ── Emit
//	watch: lag, stalled links, new hub     └─ ...
//
// The package must not know acknowledgements, sinks, or what a message holds.
package eventhub
