package azuresim

import (
	"context"
	"crypto/tls"

	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/kafka"
)

// serveKafka opens the Kafka endpoint, if it is wanted, with a topic for each hub.
func (s *Sim) serveKafka(ctx context.Context, config *tls.Config) error {
	if !s.options.Kafka {
		return nil
	}
	listener, err := s.listen(ctx, s.options.Host, s.options.Ports.Kafka)
	if err != nil {
		return err
	}
	s.Endpoints.Kafka = listener.Addr().String()
	s.kafka, err = kafka.Start(kafka.Options{
		Listener: listener, TLS: config, Logger: s.log,
		VerifyConnectionString: s.Broker.CheckConnectionString,
		// Kafka clients ask for a token of the namespace, not of all Event Hubs
		// (learn.microsoft.com/azure/event-hubs/authenticate-application).
		VerifyToken: func(token string) error { return s.Entra.Verify(token, "https://"+s.Endpoints.Namespace) },
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.kafka.Close)
	for _, name := range s.options.Hubs {
		if err := s.addTopic(name); err != nil {
			return err
		}
	}
	return nil
}

// addTopic makes the topic of a hub.
func (s *Sim) addTopic(name string) error {
	if s.kafka == nil {
		return nil
	}
	hub, exists := s.Broker.Hub(name)
	if !exists {
		return nil
	}
	return s.kafka.Add(topic{hub})
}

// topic shows a hub to the Kafka endpoint.
type topic struct{ *eventhubs.Hub }

// Events implements kafka.Hub.
func (t topic) Events(partition int, from int64, limit int) (events []kafka.Event, begin int64, err error) {
	if t.Deleted() {
		return nil, 0, kafka.ErrGone
	}
	read, err := t.Read(partition, from, limit)
	if err != nil {
		return nil, 0, err
	}
	for i := range read {
		events = append(events, kafka.Event{Sequence: read[i].Sequence, Enqueued: read[i].Enqueued, Body: read[i].Body})
	}
	info, err := t.Partition(partition)
	return events, info.BeginSequence, err
}

// Next implements kafka.Hub.
func (t topic) Next(partition int) (int64, error) {
	if t.Deleted() {
		return 0, nil
	}
	info, err := t.Partition(partition)
	if info.Empty {
		return info.BeginSequence, err
	}
	return info.LastSequence + 1, err
}

// Settle waits until all that was produced can be read by every door.
func (s *Sim) Settle(ctx context.Context) error {
	if s.kafka == nil {
		return nil
	}
	return s.kafka.Settle(ctx)
}
