// Package elasticsearch delivers events to Elasticsearch or OpenSearch through
// the bulk API, with the operation create and the event's id: an event that is
// already there is refused with 409, which counts as delivered, so that a repeat
// is never seen.
//
// Deliver returns nil only when the answer names a success, or a 409, for every
// event. The package knows the bulk API and index names, and no field but
// @timestamp.
package elasticsearch
