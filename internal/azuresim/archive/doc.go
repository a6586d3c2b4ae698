// Package archive writes log records into a storage account as Azure does:
// diagnostic settings append lines to one blob an hour and resource, and flow
// logs are block blobs to which blocks are added before the closing bracket
// (learn.microsoft.com/azure/azure-monitor/platform/resource-logs,
// learn.microsoft.com/azure/network-watcher/flow-logs-read).
//
// Invariant: each record that was added is in exactly one blob after the next
// flush, once. The package must not know who made the records, nor who reads
// the blobs.
package archive
