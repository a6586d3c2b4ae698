package eventhub

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// Why a reader or its link was ended from outside.
var (
	errLost      = errors.New("another instance owns the partition now")
	errStalled   = errors.New("no message came although the hub has more")
	errSkipped   = errors.New("the link skipped messages")
	errRecreated = errors.New("the hub's last sequence number is below what was read: the hub was re-created")
)

// errStolen ends a reader whose link another reader took over.
var errStolen = errors.New("another reader took the partition")

// reader reads one partition for as long as this instance owns it, through as
// many links as that takes.
type reader struct {
	src    *Source
	id     string
	origin event.Origin
	conn   *connection
	log    *slog.Logger
	until  int64 // Once: the last sequence number to read; set by the first begin
	ends   bool  // until is set

	averageSize int             // of recent messages, in bytes; never 0
	payloads    []event.Payload // reused by every Emit
	problem     string          // class of the problem last logged, "" if none

	attached bool // the link is new: its first message may follow a gap

	watched watched // used by the watch only

	// The reader alone writes these, under mu, and reads them without it; the
	// watch reads them under mu.
	mu      sync.Mutex
	at      position                // behind the last message emitted
	known   bool                    // at is set
	blocked bool                    // in Emit
	restart context.CancelCauseFunc // ends the open link; nil if there is none
}

func (s *Source) newReader(partition string, conn *connection) *reader {
	origin := event.Origin{
		Source: s.deps.Name, Tenant: s.cfg.Tenant, Partition: partition,
		// Host and hub names are not case-sensitive, but identifiers are.
		Namespace: strings.ToLower(s.target.FullyQualifiedNamespace + "/" + s.target.Hub + "/" + partition),
	}
	if s.deps.Tenant != nil {
		origin.TenantID = s.deps.Tenant.ID
	}
	return &reader{
		src: s, id: partition, origin: origin, conn: conn,
		log:         s.log.With("partition", partition),
		averageSize: largestMessage, // until the first messages tell
	}
}

