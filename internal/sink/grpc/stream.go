package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/lazuli-logs/lazuli/internal/sink/grpc/plugins"
)

// stream is one open call, used by one delivery at a time.
type stream struct {
	rpc        grpc.BidiStreamingClient[plugins.Log, plugins.Ack]
	cancel     context.CancelFunc
	cumulative bool
	dead       chan struct{} // closed when nothing will be received any more
	changed    chan struct{} // tells that something was acknowledged

	mu    sync.Mutex // guards what follows
	err   error      // why the stream is dead
	round *round     // nil between deliveries: what is acknowledged then is late
}

// round is the logs of one delivery on one stream, by their place in the order
// of sending. The sender writes sent; the rest is the receiver's until the round
// is over.
type round struct {
	waiting map[string][]int // by id, oldest first; not acknowledged
	acked   []bool
	last    int // the newest that was acknowledged, -1 if none

	sent atomic.Int64
	done atomic.Int64 // acknowledged
}

func newRound(logs []plugins.Log) *round {
	r := &round{waiting: make(map[string][]int, len(logs)), acked: make([]bool, len(logs)), last: -1}
	places := make([]int, len(logs))
	for i := range logs {
		places[i] = i
		id := logs[i].GetId()
		if other := r.waiting[id]; other != nil {
			r.waiting[id] = append(other, i)
		} else {
			r.waiting[id] = places[i : i+1 : i+1]
		}
	}
	return r
}

func newStream(rpc grpc.BidiStreamingClient[plugins.Log, plugins.Ack], cancel context.CancelFunc, cumulative bool) *stream {
	s := &stream{rpc: rpc, cancel: cancel, cumulative: cumulative, dead: make(chan struct{}), changed: make(chan struct{}, 1)}
	go s.receive()
	return s
}

func (s *stream) receive() {
	defer close(s.dead)
	for {
		ack, err := s.rpc.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the engine has ended the stream")
			}
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			return
		}
		s.note(ack.GetLastId())
	}
}

// note takes an acknowledgement. One that names no open log is a repeated or late
// one, and means nothing.
func (s *stream) note(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.round == nil {
		return
	}
	i, ok := s.round.take(id)
	if !ok {
		return
	}
	s.round.confirm(i)
	if s.cumulative {
		for k := i - 1; k >= 0 && !s.round.acked[k]; k-- {
			s.round.confirm(k)
		}
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// take returns the oldest open log with that id. One that was not sent yet is not
// open: the acknowledgement is of an earlier delivery.
func (r *round) take(id string) (i int, ok bool) {
	places := r.waiting[id]
	for len(places) > 0 && int64(places[0]) < r.sent.Load() && !ok {
		i, places = places[0], places[1:]
		ok = !r.acked[i] // else a later one was acknowledged for it too
	}
	if len(places) == 0 {
		delete(r.waiting, id)
	} else {
		r.waiting[id] = places
	}
	return i, ok
}

func (r *round) confirm(i int) {
	if !r.acked[i] {
		r.acked[i] = true
		r.done.Add(1)
		r.last = max(r.last, i)
	}
}

// atMost waits until no more than n logs of the round are unacknowledged. It
// returns false if the stream has died before.
func (s *stream) atMost(r *round, n int) bool {
	for r.sent.Load()-r.done.Load() > int64(n) {
		select {
		case <-s.changed:
		case <-s.dead:
			return r.sent.Load()-r.done.Load() <= int64(n)
		}
	}
	return true
}

// send sends logs with at most window of them unacknowledged, and waits for the
// rest. With confirm false, having sent a log is enough. It returns which were
// acknowledged, and why the stream is of no use any more, if it is not.
func (s *stream) send(ctx context.Context, logs []plugins.Log, window int, confirm bool) (*round, error) {
	// Send and Recv know the stream's context only.
	stop := context.AfterFunc(ctx, s.cancel)
	r := newRound(logs)
	s.mu.Lock()
	s.round = r
	s.mu.Unlock()
	alive := true
	for i := 0; i < len(logs) && alive; i++ {
		if confirm && !s.atMost(r, window-1) {
			break
		}
		r.sent.Add(1)
		if err := s.rpc.Send(&logs[i]); err != nil {
			<-s.dead // Recv knows the reason
			alive = false
		} else if !confirm {
			s.note(logs[i].GetId())
		}
	}
	if alive && r.sent.Load() == int64(len(logs)) {
		s.atMost(r, 0)
	}
	ended := !stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round = nil // from here on r is ours alone
	switch {
	case ended && s.err != nil:
		return r, fmt.Errorf("%w: %w", context.Cause(ctx), s.err)
	case ended:
		return r, context.Cause(ctx)
	default:
		return r, s.err
	}
}
