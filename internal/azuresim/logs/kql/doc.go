// Package kql evaluates the part of the Kusto query language that log collectors
// and their tests need, over tables that it is given:
//
//	operators   where, project, project-away, extend, sort/order by, top, take/limit,
//	            summarize ... by, distinct, count, union, print; let; sub-queries
//	            in parentheses; comments
//	predicates  == != =~ !~ < <= > >= between in !in in~ has contains startswith
//	            endswith and their negations; and, or, not()
//	functions   those of scalarFunctions and aggregates (functions.go)
//
// Mistakes are reported as the service does, with code, line and position. What
// the language has beyond that is refused, never guessed at.
//
// Values keep the bytes that the table gave as long as they are only passed on.
// The package must not know HTTP, limits, or what the tables hold.
package kql
