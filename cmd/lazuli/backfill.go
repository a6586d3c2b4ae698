package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/lazuli-logs/lazuli/internal/component"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

type backfillCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration, YAML."`
	Source string `required:"" placeholder:"NAME" help:"The source to read."`
	From   string `required:"" placeholder:"T" help:"Where to begin: an RFC 3339 time, a date, or an age such as 36h or 7d."`
	To     string `default:"0s" placeholder:"T" help:"Where to end, likewise; now if left out."`
}

// Help is shown by lazuli backfill --help.
func (backfillCommand) Help() string {
	return `Reads what Azure took in from --from on and before --to, delivers it to the sinks of the source's routes, and exits. Storage is read by whole hours. It keeps its positions in memory: those of a collector that runs meanwhile are neither read nor changed, and if it is interrupted, it is started again as a whole. Events have the same ids as when they were read before. A sink that only one program may use, such as a file, needs a configuration of its own.

Example:
  lazuli backfill -c lazuli.yaml --source archive --from 2026-01-31 --to 2026-02-01T12:00:00Z
  lazuli backfill -c lazuli.yaml --source entra --from 36h`
}

// Run implements the command.
func (b *backfillCommand) Run(ctx context.Context, t terminal) error {
	window, err := b.window(time.Now())
	if err != nil {
		return &usageError{fmt.Errorf("lazuli: %w", err)}
	}
	cfg, err := loadConfig(b.Config)
	if err != nil {
		return err
	}
	if !hasSource(cfg, b.Source) {
		return &usageError{fmt.Errorf("lazuli: --source %q: the configuration has no such source, or no route leads from it", b.Source)}
	}
	cfg.Telemetry.Listen = "" // it is the collector's
	build := func(cfg *config.Config, deps component.Deps) (*component.Set, error) {
		deps.Window = &window
		return component.BuildForBackfill(b.Source)(cfg, deps)
	}
	c, err := newCollector(cfg, t, true, build)
	if err != nil {
		return err
	}
	begun := time.Now()
	stop := showBackfill(t.err, c)
	err = c.run(ctx)
	stop()
	m := c.metrics
	fmt.Fprintf(t.err, "backfill of %s from %s to %s: %.0f bytes and %.0f records read, %.0f events delivered, %.0f dead letters, in %v\n",
		b.Source, window.From.Format(time.RFC3339), window.To.Format(time.RFC3339), telemetry.Sum(m.SourceReceivedBytes),
		telemetry.Sum(m.SourceRecords), telemetry.Sum(m.SinkEvents), telemetry.Sum(m.DeadLetters), time.Since(begun).Round(time.Millisecond))
	if err == nil && ctx.Err() != nil {
		return errors.New("interrupted before everything was read: start it again, it begins anew")
	}
	return err
}

func hasSource(cfg *config.Config, name string) bool {
	for _, s := range cfg.Sources {
		if s.Name == name {
			return true
		}
	}
	return false
}

func (b *backfillCommand) window(now time.Time) (source.Window, error) {
	from, err := parseTime(b.From, now)
	if err != nil {
		return source.Window{}, fmt.Errorf("--from %w", err)
	}
	to, err := parseTime(b.To, now)
	if err != nil {
		return source.Window{}, fmt.Errorf("--to %w", err)
	}
	if !from.Before(to) {
		return source.Window{}, fmt.Errorf("--from %s is not before --to %s", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	return source.Window{From: from, To: to}, nil
}

// parseTime reads a time, a date (in UTC), or an age.
func parseTime(text string, now time.Time) (time.Time, error) {
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), nil
		}
	}
	var age config.Duration
	if err := age.UnmarshalText([]byte(text)); err != nil || age < 0 {
		return time.Time{}, fmt.Errorf("%q: it must be a time such as 2026-01-31T08:00:00Z, a date such as 2026-01-31, or an age such as 36h or 7d", text)
	}
	return now.Add(-age.Std()).UTC(), nil
}

// showBackfill keeps a bar on a terminal until the returned function is called:
// of the source's own progress if it tells it, else of delivered events.
func showBackfill(w io.Writer, c *collector) (stop func()) {
	var progress source.Progress
	for _, s := range c.set.Sources {
		progress, _ = s.Source.(source.Progress)
	}
	if progress == nil || !telemetry.IsTerminal(w) {
		return showProgress(w, c.metrics, "delivered", -1)
	}
	bar := progressbar.NewOptions64(1000, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30), progressbar.OptionFullWidth(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true))
	show := func() {
		done, total := progress.Progress()
		if total > 0 {
			_ = bar.Set64(done * 1000 / total)
		}
		bar.Describe(fmt.Sprintf("%.0f events delivered", telemetry.Sum(c.metrics.SinkEvents)))
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			show()
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(ended)
		wg.Wait()
		show()
		fmt.Fprintln(w)
	}
}
