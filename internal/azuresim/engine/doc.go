// Package engine is a log engine to test against: the gRPC contract of UTMStack's
// and ThreatWinds' engines (plugins.Engine/Input and plugins.Integration/ProcessLog,
// a stream of logs answered by a stream of acknowledgements), with the ways to
// acknowledge that such engines have, and the ways to fail.
//
// It reads and writes the wire format by itself and shares no generated code
// with a client, so that the two cannot share a mistake.
package engine
