package eventhub

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// explain says what err, returned by the Kafka client or a store, means for
// this source.
func (s *KafkaSource) explain(err error) problem {
	p := problem{class: classOther, state: status.Retrying, reason: err.Error()}
	hub := fmt.Sprintf("event hub %q in %s", s.target.Hub, s.target.FullyQualifiedNamespace)
	if signIn, ok := azure.ExplainSignIn(err); ok {
		p.class, p.reason, p.remedy = classSignIn, "sign in to Entra: "+signIn.Reason, signIn.Remedy
		if signIn.Permanent {
			p.state = status.Failed
		}
		return p
	}
	var open *openError
	var closed *kgo.ErrFirstReadEOF
	switch {
	case errors.As(err, &open):
		return storeProblem(open.err)
	case strings.HasPrefix(err.Error(), "read cursor "):
		p.class, p.state = classCursor, status.Failed
		p.remedy = "run the Lazuli that wrote it, or remove this checkpoint to begin at start again"
	case isAny(err, kerr.SaslAuthenticationFailed, kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed),
		errors.As(err, &closed) && strings.Contains(strings.ToLower(err.Error()), "sasl"):
		p.class, p.state = classUnauthorized, status.Failed
		p.reason = "not allowed to read " + hub + " over Kafka"
		p.remedy = s.accessRemedy()
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		p.class, p.state = classHub, status.Failed
		p.reason = hub + " does not exist"
		p.remedy = "correct hub and namespace, or create the event hub; Lazuli goes on by itself once it exists"
	case errors.Is(err, kerr.OffsetOutOfRange):
		p.class = classOther
		p.reason = "the position is not in the hub any more: it is looked up anew"
	case isAny(err, kerr.ThrottlingQuotaExceeded, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.RequestTimedOut):
		p.class = classBusy
		p.reason = "the namespace is throttling or busy: " + rootText(err)
		p.remedy = "if it lasts, add throughput units or turn on auto-inflate"
	case isAny(err, kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID):
		p.class = classStolen
		p.reason = "the consumer group gave our partitions away: " + rootText(err)
		p.remedy = "look for a machine that was stopped or starved for longer than kafka_session; Lazuli joins the group again by itself"
	case isTLS(err):
		p.class, p.state = classTLS, status.Failed
		p.reason = "TLS to " + s.target.FullyQualifiedNamespace + ": " + rootText(err)
		p.remedy = "if a proxy inspects TLS or the hub is a private one, name its certificate authority in ca_file"
	case isNetwork(err, ""), errors.As(err, &closed):
		p.class = classNetwork
		p.reason = "no connection to " + s.target.FullyQualifiedNamespace + ": " + rootText(err)
		// azure:eventhub.kafka-endpoint
		p.remedy = "check DNS and the firewall: outbound TCP 9093 must be open, and the namespace must be Standard or higher; or use protocol: amqp, which can pass by 443"
	}
	return p
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func (s *KafkaSource) accessRemedy() string {
	return (&Source{cfg: s.cfg, deps: s.deps}).accessRemedy()
}
