package eventhubs

import (
	"encoding/binary"
	"strconv"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// Annotations that the service puts on an event.
const (
	annotationSequence     = "x-opt-sequence-number"
	annotationOffset       = "x-opt-offset"
	annotationEnqueued     = "x-opt-enqueued-time"
	annotationPartitionKey = "x-opt-partition-key"
)

// event is a stored event. It is never changed once it is in a segment, so that
// receivers read it without a lock.
type event struct {
	offset   int64
	enqueued int64 // milliseconds since 1970 UTC
	// annotations are encoded pairs that go out behind the service's own.
	annotations []byte
	pairs       uint32
	// encoded: body holds encoded message sections. Otherwise it is the content of
	// the one data section.
	encoded bool
	body    []byte
}

// eventOverhead is what an event counts for in offsets besides its bytes.
const eventOverhead = 64

// size is the number of bytes that retention and offsets count.
func (e *event) size() int64 { return int64(len(e.body) + len(e.annotations)) }

// span is how far the event moves the offset. The service's are multiples of 8 (observed).
func (e *event) span() int64 { return (e.size() + eventOverhead + 7) &^ 7 }

func (e *event) annotate(name amqp.Symbol, value any) {
	e.annotations = amqp.Append(amqp.AppendSymbol(e.annotations, name), value)
	e.pairs++
}

// appendPrefix appends all of the encoded message that precedes body.
func (e *event) appendPrefix(b []byte, sequence int64) []byte {
	b = amqp.AppendSection(b, amqp.CodeMessageAnnotations)
	b = append(b, 0xd1, 0, 0, 0, 0, 0, 0, 0, 0) // a map: four bytes of size, four of count
	count := len(b) - 4
	b = amqp.AppendLong(amqp.AppendSymbol(b, annotationSequence), sequence)
	b = amqp.AppendSymbol(b, annotationOffset)
	var digits [20]byte
	offset := strconv.AppendInt(digits[:0], e.offset, 10)
	b = append(append(b, 0xa1, byte(len(offset))), offset...) // a short string
	b = amqp.AppendTimestamp(amqp.AppendSymbol(b, annotationEnqueued), e.enqueued)
	b = append(b, e.annotations...)
	binary.BigEndian.PutUint32(b[count-4:], uint32(len(b)-count))
	binary.BigEndian.PutUint32(b[count:], 6+2*e.pairs)
	if !e.encoded {
		b = amqp.AppendBinaryHeader(amqp.AppendSection(b, amqp.CodeData), len(e.body))
	}
	return b
}

// partitionKey returns the key that the event was sent with, if any.
func (e *event) partitionKey() string {
	rest := e.annotations
	for len(rest) > 0 {
		name, after, err := amqp.Decode(rest)
		if err != nil {
			return ""
		}
		value, after, err := amqp.Decode(after)
		if err != nil {
			return ""
		}
		if amqp.Text(name) == annotationPartitionKey {
			return amqp.Text(value)
		}
		rest = after
	}
	return ""
}

// plainBody returns the content of the data sections, nil if there is none.
func (e *event) plainBody() ([]byte, error) {
	if !e.encoded {
		return e.body, nil
	}
	var body []byte
	for rest := e.body; len(rest) > 0; {
		section, after, err := amqp.NextSection(rest)
		if err != nil {
			return nil, err
		}
		if section.Code == amqp.CodeData {
			data, err := section.Binary()
			if err != nil {
				return nil, err
			}
			if body == nil {
				body = data
			} else {
				body = append(body[:len(body):len(body)], data...)
			}
		}
		rest = after
	}
	return body, nil
}
