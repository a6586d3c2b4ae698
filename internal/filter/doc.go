// Package filter evaluates the conditions of routes: expressions over an event
// and the record it was made of, e.g.
//
//	log_type startsWith "entra_" and record.properties.riskState == "atRisk"
//
// The language is that of github.com/expr-lang/expr, checked when it is compiled.
// What is special here is the data: Azure leaves fields out and spells numbers as
// text now and then. So no record can make an expression fail that reads fields:
// a comparison with a field that is absent, or that cannot be compared with the
// other side, is false (and != is true), and text that holds a number is equal
// to that number.
//
// Fields are looked up in the index of the record's bytes that is there anyway;
// only those that an expression names are read.
package filter
