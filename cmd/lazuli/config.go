package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/lazuli-logs/lazuli/internal/component"
	"github.com/lazuli-logs/lazuli/internal/config"
)

type configCommand struct {
	Schema  configSchemaCommand  `cmd:"" help:"Print the JSON Schema, for editors."`
	Example configExampleCommand `cmd:"" help:"Print an example with every option, its default and what it does."`
}

type configSchemaCommand struct{}

// Help is shown by lazuli config schema --help.
func (configSchemaCommand) Help() string {
	return `Example:
  lazuli config schema > lazuli.schema.json
  # first line of lazuli.yaml, for editors with a YAML language server:
  # yaml-language-server: $schema=lazuli.schema.json`
}

// Run implements the command.
func (configSchemaCommand) Run(t terminal) error {
	schema, err := config.Schema(component.Catalog())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.out, "%s\n", schema)
	return err
}

type configExampleCommand struct{}

// Help is shown by lazuli config example --help.
func (configExampleCommand) Help() string {
	return `Example:
  lazuli config example > lazuli.yaml`
}

// Run implements the command.
func (configExampleCommand) Run(t terminal) error {
	_, err := t.out.Write(config.Example(component.Catalog()))
	return err
}

type versionCommand struct{}

// Help is shown by lazuli version --help.
func (versionCommand) Help() string {
	return `Example:
  lazuli version`
}

// Run implements the command.
func (versionCommand) Run(t terminal) error {
	version, revision := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = " " + s.Value
			case "vcs.modified":
				if s.Value == "true" {
					revision += " (modified)"
				}
			}
		}
	}
	_, err := fmt.Fprintf(t.out, "lazuli %s%s %s %s/%s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
