// Package blobs simulates Azure Blob Storage as deep as a collector of logs and
// its checkpoint stores look: containers; block and append blobs with their
// blocks, ranges, conditions, metadata, leases and tiers; listing, flat and by
// hierarchy. It speaks the REST interface to Microsoft's clients
// (learn.microsoft.com/rest/api/storageservices/blob-service-rest-api), and has
// a Go interface for those who produce logs.
//
// Not there: page blobs, snapshots, versions, tags, batches, soft delete, access
// policies, user delegation keys. Names of metadata come back in lower case. All
// is in memory: nothing survives a restart.
//
// Invariant: an answer shows one state of a blob, never a mix of two. The
// package must not know what logs are.
package blobs
