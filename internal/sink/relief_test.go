package sink

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
)

func patient(d *config.SinkDelivery) { d.Batch.Wait = config.Duration(time.Minute) }

func answerAfter(d time.Duration) func(context.Context, []event.Event) error {
	return func(context.Context, []event.Event) error { time.Sleep(d); return nil }
}

func TestRelieveSendsWhatIsDueNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lake, other := newBench(t, delivery(patient)), newBench(t, delivery(patient), answerAfter(time.Second))
		defer lake.stop()
		defer other.stop()
		runners := []*Runner{lake.runner, other.runner}
		Relieve(runners) // nothing waits
		other.put("a")
		time.Sleep(time.Second)
		lake.put("b")
		other.put("c")
		synctest.Wait()
		Relieve(runners)
		Relieve(runners) // as two sources that begin to wait would have it
		synctest.Wait()
		Relieve(runners) // a and c are on their way
		synctest.Wait()
		lake.wantDelivered("")
		time.Sleep(time.Second)
		synctest.Wait()
		other.wantDelivered("a c")
		Relieve(runners)
		synctest.Wait()
		lake.wantDelivered("b")
		lake.put("d")
		other.put("e")
		time.Sleep(59 * time.Second)
		synctest.Wait()
		lake.wantDelivered("b") // once only
		other.wantDelivered("a c")
	})
}

func TestRelieveWaitsForAFullBatchOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lake, busy := newBench(t, delivery(patient)), newBench(t, delivery(patient), answerAfter(time.Second), answerAfter(time.Second))
		defer lake.stop()
		defer busy.stop()
		lake.put("a")
		busy.put("b", "c", "d")
		busy.put("e", "f", "g") // waits for the only worker
		Relieve([]*Runner{lake.runner, busy.runner})
		time.Sleep(time.Second)
		Relieve([]*Runner{lake.runner, busy.runner})
		synctest.Wait()
		lake.wantDelivered("")
	})
}

func TestRelieveLeavesFailingSinksAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := fail(errors.New("down"))
		failing := newBench(t, delivery(func(d *config.SinkDelivery) { patient(d); d.Concurrency = 2 }),
			down, down, down, down, down, down, down, down, down, down)
		var changes atomic.Int32
		lake := newBench(t, delivery(patient))
		defer lake.stop()
		defer failing.stop()
		runners := []*Runner{failing.runner, lake.runner}
		failing.runner.cfg.Changed = func() { changes.Add(1) }
		failing.put("a", "b", "c")
		failing.put("d") // waits for more; a second worker would be free for it
		lake.put("e")
		Relieve(runners)
		synctest.Wait()
		lake.wantDelivered("") // one failure may pass
		if n := changes.Load(); n != 0 {
			t.Errorf("%d changes of a sink that has just failed, want none", n)
		}
		time.Sleep(2 * patience)
		synctest.Wait()
		if changes.Load() == 0 {
			t.Error("nobody was told that the sink is down")
		}
		synctest.Wait()
		failing.sink.mu.Lock()
		calls := len(failing.sink.calls)
		failing.sink.mu.Unlock()
		Relieve(runners)
		synctest.Wait()
		lake.wantDelivered("e")
		lake.put("f")
		time.Sleep(time.Minute - 2*patience - time.Millisecond)
		synctest.Wait()
		failing.sink.mu.Lock()
		late := failing.sink.calls[calls:]
		failing.sink.mu.Unlock()
		for _, ids := range late {
			if len(ids) != 3 {
				t.Errorf("the failing sink was sent %v early", ids)
			}
		}
	})
}

func TestRelieveLeavesBestEffortSinksAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := newBench(t, delivery(func(d *config.SinkDelivery) { patient(d); d.Delivery = "best_effort" }), answerAfter(time.Hour))
		lake := newBench(t, delivery(patient))
		defer lake.stop()
		defer idle.stop()
		idle.put("a")
		time.Sleep(time.Second)
		lake.put("b")
		runners := []*Runner{idle.runner, lake.runner}
		Relieve(runners)
		synctest.Wait()
		idle.wantDelivered("")
		lake.wantDelivered("b")
		idle.put("c", "d") // full: on its way for an hour
		synctest.Wait()
		lake.put("e")
		Relieve(runners)
		synctest.Wait()
		lake.wantDelivered("b e")
	})
}
