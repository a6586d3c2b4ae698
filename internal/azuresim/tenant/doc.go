// Package tenant makes up an organization on Azure and the logs it leaves: its
// people sign in, its programs fetch tokens, administrators change things, and
// now and then somebody attacks. The records have the form in which diagnostic
// settings write them to an event hub: the envelopes, the names and order of
// the members, the kinds of time, the nested JSON, and the quirks.
//
// All of it follows from a seed and the clock. No person, address range or
// identifier is taken from real logs; only what Microsoft publishes (ids of its
// own applications and roles, error codes and their texts) is real.
//
// Invariant: record n of a seed carries the id number n of package recordid,
// exactly one, in the field that is native to its log type: properties.id of
// Entra's logs, properties.eventDataId of the activity log, correlationId of
// the others (Functions, which have none: functionInvocationId). A tuple of a
// flow log carries it, as recordid.Flow, in the far side's address and the port
// of who began the connection.
//
// The package must not know who reads the records or how.
package tenant
