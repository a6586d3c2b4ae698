package eventhub

import (
	"context"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/lazuli-logs/lazuli/internal/status"
)

// watched is what the watch remembers of a reader from one look to the next.
type watched struct {
	sequence int64     // the reader's position at the last look
	behind   time.Time // since when it has stood there with more to read; zero if it has not
	strikes  int       // replacements since it last moved
}

// watch compares every reader with what the hub holds: lag for the operator,
// and a new link for a partition that stands still. A link can stay open and
// bring nothing; nothing else notices.
func (s *Source) watch(ctx context.Context) {
	for sleep(ctx, jitter(s.timing.poll)) {
		s.mu.Lock()
		readers := make([]*reader, 0, len(s.readers))
		for _, r := range s.readers {
			readers = append(readers, r)
		}
		s.mu.Unlock()
		for _, r := range readers {
			p, err := s.partitionProperties(ctx, r.id)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				s.log.Debug("partition's properties are not known", "partition", r.id, "error", err)
				continue
			}
			s.look(ctx, r, p)
		}
	}
}

// look compares one reader with what its partition holds.
func (s *Source) look(ctx context.Context, r *reader, p azeventhubs.PartitionProperties) {
	now, last := s.deps.Now(), p.LastEnqueuedSequenceNumber
	r.mu.Lock()
	at, known, blocked, restart := r.at, r.known, r.blocked, r.restart
	r.mu.Unlock()

	if known && last < at.sequence {
		if restart != nil {
			restart(errRecreated)
		}
		return
	}
	sequence := at.sequence
	if !known {
		// Nothing was read yet: what the configured start leaves to read.
		sequence = p.BeginningSequenceNumber - 1
		if p.IsEmpty || p.LastEnqueuedOn.Before(s.start.since) {
			sequence = last
		}
	}
	lag := max(0, last-sequence)
	var age time.Duration
	switch {
	case lag == 0:
	case known && !at.enqueued.IsZero():
		age = now.Sub(at.enqueued)
	default:
		age = now.Sub(p.LastEnqueuedOn)
	}
	s.metrics.Lag(r.id, lag, max(0, age))

	w := &r.watched
	if sequence != w.sequence {
		*w = watched{sequence: sequence}
	}
	// Blocked in Emit is back-pressure, and without a link there is a retry.
	if lag == 0 || blocked || restart == nil {
		w.behind = time.Time{}
		return
	}
	if w.behind.IsZero() {
		w.behind = now
		return
	}
	watchdog := s.cfg.Watchdog.Std()
	if watchdog == 0 || now.Sub(w.behind) < watchdog {
		return
	}
	w.behind = time.Time{}
	w.strikes++
	what := "link"
	if w.strikes > 1 {
		what = "connection"
	}
	s.metrics.Rebuilt(r.id, what)
	r.log.Warn("partition stands still although the hub has more: it is connected anew", "replaced", what,
		"position", sequence, "last", last, "for", watchdog)
	if what == "connection" {
		if _, generation, err := r.conn.get(); err == nil {
			r.conn.replace(ctx, generation)
		}
	}
	restart(errStalled)
}

// gap reports messages that came after from and before the message numbered
// next, and that Azure did not hand out.
func (s *Source) gap(r *reader, from position, next int64, until time.Time) {
	missing := next - from.sequence - 1
	s.metrics.Gap(r.id, "retention", missing)
	r.log.Error("messages are missing: they expired in the hub before they were read",
		"first", from.sequence+1, "last", next-1, "messages", missing, "after", stamp(from.enqueued), "before", stamp(until),
		"remedy", gapRemedy)
	s.health.Note(fmt.Sprintf("partition %s: messages %d to %d (%d, enqueued between %s and %s) expired before they were read",
		r.id, from.sequence+1, next-1, missing, stamp(from.enqueued), stamp(until)), gapRemedy)
}

const gapRemedy = "raise the hub's retention above the longest outage you expect, and look at what held Lazuli back"

// reset reports that the hub is not the one the position was taken in.
func (s *Source) reset(r *reader, last position) {
	s.metrics.Gap(r.id, "reset", 0)
	const remedy = "nothing, if the hub was re-created on purpose; what the old one still held after this position is gone"
	r.log.Warn("hub was re-created: reading it from its first message",
		"position", r.at.sequence, "read_until", stamp(r.at.enqueued), "last", last.sequence, "remedy", remedy)
	s.health.Note(fmt.Sprintf("partition %s: the hub was re-created (read up to message %d, enqueued %s; its last one is now %d); reading it from its first message",
		r.id, r.at.sequence, stamp(r.at.enqueued), last.sequence), remedy)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

// The parts of the source beside its partitions, by which its status names them.
const (
	partHub    = status.Whole
	partClaims = "claims"
)

func partPartition(id string) string { return "partition " + id }
