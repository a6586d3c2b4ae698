// Package httpsink is what sinks that speak HTTP share: the client with its
// trust and proxy, request bodies that are compressed as they are put together or
// else refer to the events' own bytes, and what a status means for the events.
//
// It knows no destination. Nothing in it retries: the runner does.
package httpsink
