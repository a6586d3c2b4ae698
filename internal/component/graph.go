package component

import (
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/blobjournal"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/memstore"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/graph"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

func (b *builder) graph(s config.Source, settings *graph.Config) (source.Source, checkpoint.Store, error) {
	store, lease, err := b.turnCheckpoints(s.Name)
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
		Name: s.Name, Tenant: tenant, Lease: lease, Limits: b.graphLimits[app], Logger: b.deps.Logger.With("source", s.Name),
		Status: b.deps.Board.Component("source", s.Name), Metrics: graphMetrics{s.Name, b.deps.Metrics},
		Once: b.deps.Once, Window: b.deps.Window, Grace: b.cfg.Shutdown.Grace.Std(), Now: b.deps.Now,
	})
	return src, store, err
}

// turnCheckpoints is where a source keeps its positions that is read by one
// instance at a time, and the lease that instances take turns by, nil where there
// is one.
func (b *builder) turnCheckpoints(name string) (checkpoint.Store, checkpoint.Lease, error) {
	switch {
	case b.deps.Window != nil:
		return memstore.New(), nil, nil
	case b.cfg.Checkpoint.Type == "blob":
		client, err := b.checkpointContainer()
		if err != nil {
			return nil, nil, err
		}
		blobs, err := blobjournal.New(client, name, b.deps.Now)
		return blobs, blobs, err
	}
	files, err := b.fileStore()
	return files, nil, err
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

func (g graphMetrics) Owned(feeds int) {
	g.m.SourceOwned.WithLabelValues(g.source).Set(float64(feeds))
}
