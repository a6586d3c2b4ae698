package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/azuresim/tenant"
	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/normalize"
)

// inMemory measures decode and normalize on one core, without any input or
// output, against the standard library's decoding of the same bytes.
func inMemory(rounds int) {
	runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(runtime.NumCPU())
	messages, events, size := sample()
	fmt.Printf("## In memory, one core\n\n%d events of %d bytes on average in messages of varied size; median of %d runs in turn.\n\n", events, size/events, rounds)
	work := []struct {
		name string
		run  func()
	}{
		{"encoding/json to map[string]any, for comparison", func() {
			for _, m := range messages {
				var v any
				if json.Unmarshal(m, &v) != nil {
					panic("the generator made no JSON")
				}
			}
		}},
		{"decode: split and index", splitter(messages)},
		{"decode, raw", normalizer(messages, normalize.Raw, true)},
		{"decode, ECS", normalizer(messages, normalize.ECS, true)},
		{"decode, ECS without event.original", normalizer(messages, normalize.ECS, false)},
		{"decode, OCSF", normalizer(messages, normalize.OCSF, true)},
		{"decode, OCSF without raw_data", normalizer(messages, normalize.OCSF, false)},
	}
	speeds, allocs := make([][]float64, len(work)), make([]float64, len(work))
	for range rounds {
		for i, w := range work {
			r := testing.Benchmark(func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					w.run()
				}
			})
			speeds[i] = append(speeds[i], float64(size)/float64(r.NsPerOp())*1e3)
			allocs[i] = float64(r.AllocsPerOp()) / float64(events)
		}
	}
	fmt.Println("| work | MB/s | events/s | allocations per event | times encoding/json |")
	fmt.Println("|---|---|---|---|---|")
	var first float64
	for i, w := range work {
		slices.Sort(speeds[i])
		mbs := speeds[i][rounds/2]
		if i == 0 {
			first = mbs
		}
		fmt.Printf("| %s | %.0f | %.0f | %.2f | %.1f |\n", w.name, mbs, mbs*1e6/float64(size)*float64(events), allocs[i], mbs/first)
	}
	fmt.Println()
}

// sample is about 8 MB of messages: more than the caches hold.
func sample() (messages [][]byte, events, size int) {
	g := tenant.New(1, tenant.Options{Prepared: 500})
	for size < 8e6 {
		m, _, n := g.Message(nil, tenant.MaxRecords)
		messages, events, size = append(messages, m), events+n, size+len(m)
	}
	return messages, events, size
}

func splitter(messages [][]byte) func() {
	d := decode.New(decode.Options{})
	n := 0
	record := func(*decode.Record) { n++ }
	return func() {
		for _, m := range messages {
			d.Decode(m, record, mustNot)
		}
	}
}

func mustNot(b decode.Bad) { panic(b.Reason) }

func normalizer(messages [][]byte, schema normalize.Schema, keepOriginal bool) func() {
	options := normalize.DefaultOptions()
	options.KeepOriginal = keepOriginal
	m, err := normalize.Compile(schema, options)
	if err != nil {
		panic(err)
	}
	w, d := m.Worker(), decode.New(decode.Options{})
	out := make([]byte, 0, 1<<20)
	in := normalize.Input{Origin: &event.Origin{Source: "hub", Partition: "0", Namespace: "ns/hub/0"}}
	record := func(r *decode.Record) {
		in.Index, in.Node, in.Raw, in.Number = r.Index, r.Node, r.Raw, r.Number
		out, _ = w.Append(out[:0], in)
	}
	return func() {
		for i, m := range messages {
			in.Position = int64(i)
			d.Decode(m, record, mustNot)
		}
	}
}
