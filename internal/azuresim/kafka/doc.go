// Package kafka is the Kafka endpoint of an Event Hubs namespace: every hub is a
// topic, with the same partitions and events. It only lets read; what producers
// send goes in by AMQP.
//
// The protocol is franz-go's fake cluster. This package copies the hubs' events
// into it, so that an event's offset is its sequence number as on the service
// (github.com/Azure/azure-event-hubs-for-kafka/issues/130), and checks the
// service's two ways to sign in: SASL PLAIN with the user "$ConnectionString"
// and a connection string as the password, and OAUTHBEARER with an Entra token
// (learn.microsoft.com/azure/event-hubs/azure-event-hubs-apache-kafka-overview).
//
// Unlike the service's, offsets committed by consumer groups are lost when the
// simulator stops.
package kafka
