// Package otlp delivers events as logs of the OpenTelemetry data model to
// whatever speaks OTLP, over gRPC or HTTP: an OpenTelemetry Collector, or a
// backend itself.
//
// What is delivered is what the receiver has answered for. A Collector answers
// when its pipeline has taken the logs; whether that has a queue in memory is
// its own matter.
package otlp
