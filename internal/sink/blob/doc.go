// Package blob writes events as files to a container of Azure Storage: a data
// lake of compressed NDJSON or Parquet, partitioned by path.
//
// Deliver writes one blob for each partition that a batch touches, with one Put
// Blob, which Azure takes whole or not at all, and returns nil only when every
// one of them was confirmed. A blob is named by its events' ids and is never
// overwritten: the same batch sent again, after an answer that was lost, meets the
// blob of before and is recognized by its bytes. Batches that are cut otherwise, as
// after a crash, make other blobs, in which the ids of events that were there
// already are found again. docs/adr/0020-names-of-blobs.md has the reasons.
package blob
