package eventhub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// Deps is what the program passes to a source.
type Deps struct {
	Name        string            // configured name of the source
	Tenant      *azure.Tenant     // nil with a connection string
	Logger      *slog.Logger      // names the source; nil: no log
	Status      *status.Component // nil: not reported
	Metrics     Metrics           // nil: not counted
	Checkpoints checkpoint.Store  // the one the runner saves to
	Ownership   Ownership         // nil: this is the only instance
	Once        bool              // read what is there now and return
	Window      *source.Window    // read what was enqueued in it and return; nil: live
	Grace       time.Duration     // how long closing waits for what is in flight at shutdown; 0: 25 s
	Now         func() time.Time  // nil: time.Now
}

// Source reads one event hub. It implements source.Source.
type Source struct {
	cfg     Config
	target  Target
	start   start
	deps    Deps
	log     *slog.Logger
	metrics Metrics
	health  *status.Group
	timing  timing
	claims  claims
	conns   []*connection // of the partitions' links
	hub     *connection   // of $management

	owned atomic.Int64 // partitions read here
	fresh atomic.Bool  // no partition has a checkpoint yet, so "latest" applies

	mu       sync.Mutex
	readers  map[string]*reader // those that run; guarded by mu
	all      int                // partitions of the hub; guarded by mu
	finished int                // of a source that reads once; guarded by mu
}

// timing holds what tests shorten.
type timing struct {
	round      time.Duration // between two looks at partitions and owners
	expiry     time.Duration // a claim not renewed for this long is void
	poll       time.Duration // between two looks at what the hub holds
	management time.Duration // for one $management answer
	settle     time.Duration // a link not refused for this long is open
	patience   time.Duration // for one receive call; ends a dial that hangs
	gather     time.Duration // for more messages when several came at once
	lostDrain  time.Duration // for what is in flight of a lost partition
	stolen     time.Duration // before taking a stolen partition back, if alone
	retry      time.Duration // first wait after a failure that passes
	retryMax   time.Duration
	failed     time.Duration // wait after a failure that needs a person
	sdk        azeventhubs.RetryOptions
}

func defaultTiming() timing {
	return timing{
		round: 10 * time.Second, expiry: time.Minute, // as every SDK: azure:eventhub.ownership-timing
		poll: 30 * time.Second, management: 10 * time.Second,
		settle: 2 * time.Second, patience: time.Minute, gather: 5 * time.Millisecond,
		lostDrain: 2 * time.Second, stolen: 30 * time.Second,
		retry: 500 * time.Millisecond, retryMax: 30 * time.Second, failed: time.Minute,
		// Few, because the SDK tells nobody that it is retrying; not none,
		// because its token refresh would then retry without a pause.
		sdk: azeventhubs.RetryOptions{MaxRetries: 2, RetryDelay: 500 * time.Millisecond, MaxRetryDelay: 5 * time.Second},
	}
}

// connectionsPerHub spreads partitions over TCP connections: one goroutine of
// go-amqp reads each, and one core of it is the ceiling.
const connectionsPerHub = 2

// New checks cfg and prepares a source. It does not touch the network.
func New(cfg Config, deps Deps) (*Source, error) {
	fail := func(err error) (*Source, error) {
		return nil, fmt.Errorf("source %q: %w", deps.Name, err)
	}
	var report config.Report
	cfg.Validate(&report)
	if len(report.Problems) > 0 {
		p := report.Problems[0]
		return fail(fmt.Errorf("%s: %s; %s", p.Path, p.Rule, p.Fix))
	}
	target, err := cfg.Target()
	if err != nil {
		return fail(err)
	}
	begin, err := parseStart(cfg.Start)
	if err != nil {
		return fail(fmt.Errorf("start: %w", err))
	}
	if w := deps.Window; w != nil {
		deps.Once, begin = true, start{since: w.From}
	}
	if cfg.ConnectionString == "" && deps.Tenant == nil {
		return fail(fmt.Errorf("tenant %q was not passed", cfg.Tenant))
	}
	trust, err := azure.TLSConfig(string(cfg.CAFile))
	if err != nil {
		return fail(fmt.Errorf("ca_file: %w", err))
	}
	var credential azcore.TokenCredential
	if deps.Tenant != nil {
		credential = deps.Tenant.Credential
		if cfg.CAFile == "" && deps.Tenant.TLS != nil {
			trust = deps.Tenant.TLS
		}
		if cfg.Proxy == "" {
			cfg.Proxy = deps.Tenant.Proxy
		}
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = noMetrics{}
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Grace == 0 {
		deps.Grace = 25 * time.Second
	}
	s := &Source{
		cfg: cfg, target: target, start: begin, deps: deps,
		log:     deps.Logger.With("hub", target.Hub),
		metrics: deps.Metrics,
		health:  status.NewGroup(deps.Status),
		timing:  defaultTiming(),
		readers: map[string]*reader{},
	}
	instance, err := instanceName()
	if err != nil {
		return fail(err)
	}
	s.claims = claims{
		store: deps.Ownership, target: target, me: instance, expiry: s.timing.expiry, now: deps.Now,
		random: mathrand.New(mathrand.NewPCG(mathrand.Uint64(), mathrand.Uint64())),
	}
	client := func() (*azeventhubs.ConsumerClient, error) {
		return newClient(cfg, target, credential, trust, instance, s.timing.sdk)
	}
	s.hub = &connection{make: client}
	for range connectionsPerHub {
		s.conns = append(s.conns, &connection{make: client})
	}
	return s, nil
}

// instanceName is what the service calls this reader in its errors, and the
// owner of its claims: unique for each process, at most 64 characters.
func instanceName() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("choose a name for this instance: %w", err)
	}
	return "lazuli-" + hex.EncodeToString(b[:]), nil
}

