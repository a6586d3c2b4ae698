//go:build unix

package eventhub

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
)

// The same messages of a simulated hub in this process, read by the source and
// by a loop around the bare SDK client that only counts:
//
//	go test -run '^$' -bench . -benchtime 1x ./internal/source/eventhub
//
// Compare the two lines of one size: both share the processor with the server.
func BenchmarkRead(b *testing.B) {
	for _, shape := range []struct{ size, messages int }{{1 << 10, 100_000}, {40 << 10, 10_000}, {400 << 10, 1_500}} {
		for _, partitions := range []int{1, 8} {
			s := newSim(b, partitions, eventhubs.HubOptions{})
			body := make([]byte, shape.size)
			each := shape.messages / partitions
			for p := range partitions {
				bodies := make([][]byte, each)
				for i := range bodies {
					bodies[i] = body
				}
				if _, err := s.hub.Append(p, bodies...); err != nil {
					b.Fatal(err)
				}
			}
			total := each * partitions
			name := fmt.Sprintf("size=%dKB/partitions=%d", shape.size>>10, partitions)
			b.Run("source/"+name, func(b *testing.B) {
				measure(b, total, shape.size, func() int { return readSource(b, s, s.config()) })
			})
			b.Run("bare/"+name, func(b *testing.B) {
				measure(b, total, shape.size, func() int { return readBare(b, s, partitions, each) })
			})
		}
	}
}

// BenchmarkPrefetch is what the default of prefetch was chosen by.
func BenchmarkPrefetch(b *testing.B) {
	s := newSim(b, 4, eventhubs.HubOptions{})
	body, each := make([]byte, 1<<10), 25_000
	for p := range 4 {
		bodies := make([][]byte, each)
		for i := range bodies {
			bodies[i] = body
		}
		if _, err := s.hub.Append(p, bodies...); err != nil {
			b.Fatal(err)
		}
	}
	for _, prefetch := range []int{50, 100, 300, 500, 1000, 2000, 5000} {
		b.Run(fmt.Sprintf("prefetch=%d", prefetch), func(b *testing.B) {
			cfg := s.config()
			cfg.Prefetch = prefetch
			measure(b, 4*each, len(body), func() int { return readSource(b, s, cfg) })
		})
	}
}

func measure(b *testing.B, messages, size int, read func() int) {
	b.Helper()
	b.SetBytes(int64(messages * size))
	before := cpuTime(b)
	for b.Loop() {
		if got := read(); got != messages {
			b.Fatalf("%d messages arrived; want %d", got, messages)
		}
	}
	b.ReportMetric(float64(messages*b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric((cpuTime(b)-before).Seconds()*1e6/float64(messages*b.N), "cpu-us/message")
}

// cpuTime is what this process used so far: a steadier figure than the clock
// where others use the machine too. It includes the simulated hub.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Skip("the processor time of this process is not known: ", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func readSource(b *testing.B, s *sim, cfg Config) int {
	out := &counter{}
	src, err := New(cfg, Deps{Name: "bench", Checkpoints: sourcetest.NewStore(), Once: true})
	if err != nil {
		b.Fatal(err)
	}
	if err := src.Run(b.Context(), out); err != nil {
		b.Fatal(err)
	}
	return int(out.messages.Load())
}

// counter is an Output that confirms at once and only counts.
type counter struct{ messages atomic.Int64 }

func (c *counter) Open(context.Context, event.Origin) (source.Stream, error) { return c, nil }
func (c *counter) Resume() checkpoint.Cursor                                 { return "" }
func (c *counter) Close(context.Context) error                               { return nil }

func (c *counter) Emit(_ context.Context, batch []event.Payload, _ checkpoint.Cursor) error {
	c.messages.Add(int64(len(batch)))
	return nil
}

func readBare(b *testing.B, s *sim, partitions, each int) int {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(s.config().ConnectionString.Reveal(), simHub, azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer closeWithin(b.Context(), closeTimeout, client.Close)
	var readers sync.WaitGroup
	var messages atomic.Int64
	for p := range partitions {
		readers.Go(func() {
			link, err := client.NewPartitionClient(strconv.Itoa(p), &azeventhubs.PartitionClientOptions{
				StartPosition: azeventhubs.StartPosition{Earliest: to.Ptr(true)},
			})
			if err != nil {
				b.Error(err)
				return
			}
			defer closeWithin(b.Context(), closeTimeout, link.Close)
			for got := 0; got < each; {
				events, err := link.ReceiveEvents(b.Context(), min(100, each-got), nil)
				if err != nil {
					b.Error(err)
					return
				}
				got += len(events)
				messages.Add(int64(len(events)))
			}
		})
	}
	readers.Wait()
	return int(messages.Load())
}
