package component

import (
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/blob"
)

func (b *builder) blob(s config.Sink, settings *blob.Config) (sink.Sink, error) {
	return blob.New(*settings, blob.Deps{Tenant: b.tenants[s.Tenant], Logger: b.deps.Logger.With("sink", s.Name), Now: b.deps.Now})
}
