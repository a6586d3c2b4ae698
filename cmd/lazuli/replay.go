package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/lazuli-logs/lazuli/internal/component"
)

type replayCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration, YAML."`
	Sink   string `placeholder:"NAME" help:"Only the dead letters of this sink."`
}

// Help is shown by lazuli replay --help.
func (replayCommand) Help() string {
	return `Events that a sink refused go to that sink again; bytes that could not be read go through decoding, normalization and the routes of their source again. What fails again stays a dead letter. Safe to interrupt: what was not taken care of is replayed next time.

Example:
  lazuli replay -c lazuli.yaml --sink archive`
}

// Run implements the command.
func (r *replayCommand) Run(ctx context.Context, t terminal) error {
	cfg, err := loadConfig(r.Config)
	if err != nil {
		return err
	}
	if r.Sink != "" {
		known := false
		for _, s := range cfg.Sinks {
			known = known || s.Name == r.Sink
		}
		if !known {
			return &usageError{fmt.Errorf("lazuli: --sink %q: the configuration has no such sink", r.Sink)}
		}
	}
	c, err := newCollector(cfg, t, false, component.BuildForReplay)
	if err != nil {
		return err
	}
	done, err := c.pipeline.Replay(ctx, r.Sink)
	fmt.Fprintf(t.err, "dead letters read: %d, still there: %d (%s)\n", done.Read, done.Kept, c.letters.Dir())
	return errors.Join(err, c.set.Close())
}
