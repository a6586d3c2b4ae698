// Package component is the one table of everything built in. Nothing else
// imports concrete sources and sinks, and adding one means adding a line here.
package component

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/filestore"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/memstore"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/filter"
	"github.com/lazuli-logs/lazuli/internal/pipeline"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/azuremonitor"
	"github.com/lazuli-logs/lazuli/internal/sink/blob"
	"github.com/lazuli-logs/lazuli/internal/sink/elasticsearch"
	"github.com/lazuli-logs/lazuli/internal/sink/file"
	"github.com/lazuli-logs/lazuli/internal/sink/grpc"
	"github.com/lazuli-logs/lazuli/internal/sink/http"
	"github.com/lazuli-logs/lazuli/internal/sink/kafka"
	"github.com/lazuli-logs/lazuli/internal/sink/otlp"
	"github.com/lazuli-logs/lazuli/internal/sink/splunkhec"
	"github.com/lazuli-logs/lazuli/internal/sink/stdout"
	"github.com/lazuli-logs/lazuli/internal/sink/syslog"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/eventhub"
	filesource "github.com/lazuli-logs/lazuli/internal/source/file"
	"github.com/lazuli-logs/lazuli/internal/source/graph"
	"github.com/lazuli-logs/lazuli/internal/source/loganalytics"
	"github.com/lazuli-logs/lazuli/internal/source/stdin"
	"github.com/lazuli-logs/lazuli/internal/source/storage"
	"github.com/lazuli-logs/lazuli/internal/status"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// Catalog lists the kinds that a configuration may name, with their defaults.
func Catalog() config.Catalog {
	return config.Catalog{
		Sources: config.Kinds{
			"event_hub":     func() config.Component { c := eventhub.DefaultConfig(); return &c },
			"file":          func() config.Component { return filesource.DefaultConfig() },
			"stdin":         func() config.Component { return stdin.DefaultConfig() },
			"graph":         func() config.Component { c := graph.DefaultConfig(); return &c },
			"storage":       func() config.Component { c := storage.DefaultConfig(); return &c },
			"log_analytics": func() config.Component { c := loganalytics.DefaultConfig(); return &c },
		},
		Sinks: config.Kinds{
			"azure_monitor": func() config.Component { return azuremonitor.DefaultConfig() },
			"blob":          func() config.Component { return blob.DefaultConfig() },
			"file":          func() config.Component { return file.DefaultConfig() },
			"elasticsearch": func() config.Component { return elasticsearch.DefaultConfig() },
			"grpc":          func() config.Component { return grpc.DefaultConfig() },
			"kafka":         func() config.Component { return kafka.DefaultConfig() },
			"http":          func() config.Component { return http.DefaultConfig() },
			"otlp":          func() config.Component { return otlp.DefaultConfig() },
			"splunk_hec":    func() config.Component { return splunkhec.DefaultConfig() },
			"stdout":        func() config.Component { return stdout.DefaultConfig() },
			"syslog":        func() config.Component { return syslog.DefaultConfig() },
		},
		Where:  func(condition string) error { _, err := filter.Compile(condition); return err },
		Redact: func(r *config.Redact) error { _, err := pipeline.CompileRedact(r); return err },
	}
}

// Deps is what components need beside their settings.
type Deps struct {
	Once    bool           // sources read what is there now and return
	Window  *source.Window // a backfill: sources read this and return; nil: live
	Stdin   io.Reader
	Stdout  io.Writer
	Logger  *slog.Logger
	Board   *status.Board
	Metrics *telemetry.Metrics
	Now     func() time.Time
}

// Set is the components of one configuration, ready to run.
type Set struct {
	Sources []pipeline.Source
	Sinks   []pipeline.Sink
	close   []func() error
}

// Close gives up what the set holds beside its sources and sinks, which the
// pipeline closes.
func (s *Set) Close() error {
	var errs []error
	for i := len(s.close) - 1; i >= 0; i-- {
		errs = append(errs, s.close[i]())
	}
	s.close = nil
	return errors.Join(errs...)
}

// Tenants prepares the sign-in to every tenant of cfg. It reads the files that
// the credentials name and does not touch the network.
func Tenants(cfg *config.Config) (map[string]*azure.Tenant, error) {
	tenants := map[string]*azure.Tenant{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Tenants)) {
		t, err := azure.NewTenant(name, cfg.Tenants[name])
		tenants[name] = t
		errs = append(errs, err)
	}
	return tenants, errors.Join(errs...)
}

