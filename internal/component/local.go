package component

import (
	"errors"
	"os"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	filesource "github.com/lazuli-logs/lazuli/internal/source/file"
	"github.com/lazuli-logs/lazuli/internal/source/stdin"
)

func (b *builder) fileSource(s config.Source, settings *filesource.Config) (source.Source, checkpoint.Store, error) {
	if b.cfg.Checkpoint.Type == "blob" {
		return nil, nil, errors.New("checkpoints of a file source are kept on the machine that has the files: set checkpoint.type: file")
	}
	files, err := b.fileStore()
	if err != nil {
		return nil, nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, nil, err
	}
	return filesource.New(*settings, filesource.Deps{
		Name: s.Name, Host: host, Logger: b.deps.Logger.With("source", s.Name), Status: b.deps.Board.Component("source", s.Name),
		Once: b.deps.Once, Grace: b.cfg.Shutdown.Grace.Std(), Now: b.deps.Now,
	}), files, nil
}

func (b *builder) stdin(s config.Source) (source.Source, checkpoint.Store, error) {
	if b.stdinTaken {
		return nil, nil, errors.New("there is one standard input, and another source reads it")
	}
	b.stdinTaken = true
	host, err := os.Hostname()
	if err != nil {
		return nil, nil, err
	}
	return stdin.New(stdin.Deps{
		Name: s.Name, Host: host, In: b.deps.Stdin, Status: b.deps.Board.Component("source", s.Name),
		Grace: b.cfg.Shutdown.Grace.Std(), Now: b.deps.Now,
	}), stdin.Forgetful{}, nil
}
