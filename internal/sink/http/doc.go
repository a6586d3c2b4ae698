// Package http delivers events to any HTTP endpoint: a batch a request, as lines
// or as a JSON array. An answer of 2xx means that the endpoint holds them all.
//
// It knows nothing of what is behind the endpoint.
package http
