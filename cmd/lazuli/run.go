package main

import (
	"context"
	"errors"

	"github.com/lazuli-logs/lazuli/internal/component"
)

type runCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration, YAML."`
	Once   bool   `help:"Read what is there now, deliver it, save the positions, exit."`
}

// Help is shown by lazuli run --help.
func (runCommand) Help() string {
	return `SIGINT or SIGTERM stops reading, waits for confirmations (shutdown.grace), saves the positions and exits; a second one exits at once. With --once, being stopped before the end is a failure.

Example:
  lazuli config example > lazuli.yaml    # then edit it
  lazuli check -c lazuli.yaml
  lazuli run -c lazuli.yaml`
}

// Run implements the command.
func (r *runCommand) Run(ctx context.Context, t terminal) error {
	cfg, err := loadConfig(r.Config)
	if err != nil {
		return err
	}
	c, err := newCollector(cfg, t, r.Once, component.Build)
	if err != nil {
		return err
	}
	if r.Once {
		stop := showProgress(t.err, c.metrics, "delivered", -1)
		defer stop()
	}
	err = c.run(ctx)
	if err == nil && r.Once && ctx.Err() != nil {
		return errors.New("interrupted before everything was read; what was confirmed is saved")
	}
	return err
}
