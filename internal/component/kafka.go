package component

import (
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/kafka"
)

func (b *builder) kafka(s config.Sink, settings *kafka.Config) (sink.Sink, error) {
	return kafka.New(*settings, kafka.Deps{Tenant: b.tenants[s.Tenant], Logger: b.deps.Logger.With("sink", s.Name)})
}
