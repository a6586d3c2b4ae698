package eventhubs

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// Error conditions of AMQP and of the service. Where the service uses which was
// observed in the public issue trackers of its clients, as were the texts below.
const (
	condInternalError         amqp.Symbol = "amqp:internal-error"
	condNotFound              amqp.Symbol = "amqp:not-found"
	condUnauthorized          amqp.Symbol = "amqp:unauthorized-access"
	condDecodeError           amqp.Symbol = "amqp:decode-error"
	condResourceLimitExceeded amqp.Symbol = "amqp:resource-limit-exceeded"
	condNotAllowed            amqp.Symbol = "amqp:not-allowed"
	condNotImplemented        amqp.Symbol = "amqp:not-implemented"
	condFramingError          amqp.Symbol = "amqp:connection:framing-error"
	condStolen                amqp.Symbol = "amqp:link:stolen"
	condMessageSizeExceeded   amqp.Symbol = "amqp:link:message-size-exceeded"
	condArgumentError         amqp.Symbol = "com.microsoft:argument-error"
	condArgumentOutOfRange    amqp.Symbol = "com.microsoft:argument-out-of-range"
	condAuthFailed            amqp.Symbol = "com.microsoft:auth-failed"
)

// tracking is the tail that the service puts behind its error texts.
func (b *Broker) tracking() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	name, _, _ := strings.Cut(b.opts.Namespace, ".")
	return fmt.Sprintf(" TrackingId:%s_B1, SystemTracker:%s, Timestamp:%s",
		hex.EncodeToString(id[:]), name, b.opts.Now().UTC().Format("2006-01-02T15:04:05"))
}

func (b *Broker) errorf(condition amqp.Symbol, format string, args ...any) *amqp.Error {
	return &amqp.Error{Condition: condition, Description: fmt.Sprintf(format, args...) + b.tracking()}
}

func (b *Broker) notFound(path string) *amqp.Error {
	return b.errorf(condNotFound, "The messaging entity 'sb://%s/%s' could not be found. To know more visit https://aka.ms/sbResourceMgrExceptions.", b.opts.Namespace, path)
}
