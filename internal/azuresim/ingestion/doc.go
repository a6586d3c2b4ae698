// Package ingestion simulates Azure Monitor's Logs Ingestion API: a data
// collection endpoint with rules and their streams, the limits of the real
// service, and its answers. What it accepted it keeps as the rows of tables.
//
// Invariant: a call is accepted whole, with 204, or nothing of it is kept. The
// package must not know who sends, nor what the rows mean.
//
// Sources: learn.microsoft.com/azure/azure-monitor, "Logs Ingestion API in Azure
// Monitor" and the service limits beside it; the tests and troubleshooting pages
// of Microsoft's ingestion clients for error bodies. Where those are silent, the
// code of an error is invented and marked so.
package ingestion
