package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/source"
)

func TestSplitKeepsTheOrderAndGivesPlacesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	most := 0
	for range 500 {
		p := &processor{helpers: make(chan struct{}, r.IntN(4))}
		batch := make([]event.Payload, 1+r.IntN(20))
		for i := range batch {
			batch[i] = event.Payload{Position: int64(i), Body: make([]byte, r.IntN(1+r.IntN(200<<10)))}
		}
		parts := p.split(batch)
		next := int64(0)
		for _, part := range parts {
			size := 0
			for _, payload := range part.payloads {
				if payload.Position != next {
					t.Fatalf("payload %d follows %d", payload.Position, next-1)
				}
				next++
				size += len(payload.Body)
			}
			if len(part.payloads) == 0 || size != part.size {
				t.Fatalf("a part of %d payloads has %d bytes, noted as %d", len(part.payloads), size, part.size)
			}
		}
		if int(next) != len(batch) {
			t.Fatalf("parts hold %d payloads of %d", next, len(batch))
		}
		if len(p.helpers) != len(parts)-1 {
			t.Fatalf("%d places are taken for %d parts", len(p.helpers), len(parts))
		}
		most = max(most, len(parts))
	}
	if most < 3 {
		t.Errorf("no batch was cut into more than %d parts", most)
	}
}

// large emits one batch of many large payloads, one of them damaged.
type large struct{ payloads []event.Payload }

func (l large) Run(ctx context.Context, out source.Output) error {
	s, err := out.Open(ctx, event.Origin{Partition: "0", Namespace: "ns/hub/0"})
	if err != nil {
		return err
	}
	if err := s.Emit(ctx, l.payloads, checkpoint.Cursor(fmt.Sprint(len(l.payloads)))); err != nil {
		return err
	}
	return s.Close(ctx)
}

func TestALargeBatchStaysInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "raw", "ecs")
		var src large
		var want []string
		for i := range 200 {
			body := fmt.Sprintf(`{"n":%d,"x":"%s"}`, i, strings.Repeat("x", 5000))
			if i == 150 {
				body = "damaged"
			} else {
				want = append(want, body)
			}
			src.payloads = append(src.payloads, event.Payload{Body: []byte(body), Position: int64(i)})
		}
		routes := []config.Route{route("raw", "raw"), route("ecs", "ecs")}
		p := w.pipeline(t, src, &memory{}, routes, func(_ string, d *config.SinkDelivery) { d.Concurrency = 1 })
		proc := p.processors["hub"]
		proc.helpers = make(chan struct{}, 3) // however many cores there are
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(proc.helpers) != 0 {
			t.Errorf("%d helpers were not given back", len(proc.helpers))
		}
		got := w.sinks["raw"].data()
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%d events as raw, want %d in their order", len(got), len(want))
		}
		for i, e := range w.sinks["ecs"].events {
			if !bytes.Contains(e.Data, []byte(fmt.Sprintf(`{\"n\":%d,`, i+btoi(i >= 150)))) {
				t.Fatalf("event %d as ecs is %.200s", i, e.Data)
			}
		}
		if letters := w.lettersLeft(t); len(letters) != 1 || letters[0].Position != 150 {
			t.Errorf("dead letters: %+v, want the payload at 150", letters)
		}
		if w.budget.Used() != 0 {
			t.Errorf("%d bytes are still in flight", w.budget.Used())
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestABestEffortSinkReadsWhatItWasGiven lets a best-effort sink lag behind: the
// memory of its events must not be used again, although nobody waits for it.
func TestABestEffortSinkReadsWhatItWasGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "good", "slow")
		first := true
		w.sinks["slow"].fail = func([]event.Event) error {
			if first {
				first = false
				return &sink.ThrottledError{After: time.Second}
			}
			return nil
		}
		var list []string
		for i := range 300 {
			list = append(list, fmt.Sprintf(`{"n":%d,"x":"%s"}`, i, strings.Repeat("x", 2000)))
		}
		p := w.pipeline(t, &hub{once: true, partitions: [][]string{list}}, &memory{}, []config.Route{route("raw", "good", "slow")},
			func(name string, d *config.SinkDelivery) {
				d.Concurrency = 1
				if name == "slow" {
					d.Delivery = "best_effort"
				}
			})
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.sinks["slow"].data(); strings.Join(got, "\n") != strings.Join(list, "\n") {
			t.Errorf("the slow sink has %d events, not the %d that were sent", len(got), len(list))
		}
	})
}

