// Package kafka delivers events to a Kafka topic, also of Azure Event Hubs and
// Redpanda: one record for each event, with acks from all in-sync replicas and
// an idempotent producer. The protocol is franz-go's; this package decides
// where a record goes, what is confirmed, and which failures are an event's own.
//
// It knows no schema: the record's value is the event's bytes.
package kafka
