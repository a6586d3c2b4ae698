package component

import (
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/azuremonitor"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

func (b *builder) azureMonitor(s config.Sink, settings *azuremonitor.Config) (sink.Sink, error) {
	target, err := settings.Target()
	if err != nil {
		return nil, err
	}
	// Azure's limits are for a rule, whichever of its streams is written to. The
	// first sink's settings count for all of them.
	limiter := b.limiters[target.Rule]
	if limiter == nil {
		limiter = azuremonitor.NewLimiter(settings.Limits)
		b.limiters[target.Rule] = limiter
	}
	return azuremonitor.New(*settings, azuremonitor.Deps{
		Tenant: b.tenants[s.Tenant], Limiter: limiter, Logger: b.deps.Logger.With("sink", s.Name),
		Metrics: sinkMetrics{s.Name, b.deps.Metrics}, Now: b.deps.Now,
	})
}

// sinkMetrics counts for a sink what its runner does not see.
type sinkMetrics struct {
	sink string
	m    *telemetry.Metrics
}

func (s sinkMetrics) Truncated(n int) { s.m.SinkTruncated.WithLabelValues(s.sink).Add(float64(n)) }
