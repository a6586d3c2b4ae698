package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/lazuli-logs/lazuli/internal/ack"
	"github.com/lazuli-logs/lazuli/internal/deadletter"
	"github.com/lazuli-logs/lazuli/internal/event"
)

// Replayed says what a replay did.
type Replayed struct {
	Read int // letters looked at
	Kept int // letters still in the store: rejected or unreadable again, or not asked for
}

// replayBatch is how many letters are in flight at a time.
const replayBatch = 1000

// Replay sends dead letters again: those of a sink to that sink, and what could
// not be read through decode, normalize and the routes of its source. With
// only, just those of that sink. What fails again becomes a dead letter again.
func (p *Pipeline) Replay(ctx context.Context, only string) (Replayed, error) {
	var done Replayed
	stopSinks := p.startSinks()
	p.hurry()
	var err error
	done.Read, err = p.cfg.Letters.Replay(ctx, replayBatch, func(ctx context.Context, letters []deadletter.Letter) error {
		return p.resend(ctx, letters, only)
	})
	if stopErr := stopSinks(time.Second); err == nil {
		err = stopErr
	}
	eachErr := p.cfg.Letters.Each(ctx, func(deadletter.Letter) error { done.Kept++; return nil })
	if err == nil {
		err = eachErr
	}
	return done, err
}

// resend brings a batch of letters to its end: each is delivered, buried again,
// or put back.
func (p *Pipeline) resend(ctx context.Context, letters []deadletter.Letter, only string) error {
	resolved := make(chan struct{})
	token := ack.NewToken(func() { close(resolved) })
	var back []deadletter.Letter
	for _, l := range letters {
		runner, proc := p.sinks[l.Sink], p.processors[l.Source]
		switch {
		case only != "" && l.Sink != only:
			back = append(back, l)
		case l.Sink != "" && runner != nil:
			token.Hold(1)
			runner.Enqueue([]event.Event{l.Event()}, token)
		case l.Sink == "" && proc != nil:
			// The piece gets an identity of its own: by the payload's alone, its
			// first record would be taken for the payload's first record.
			origin := l.Origin()
			origin.Namespace = fmt.Sprintf("%s/%d", origin.Namespace, l.Position)
			piece := []event.Payload{{Body: l.Data, Position: int64(l.Offset)}}
			if _, err := proc.process(ctx, origin, piece, token); err != nil {
				return err
			}
		default:
			p.cfg.Logger.Warn("dead letter kept: the configuration has no such source or sink", "source", l.Source, "sink", l.Sink)
			back = append(back, l)
		}
	}
	if len(back) > 0 {
		if err := p.cfg.Letters.Put(ctx, back...); err != nil {
			return err
		}
	}
	token.Release(1)
	select {
	case <-resolved:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