// problemError ends a source that reads once and cannot.
type problemError struct {
	problem
	err error
}

func (e *problemError) Error() string { return e.reason + "; " + e.remedy }
func (e *problemError) Unwrap() error { return e.err }

// Run implements source.Source. It returns an error only if the source reads
// once and a person has to act; otherwise it goes on trying, slowly, and says
// so in its status.
func (s *Source) Run(ctx context.Context, out source.Output) error {
	defer s.health.Stop()
	closing := context.WithoutCancel(ctx)
	defer func() {
		for _, c := range append(s.conns, s.hub) {
			c.close(closing)
		}
	}()
	s.health.Set(partHub, status.Problem{State: status.Starting})
	partitions, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	s.mu.Lock()
	s.all = len(partitions)
	s.mu.Unlock()
	s.log.Info("event hub is being read", "namespace", s.target.FullyQualifiedNamespace,
		"consumer_group", s.target.ConsumerGroup, "partitions", len(partitions), "instance", s.claims.me)

	watchCtx, stopWatch := context.WithCancel(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		s.watch(watchCtx)
	}()
	err = s.supervise(ctx, out, partitions)
	stopWatch()
	<-watching

	release, cancel := context.WithTimeout(closing, closeTimeout)
	defer cancel()
	if err := s.claims.release(release); err != nil {
		s.log.Warn("partitions were not given back", "error", err)
	}
	return err
}

