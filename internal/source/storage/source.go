package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// Deps is what the program passes to a source.
type Deps struct {
	Name        string             // configured name of the source
	Tenant      *azure.Tenant      // nil without a tenant
	Logger      *slog.Logger       // names the source; nil: no log
	Status      *status.Component  // nil: not reported
	Metrics     Metrics            // nil: not counted
	Checkpoints checkpoint.Journal // the one the runner saves to
	Lease       checkpoint.Lease   // nil: this is the only instance
	Once        bool               // read what is there now and return
	Window      *source.Window     // read what is of this time and return; nil: live
	Grace       time.Duration      // how long closing waits for what is in flight at shutdown; 0: 25 s
	Now         func() time.Time   // nil: time.Now
}

// Source reads the containers of one storage account. It implements
// source.Source.
type Source struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	metrics Metrics
	health  *status.Group
	timing  timing
	blobs   blobService
	queue   queueService // nil without notifications
	account string       // host of the blob endpoint, and what of its path names the account

	start    time.Time // where a folder without a mark begins
	schedule *schedule
	out      source.Output

	mu         sync.Mutex
	containers map[string]*containerState // guarded by mu
	folders    map[string]*folder         // by key; guarded by mu
	pending    int                        // blobs that are not idle; guarded by mu
	changed    chan struct{}              // closed and replaced when pending falls; guarded by mu
	failure    error                      // what ends a source that reads once; guarded by mu
	settling   sync.WaitGroup

	bytesFound, bytesRead atomic.Int64 // of blobs that were queued; gzipped ones count when they are done

	storeFails atomic.Bool // the last save of a position failed
	messages   sync.Map    // *message: those of the queue that are in hand
}

// timing holds what tests shorten.
type timing struct {
	tick     time.Duration // between two looks at what is due
	retry    time.Duration // first wait after a failure that passes
	retryMax time.Duration
	failed   time.Duration // wait after a failure that needs a person
	request  time.Duration // for the answer to a request that is no download
	turns    source.TurnTiming
	most     int32 // blobs in a page of a listing; 0: as many as Azure gives
}

func defaultTiming() timing {
	return timing{
		tick: time.Second, retry: 500 * time.Millisecond, retryMax: 30 * time.Second, failed: time.Minute,
		request: 2 * time.Minute, turns: source.DefaultTurnTiming(),
	}
}

const (
	listers = 8 // listings at a time
	// mostPending bounds the blobs that are known and not read yet: discovery
	// waits when there are more.
	mostPending = 4000
)

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
	client, err := newClient(&cfg, deps.Tenant)
	if err != nil {
		return fail(err)
	}
	s := newSource(cfg, deps, &azureBlobs{client, deps.Metrics})
	if s.account, err = accountOf(client.URL()); err != nil {
		return fail(err)
	}
	if cfg.Notifications == "queue" && deps.Window == nil && !deps.Once {
		if s.queue, err = newQueue(&cfg, deps.Tenant, deps.Metrics); err != nil {
			return fail(err)
		}
	}
	return s, nil
}

func newSource(cfg Config, deps Deps, blobs blobService) *Source {
	return &Source{
		cfg: cfg, deps: deps, log: deps.Logger, metrics: deps.Metrics, health: status.NewGroup(deps.Status), timing: defaultTiming(),
		blobs: blobs, schedule: newSchedule(cfg.MaxOpen, deps.Now),
		containers: map[string]*containerState{}, folders: map[string]*folder{}, changed: make(chan struct{}),
	}
}

// Progress implements source.Progress: the bytes of the blobs that were found,
// and those of them that are read.
func (s *Source) Progress() (done, total int64) {
	total = s.bytesFound.Load()
	return min(s.bytesRead.Load(), total), total
}

// accountOf is what identifies the account in the ids of events.
func accountOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", errors.New("the endpoint of the account is not a URL")
	}
	return strings.TrimSuffix(u.Host+u.Path, "/"), nil
}

// once tells whether the source ends by itself.
func (s *Source) once() bool { return s.deps.Once || s.deps.Window != nil }

