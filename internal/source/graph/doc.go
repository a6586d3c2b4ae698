// Package graph reads the logs that Microsoft Graph has of a tenant: audits,
// sign-ins, provisioning, Identity Protection, and Defender's alerts and
// incidents. It asks over REST and passes every object on byte for byte, one
// payload each.
//
// The invariant: of each feed, every version of an object that Graph shows
// within the overlap of its time is emitted, and the cursor passes a window only
// when the whole answer has been read. Graph does not say when it took an object
// in, so a window is read when it is as old as the delay and again when it is
// older, until it is as old as the overlap (package window). What is updated in
// place is asked for by the time of its update, and is another version then,
// with another identity.
//
//	Source ─┬─ feed directory_audits ─ window.Reader ─ pages ─┐
//	        ├─ feed sign_ins ───────── window.Reader ─ pages ─┤─ pace per limit ─ azcore
//	        └─ ...                                            ┘
//
// The package must not know acknowledgements, sinks, or what an object holds
// beyond its id and its time.
package graph