// TestFlowTuplesBecomeEvents: each tuple of a flow log is an event with an id of
// its own, in every schema the same, and the payload is done when all are.
func TestFlowTuplesBecomeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "raw", "ecs")
		const tuples = 500
		var list []string
		for i := range tuples {
			list = append(list, fmt.Sprintf(`"17726007%02d,10.0.0.4,203.0.113.9,%d,443,T,O,A,E,1,60,1,60"`, i%60, 1024+i))
		}
		record := `{"category":"NetworkSecurityGroupFlowEvent","properties":{"Version":2,"flows":[{"rule":"r","flows":[{"mac":"000D3AF8785A","flowTuples":[` +
			strings.Join(list, ",") + `]}]}]}}`
		src := large{payloads: []event.Payload{{Body: []byte(record), Position: 7}, {Body: []byte(`{"n":1}`), Position: 8}}}
		p := w.pipeline(t, src, &memory{}, []config.Route{route("raw", "raw"), route("ecs", "ecs")}, func(_ string, d *config.SinkDelivery) { d.Concurrency = 1 })
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		raw, ecs := w.sinks["raw"].events, w.sinks["ecs"].events
		if len(raw) != tuples+1 || len(ecs) != tuples+1 {
			t.Fatalf("%d raw and %d ECS events, want one for each of %d tuples and one more", len(raw), len(ecs), tuples)
		}
		for i := range tuples {
			if want := fmt.Sprintf("ns/hub/0/7/%d", i); string(raw[i].ID) != want || raw[i].ID != ecs[i].ID {
				t.Fatalf("event %d has the ids %s and %s, want %s", i, raw[i].ID, ecs[i].ID, want)
			}
			if want := fmt.Sprintf(`"flowTuples":[%s]`, list[i]); !bytes.Contains(raw[i].Data, []byte(want)) {
				t.Fatalf("event %d is %s, want it to hold %s", i, raw[i].Data, want)
			}
			if want := fmt.Sprintf(`"port":%d}`, 1024+i); !bytes.Contains(ecs[i].Data, []byte(want)) {
				t.Fatalf("event %d as ECS is %s, want it to hold %s", i, ecs[i].Data, want)
			}
		}
		if w.budget.Used() != 0 {
			t.Errorf("%d bytes are still in flight", w.budget.Used())
		}
	})
}

// TestWhatGrowsALotStaysUnderTheLimit: batches of flow logs become dozens of
// times larger. Once that has been seen, what all partitions hold together stays
// under the limit, and one batch more at most.
func TestWhatGrowsALotStaysUnderTheLimit(t *testing.T) {
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf(`"17726007%02d,10.0.0.4,203.0.113.9,%d,443,T,O,A,B,,,,"`, i%60, 1024+i))
	}
	record := `{"category":"NetworkSecurityGroupFlowEvent","properties":{"Version":2,"flows":[{"rule":"r","flows":[{"mac":"000D3AF8785A","flowTuples":[` +
		strings.Join(list, ",") + `]}]}]}}`
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "out")
		src := &hub{once: true}
		for range 8 {
			src.partitions = append(src.partitions, slices.Repeat([]string{record}, 30))
		}
		p := w.pipeline(t, src, &memory{}, []config.Route{route("ecs", "out")}, func(_ string, d *config.SinkDelivery) {
			d.Concurrency, d.Batch.Events = 1, 100
		})
		delivered, most := 0, int64(0)
		w.sinks["out"].fail = func(events []event.Event) error {
			if delivered += len(events); delivered > 100*60 { // the average has had time to follow
				most = max(most, w.budget.Used())
			}
			time.Sleep(10 * time.Millisecond) // of the bubble: the others go on meanwhile
			return nil
		}
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(w.sinks["out"].data()); got != 8*30*100 {
			t.Fatalf("%d events, want %d", got, 8*30*100)
		}
		batch := int64(len(w.sinks["out"].events[0].Data)) * 100 * 5 / 4
		if limit := w.budget.Limit() + batch; most > limit {
			t.Errorf("%d bytes were held, want at most the limit and one batch, %d", most, limit)
		}
		t.Logf("held at most %d of %d, a batch is %d bytes and becomes about %d", most, w.budget.Limit(), len(record), batch)
	})
}
