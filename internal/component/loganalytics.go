package component

import (
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/loganalytics"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

func (b *builder) logAnalytics(s config.Source, settings *loganalytics.Config) (source.Source, checkpoint.Store, error) {
	store, lease, err := b.turnCheckpoints(s.Name)
	if err != nil {
		return nil, nil, err
	}
	src, err := loganalytics.New(*settings, loganalytics.Deps{
		Name: s.Name, Tenant: b.tenants[s.Tenant], Lease: lease, Logger: b.deps.Logger.With("source", s.Name),
		Status: b.deps.Board.Component("source", s.Name), Metrics: logsMetrics{s.Name, b.deps.Metrics},
		Once: b.deps.Once, Window: b.deps.Window, Grace: b.cfg.Shutdown.Grace.Std(), Now: b.deps.Now,
	})
	return src, store, err
}

// logsMetrics counts for a log_analytics source.
type logsMetrics struct {
	source string
	m      *telemetry.Metrics
}

func (l logsMetrics) Queried(outcome string) {
	l.m.SourceAnswers.WithLabelValues(l.source, outcome).Inc()
}

func (l logsMetrics) Lag(partition string, age time.Duration) {
	l.m.SourceLagSeconds.WithLabelValues(l.source, partition).Set(age.Seconds())
}

func (l logsMetrics) Repeats(rows int) {
	l.m.SourceRepeats.WithLabelValues(l.source).Add(float64(rows))
}

func (l logsMetrics) Owned(partitions int) {
	l.m.SourceOwned.WithLabelValues(l.source).Set(float64(partitions))
}
