package azuresim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/tenant"
)

// blockSize is what messages are written into, one after the other: one
// allocation for thousands of messages. The hub keeps the block alive until its
// last message is gone.
const blockSize = 8 << 20

// Produce writes records into the hubs, each hub and partition in turn: events
// of them, or, if events is 0, until ctx ends; rate of them a second, or, if
// rate is 0, as fast as it can. It returns how many it wrote. The end of ctx is
// no error where events is 0.
func (s *Sim) Produce(ctx context.Context, events uint64, rate int) (produced uint64, err error) {
	if rate < 0 {
		return 0, fmt.Errorf("produce %d records a second: the rate must not be negative", rate)
	}
	// What was produced has left when Produce returns.
	defer func() { err = errors.Join(err, s.flushStorage()) }()
	pace := pace{begin: time.Now(), rate: rate}
	for events == 0 || produced < events {
		if ctx.Err() != nil {
			if events == 0 {
				return produced, nil
			}
			return produced, fmt.Errorf("produce %d records, %d done: %w", events, produced, context.Cause(ctx))
		}
		limit, most := pace.burst(), tenant.MaxRecords
		if events > 0 {
			most = int(min(uint64(most), events-produced))
		}
		count, err := s.produceMessage(min(limit, most), most)
		produced += uint64(count)
		if err != nil {
			return produced, err
		}
		pace.wait(ctx, produced)
	}
	return produced, s.Settle(ctx)
}

// produceMessage produces what fits into one message, about limit records and at
// most most of them: only a record of a flow log, which counts as many, may
// exceed limit.
func (s *Sim) produceMessage(limit, most int) (count int, err error) {
	s.producing.Lock()
	defer s.producing.Unlock()
	if cap(s.block)-len(s.block) < tenant.MaxMessage {
		s.block = make([]byte, 0, blockSize)
	}
	if s.journal != nil {
		// How many records the message will hold is not yet known.
		if err := s.journal.reserve(s.generator.Number() + uint64(most)); err != nil {
			return 0, err
		}
	}
	if s.options.Doors != nil {
		count, err = s.produceByDoors(limit, most)
	} else {
		count, err = s.produceForHubs(limit)
	}
	if err == nil && s.journal != nil {
		err = s.journal.produced(s.generator.Number())
	}
	return count, err
}

// produceForHubs is produceByDoors for the only door EventHubs, without its
// overhead.
func (s *Sim) produceForHubs(limit int) (count int, err error) {
	from := len(s.block)
	block, first, count := s.generator.Message(s.block, limit)
	s.block = block
	// The ledger first: a record that is in a hub and not in the ledger would
	// count as unknown when it arrives.
	s.Ledger.Produced(first, uint64(count))
	if err := s.append(block[from:len(block):len(block)]); err != nil {
		return 0, fmt.Errorf("produce records %d to %d: %w", first, first+uint64(count)-1, err)
	}
	return count, nil
}

// append adds a message to the next hub and partition in turn.
func (s *Sim) append(message []byte) error {
	name := s.options.Hubs[s.turn%len(s.options.Hubs)]
	hub, exists := s.Broker.Hub(name)
	if !exists {
		return fmt.Errorf("append to hub %q: there is no such hub any more", name)
	}
	if _, err := hub.Append(s.turn/len(s.options.Hubs)%hub.Partitions(), message); err != nil {
		return err
	}
	s.turn++
	return nil
}

// pace spreads production over time.
type pace struct {
	begin time.Time
	rate  int // records a second; 0: no pace
}

// burst returns the most records that may come at once: a quarter of a second's.
func (p pace) burst() int {
	if p.rate == 0 {
		return tenant.MaxRecords
	}
	return min(max(p.rate/4, 1), tenant.MaxRecords)
}

// due returns when the next record may come after so many.
func (p pace) due(produced uint64) time.Time {
	whole, rest := produced/uint64(p.rate), produced%uint64(p.rate)
	return p.begin.Add(time.Duration(whole)*time.Second + time.Duration(rest)*time.Second/time.Duration(p.rate))
}

// wait waits until the next record is due or ctx ends.
func (p pace) wait(ctx context.Context, produced uint64) {
	if p.rate == 0 {
		return
	}
	left := time.Until(p.due(produced))
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
