// Package jsonscan reads a JSON value once and leaves an index of it: one flat
// node per value, pointing into the bytes it was read from. Nothing is copied,
// nothing is decoded, and a reused Index does not allocate.
//
// It validates all syntax (RFC 8259) except that it accepts strings that are
// not UTF-8, which are marked, and duplicate member names, which are kept.
// docs/adr/0004 tells why it exists beside the libraries.
package jsonscan