// Build makes the components of cfg. It opens local files but does not touch the
// network.
func Build(cfg *config.Config, deps Deps) (_ *Set, err error) {
	b := &builder{cfg: cfg, deps: deps, limiters: map[string]*azuremonitor.Limiter{}, set: &Set{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.set.Close())
		}
	}()
	if b.tenants, err = Tenants(cfg); err != nil {
		return nil, err
	}
	for _, s := range cfg.Sources {
		built, err := b.source(s)
		if err != nil {
			return nil, fmt.Errorf("source %q: %w", s.Name, err)
		}
		b.set.Sources = append(b.set.Sources, built)
	}
	for _, s := range cfg.Sinks {
		built, err := b.sink(s)
		if err != nil {
			return nil, fmt.Errorf("sink %q: %w", s.Name, err)
		}
		b.set.Sinks = append(b.set.Sinks, pipeline.Sink{Name: s.Name, Sink: built, Delivery: s.Delivery})
	}
	return b.set, nil
}

// BuildForReplay makes the sinks of cfg, and of its sources only the names: it
// leaves the checkpoints to the collector that may be running.
func BuildForReplay(cfg *config.Config, deps Deps) (*Set, error) {
	only := *cfg
	only.Sources = nil
	set, err := Build(&only, deps)
	if err != nil {
		return nil, err
	}
	for _, s := range cfg.Sources {
		set.Sources = append(set.Sources, pipeline.Source{Name: s.Name})
	}
	return set, nil
}

// BuildForBackfill makes the sinks of cfg and one of its sources, which reads
// deps.Window and keeps its positions in memory.
func BuildForBackfill(source string) func(*config.Config, Deps) (*Set, error) {
	return func(cfg *config.Config, deps Deps) (*Set, error) {
		only := *cfg
		only.Sources = slices.DeleteFunc(slices.Clone(cfg.Sources), func(s config.Source) bool { return s.Name != source })
		return Build(&only, deps)
	}
}

type builder struct {
	cfg     *config.Config
	deps    Deps
	tenants map[string]*azure.Tenant
	files   *filestore.Store // opened when first needed
	set     *Set

	stdinTaken  bool
	limiters    map[string]*azuremonitor.Limiter // by data collection rule
	graphLimits map[string]*graph.Limits         // by application and tenant
}

func (b *builder) source(s config.Source) (pipeline.Source, error) {
	var src source.Source
	var store checkpoint.Store
	var err error
	switch settings := s.Settings.(type) {
	case *eventhub.Config:
		src, store, err = b.eventHub(s, settings)
	case *graph.Config:
		src, store, err = b.graph(s, settings)
	case *storage.Config:
		src, store, err = b.storage(s, settings)
	case *filesource.Config:
		src, store, err = b.fileSource(s, settings)
	case *stdin.Config:
		src, store, err = b.stdin(s)
	case *loganalytics.Config:
		src, store, err = b.logAnalytics(s, settings)
	default:
		err = fmt.Errorf("kind %q is not built in", s.Kind)
	}
	return pipeline.Source{Name: s.Name, Source: src, Store: store}, err
}

func (b *builder) eventHub(s config.Source, settings *eventhub.Config) (source.Source, checkpoint.Store, error) {
	deps := eventhub.Deps{
		Name: s.Name, Tenant: b.tenants[s.Tenant], Logger: b.deps.Logger.With("source", s.Name),
		Status: b.deps.Board.Component("source", s.Name), Metrics: hubMetrics{s.Name, b.deps.Metrics},
		Once: b.deps.Once, Grace: b.cfg.Shutdown.Grace.Std(), Now: b.deps.Now,
	}
	if b.deps.Window != nil {
		// Over AMQP, whatever the configuration says: a member of a Kafka group would
		// take partitions from the collector.
		backfill := *settings
		backfill.Protocol = "amqp"
		deps.Window, deps.Checkpoints = b.deps.Window, memstore.New()
		src, err := eventhub.New(backfill, deps)
		return src, deps.Checkpoints, err
	}
	if b.cfg.Checkpoint.Type == "blob" {
		client, err := b.checkpointContainer()
		if err != nil {
			return nil, nil, err
		}
		target, err := settings.Target()
		if err != nil {
			return nil, nil, err
		}
		blobs, err := eventhub.NewBlobCheckpoints(client, target)
		if err != nil {
			return nil, nil, err
		}
		deps.Checkpoints, deps.Ownership = blobs, blobs
	} else {
		files, err := b.fileStore()
		if err != nil {
			return nil, nil, err
		}
		deps.Checkpoints = files
	}
	if settings.Protocol == "kafka" {
		// Positions are kept in the group; those reached over AMQP are where it begins.
		offsets := eventhub.NewGroupOffsets(deps.Checkpoints)
		deps.Checkpoints, deps.Ownership = offsets, nil
		src, err := eventhub.NewKafka(*settings, deps, offsets)
		return src, offsets, err
	}
	src, err := eventhub.New(*settings, deps)
	return src, deps.Checkpoints, err
}

