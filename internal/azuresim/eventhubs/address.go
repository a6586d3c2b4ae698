package eventhubs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// Nodes of a connection that are not entities.
const (
	nodeCBS        = "$cbs"
	nodeManagement = "$management"
)

// entity is what a link is attached to.
type entity struct {
	path      string     // as in the address, without scheme and host
	hub       *Hub       // nil for $cbs and $management
	group     string     // of a receiver
	partition *partition // nil for a sender that lets the service choose
}

// entityPath strips scheme, host and outer slashes off an address or audience.
func entityPath(address string) string {
	if _, after, ok := strings.Cut(address, "://"); ok {
		_, address, _ = strings.Cut(after, "/")
	}
	return strings.Trim(address, "/")
}

// resolve finds what an address names:
//
//	hub
//	hub/Partitions/id
//	hub/ConsumerGroups/group/Partitions/id
func (b *Broker) resolve(address string) (entity, *amqp.Error) {
	e := entity{path: entityPath(address)}
	parts := strings.Split(e.path, "/")
	hub, ok := b.Hub(parts[0])
	if !ok || len(parts)%2 == 0 {
		return e, b.notFound(e.path)
	}
	e.hub = hub
	for i := 1; i < len(parts); i += 2 {
		switch value := parts[i+1]; strings.ToLower(parts[i]) {
		case "consumergroups":
			if !hub.hasGroup(value) {
				return e, b.notFound(fmt.Sprintf("%s:eventhub:%s~0|%s", b.opts.Namespace, hub.name, value))
			}
			e.group = value
		case "partitions":
			n, ok := partitionName(value)
			if !ok || n >= len(hub.partitions) {
				return e, b.errorf(condArgumentOutOfRange, "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and %d. Parameter name: PartitionId", len(hub.partitions)-1)
			}
			e.partition = hub.partitions[n]
		default:
			return e, b.notFound(e.path)
		}
	}
	return e, nil
}

// positionField is what a receiver's start is compared with.
type positionField uint8

const (
	fieldLatest positionField = iota // after the last event; has no value
	fieldOffset
	fieldSequence
	fieldEnqueued // milliseconds since 1970 UTC
)

// position is where a receiver starts: at the first event whose field is larger
// than value, or as large if inclusive.
type position struct {
	field     positionField
	inclusive bool
	value     int64
}

// startOf reads the position from the filter of a source. The filter's name does not
// matter; without a filter the link starts after the last event.
func startOf(source any) (position, error) {
	for _, filter := range amqp.SourceFilter(source) {
		if d, ok := filter.Value.(amqp.Described); ok {
			return parsePosition(amqp.Text(d.Value))
		}
	}
	return position{}, nil
}

// parsePosition reads a selector such as "amqp.annotation.x-opt-offset > '42'".
func parsePosition(selector string) (position, error) {
	var at position
	name, value, ok := strings.Cut(selector, ">")
	if !ok {
		return at, fmt.Errorf("filter %q: want an annotation, > or >=, and a value", selector)
	}
	value, at.inclusive = strings.CutPrefix(value, "=")
	value = strings.Trim(strings.TrimSpace(value), "'")
	switch strings.TrimSpace(name) {
	case "amqp.annotation.x-opt-offset":
		if value == "@latest" {
			return at, nil
		}
		at.field = fieldOffset
	case "amqp.annotation.x-opt-sequence-number":
		at.field = fieldSequence
	case "amqp.annotation.x-opt-enqueued-time", "amqp.annotation.x-opt-enqueuedtimeutc": // the latter: old clients
		at.field = fieldEnqueued
	default:
		return at, fmt.Errorf("filter %q: %q is not an annotation that can be sought", selector, strings.TrimSpace(name))
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return at, fmt.Errorf("filter %q: %q is not a number", selector, value)
	}
	at.value = n
	return at, nil
}
