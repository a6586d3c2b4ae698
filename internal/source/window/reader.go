package window

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
)

// Reader reads one feed into one stream.
type Reader struct {
	cfg    Config
	plan   *plan
	seen   *seen
	stream source.Stream
	cursor checkpoint.Cursor // says what is complete
	behind bool              // rows were emitted that the cursor does not know

	// The batch that is being filled.
	batch []event.Payload
	ids   []Identity
	bytes int
}

// New returns a reader of a feed. Which fields are needed, Config says.
func New(cfg Config) *Reader { return &Reader{cfg: cfg.withDefaults()} }

// Run reads until ctx ends or the configured end is reached, and returns nil;
// or an error that Config.Failed ended it with, or that the stream's cursor
// could not be read. It is called once and does not close the stream.
//
// When it returns, the cursor emitted last covers every row emitted, so that a
// clean stop repeats nothing. After a crash, rows of windows whose end was not
// saved come again, with the same Key.
func (r *Reader) Run(ctx context.Context, stream source.Stream) error {
	r.stream = stream
	if err := r.resume(ctx); err != nil || ctx.Err() != nil {
		return ignoreCancel(ctx, err)
	}
	defer r.settle(ctx)
	tries := 0
	for ctx.Err() == nil {
		now := r.cfg.Now()
		r.skipGap(now)
		s, pass, due, at := r.plan.next(now, len(r.seen.rows))
		if !due {
			if r.plan.ends != nil {
				return nil
			}
			sleep(ctx, max(at.Sub(now), time.Millisecond))
			continue
		}
		err := r.window(ctx, s, pass, now)
		if err == nil || ctx.Err() != nil {
			tries = 0
			continue
		}
		if errors.Is(err, ErrTooMuch) {
			if r.plan.tooMuch(s) {
				continue
			}
			err = fmt.Errorf("read the instant %s, split into %d parts: %w", s.From.Format(time.RFC3339Nano), s.Parts, err)
		}
		tries++
		if r.cfg.Failed == nil {
			return err
		}
		wait, end := r.cfg.Failed(err, tries)
		if end != nil {
			return end
		}
		sleep(ctx, wait)
	}
	return nil
}

// resume takes up the stream's cursor, or pins the configured start, so that a
// feed that cannot be read at first does not begin later each time.
func (r *Reader) resume(ctx context.Context) error {
	r.seen = newSeen(r.cfg.Unique)
	r.cursor = r.stream.Resume()
	var heads []time.Time
	if r.cursor == "" {
		start := r.cfg.Start.UTC().Truncate(r.cfg.Resolution)
		for range r.cfg.Ages {
			heads = append(heads, start)
		}
		r.cursor = encode(heads, r.seen, 0)
		if err := r.stream.Emit(ctx, nil, r.cursor); err != nil {
			return err
		}
	} else {
		var err error
		if heads, err = decode(r.cursor, len(r.cfg.Ages), r.seen); err != nil {
			return err
		}
	}
	r.plan = newPlan(&r.cfg, heads)
	now := r.cfg.Now()
	if r.cfg.Once || !r.cfg.End.IsZero() {
		r.plan.finishAt(now, r.cfg.End)
	}
	if r.cfg.Once {
		// There is no later look: what appeared behind the newest position since
		// is to be found now.
		r.skipGap(now)
		for i := range heads {
			heads[i] = r.plan.settled()
		}
	}
	return nil
}

// skipGap gives up what the feed does not hold any more.
func (r *Reader) skipGap(now time.Time) {
	if r.cfg.Oldest == nil {
		return
	}
	oldest := r.cfg.Oldest(now).UTC().Truncate(r.cfg.Resolution)
	if head := r.plan.heads[0]; head.Before(oldest) && r.cfg.Gap != nil {
		r.cfg.Gap(head, oldest)
	}
	for i, head := range r.plan.heads {
		if head.Before(oldest) {
			r.plan.heads[i] = oldest
		}
	}
}

// window reads one window, in as many parts as it takes, and moves the cursor.
func (r *Reader) window(ctx context.Context, s Span, pass int, asked time.Time) error {
	report := Report{Span: s, Pass: pass}
	var load Load
	for s.Part = range s.Parts {
		l, err := r.fetch(ctx, s, &report)
		if err != nil {
			return err
		}
		load.Share = max(load.Share, l.Share*float64(s.Parts))
	}
	heads := r.plan.behind(s, asked)
	cursor := encode(heads, r.seen, r.cfg.Remember)
	if err := r.emit(ctx, cursor); err != nil {
		return err
	}
	r.cursor, r.behind = cursor, false
	r.plan.complete(s, heads, load, report.Rows+report.Repeats)
	r.seen.forget(r.plan.settled())
	if r.cfg.Done != nil {
		report.Read, report.Settled = r.plan.heads[0], r.plan.settled()
		report.Size, report.Remember = r.plan.size, len(r.seen.rows)
		r.cfg.Done(report)
	}
	return nil
}

// fetch reads one part of a window. What is left in the batch at its end goes
// with the batch that moves the cursor, unless the answer was not complete.
func (r *Reader) fetch(ctx context.Context, s Span, report *Report) (Load, error) {
	r.seen.begin()
	r.seen.bound(s.To)
	load, err := r.cfg.Fetch(ctx, s, func(row Row) error {
		nth, fresh := r.seen.see(row.ID, s.To)
		if !fresh {
			report.Repeats++
			return nil
		}
		report.Rows++
		copy(row.Payload.Key[:], row.ID[:])
		binary.BigEndian.PutUint32(row.Payload.Key[len(row.ID):], nth)
		r.batch, r.ids = append(r.batch, row.Payload), append(r.ids, row.ID)
		r.bytes += len(row.Payload.Body)
		if len(r.batch) < r.cfg.BatchRows && r.bytes < r.cfg.BatchBytes {
			return nil
		}
		return r.emit(ctx, r.cursor)
	})
	if err != nil {
		// The rows of an incomplete answer are rows.
		if emitErr := r.emit(ctx, r.cursor); emitErr != nil {
			return load, emitErr
		}
	}
	return load, err
}

// emit hands over the batch. If the stream does not take it, it is as if its
// rows had not come.
func (r *Reader) emit(ctx context.Context, cursor checkpoint.Cursor) error {
	n := len(r.batch)
	if n == 0 && cursor == r.cursor {
		return nil
	}
	err := r.stream.Emit(ctx, r.batch, cursor)
	if err == nil {
		r.behind = r.behind || n > 0
	} else {
		for _, id := range r.ids {
			r.seen.unsee(id)
		}
	}
	clear(r.batch)
	r.batch, r.ids, r.bytes = r.batch[:0], r.ids[:0], 0
	return err
}

// settle says at the end of Run which rows of an unfinished window were emitted.
func (r *Reader) settle(ctx context.Context) {
	if !r.behind {
		return
	}
	// A pipeline that does not take even this in time costs repeats.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_ = r.stream.Emit(ctx, nil, encode(r.plan.heads, r.seen, r.cfg.Remember))
}

const settleTimeout = 2 * time.Second

func ignoreCancel(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