// fileStore opens the folder of the checkpoints once for all sources.
func (b *builder) fileStore() (*filestore.Store, error) {
	if b.files == nil {
		files, err := filestore.Open(string(b.cfg.Checkpoint.Path), b.deps.Now)
		if err != nil {
			return nil, err
		}
		b.files = files
		b.set.close = append(b.set.close, files.Close)
	}
	return b.files, nil
}

func (b *builder) checkpointContainer() (*container.Client, error) {
	c := &b.cfg.Checkpoint
	if c.ConnectionString != "" {
		client, err := container.NewClientFromConnectionString(c.ConnectionString.Reveal(), c.Container, nil)
		if err != nil {
			return nil, fmt.Errorf("read checkpoint.connection_string: it must have an AccountName and AccountKey, or a BlobEndpoint and SharedAccessSignature")
		}
		return client, nil
	}
	tenant := b.tenants[c.Tenant]
	client, err := container.NewClient(c.Account+"/"+c.Container, tenant.Credential, &container.ClientOptions{ClientOptions: tenant.ClientOptions()})
	if err != nil {
		return nil, fmt.Errorf("open the checkpoint container %q of %s: %w", c.Container, c.Account, err)
	}
	return client, nil
}

func (b *builder) sink(s config.Sink) (sink.Sink, error) {
	switch settings := s.Settings.(type) {
	case *azuremonitor.Config:
		return b.azureMonitor(s, settings)
	case *blob.Config:
		return b.blob(s, settings)
	case *file.Config:
		return file.New(*settings, file.Deps{Logger: b.deps.Logger.With("sink", s.Name), Now: b.deps.Now})
	case *elasticsearch.Config:
		return elasticsearch.New(*settings, b.deps.Now)
	case *grpc.Config:
		return grpc.New(*settings, b.deps.Now)
	case *kafka.Config:
		return b.kafka(s, settings)
	case *http.Config:
		return http.New(*settings, b.deps.Now)
	case *splunkhec.Config:
		return splunkhec.New(*settings, b.deps.Now)
	case *otlp.Config:
		return b.otlp(settings)
	case *syslog.Config:
		return b.syslog(s, settings)
	case *stdout.Config:
		return stdout.New(b.deps.Stdout), nil
	default:
		return nil, fmt.Errorf("kind %q is not built in", s.Kind)
	}
}

// hubMetrics counts for an event hub source.
type hubMetrics struct {
	source string
	m      *telemetry.Metrics
}

func (h hubMetrics) Lag(partition string, messages int64, behind time.Duration) {
	h.m.SourceLagEvents.WithLabelValues(h.source, partition).Set(float64(messages))
	h.m.SourceLagSeconds.WithLabelValues(h.source, partition).Set(behind.Seconds())
}

func (h hubMetrics) Reconnected(string, string) { h.m.SourceReconnects.WithLabelValues(h.source).Inc() }

func (h hubMetrics) Rebuilt(string, string) { h.m.SourceRebuilds.WithLabelValues(h.source).Inc() }

func (h hubMetrics) Gap(_, _ string, messages int64) {
	h.m.SourceGaps.WithLabelValues(h.source).Inc()
	h.m.SourceMissing.WithLabelValues(h.source).Add(float64(messages))
}

func (h hubMetrics) Owned(partitions int) {
	h.m.SourceOwned.WithLabelValues(h.source).Set(float64(partitions))
}
