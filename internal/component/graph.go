package component

import (
	"errors"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/graph"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

func (b *builder) graph(s config.Source, settings *graph.Config) (source.Source, checkpoint.Store, error) {
	if b.cfg.Checkpoint.Type == "blob" {
		return nil, nil, errors.New("checkpoints of a graph source are kept in files only: set checkpoint.type: file")
	}
	files, err := b.fileStore()
	if err != nil {
		return nil, nil, err
	}
	// Graph's limits are for an application in a tenant, however many sources and
	// names of tenants it has here.
	tenant := b.tenants[s.Tenant]
	app := tenant.Cloud.Graph + " " + tenant.ID + " " + tenant.ClientID
	if b.graphLimits == nil {
		b.graphLimits = map[string]*graph.Limits{}
	}
	if b.graphLimits[app] == nil {
		b.graphLimits[app] = graph.NewLimits()
	}
	src, err := graph.New(*settings, graph.Deps{
		Name: s.Name, Tenant: tenant, Limits: b.graphLimits[app], Logger: b.deps.Logger.With("source", s.Name),
		Status: b.deps.Board.Component("source", s.Name), Metrics: graphMetrics{s.Name, b.deps.Metrics},
		Once: b.deps.Once, Window: b.deps.Window, Grace: b.cfg.Shutdown.Grace.Std(), Now: b.deps.Now,
	})
	return src, files, err
}

// graphMetrics counts for a graph source.
type graphMetrics struct {
	source string
	m      *telemetry.Metrics
}

func (g graphMetrics) Request(outcome string) {
	g.m.SourceAnswers.WithLabelValues(g.source, outcome).Inc()
}

func (g graphMetrics) Lag(feed string, age time.Duration) {
	g.m.SourceLagSeconds.WithLabelValues(g.source, feed).Set(age.Seconds())
}

func (g graphMetrics) Repeats(_ string, objects int) {
	g.m.SourceRepeats.WithLabelValues(g.source).Add(float64(objects))
}

func (g graphMetrics) Gap(string) { g.m.SourceGaps.WithLabelValues(g.source).Inc() }
