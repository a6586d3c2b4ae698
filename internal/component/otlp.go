package component

import (
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/otlp"
)

func (b *builder) otlp(settings *otlp.Config) (sink.Sink, error) {
	return otlp.New(*settings, b.deps.Now)
}