// Run implements source.Source. It returns an error only if the source reads
// once and a person has to act; otherwise it goes on trying, slowly, and says
// so in its status.
func (s *Source) Run(ctx context.Context, out source.Output) error {
	defer s.health.Stop()
	s.out = out
	turns := source.Turns{
		Lease: s.deps.Lease, Once: s.once(), Logger: s.log, Health: s.health, Part: partStore, Timing: s.timing.turns,
		Owned: func(held bool) {
			shards := 0
			if held {
				shards = 1
			}
			s.metrics.Owned(shards)
		},
	}
	return turns.Run(ctx, s.run)
}

// run reads until ctx ends, the lease is lost or, once, all is read.
func (s *Source) run(ctx context.Context, lost <-chan struct{}) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.reset()
	if err := s.prepare(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	s.log.Info("storage account is being read", "account", s.account, "containers", strings.Join(s.cfg.Containers, ","),
		"notifications", s.cfg.Notifications)
	closing, closed := source.Closing(ctx, lost, s.deps.Grace)
	defer closed()
	var workers sync.WaitGroup
	for range s.cfg.Workers {
		workers.Go(func() { s.work(ctx, closing) })
	}
	if s.queue != nil {
		workers.Go(func() { s.listen(ctx, closing) })
	}
	s.discover(ctx)
	if s.once() {
		s.waitPending(ctx, 1)
		if s.deps.Window == nil && ctx.Err() == nil {
			for _, f := range s.allFolders() {
				if err := s.retire(ctx, f); err != nil {
					s.trouble(ctx, partStore, "save the marks", err)
					break
				}
			}
		}
	}
	stop()
	workers.Wait()
	s.closeAll(closing)
	s.settling.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// reset forgets what was known under another lease.
func (s *Source) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedule = newSchedule(s.cfg.MaxOpen, s.deps.Now)
	s.containers, s.folders = map[string]*containerState{}, map[string]*folder{}
	s.pending, s.failure = 0, nil
	s.messages.Clear()
}

