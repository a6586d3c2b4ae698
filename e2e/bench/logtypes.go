package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/normalize"
)

// logTypes measures decode and normalize on one core for each log type, over the
// golden cases of the mapping tables, and for all records below a folder of
// samples, if there is one.
func logTypes(rounds int, corpus string) error {
	runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(runtime.NumCPU())
	groups, err := goldenRecords()
	if err != nil {
		return err
	}
	messages, events, _ := sample()
	groups = append(groups, &group{name: "events of the built-in Azure", payload: bytes.Join(messages, []byte("\n")), events: events})
	if corpus != "" {
		mix, err := corpusRecords(corpus)
		if err != nil {
			return err
		}
		groups = append(groups, mix)
	}
	fmt.Printf("## Each log type, one core\n\nDecoding and normalizing records of the golden cases, by processor time; median of %d runs. Of flow logs, a record has one tuple.\n\n", rounds)
	fmt.Println("| log type | bytes | ECS MB/s | events/s | allocations | OCSF MB/s | events/s | allocations |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, g := range groups {
		fmt.Printf("| %s | %d |%s%s\n", g.name, len(g.payload)/g.events, g.measure(normalize.ECS, rounds), g.measure(normalize.OCSF, rounds))
	}
	fmt.Println()
	return nil
}

// group is a payload of records, one a line.
type group struct {
	name    string
	payload []byte
	events  int
}

func (g *group) add(record []byte) {
	g.payload = append(append(g.payload, record...), '\n')
	g.events++
}

// measure returns the columns of a schema. It counts the processor's time, not
// the clock's: there are too many rows for a quiet moment for each.
func (g *group) measure(schema normalize.Schema, rounds int) string {
	run := normalizer([][]byte{g.payload}, schema, true)
	run()
	var speeds []float64
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	runs := 0
	for range rounds {
		start, n := processorTime(), 0
		for n == 0 || processorTime()-start < 300*time.Millisecond {
			run()
			n++
		}
		speeds = append(speeds, float64(n*len(g.payload))/(processorTime()-start).Seconds()/1e6)
		runs += n
	}
	runtime.ReadMemStats(&after)
	slices.Sort(speeds)
	mbs := speeds[rounds/2]
	return fmt.Sprintf(" %.0f | %.0f | %.1f |", mbs, mbs*1e6/float64(len(g.payload))*float64(g.events),
		float64(after.Mallocs-before.Mallocs)/float64(runs*g.events))
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// goldenRecords groups the inputs of the golden cases by log type.
func goldenRecords() ([]*group, error) {
	inputs, err := filepath.Glob("internal/normalize/testdata/*/input.json")
	if err != nil || len(inputs) == 0 {
		return nil, fmt.Errorf("find golden cases: found %d, run it in the root of the repository: %w", len(inputs), err)
	}
	m, err := normalize.Compile(normalize.Raw, normalize.DefaultOptions())
	if err != nil {
		return nil, err
	}
	w := m.Worker()
	byType := map[string]*group{}
	for _, name := range inputs {
		record, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		record = bytes.TrimSpace(record)
		var x jsonscan.Index
		if _, err := x.Scan(record); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		_, r := w.Append(nil, normalize.Input{Index: &x, Raw: record, Origin: &event.Origin{}})
		g := byType[r.LogType]
		if g == nil {
			g = &group{name: "`" + r.LogType + "`"}
			byType[r.LogType] = g
		}
		g.add(record)
	}
	var groups []*group
	for _, g := range byType {
		for once := g.payload; len(g.payload) < 1<<18; { // more than the nearest caches hold
			g.payload = append(g.payload, once...)
		}
		g.events = bytes.Count(g.payload, []byte("\n"))
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int { return cmp.Compare(a.name, b.name) })
	return groups, nil
}

// corpusRecords is every record of the files in a folder, as decode cuts them.
func corpusRecords(folder string) (*group, error) {
	mix := &group{name: "all records of the samples"}
	var d decode.Decoder
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "-expected.json") || strings.HasSuffix(path, ".schema.json") {
			return err
		}
		payload, err := os.ReadFile(path) //nolint:gosec // who runs the benchmark names the folder
		if err != nil {
			return err
		}
		d.Decode(payload, func(r *decode.Record) {
			mix.add(jsonscan.AppendCompact(nil, r.Index.Value(r.Node)))
		}, func(decode.Bad) {})
		return nil
	})
	return mix, err
}
