// Package azuremonitor delivers events to a Log Analytics workspace (Microsoft
// Sentinel) through Azure Monitor's Logs Ingestion API.
//
// Deliver returns nil only when the endpoint has answered 204 for every call
// that the batch was packed into. Azure takes a call whole or not at all, and
// keeps no identity of its records: a call whose answer was lost is sent again,
// and its rows are in the table twice, with the same id.
//
// The package knows the API's limits (doc of the constants says from where) and
// nothing of where events come from.
package azuremonitor
