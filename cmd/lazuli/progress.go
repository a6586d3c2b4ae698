package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// showProgress keeps a line with the number of delivered events on a terminal
// until the returned function is called; elsewhere it shows nothing. A total of
// -1 is unknown.
func showProgress(w io.Writer, m *telemetry.Metrics, what string, total int64) (stop func()) {
	if !telemetry.IsTerminal(w) {
		return func() {}
	}
	bar := progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionSetItsString("events"), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(30), progressbar.OptionFullWidth())
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			_ = bar.Set64(int64(telemetry.Sum(m.SinkEvents)))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		_ = bar.Set64(int64(telemetry.Sum(m.SinkEvents)))
		fmt.Fprintln(w)
	}
}
