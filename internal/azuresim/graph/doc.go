// Package graph simulates the part of Microsoft Graph that security tools poll:
// the audit, sign-in and provisioning logs, Identity Protection, and Defender's
// alerts and incidents.
//
//	server     routes, tokens, roles, licenses, answers
//	resource   what each collection allows: filters, order, page sizes, limits
//	filter     the part of OData's $filter that those collections take
//	store      the objects, and who sees which when
//	page       paging by opaque tokens or by offset
//	throttle   Graph's documented limits
//	convert    diagnostic-settings records as the objects Graph returns
//	derive     what follows from them: risky users, alerts, incidents
//	faults     everything that goes wrong on demand
//
// What is neither documented by Microsoft nor seen in answers that others have
// published is marked "assumed".
//
// Invariant: an object that was added is in the answer to every query that it
// matches and that begins after the object arrived, as long as the collection
// retains it, unless a fault says otherwise. The package must not know who asks.
package graph
