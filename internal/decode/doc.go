// Package decode cuts a payload, as Azure hands it over, into records, and
// indexes each one once.
//
// Invariant: every byte of a payload that is not white space or framing is in
// exactly one Record or one Bad, but for flow logs (below). A bad record never
// costs its neighbor, damage never panics, and the work is linear in the length of
// the payload and of what comes out of it, whatever is in it.
//
// Framing is what stands between records. It needs no declaration: a payload may
// be {"records":[...]}, an array, one object, many objects in a row with or
// without commas or line feeds, any of these on each line, a piece out of the
// middle of one of these (as the new part of a growing blob is), a JSON string
// that holds one of these, and all of it gzipped. Details that had to be decided:
//
//   - An object whose first member is a "records" array is a wrapper wherever a
//     record may stand; one with a later "records" array is a wrapper at the top
//     level only, if that holds objects and nothing but objects and no member is
//     one that records have (time, category, operationName). The wrapper's other
//     members are framing. Names are compared exactly.
//   - Arrays in place of a record are flattened.
//   - Scalars in place of a record are Bad.
//   - Answers of APIs ({"value":[...]}) are records: a Graph alert may have a
//     member of that name, and who asked the API knows better.
//
// A record of a flow log is many records in one: the package hands on one per
// tuple, each as Azure would have written it were that tuple its only one, with
// every other byte as it is. A record with a single tuple, and one that differs
// from the known shape anywhere, is handed on as received. Flows and groups
// without a tuple say nothing and are left out beside others.
//
// Beyond that the package must not know what a record means, where it came from
// or where it goes: no log types, no fields but those that tell a wrapper or lead
// to flow tuples, no sources.
package decode
