package storage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/lazuli-logs/lazuli/internal/checkpoint/memstore"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
)

// fakeBlobs is a container in memory, on the clock of the bubble.
type fakeBlobs struct {
	mu       sync.Mutex
	blobs    map[string]*fakeBlob
	version  int
	requests int
	fail     func() bool // guarded by mu; whether the next request is refused
}

type fakeBlob struct {
	text              []byte
	etag              string
	created, modified time.Time
	archived          bool
}

func (f *fakeBlobs) change(name string, make func(text []byte) []byte, anew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	b := f.blobs[name]
	if b == nil || anew {
		b = &fakeBlob{created: time.Now().Truncate(time.Second)}
		f.blobs[name] = b
	}
	b.text = make(bytes.Clone(b.text))
	b.etag, b.modified = fmt.Sprintf("%q", strconv.Itoa(f.version)), time.Now().Truncate(time.Second)
}

func refusal(code string, status int) error {
	request, _ := http.NewRequest(http.MethodGet, "https://account/", nil)
	return &azcore.ResponseError{ErrorCode: code, StatusCode: status, RawResponse: &http.Response{Request: request, StatusCode: status, Body: http.NoBody}}
}

func (f *fakeBlobs) begin() error {
	f.requests++
	if f.fail != nil && f.fail() {
		return refusal("ServerBusy", http.StatusServiceUnavailable)
	}
	return nil
}

func (f *fakeBlobs) containers(context.Context, string, string) ([]string, string, error) {
	return []string{"insights-logs-model"}, "", nil
}

func (f *fakeBlobs) list(_ context.Context, _, prefix, delimiter, marker string, most int32) (page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(); err != nil {
		return page{}, err
	}
	var names []string
	for name := range f.blobs {
		if strings.HasPrefix(name, prefix) && name >= marker {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var p page
	if most == 0 {
		most = 5000
	}
	for _, name := range names {
		if len(p.items)+len(p.prefixes) == int(most) {
			p.next = name
			return p, nil
		}
		if i := strings.Index(name[len(prefix):], "/"); delimiter != "" && i >= 0 {
			dir := name[:len(prefix)+i+1]
			if n := len(p.prefixes); n == 0 || p.prefixes[n-1] != dir {
				p.prefixes = append(p.prefixes, dir)
			}
			continue
		}
		b := f.blobs[name]
		p.items = append(p.items, item{name, int64(len(b.text)), b.etag, b.created, b.modified, b.archived})
	}
	return p, nil
}

func (f *fakeBlobs) get(_ context.Context, _, name string, offset, count int64, unless string) (*download, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(); err != nil {
		return nil, err
	}
	b := f.blobs[name]
	switch {
	case b == nil:
		return nil, refusal("BlobNotFound", http.StatusNotFound)
	case b.etag == unless:
		return &download{unchanged: true, etag: unless}, nil
	case offset >= int64(len(b.text)):
		return &download{beyond: true}, nil
	}
	text := b.text[offset:min(int64(len(b.text)), offset+count)]
	return &download{
		body: io.NopCloser(bytes.NewReader(text)), length: int64(len(text)), size: int64(len(b.text)), etag: b.etag,
		created: b.created, modified: b.modified,
	}, nil
}

// modelRun plays one random schedule: blobs of several resources are appended
// to, rewritten as flow logs are, changed late, replaced and deleted, while the
// source runs, is stopped or crashes, and the service refuses now and then.
type modelRun struct {
	t       *testing.T
	r       *rand.Rand
	service *fakeBlobs
	store   *memstore.Store
	flat    bool
	written map[string]string // record: blob, of those that cannot be missed
	doubts  map[string]bool   // blobs with records that may be missed, or come twice
	seen    map[string]int
	crashed bool
	n       int
}

func (m *modelRun) name(resource int, hour time.Time) string {
	if m.flat {
		return fmt.Sprintf("folder%d/%d.log", resource, hour.Unix())
	}
	return fmt.Sprintf("resourceId=/R%d/", resource) + hourPath(hour) + "m=00/PT1H.json"
}

// step changes the container once, somewhere between a few seconds and an hour on.
func (m *modelRun) step() {
	r := m.r
	time.Sleep(time.Duration(1+r.IntN(600)) * time.Second)
	if r.IntN(6) == 0 {
		time.Sleep(time.Duration(r.IntN(4*3600)) * time.Second)
	}
	hour := hourOf(time.Now())
	if r.IntN(3) == 0 { // a late write, within the look-back
		hour = hour.Add(-time.Duration(1+r.IntN(4)) * time.Hour)
	}
	name := m.name(r.IntN(3), hour)
	record := func() string {
		m.n++
		return fmt.Sprintf(`{"n":%d,"text":"%s"}`, m.n, strings.Repeat("x", r.IntN(40)))
	}
	switch action := r.IntN(20); {
	case action == 0: // deleted: what was not read is lost, and may be
		m.service.mu.Lock()
		delete(m.service.blobs, name)
		m.service.mu.Unlock()
		m.doubt(name)
	case action == 1: // replaced by another of its name
		m.doubt(name)
		rec := record()
		m.service.change(name, func([]byte) []byte { return []byte(rec + "\n") }, r.IntN(2) == 0)
	default:
		recs := []string{record()}
		for r.IntN(2) == 0 {
			recs = append(recs, record())
		}
		text := strings.Join(recs, "\n") + "\n"
		cut := len(text)
		if r.IntN(2) == 0 { // in two parts
			cut = r.IntN(len(text))
		}
		m.service.change(name, func(old []byte) []byte { return append(old, text[:cut]...) }, false)
		if cut < len(text) {
			time.Sleep(time.Duration(r.IntN(120)) * time.Second)
			m.service.change(name, func(old []byte) []byte { return append(old, text[cut:]...) }, false)
		}
		for _, rec := range recs {
			m.written[rec] = name
		}
	}
}

func (m *modelRun) doubt(name string) { m.doubts[name] = true }

// life runs the source for some steps and ends it, cleanly or as a crash does.
func (m *modelRun) life(steps int) {
	rec := sourcetest.NewRecorder(m.store, sourcetest.Name)
	cfg := DefaultConfig()
	cfg.ConnectionString = "unused"
	cfg.Containers = []string{"insights-logs-*"}
	cfg.LookBack = config.Duration(6 * time.Hour)
	s := newSource(cfg, Deps{
		Name: sourcetest.Name, Logger: modelLog(), Metrics: noMetrics{}, Checkpoints: m.store,
		Now: time.Now, Grace: 20 * time.Second,
	}, m.service)
	s.account = "account"
	s.timing.most = int32(1 + m.r.IntN(4))
	s.timing.tick = 10 * time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx, rec) }()
	crash := m.r.IntN(2) == 0
	for i := range steps {
		if crash && i == steps-1 {
			rec.Hold() // what is emitted from now on is not confirmed
		}
		m.step()
	}
	if crash {
		m.crashed = true
		rec.Crash()
	} else {
		time.Sleep(15 * time.Minute)
	}
	cancel()
	if err := <-done; err != nil {
		m.t.Fatal(err)
	}
	m.collect(rec)
}

