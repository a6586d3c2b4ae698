// Package grpc delivers events to a log engine over gRPC, by the contract of
// UTMStack's and ThreatWinds' engines: a stream of logs answered by a stream of
// acknowledgements that name a log's id.
//
// Deliver returns nil only when the engine has acknowledged every log of the
// batch. Each Deliver has a stream to itself, so that an acknowledgement can only
// mean a log of this batch, and a stream that breaks costs no other batch
// anything. What was not acknowledged is sent again, by the runner, on another
// stream. Unlike the engines' own client, nothing is dropped when the engine is
// slow: the window fills, Deliver blocks, and the sources wait.
package grpc
