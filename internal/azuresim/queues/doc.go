// Package queues simulates Azure Queue Storage: queues with metadata, and
// messages with their visibility, pop receipts, dequeue counts and expiry, for
// Microsoft's clients (learn.microsoft.com/rest/api/storageservices/queue-service-rest-api).
//
// Not there: access policies. All is in memory: nothing survives a restart.
//
// Invariant: a message is with one reader at a time, until its time is up. The
// package must not know what messages say.
package queues
