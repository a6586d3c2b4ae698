// Package syslog delivers events as syslog messages (RFC 5424) over TCP or TLS,
// framed by octet counting (RFC 6587, RFC 5425), with the event as JSON, CEF or
// LEEF.
//
// Syslog has no acknowledgement. What stands in for it: a batch counts as
// delivered when the receiver's operating system has acknowledged its last byte
// and the connection is still open. Whether the program behind it has written
// the messages down, nobody can know.
package syslog