// prepare reads the checkpoints. A store that does not answer is waited for.
func (s *Source) prepare(ctx context.Context) error {
	wait := s.timing.retry
	for {
		err := s.load(ctx)
		if err == nil {
			s.health.OK(partStore)
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		var broken *cursorError
		if errors.As(err, &broken) {
			return err // a person has to say where to go on
		}
		s.health.Set(partStore, status.Problem{State: status.Retrying, Reason: err.Error(), Remedy: "check the checkpoint store"})
		s.log.Warn("checkpoints cannot be read: it is tried again", "error", err)
		if !sleep(ctx, jitter(wait)) {
			return nil
		}
		wait = min(2*wait, s.timing.retryMax)
	}
}

// work is one worker: it gives blobs their turns.
func (s *Source) work(ctx, closing context.Context) {
	for {
		b := s.schedule.take(ctx)
		if b == nil {
			return
		}
		s.mu.Lock()
		b.state, b.dirty = busy, false
		s.mu.Unlock()
		more, err := s.read(ctx, b)
		switch {
		case ctx.Err() != nil:
			return // closeAll takes care of it
		case errors.Is(err, errReplaced):
			s.settle(closing, b, 0)
		case err != nil:
			s.failed(closing, b, err)
		case more:
			s.schedule.add(b, true)
		default:
			s.succeeded(b)
			if err := s.remember(ctx, b); err != nil && ctx.Err() != nil {
				return
			}
			s.settle(closing, b, never)
		}
	}
}

// remember sees to it that a restart knows of a blob that was announced, even if
// there is no record in it yet: nobody will announce it again.
func (s *Source) remember(ctx context.Context, b *blob) error {
	s.mu.Lock()
	needed := len(b.notices) > 0 && !b.saved && b.stream == nil
	s.mu.Unlock()
	if !needed {
		return nil
	}
	return s.hand(ctx, b, nil)
}

// hand emits the payloads and the blob's position behind them.
func (s *Source) hand(ctx context.Context, b *blob, payloads []event.Payload) error {
	if b.stream == nil {
		if err := s.open(ctx, b); err != nil {
			return err
		}
	}
	cursor := b.pos.cursor()
	if err := b.stream.Emit(ctx, payloads, cursor); err != nil {
		return err
	}
	b.last = cursor
	return nil
}

func (s *Source) open(ctx context.Context, b *blob) error {
	origin := event.Origin{
		Source: s.deps.Name, Tenant: s.cfg.Tenant, Partition: b.partition(), Namespace: s.account + "/" + b.partition(),
	}
	if s.deps.Tenant != nil {
		origin.TenantID = s.deps.Tenant.ID
	}
	if b.pos.generation > 0 { // its bytes are not those that stood there before
		origin.Namespace += fmt.Sprintf("#%d", b.pos.generation)
	}
	stream, err := s.out.Open(ctx, origin)
	if err != nil {
		return &storeError{err}
	}
	b.stream, b.last = stream, stream.Resume()
	return nil
}

// storeError is a failure of the pipeline's, not of the storage account's.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// succeeded notes that the blob, and with it its container, can be read.
func (s *Source) succeeded(b *blob) {
	s.mu.Lock()
	b.tries = 0
	s.mu.Unlock()
	s.schedule.resume(b.folder.container)
	s.health.OK(partBlobs(b.folder.container))
}

// failed decides what becomes of a blob whose turn failed.
func (s *Source) failed(closing context.Context, b *blob, err error) {
	part, what := partBlobs(b.folder.container), "read blob "+b.partition()
	var p problem
	var store *storeError
	if errors.As(err, &store) {
		part = partStore
		p = problem{class: classOther, state: status.Retrying, reason: what + ": " + err.Error(), remedy: "check the checkpoint store"}
	} else {
		p = s.explain(what, err)
	}
	switch p.class {
	case classGone, classArchived:
		s.giveUp(closing, b, p)
		return
	}
	s.mu.Lock()
	b.tries++
	tries := b.tries
	s.mu.Unlock()
	wait := min(s.timing.retry<<min(tries-1, 10), s.timing.retryMax)
	if p.state == status.Failed {
		wait = s.timing.failed
	}
	if tries == 1 || p.state == status.Failed {
		s.log.Warn("blob was not read: it is tried again", "container", b.folder.container, "blob", b.name, "class", p.class,
			"reason", p.reason, "remedy", p.remedy)
	}
	if tries > 2 || p.state == status.Failed {
		s.health.Set(part, p.status())
	}
	if s.once() && (p.state == status.Failed || tries > onceTries) {
		s.mu.Lock()
		s.failure = errors.Join(s.failure, &p)
		b.closed = true
		s.mu.Unlock()
		s.settle(closing, b, never)
		return
	}
	wait = jitter(wait)
	if p.ofContainer() {
		s.schedule.pause(b.folder.container, wait)
		wait = 0
	}
	s.settle(closing, b, wait) // others may have its place meanwhile
}

// onceTries is how often a source that reads once tries what may pass.
const onceTries = 6

// giveUp reports a blob that cannot be read any more and lets go of it.
func (s *Source) giveUp(closing context.Context, b *blob, p problem) {
	s.mu.Lock()
	b.closed = true
	unread := b.listed.size - b.pos.offset
	s.mu.Unlock()
	s.metrics.Missing(p.class)
	s.log.Warn("blob is not read any further", "container", b.folder.container, "blob", b.name, "reason", p.reason,
		"remedy", p.remedy, "bytes_not_read", max(unread, 0))
	s.health.Note(p.reason, p.remedy)
	s.settle(closing, b, never)
}

// closeAll closes the streams of the blobs that are in turns when the source
// ends. No worker runs any more.
func (s *Source) closeAll(closing context.Context) {
	s.mu.Lock()
	var open []*blob
	for _, f := range s.folders {
		for _, b := range f.blobs {
			if b.part != nil {
				b.part.close()
				b.part = nil
			}
			if b.state != settling && b.stream != nil { // a stream that is settled is its settler's
				open = append(open, b)
			}
		}
	}
	s.mu.Unlock()
	for _, b := range open {
		s.settling.Go(func() { s.closeStream(closing, b) })
	}
}

// waitPending waits until fewer than most blobs wait to be read.
func (s *Source) waitPending(ctx context.Context, most int) {
	for {
		s.mu.Lock()
		pending, changed := s.pending, s.changed
		s.mu.Unlock()
		if pending < most {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// jitter returns between 0.75 and 1.25 of d, so that instances and containers
// do not act at the same moment.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + rand.Float64()/2))
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
