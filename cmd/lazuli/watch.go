package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// watch shows a person what is going on until the returned function is called:
// on a terminal a progress line or a sample of the events as they stand in the
// file; elsewhere a line every few seconds.
func (d *demoCommand) watch(t terminal, m *telemetry.Metrics) (stop func()) {
	if telemetry.IsTerminal(t.err) && d.Events > 0 {
		return showProgress(t.err, m, "delivered", int64(d.Events))
	}
	every, show := 5*time.Second, d.totals
	if telemetry.IsTerminal(t.err) {
		every, show = 400*time.Millisecond, d.sample
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				show(t.err, m)
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func (d *demoCommand) totals(w io.Writer, m *telemetry.Metrics) {
	fmt.Fprintf(w, "delivered %.0f events, dead letters %.0f\n", telemetry.Sum(m.SinkEvents), telemetry.Sum(m.DeadLetters))
}

// sample prints the last event of the file and the count.
func (d *demoCommand) sample(w io.Writer, m *telemetry.Metrics) {
	line, err := lastLine(d.Output)
	if err != nil || len(line) == 0 {
		return
	}
	fmt.Fprintf(w, "%9.0f  %s\n", telemetry.Sum(m.SinkEvents), describe(line))
}

// describe puts an event into words: ECS fields, else those of the raw record.
func describe(line []byte) string {
	var e struct {
		Timestamp time.Time `json:"@timestamp"`
		Event     struct{ Action, Outcome string }
		User      struct{ Name string }
		Source    struct{ IP string }

		Time            string
		Category        string
		OperationName   string
		Identity        json.RawMessage
		CallerIPAddress string
	}
	if json.Unmarshal(line, &e) != nil {
		return string(line)
	}
	if e.Timestamp.IsZero() {
		return strings.Join(strings.Fields(fmt.Sprintf("%s  %s  %s  %s", e.Time, e.Category, e.OperationName, e.CallerIPAddress)), "  ")
	}
	words := []string{e.Timestamp.Format(time.TimeOnly), e.Event.Action}
	for _, w := range []string{e.Event.Outcome, e.User.Name, e.Source.IP} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, "  ")
}

// lastLine returns the last whole line of a file that is being written.
func lastLine(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	const most = 256 << 10
	start := max(0, info.Size()-most)
	tail := make([]byte, info.Size()-start)
	if _, err := f.ReadAt(tail, start); err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(tail, '\n')
	if end < 0 {
		return nil, nil
	}
	return tail[bytes.LastIndexByte(tail[:end], '\n')+1 : end], nil
}
