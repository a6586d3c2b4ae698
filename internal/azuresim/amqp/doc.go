// Package amqp reads and writes AMQP 1.0 on the wire: values, performatives,
// frames and the sections of a message.
//
// It serves the broker side of a connection; a client could be built on it but
// none is. Every decoder takes bytes from a peer that is not trusted: sizes,
// counts and nesting are bounded before memory is spent, and no input panics.
//
// The package knows nothing of Event Hubs, of sessions or of credit; it only
// turns bytes into values and back. Source: OASIS AMQP 1.0, parts 1 to 3.
package amqp
