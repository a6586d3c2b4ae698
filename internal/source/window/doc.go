// Package window reads a feed that can only be asked for ranges of time: a
// table of a workspace, a collection of Microsoft Graph. A source says how one
// range is fetched; this package says which ranges, in which order, and which
// of the rows are new.
//
//	         settled            read              now-delay     now
//	────────────┼─────────────────┼───────────────────┼──────────┼──▶ the feed's own time
//	 done for   │ read once; late │ next window:      │ too young│
//	 good       │ rows may appear │ [read, read+size) │          │
//	            └── sweep: read a second time, at an age of the overlap; what
//	                was emitted is known by its identity and dropped
//
// Every range is read when it is as old as the delay, and again when it is as
// old as the overlap; what was already that old is read once only. So a row
// that appears at most the overlap after its time is never missed, each row is
// fetched at most once per pass however often the feed is asked, and identities
// are remembered only for what is younger than the overlap. If more rows than
// that come than may be remembered, the feed is read later, up to the overlap:
// nothing is lost or repeated, and memory stays bounded.
//
// A window is half-open. One that holds too much is halved, down to a single
// instant, which is then split by the hash of its rows. Sizes follow what
// answers hold, so that a quiet feed costs few requests.
//
// The invariant: a cursor says that every row before each of its positions that
// was visible when that position was reached is emitted, so it moves only with
// the last batch of a window. What it remembers are rows behind those positions
// that are emitted already: forgetting one costs a repeat (with the same event
// id), never a row.
//
// The package must not know Azure, nor what a row holds.
package window
