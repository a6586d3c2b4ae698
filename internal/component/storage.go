package component

import (
	"path/filepath"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/blobjournal"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/journal"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/memstore"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/storage"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

func (b *builder) storage(s config.Source, settings *storage.Config) (source.Source, checkpoint.Store, error) {
	deps := storage.Deps{
		Name: s.Name, Tenant: b.tenants[s.Tenant], Logger: b.deps.Logger.With("source", s.Name),
		Status: b.deps.Board.Component("source", s.Name), Metrics: blobMetrics{s.Name, b.deps.Metrics},
		Once: b.deps.Once, Window: b.deps.Window, Grace: b.cfg.Shutdown.Grace.Std(), Now: b.deps.Now,
	}
	switch {
	case b.deps.Window != nil:
		deps.Checkpoints = memstore.New()
	case b.cfg.Checkpoint.Type == "blob":
		client, err := b.checkpointContainer()
		if err != nil {
			return nil, nil, err
		}
		blobs, err := blobjournal.New(client, s.Name, b.deps.Now)
		if err != nil {
			return nil, nil, err
		}
		deps.Checkpoints, deps.Lease = blobs, blobs
	default:
		files, err := b.fileStore()
		if err != nil {
			return nil, nil, err
		}
		// The store's lock of the folder holds for the journal in it too.
		log, err := journal.Open(filepath.Join(files.Folder(s.Name), "journal.ndjson"), s.Name, b.deps.Now)
		if err != nil {
			return nil, nil, err
		}
		b.set.close = append(b.set.close, log.Close)
		deps.Checkpoints = log
	}
	src, err := storage.New(*settings, deps)
	return src, deps.Checkpoints, err
}

// blobMetrics counts for a storage source.
type blobMetrics struct {
	source string
	m      *telemetry.Metrics
}

func (b blobMetrics) Request(operation string) {
	b.m.SourceRequests.WithLabelValues(b.source, operation).Inc()
}

func (b blobMetrics) Lag(container string, behind time.Duration) {
	b.m.SourceLagSeconds.WithLabelValues(b.source, container).Set(behind.Seconds())
}

func (b blobMetrics) Blobs(known, pending int) {
	b.m.SourceBlobs.WithLabelValues(b.source, "known").Set(float64(known))
	b.m.SourceBlobs.WithLabelValues(b.source, "pending").Set(float64(pending))
}

func (b blobMetrics) Generation() { b.m.SourceGenerations.WithLabelValues(b.source).Inc() }

func (b blobMetrics) Missing(cause string) {
	b.m.SourceUnreadable.WithLabelValues(b.source, cause).Inc()
}

func (b blobMetrics) Owned(shards int) {
	b.m.SourceOwned.WithLabelValues(b.source).Set(float64(shards))
}
