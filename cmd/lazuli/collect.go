package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/lazuli-logs/lazuli/internal/budget"
	"github.com/lazuli-logs/lazuli/internal/component"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/deadletter"
	"github.com/lazuli-logs/lazuli/internal/pipeline"
	"github.com/lazuli-logs/lazuli/internal/status"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// saveEvery is how often positions are saved: what a crash repeats at most,
// against what a save costs. A file costs an fsync; every write to a blob
// container is on Azure's bill.
func saveEvery(c *config.Checkpoint) time.Duration {
	if c.Type == "blob" {
		return 5 * time.Second
	}
	return time.Second
}

// loadConfig reads a configuration file. All that is wrong with it is a usage error.
func loadConfig(path string) (*config.Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, &usageError{fmt.Errorf("lazuli: read the configuration: %w", err)}
	}
	return parseConfig(path, src, os.LookupEnv)
}

func parseConfig(name string, src []byte, env func(string) (string, bool)) (*config.Config, error) {
	cfg, err := config.Load(name, src, component.Catalog(), config.Environment{LookupEnv: env, ReadFile: os.ReadFile})
	if err != nil {
		return nil, &usageError{err}
	}
	return cfg, nil
}

// collector is a configuration brought to life.
type collector struct {
	logger   *slog.Logger
	board    *status.Board
	metrics  *telemetry.Metrics
	letters  *deadletter.Store
	set      *component.Set
	pipeline *pipeline.Pipeline
	cfg      *config.Config
}

// newCollector builds everything that cfg names. Nothing runs yet, and the
// network is not touched.
func newCollector(cfg *config.Config, t terminal, once bool, build func(*config.Config, component.Deps) (*component.Set, error)) (*collector, error) {
	tuneMemory(int64(cfg.Limits.InFlight))
	c := &collector{cfg: cfg, logger: telemetry.NewLogger(t.err, cfg.Log.Level, cfg.Log.Format), board: status.NewBoard(time.Now)}
	inFlight := budget.New(int64(cfg.Limits.InFlight))
	c.metrics = telemetry.NewMetrics(
		func() float64 { return float64(inFlight.Used()) },
		func() float64 { return float64(inFlight.Limit()) })
	mappings, err := readMappings(cfg.Normalize.Mappings, schemasOf(cfg.Routes)...)
	if err != nil {
		return nil, err
	}
	locator, err := openLocator(string(cfg.Normalize.Geo.City), string(cfg.Normalize.Geo.ASN))
	if err != nil {
		return nil, err
	}
	if c.letters, err = deadletter.Open(string(cfg.DeadLetters.Path), time.Now); err != nil {
		return nil, err
	}
	c.set, err = build(cfg, component.Deps{
		Once: once, Stdin: t.in, Stdout: t.out, Logger: c.logger, Board: c.board, Metrics: c.metrics, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	c.pipeline, err = pipeline.New(pipeline.Config{
		Sources: c.set.Sources, Sinks: c.set.Sinks, Routes: cfg.Routes, KeepOriginal: cfg.Normalize.KeepOriginal, Mappings: mappings, Locator: locator,
		Budget: inFlight, Letters: c.letters, SaveEvery: saveEvery(&cfg.Checkpoint), Grace: cfg.Shutdown.Grace.Std(), Once: once,
		Logger: c.logger, Board: c.board, Metrics: c.metrics,
	})
	if err != nil {
		return nil, errors.Join(err, c.set.Close())
	}
	return c, nil
}

// run serves metrics and health and collects until ctx ends or, once, until all
// is read.
func (c *collector) run(ctx context.Context) error {
	for _, w := range c.cfg.Warnings {
		c.logger.Warn("configuration", "warning", w.String())
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	addr, err := telemetry.Serve(serving, c.cfg.Telemetry.Listen, telemetry.Handler(c.metrics.Registry, c.board), c.logger)
	if err != nil {
		return errors.Join(err, c.set.Close())
	}
	dead, _ := filepath.Abs(c.letters.Dir())
	c.logger.Info("collecting", "sources", len(c.set.Sources), "sinks", len(c.set.Sinks), "telemetry", addr, "dead_letters", dead)
	go c.releaseWhenIdle(serving)
	err = c.pipeline.Run(ctx)
	c.logger.Info("stopped", "records", telemetry.Sum(c.metrics.SourceRecords), "delivered", telemetry.Sum(c.metrics.SinkEvents),
		"dead_letters", telemetry.Sum(c.metrics.DeadLetters))
	return errors.Join(err, c.set.Close())
}

// tuneMemory lets the garbage collector use what the bytes in flight leave of
// a ceiling, instead of a multiple of whatever is in use. GOGC and GOMEMLIMIT in
// the environment win.
func tuneMemory(inFlight int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(2*inFlight + 72<<20)
	}
}

// releaseWhenIdle gives memory back to the system when nothing has come for a
// while: after a burst the collector would keep it for minutes.
func (c *collector) releaseWhenIdle(ctx context.Context) {
	const quiet = 5 * time.Second
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	var last, released float64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := telemetry.Sum(c.metrics.SourceReceivedPayloads)
		if now == last && now != released {
			debug.FreeOSMemory()
			released = now
		}
		last = now
	}
}
