package component

import (
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/syslog"
)

func (b *builder) syslog(s config.Sink, settings *syslog.Config) (sink.Sink, error) {
	return syslog.New(*settings, b.deps.Logger.With("sink", s.Name))
}