// settle lets the source run until everything is read and forgotten.
func (m *modelRun) settle() {
	m.service.mu.Lock()
	m.service.fail = nil
	m.service.mu.Unlock()
	rec := sourcetest.NewRecorder(m.store, sourcetest.Name)
	cfg := DefaultConfig()
	cfg.ConnectionString, cfg.Containers = "unused", []string{"insights-logs-*"}
	s := newSource(cfg, Deps{Name: sourcetest.Name, Logger: modelLog(), Metrics: noMetrics{}, Checkpoints: m.store, Now: time.Now}, m.service)
	s.account = "account"
	s.timing.tick = 10 * time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx, rec) }()
	time.Sleep(9 * time.Hour)
	cancel()
	if err := <-done; err != nil {
		m.t.Fatal(err)
	}
	m.collect(rec)
}

func (m *modelRun) collect(rec *sourcetest.Recorder) {
	m.service.mu.Lock()
	defer m.service.mu.Unlock()
	names := map[string]bool{}
	for name := range m.service.blobs {
		names[name] = true
	}
	for name := range m.doubts {
		names[name] = true
	}
	for name := range names {
		for _, p := range rec.Partition("insights-logs-model/" + name).Payloads {
			m.seen[string(p.Body)]++
			m.checkPosition(name, p)
		}
	}
}

// checkPosition: an id made of the position must not depend on how a blob was cut.
func (m *modelRun) checkPosition(name string, p event.Payload) {
	b := m.service.blobs[name]
	if b == nil || m.doubts[name] {
		return
	}
	if at := p.Position; at < 0 || at+int64(len(p.Body)) > int64(len(b.text)) || !bytes.Equal(b.text[at:at+int64(len(p.Body))], p.Body) {
		m.t.Errorf("%s: the record %s is not at byte %d", name, p.Body, at)
	}
}

func playModel(t *testing.T, seed uint64) {
	m := &modelRun{
		t: t, r: rand.New(rand.NewPCG(seed, 5)), store: memstore.New(), service: &fakeBlobs{blobs: map[string]*fakeBlob{}},
		written: map[string]string{}, doubts: map[string]bool{}, seen: map[string]int{},
	}
	m.flat = m.r.IntN(4) == 0
	if m.r.IntN(2) == 0 {
		faults := rand.New(rand.NewPCG(seed, 6))
		m.service.fail = func() bool { return faults.IntN(20) == 0 }
	}
	for range 1 + m.r.IntN(4) {
		m.life(1 + m.r.IntN(8))
		if m.r.IntN(3) == 0 { // it is off for a while
			for range m.r.IntN(4) {
				m.step()
			}
			time.Sleep(time.Duration(m.r.IntN(30)) * time.Hour)
		}
	}
	m.settle()
	for rec, name := range m.written {
		switch n := m.seen[rec]; {
		case m.doubts[name]:
		case n == 0:
			t.Errorf("lost: %s of %s", rec, name)
		case n > 1 && !m.crashed:
			t.Errorf("%d times, though nothing crashed: %s of %s", n, rec, name)
		}
	}
	entries, _ := m.store.List(context.Background(), sourcetest.Name)
	blobs := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Partition, markPrefix) {
			blobs++
		}
	}
	if blobs > 0 {
		t.Errorf("%d blobs are not forgotten long after everything is read: %v", blobs, entries)
	}
}

// TestNoScheduleLosesARecord plays random schedules on a clock of its own: hours
// pass in no time. LAZULI_SCHEDULES says how many.
func TestNoScheduleLosesARecord(t *testing.T) {
	schedules := 60
	if n, err := strconv.Atoi(os.Getenv("LAZULI_SCHEDULES")); err == nil {
		schedules = n
	}
	base := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("LAZULI_SEED"), 10, 64); err == nil {
		base, schedules = s, 1
	}
	for i := range schedules {
		seed := base + uint64(i)
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playModel(t, seed) })
		})
		if !ok {
			t.Fatalf("repeat with LAZULI_SEED=%d", seed)
		}
	}
}

// modelLog shows what the source does when one schedule is repeated.
func modelLog() *slog.Logger {
	if os.Getenv("LAZULI_SEED") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}