// prepare waits until the hub and the stores answer, and returns the partitions.
func (s *Source) prepare(ctx context.Context) (partitions []string, err error) {
	steps := []func() *problemError{
		func() *problemError {
			var err error
			if partitions, err = s.partitions(ctx); err != nil {
				return &problemError{s.explain(atHub, err), err}
			}
			return nil
		},
		func() *problemError {
			preparer, ok := s.deps.Ownership.(interface{ Prepare(context.Context) error })
			if !ok {
				return nil
			}
			if err := preparer.Prepare(ctx); err != nil {
				return &problemError{storeProblem(err), err}
			}
			return nil
		},
		func() *problemError {
			saved, err := s.deps.Checkpoints.List(ctx, s.deps.Name)
			if err != nil {
				return &problemError{storeProblem(err), err}
			}
			s.fresh.Store(len(saved) == 0)
			return nil
		},
	}
	wait := s.backoff()
	logged := ""
	for len(steps) > 0 {
		failure := steps[0]()
		if failure == nil {
			steps = steps[1:]
			wait, logged = s.backoff(), ""
			continue
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		s.health.Set(partHub, failure.report())
		if failure.class != logged {
			logged = failure.class
			s.log.Error("event hub is not read", "class", failure.class, "reason", failure.reason, "remedy", failure.remedy)
		}
		if s.deps.Once && failure.state == status.Failed {
			return nil, failure
		}
		if !sleep(ctx, wait.next(failure.state == status.Failed)) {
			return nil, nil
		}
	}
	s.health.OK(partHub)
	return partitions, nil
}

func storeProblem(err error) problem {
	p := problem{class: classStore, state: status.Retrying, reason: err.Error(), remedy: "check the checkpoint store"}
	var access *StoreAccessError
	if errors.As(err, &access) {
		p.state, p.remedy = status.Failed, access.Remedy
	}
	return p
}

// supervise keeps a reader running for every partition that this instance
// owns, and ends when ctx does or, if the source reads once, all are read.
func (s *Source) supervise(ctx context.Context, out source.Output, partitions []string) error {
	type end struct {
		partition string
		err       error
	}
	var (
		ends    = make(chan end)
		stop    = map[string]context.CancelCauseFunc{}
		retryAt = map[string]time.Time{}
		done    = map[string]bool{} // read to the end, once
		owned   []string
		failure error
	)
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	finish := func(e end) {
		delete(stop, e.partition)
		s.removeReader(e.partition)
		switch {
		case e.err == nil:
			done[e.partition] = true
			s.noteFinished()
		case errors.Is(e.err, errStolen) && s.claims.store == nil:
			retryAt[e.partition] = s.deps.Now().Add(jitter(s.timing.stolen))
		case errors.Is(e.err, errStolen), errors.Is(e.err, errLost):
			s.log.Info("partition went to another instance", "partition", e.partition)
			s.health.Forget(partPartition(e.partition))
			// Not before the next look at the owners.
			owned = without(owned, e.partition)
		case errors.As(e.err, new(*problemError)) && s.deps.Once:
			failure = e.err
			cancel()
		default:
			retryAt[e.partition] = s.deps.Now().Add(jitter(s.timing.retry))
		}
	}
	// On the way out every reader closes its stream; then there is no more to wait for.
	defer func() {
		cancel()
		for len(stop) > 0 {
			finish(<-ends)
		}
	}()

	round := time.NewTimer(0)
	defer round.Stop()
	rounds := 0
	for {
		select {
		case <-runCtx.Done():
			for len(stop) > 0 {
				finish(<-ends)
			}
			return failure
		case e := <-ends:
			finish(e)
		case <-round.C:
			if rounds > 0 {
				partitions = s.grown(ctx, partitions)
			}
			rounds++
			if share, ok := s.claim(ctx, partitions); ok {
				owned = share
			}
			round.Reset(jitter(s.timing.round))
		}
		mine := map[string]bool{}
		var next time.Time
		for _, p := range owned {
			mine[p] = true
			if stop[p] != nil || done[p] {
				continue
			}
			if at := retryAt[p]; s.deps.Now().Before(at) {
				if next.IsZero() || at.Before(next) {
					next = at
				}
				continue
			}
			readerCtx, stopReader := context.WithCancelCause(runCtx)
			stop[p] = stopReader
			r := s.addReader(p)
			go func() { ends <- end{p, r.run(readerCtx, out)} }()
		}
		for p, stopReader := range stop {
			if !mine[p] {
				stopReader(errLost)
			}
		}
		s.owned.Store(int64(len(mine)))
		s.metrics.Owned(len(mine))
		if s.deps.Once && rounds > 0 && len(stop) == 0 && next.IsZero() && len(done) >= len(mine) {
			return failure
		}
		if !next.IsZero() {
			if until := next.Sub(s.deps.Now()); until < s.timing.round {
				round.Reset(max(until, time.Millisecond))
			}
		}
	}
}

// grown looks whether the hub got more partitions. A hub that does not answer
// keeps those it had: their readers say what is wrong.
func (s *Source) grown(ctx context.Context, before []string) []string {
	now, err := s.partitions(ctx)
	if err != nil || len(now) == 0 {
		return before
	}
	if len(now) != len(before) {
		s.log.Info("number of partitions changed", "before", len(before), "now", len(now))
		s.fresh.Store(false) // what is new begins with its first message
	}
	return now
}

func (s *Source) claim(ctx context.Context, partitions []string) ([]string, bool) {
	owned, err := s.claims.round(ctx, partitions)
	if err != nil {
		if ctx.Err() == nil {
			p := storeProblem(err)
			s.health.Set(partClaims, p.report())
			s.log.Warn("owners of partitions are not known; reading on", "reason", p.reason, "remedy", p.remedy)
		}
		return nil, false
	}
	if s.claims.store != nil {
		s.health.OK(partClaims)
	}
	return owned, true
}

func (s *Source) noteFinished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished++
}

// Progress implements source.Progress: the seconds of the window that are read,
// over all partitions.
func (s *Source) Progress() (done, total int64) {
	w := s.deps.Window
	if w == nil {
		return 0, 0
	}
	span := int64(w.To.Sub(w.From) / time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	done = int64(s.finished) * span
	for _, r := range s.readers {
		r.mu.Lock()
		if r.at.enqueued.After(w.From) {
			done += min(int64(r.at.enqueued.Sub(w.From)/time.Second), span)
		}
		r.mu.Unlock()
	}
	return done, int64(s.all) * span
}

func (s *Source) addReader(partition string) *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.newReader(partition, s.conns[len(s.readers)%len(s.conns)])
	s.readers[partition] = r
	s.health.Set(partPartition(partition), status.Problem{State: status.Starting})
	return r
}

func (s *Source) removeReader(partition string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, partition)
}

func (s *Source) partitions(ctx context.Context) ([]string, error) {
	p, err := manage(ctx, s.hub, s.timing.management, func(ctx context.Context, c *azeventhubs.ConsumerClient) (azeventhubs.EventHubProperties, error) {
		return c.GetEventHubProperties(ctx, nil)
	})
	return p.PartitionIDs, err
}

func (s *Source) partitionProperties(ctx context.Context, id string) (azeventhubs.PartitionProperties, error) {
	return manage(ctx, s.hub, s.timing.management, func(ctx context.Context, c *azeventhubs.ConsumerClient) (azeventhubs.PartitionProperties, error) {
		return c.GetPartitionProperties(ctx, id, nil)
	})
}

func without(list []string, gone string) []string {
	kept := make([]string, 0, len(list))
	for _, s := range list {
		if s != gone {
			kept = append(kept, s)
		}
	}
	return kept
}
