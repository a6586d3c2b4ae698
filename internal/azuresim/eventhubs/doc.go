// Package eventhubs is an Event Hubs namespace in one process. It speaks AMQP 1.0
// over TCP, TLS and WebSockets to clients that are not aware of it: claims-based
// security, the management node, consumer groups, epochs, batches, retention.
//
// Invariant: within a partition every event that Append or a producer was told is
// stored has the next sequence number and a larger offset, and a receiver gets the
// retained events in that order, each once per link, none skipped. With a DataDir
// this holds over a crash of the process (not of the machine: there is no fsync).
//
// No goroutine holds two of the package's locks at once, so their order is free.
//
// The package must not know the product that is tested against it: it imports
// nothing of this module but the AMQP codec beside it. Behavior that Microsoft
// does not document is marked "observed" or "assumed" where it is written.
package eventhubs
