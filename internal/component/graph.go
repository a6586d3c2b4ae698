package component

import (
	"fmt"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/memstore"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/graph"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

func (b *builder) graph(s config.Source, settings *graph.Config) (source.Source, checkpoint.Store, error) {
	store, err := b.windowCheckpoints("graph")
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
	return src, store, err
}

// windowCheckpoints is where a source keeps its cursors that is asked for ranges
// of time: they grow with what such a source has to remember.
func (b *builder) windowCheckpoints(kind string) (checkpoint.Store, error) {
	switch {
	case b.deps.Window != nil:
		return memstore.New(), nil
	case b.cfg.Checkpoint.Type == "blob":
		return nil, fmt.Errorf("checkpoints of a %s source are kept in files only: set checkpoint.type: file", kind)
	}
	return b.fileStore()
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