// run returns nil when a source that reads once has reached the end, errStolen,
// the context's error, or why the stream could not be used.
func (r *reader) run(ctx context.Context, out source.Output) (err error) {
	part := partPartition(r.id)
	stream, err := out.Open(ctx, r.origin)
	if err != nil {
		if ctx.Err() == nil {
			r.report(problem{
				class: classStore, state: status.Retrying, reason: "open the partition: " + err.Error(),
				remedy: "check the checkpoint store",
			})
		}
		return err
	}
	defer func() { r.closeStream(ctx, stream, err) }()

	if cursor := stream.Resume(); cursor != "" {
		at, err := parseCursor(cursor)
		if err != nil {
			p := problem{
				class: classCursor, state: status.Failed, reason: err.Error(),
				remedy: "run the Lazuli that wrote it, or remove this checkpoint to begin at start again",
			}
			r.report(p)
			if r.src.deps.Once {
				return &problemError{p, err}
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}
		r.moveTo(at)
	}
	wait := r.src.backoff()
	for {
		at, err := r.follow(ctx, stream, func() {
			r.recovered()
			r.src.health.OK(part)
			wait = r.src.backoff()
		})
		if err == nil {
			r.src.health.OK(part)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, errStalled) || errors.Is(err, errRecreated) || errors.Is(err, errSkipped) {
			r.log.Warn("partition link is replaced", "cause", err)
			continue
		}
		p := r.src.explain(at, err)
		if p.class == classStolen && r.src.claims.store != nil {
			return errStolen // by an instance that has claimed it: no problem
		}
		if p.class == classStolen && r.src.deps.Window != nil {
			p.state = status.Failed
			p.remedy = "a backfill reads beside others only in a consumer group that nobody claims: use a configuration with another consumer_group, or stop the collector meanwhile"
			r.report(p)
			return &problemError{p, err}
		}
		r.report(p)
		r.src.metrics.Reconnected(r.id, p.class)
		switch {
		case p.class == classStolen:
			return errStolen
		case p.state == status.Failed && r.src.deps.Once:
			return &problemError{p, err}
		}
		if !sleep(ctx, wait.next(p.state == status.Failed)) {
			return context.Cause(ctx)
		}
	}
}

// closeStream gives the stream the time that fits the reason for the end: all
// of it to a source that reads once, the grace at shutdown, little when another
// instance is already reading what is still in flight here.
func (r *reader) closeStream(ctx context.Context, stream source.Stream, end error) {
	free := context.WithoutCancel(ctx)
	var cancel context.CancelFunc
	switch {
	case end == nil && ctx.Err() == nil:
		free, cancel = context.WithCancel(free)
		stop := context.AfterFunc(ctx, func() { time.AfterFunc(r.src.deps.Grace, cancel) })
		defer stop()
	case errors.Is(end, errStolen) || errors.Is(end, errLost):
		free, cancel = context.WithTimeout(free, r.src.timing.lostDrain)
	default:
		free, cancel = context.WithTimeout(free, r.src.deps.Grace)
	}
	defer cancel()
	if err := stream.Close(free); err != nil {
		r.log.Warn("partition is closed with messages in flight; they will be read again", "error", err)
	}
}

// follow opens a link behind what was emitted last and emits what comes, until
// something ends it. It returns nil at the end of a source that reads once;
// else the stage that failed and why.
func (r *reader) follow(ctx context.Context, stream source.Stream, healthy func()) (stage, error) {
	properties, err := r.src.partitionProperties(ctx, r.id)
	if err != nil {
		return atHub, err
	}
	from, err := r.begin(ctx, stream, properties)
	if err != nil {
		return atHub, err
	}
	if r.reachedEnd() {
		return atLink, nil
	}
	client, _, err := r.conn.get()
	if err != nil {
		return atLink, err
	}
	options := &azeventhubs.PartitionClientOptions{
		StartPosition: from,
		Prefetch:      -1, // credit is given by window, see receive
	}
	if r.src.deps.Window == nil {
		// Like every SDK's processor: the newest reader of owner level 0 wins. A
		// backfill must not take the partition from a collector.
		// azure:eventhub.owner-level
		options.OwnerLevel = to.Ptr[int64](0)
	}
	link, err := client.NewPartitionClient(r.id, options)
	if err != nil {
		return atLink, err
	}
	defer closeWithin(ctx, linkCloseTimeout, link.Close)

	linkCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.setRestart(cancel)
	defer r.setRestart(nil)
	r.attached = true
	return atLink, r.receive(ctx, linkCtx, stream, link, healthy)
}

// begin decides where the next link starts, and reports what Azure no longer
// has. The decision is always explicit: the SDK's own default is "latest".
func (r *reader) begin(ctx context.Context, stream source.Stream, p azeventhubs.PartitionProperties) (azeventhubs.StartPosition, error) {
	last := position{sequence: p.LastEnqueuedSequenceNumber, offset: p.LastEnqueuedOffset, enqueued: p.LastEnqueuedOn}
	if last.sequence < 0 {
		last.enqueued = time.Time{}
	}
	begin := r.src.start
	switch {
	case r.known && last.sequence < r.at.sequence:
		r.src.reset(r, last)
		r.forget()
		begin = start{}
	case r.known && p.IsEmpty && last.sequence > r.at.sequence:
		// Everything behind the cursor has expired; the next message may be
		// days away, and the gap should not wait for it.
		r.src.gap(r, r.at, last.sequence+1, last.enqueued)
		if err := r.emit(ctx, stream, nil, last); err != nil {
			return azeventhubs.StartPosition{}, err
		}
	case !r.known && begin.latest && r.src.fresh.Load():
		// Pinned, so that a crash before the first message does not move it.
		if err := r.emit(ctx, stream, nil, last); err != nil {
			return azeventhubs.StartPosition{}, err
		}
	case !r.known && begin.latest:
		r.log.Info("partition has no checkpoint but others of this source have: reading it from the earliest message")
		begin = start{}
	}
	if r.src.deps.Once && !r.ends {
		r.until, r.ends = last.sequence, true
		if p.IsEmpty || !r.known && last.enqueued.Before(begin.since) {
			r.until = -1
		}
	}
	switch {
	case r.known && r.at.sequence >= 0:
		return azeventhubs.StartPosition{SequenceNumber: to.Ptr(r.at.sequence)}, nil
	case !r.known && !begin.since.IsZero():
		return azeventhubs.StartPosition{EnqueuedTime: to.Ptr(begin.since), Inclusive: true}, nil
	default:
		return azeventhubs.StartPosition{Earliest: to.Ptr(true)}, nil
	}
}

func (r *reader) reachedEnd() bool {
	return r.ends && (r.until < 0 || r.known && r.at.sequence >= r.until)
}

// receive emits what the link brings until it ends.
//
// ReceiveEvents waits until it has the full count, and no call returns what is
// ready. But a call with an ended context does: it takes what is buffered and,
// since the link gives credit by hand, renews the credit. So one call waits for
// one message and the next takes all that came with it: a lone message is
// passed on at once, and under load batches grow by themselves.
func (r *reader) receive(ctx, linkCtx context.Context, stream source.Stream, link *azeventhubs.PartitionClient, healthy func()) error {
	ended, cancel := context.WithCancel(linkCtx)
	cancel()
	settled := false
	patience := r.src.timing.settle
	for {
		wait, cancel := context.WithTimeout(linkCtx, patience)
		messages, err := link.ReceiveEvents(wait, 1, nil)
		cancel()
		switch {
		case linkCtx.Err() != nil:
			return context.Cause(linkCtx)
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		if !settled {
			// Either a message came or the link was not refused.
			settled, patience = true, r.src.timing.patience
			healthy()
		}
		if err != nil {
			continue
		}
		// An error of these two is left to the link's next call.
		window := r.window()
		if more, err := link.ReceiveEvents(ended, window, nil); err == nil {
			messages = append(messages, more...)
			if missing := window/2 - len(messages); missing > 0 {
				wait, cancel := context.WithTimeout(linkCtx, r.src.timing.gather)
				if more, err := link.ReceiveEvents(wait, missing, nil); err == nil {
					messages = append(messages, more...)
				}
				cancel()
			}
		}
		if err := r.take(ctx, stream, messages); err != nil {
			return err
		}
		if r.reachedEnd() {
			return nil
		}
	}
}

// window is how many messages to ask for ahead: as many as fit this
// partition's share of the memory, by the size of recent messages.
func (r *reader) window() int {
	share := int(r.src.cfg.PrefetchBytes) / max(1, int(r.src.owned.Load()))
	return min(max(1, share/r.averageSize), r.src.cfg.Prefetch)
}

// take emits messages in batches of bounded size.
func (r *reader) take(ctx context.Context, stream source.Stream, messages []*azeventhubs.ReceivedEventData) error {
	var total, size int
	last, known := r.at, r.known
	r.payloads = r.payloads[:0]
	flush := func() error {
		if len(r.payloads) == 0 {
			return nil
		}
		err := r.emit(ctx, stream, r.payloads, last)
		clear(r.payloads) // do not keep bodies alive
		r.payloads, size = r.payloads[:0], 0
		return err
	}
	for _, m := range messages {
		if known && m.SequenceNumber <= last.sequence {
			continue // sent again after the SDK attached the link anew
		}
		next := position{sequence: m.SequenceNumber, offset: m.Offset}
		if m.EnqueuedTime != nil {
			next.enqueued = *m.EnqueuedTime
		}
		if w := r.src.deps.Window; w != nil && !next.enqueued.Before(w.To) {
			r.until = -1 // all that follows was enqueued later
			break
		}
		if known && next.sequence > last.sequence+1 {
			if !r.attached {
				// Whoever lost them in between, Azure may still have them: a new link
				// asks again, and only what that one skips too is gone.
				return errors.Join(flush(), errSkipped)
			}
			r.src.gap(r, last, next.sequence, next.enqueued)
		}
		r.attached = false
		body := body(m)
		if size+len(body) > int(r.src.cfg.Batch.Bytes) || len(r.payloads) == r.src.cfg.Batch.Events {
			if err := flush(); err != nil {
				return err
			}
		}
		r.payloads = append(r.payloads, event.Payload{Body: body, Position: next.sequence, Enqueued: next.enqueued})
		size += len(body)
		total += len(body)
		last, known = next, true
	}
	r.learnSize(total, len(messages))
	return flush()
}

// largestMessage is the most bytes a message can have
// (learn.microsoft.com/azure/event-hubs/event-hubs-quotas). It is assumed of the
// first ones: five hundred of them would take half a gigabyte.
const largestMessage = 1 << 20

// learnSize follows larger messages at once and smaller ones slowly: asking
// for too much costs memory, asking for too little only a round trip.
func (r *reader) learnSize(bytes, messages int) {
	if messages == 0 {
		return
	}
	mean := bytes/messages + 256 // what a message costs besides its body
	if mean < r.averageSize && r.averageSize < largestMessage {
		mean = r.averageSize - (r.averageSize-mean+7)/8
	}
	r.averageSize = max(1, mean)
}

// emit hands a batch over and moves the position behind it.
func (r *reader) emit(ctx context.Context, stream source.Stream, batch []event.Payload, next position) error {
	r.setBlocked(true)
	defer r.setBlocked(false)
	if err := stream.Emit(ctx, batch, next.cursor()); err != nil {
		return err
	}
	r.moveTo(next)
	return nil
}

func (r *reader) moveTo(p position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.known = p, true
}

func (r *reader) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.known = position{}, false
}

func (r *reader) setBlocked(b bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked = b
}

func (r *reader) setRestart(restart context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restart = restart
}

// report publishes a problem, and logs it when it is a new one.
func (r *reader) report(p problem) {
	r.src.health.Set(partPartition(r.id), p.report())
	if p.class == r.problem {
		return
	}
	r.problem = p.class
	level := slog.LevelWarn
	if p.state == status.Failed {
		level = slog.LevelError
	}
	r.log.Log(context.Background(), level, "partition is not read", "class", p.class, "reason", p.reason, "remedy", p.remedy)
}

func (r *reader) recovered() {
	if r.problem != "" {
		r.log.Info("partition is read again")
		r.problem = ""
	}
}
