package eventhubs

import (
	"fmt"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// request is a message to $cbs or $management.
type request struct {
	id         any // to be the correlation id of the answer
	replyTo    string
	properties amqp.Map // of the application
	value      any      // the body
}

func parseRequest(message []byte) (request, error) {
	var r request
	for rest := message; len(rest) > 0; {
		section, after, err := amqp.NextSection(rest)
		if err != nil {
			return r, err
		}
		rest = after
		switch section.Code {
		case amqp.CodeProperties:
			v, err := section.Decode()
			if err != nil {
				return r, err
			}
			d, _ := v.(amqp.List)
			if len(d) > 0 {
				r.id = d[0]
			}
			if len(d) > 4 {
				r.replyTo = amqp.Text(d[4])
			}
		case amqp.CodeApplicationProperties:
			if r.properties, err = section.Map(); err != nil {
				return r, err
			}
		case amqp.CodeValue:
			if r.value, err = section.Decode(); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// text returns a property that is a string, or a number where a client sends one.
func (r request) text(name string) string {
	v, _ := r.properties.Get(name)
	switch v := v.(type) {
	case nil:
		return ""
	case string, amqp.Symbol:
		return amqp.Text(v)
	}
	return fmt.Sprint(v)
}

// answer serves a request that came on a link to $cbs or $management.
func (l *link) answer(message []byte) {
	c := l.s.c
	r, err := parseRequest(message)
	var a answerText
	var body any
	switch {
	case err != nil:
		a = c.b.refusal(400, condDecodeError, "%s.", err)
	case l.address == nodeCBS && r.text("operation") == "put-token":
		a = c.putToken(r.text("type"), r.text("name"), amqp.Text(r.value))
	case l.address == nodeCBS:
		a = c.b.refusal(501, condNotImplemented, "Operation '%s' is not supported.", r.text("operation"))
	default:
		a, body = c.b.manage(r)
	}
	if a.status/100 != 2 {
		c.b.opts.Logger.Debug("request refused", "node", l.address, "status", a.status, "description", a.description)
	}
	c.reply(l, r, encodeAnswer(r.id, a, body))
}

func encodeAnswer(correlationID any, a answerText, body any) []byte {
	b := amqp.AppendSection(nil, amqp.CodeProperties)
	b = amqp.Append(b, amqp.List{nil, nil, nil, nil, nil, correlationID})
	// The Go client takes status-code as an int and as no other type.
	properties := amqp.Map{{Key: "status-code", Value: a.status}, {Key: "status-description", Value: a.description}}
	if a.condition != "" {
		key := "error-condition" // $management of the service says errorCondition (observed)
		properties = append(properties, amqp.Pair{Key: key, Value: a.condition})
	}
	b = amqp.Append(amqp.AppendSection(b, amqp.CodeApplicationProperties), properties)
	return amqp.Append(amqp.AppendSection(b, amqp.CodeValue), body)
}

// reply sends an answer on the link that the request meant. Go names the reply
// link's target, rhea its name; otherwise any link from the same node will do.
// The link's credit is not waited for: a request may overtake the reply link's flow.
func (c *conn) reply(to *link, r request, message []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out *link
	best := 0
	for _, s := range c.sessions {
		for _, l := range s.links {
			if !l.sends || l.detached || l.receiver != nil {
				continue
			}
			rank := 0
			switch {
			case r.replyTo != "" && l.replyTo == r.replyTo:
				rank = 3
			case r.replyTo != "" && l.name == r.replyTo:
				rank = 2
			case l.address == to.address:
				rank = 1
			}
			if rank > best {
				out, best = l, rank
			}
		}
	}
	if out == nil {
		c.b.opts.Logger.Warn("a request has no link for its answer", "node", to.address, "reply_to", r.replyTo)
		return
	}
	s := out.s
	room := int(c.peerMaxFrame) - amqp.MaxTransferHeader
	id := s.nextDelivery
	s.nextDelivery++
	out.deliveries++
	for first := true; first || len(message) > 0; first = false {
		n := min(len(message), room)
		c.out.buf = amqp.AppendTransfer(c.out.buf, s.channel, out.handle, id, 0, first, n < len(message), n)
		c.out.buf = append(c.out.buf, message[:n]...)
		message = message[n:]
		s.nextOutgoing++
		s.remoteWindow--
	}
	c.flush()
}

// manage serves $management: READ of a hub or of a partition.
func (b *Broker) manage(r request) (answerText, any) {
	if a := b.faults.takeManagementAnswer(); a != nil {
		return *a, nil
	}
	if op := r.text("operation"); op != "READ" {
		return b.refusal(501, condNotImplemented, "Operation '%s' is not supported.", op), nil
	}
	name, kind := r.text("name"), r.text("type")
	h, ok := b.Hub(name)
	if !ok {
		e := b.notFound(name)
		return answerText{404, e.Description, e.Condition}, nil
	}
	done := answerText{status: 200, description: "OK"}
	switch kind {
	case "com.microsoft:eventhub":
		ids := make(amqp.Strings, len(h.partitions))
		for i, p := range h.partitions {
			ids[i] = p.id
		}
		return done, amqp.Map{
			{Key: "name", Value: h.name},
			{Key: "type", Value: kind},
			{Key: "created_at", Value: h.created},
			{Key: "partition_count", Value: int32(len(ids))},
			{Key: "partition_ids", Value: ids}, // an array: the Go client refuses a list
			{Key: "georeplication_factor", Value: int32(1)},
		}
	case "com.microsoft:partition":
		n, ok := partitionName(r.text("partition"))
		if !ok || n >= len(h.partitions) {
			return b.refusal(400, condArgumentOutOfRange, "The specified partition '%s' is not one of the hub's %d.", r.text("partition"), len(h.partitions)), nil
		}
		info := h.partitions[n].info()
		return done, amqp.Map{
			{Key: "name", Value: h.name},
			{Key: "type", Value: kind},
			{Key: "partition", Value: info.ID},
			{Key: "begin_sequence_number", Value: info.BeginSequence},
			{Key: "last_enqueued_sequence_number", Value: info.LastSequence},
			{Key: "last_enqueued_offset", Value: info.LastOffset},
			{Key: "last_enqueued_time_utc", Value: info.LastEnqueued},
			{Key: "is_partition_empty", Value: info.Empty},
		}
	}
	return b.refusal(400, condArgumentError, "Type '%s' is not supported.", kind), nil
}
