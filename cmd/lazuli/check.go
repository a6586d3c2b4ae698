package main

import (
	"fmt"

	"github.com/lazuli-logs/lazuli/internal/component"
)

type checkCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration, YAML."`
}

// Help is shown by lazuli check --help.
func (checkCommand) Help() string {
	return `Reports every mistake at once, each with its line, the rule and the fix, and exits with status 2 if there is one. It needs no network.

Example:
  lazuli check -c lazuli.yaml`
}

// Run implements the command.
func (c *checkCommand) Run(t terminal) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if _, err := readMappings(cfg.Normalize.Mappings, schemasOf(cfg.Routes)...); err != nil {
		return err
	}
	if _, err := openLocator(string(cfg.Normalize.Geo.City), string(cfg.Normalize.Geo.ASN)); err != nil {
		return err
	}
	if _, err := component.Tenants(cfg); err != nil {
		return &usageError{err}
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(t.err, "warning: %s\n", w)
	}
	fmt.Fprintf(t.err, "%s: ok: %d sources, %d sinks, %d routes\n", c.Config, len(cfg.Sources), len(cfg.Sinks), len(cfg.Routes))
	return nil
}
