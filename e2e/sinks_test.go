package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/azuresim/engine"
	"github.com/lazuli-logs/lazuli/internal/sink/elasticsearch/elastictest"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
	"github.com/lazuli-logs/lazuli/internal/sink/splunkhec/splunktest"
)

// destination is where the real binary sends to, and what makes it fail.
type destination struct {
	sink    string // YAML of the sink "out", indented by four
	tenants string // YAML
	env     []string
	disturb []func() // each is called now and then while events pour in
	refuse  func(on bool)
	arrived func() [][]byte // the events there, with repeats
	// ids returns how often each id is there; nil where the destination does not
	// tell events apart by their ids.
	ids func() map[string]int
	// named returns the events with the ids that came beside them; nil where none
	// does.
	named func() []named
	// settle waits until all that was sent counts as arrived, once the senders have
	// ended; nil where an answer is given for it.
	settle func(t *testing.T)
}

const contosoTenant = `
tenants:
  contoso:
    tenant_id: %s
    ca_file: %q
    endpoints: {authority: %q}
    credential: {type: client_secret, client_id: %s, client_secret: "${env:CLIENT_SECRET}"}
`

// manyBytes is more than one event has: an event that is too large by itself is
// refused for good, and rightly so.
const manyBytes = 64 << 10

// narrow stands before a server and answers some requests with 413.
type narrow struct {
	http.Handler
	left atomic.Int32
}

func (n *narrow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n.left.Load() > 0 {
		var received bytes.Buffer
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(io.TeeReader(r.Body, &received))
		plain, err := sinktest.Body(again, 64<<20)
		r.Body = io.NopCloser(io.MultiReader(&received, r.Body))
		if err == nil && len(plain) > manyBytes && n.left.Add(-1) >= 0 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
	}
	n.Handler.ServeHTTP(w, r)
}

func azureMonitor(sim *azuresim.Sim) destination {
	e := sim.Endpoints
	faults := &sim.Ingestion.Faults
	return destination{
		tenants: fmt.Sprintf(contosoTenant, e.TenantID, e.CAFile, e.HTTPS, e.ClientID),
		sink:    fmt.Sprintf("    type: azure_monitor\n    tenant: contoso\n    endpoint: %s\n    rule: %s\n    stream: %s\n", e.HTTPS, e.Ingestion.Rule, e.Ingestion.Stream),
		env:     []string{"CLIENT_SECRET=" + e.ClientSecret},
		disturb: []func(){
			func() { faults.Fail(2, 500, 0) },
			func() { faults.Fail(1, 429, time.Second) },
			func() { faults.TooLarge(3, manyBytes) },
			func() { faults.Cut(1) },
		},
		refuse: func(on bool) { faults.Deny(on) },
		arrived: func() (rows [][]byte) {
			for _, r := range sim.Ingestion.Rows("") {
				rows = append(rows, r.Data)
			}
			return rows
		},
	}
}

func grpcEngine(t *testing.T) destination {
	t.Helper()
	server := engine.New(engine.Options{})
	socket := filepath.Join(t.TempDir(), "engine.sock")
	var ended <-chan error
	serve := func() {
		ln, err := net.Listen("unix", socket)
		if err != nil {
			t.Error(err)
			return
		}
		ended = server.Serve(ln)
	}
	serve()
	t.Cleanup(server.Stop)
	return destination{
		sink: fmt.Sprintf("    type: grpc\n    target: %q\n    timeout: 5s\n", "unix://"+socket),
		disturb: []func(){
			func() { server.Fail(2, codes.Internal, 0) },
			func() { server.Cut(1) },
			func() { server.Stop(); <-ended; serve() },
		},
		refuse: func(on bool) {
			if on {
				server.Fail(1<<30, codes.Unauthenticated, 0)
			} else {
				server.Fail(0, codes.OK, 0)
			}
		},
		arrived: func() (raw [][]byte) {
			for _, l := range server.Logs() {
				raw = append(raw, l.Raw)
			}
			return raw
		},
	}
}

func elastic(t *testing.T) destination {
	t.Helper()
	server := elastictest.New()
	narrow := &narrow{Handler: server}
	listener := httptest.NewServer(narrow)
	t.Cleanup(listener.Close)
	return destination{
		sink: fmt.Sprintf("    type: elasticsearch\n    urls: [%q]\n    timeout: 5s\n", listener.URL),
		disturb: []func(){
			func() { server.Fail(2, 502, 0) },
			func() { server.Fail(1, 429, time.Second) },
			func() { narrow.left.Store(2) },
			func() { server.FailItems(100, 429) },
			func() { server.Cut(1) },
		},
		refuse: func(on bool) {
			if on {
				server.Fail(1<<30, 403, 0)
			} else {
				server.Fail(0, 0, 0)
			}
		},
		arrived: func() (documents [][]byte) {
			for _, d := range server.Documents() {
				documents = append(documents, d.Source)
			}
			return documents
		},
		ids: func() map[string]int {
			ids := map[string]int{}
			for _, d := range server.Documents() {
				ids[d.ID]++
			}
			return ids
		},
	}
}

func splunk(t *testing.T) destination {
	t.Helper()
	server := splunktest.New("token")
	server.Acks, server.AckAfter = true, 1
	narrow := &narrow{Handler: server}
	listener := httptest.NewServer(narrow)
	t.Cleanup(listener.Close)
	return destination{
		sink: fmt.Sprintf("    type: splunk_hec\n    url: %q\n    token: token\n    ack: true\n    ack_poll: 20ms\n    timeout: 5s\n", listener.URL),
		disturb: []func(){
			func() { server.Fail(2, 503, 9, 0) },
			func() { narrow.left.Store(2) },
			func() { server.Lose(2) },
			func() { server.Cut(1) },
		},
		refuse: func(on bool) {
			if on {
				server.Fail(1<<30, 403, 4, 0)
			} else {
				server.Fail(0, 0, 0, 0)
			}
		},
		arrived: func() (events [][]byte) {
			for _, e := range server.Events() {
				events = append(events, e.Event)
			}
			return events
		},
	}
}

// endpoint is what the sink http sends lines to.
type endpoint struct {
	mu     sync.Mutex // guards what follows
	lines  [][]byte
	fail   int
	status int
	cut    bool
}

func (e *endpoint) set(f func()) func() {
	return func() { e.mu.Lock(); defer e.mu.Unlock(); f() }
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail > 0 || err != nil {
		e.fail--
		w.WriteHeader(e.status)
		return
	}
	e.lines = append(e.lines, bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))...)
	if e.cut {
		e.cut = false
		panic(http.ErrAbortHandler)
	}
}

func anyEndpoint(t *testing.T) destination {
	t.Helper()
	e := &endpoint{}
	narrow := &narrow{Handler: e}
	listener := httptest.NewServer(narrow)
	t.Cleanup(listener.Close)
	return destination{
		sink: fmt.Sprintf("    type: http\n    url: %q\n    timeout: 5s\n", listener.URL),
		disturb: []func(){
			e.set(func() { e.fail, e.status = 2, 500 }),
			func() { narrow.left.Store(2) },
			e.set(func() { e.fail, e.status = 1, 429 }),
			e.set(func() { e.cut = true }),
		},
		refuse: func(on bool) {
			e.set(func() {
				if e.fail, e.status = 0, 403; on {
					e.fail = 1 << 30
				}
			})()
		},
		arrived: func() (lines [][]byte) {
			e.set(func() { lines = append(lines, e.lines...) })()
			return lines
		},
	}
}

func destinations() map[string]func(t *testing.T, sim *azuresim.Sim) destination {
	return map[string]func(t *testing.T, sim *azuresim.Sim) destination{
		"azure_monitor":         func(_ *testing.T, sim *azuresim.Sim) destination { return azureMonitor(sim) },
		"elasticsearch":         func(t *testing.T, _ *azuresim.Sim) destination { return elastic(t) },
		"splunk_hec":            func(t *testing.T, _ *azuresim.Sim) destination { return splunk(t) },
		"http":                  func(t *testing.T, _ *azuresim.Sim) destination { return anyEndpoint(t) },
		"blob":                  func(t *testing.T, _ *azuresim.Sim) destination { return lake(t) },
		"grpc":                  func(t *testing.T, _ *azuresim.Sim) destination { return grpcEngine(t) },
		"kafka":                 func(t *testing.T, _ *azuresim.Sim) destination { return kafka(t) },
		"syslog":                func(t *testing.T, _ *azuresim.Sim) destination { return syslog(t) },
		"otlp":                  func(t *testing.T, _ *azuresim.Sim) destination { return otlp(t) },
		"otlp of the Collector": func(t *testing.T, _ *azuresim.Sim) destination { return collectorReceiver(t) },
	}
}

// hubTo is a configuration from the simulator's hub to a destination.
func hubTo(sim *azuresim.Sim, d destination, more string) string {
	return d.tenants + `
sources:
  hub: {type: event_hub, connection_string: "${env:HUB}", hub: ` + sim.Endpoints.Hubs[0] + `, consumer_group: lazuli}
sinks:
  out:
` + d.sink + `    retry: {initial: 20ms, max: 200ms}
` + more + `
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: "127.0.0.1:0"}
limits: {in_flight: 8MiB}
`
}

// TestSinksLoseNothingWhenKilled kills the collector with SIGKILL again and again
// while events pour in and the destination fails in its ways, and counts by the
// records' own ids what the destination holds.
func TestSinksLoseNothingWhenKilled(t *testing.T) {
	const rate = 1500 // events a second
	for name, open := range destinations() {
		t.Run(name, func(t *testing.T) {
			kills := killsOf(t)
			seed := seedOf(t)
			r := rand.New(rand.NewPCG(seed, 1))
			sim := startSim(t, azuresim.Options{Seed: seed, RetainBytes: -1})
			d := open(t, sim)
			more := ""
			if d.ids != nil {
				more = "  all: {type: file, path: \"%DIR%/events.ndjson\"}\n"
			}
			dir, file := writeConfig(t, hubTo(sim, d, more))
			env := append(hubEnv(sim), d.env...)

			producing, stopProducing := context.WithCancel(t.Context())
			defer stopProducing()
			produced := make(chan error, 1)
			go func() {
				_, err := sim.Produce(producing, 0, rate)
				produced <- err
			}()
			for life := range kills {
				before := len(d.arrived())
				p := start(t, env, nil, "run", "-c", file)
				p.eventually(t, time.Minute, "events arrive after a start", func() bool { return len(d.arrived()) > before })
				saved := positions(t, dir)
				for range 1 + r.IntN(5) {
					d.disturb[r.IntN(len(d.disturb))]()
					pause(t, time.Duration(r.IntN(300))*time.Millisecond)
				}
				// What is read anew from the beginning cannot be lost: in every second life
				// positions are saved, and then, for longer than from one time to the next,
				// the destination takes nothing of what is read.
				refused := life%2 == 0
				if refused {
					p.eventually(t, time.Minute, "positions are saved", func() bool { return positions(t, dir) != saved })
					d.refuse(true)
					pause(t, 1200*time.Millisecond)
				}
				p.kill()
				if refused {
					d.refuse(false)
				}
			}
			stopProducing()
			if err := <-produced; err != nil {
				t.Fatal(err)
			}
			if last := execute(t, "", env, "run", "-c", file, "--once"); last.status != 0 {
				t.Fatalf("the last run ended with status %d:\n%s", last.status, last.stderr)
			}
			if letters := filepath.Join(dir, "dead-letters", "letters.ndjson"); size(letters) > 0 {
				t.Error("there are dead letters although the destination refused nothing for good")
			}
			if d.settle != nil {
				d.settle(t)
			}
			if d.named != nil {
				wantNamed(t, d.named())
			}
			ledger := sim.Ledger.Fresh()
			if d.ids != nil {
				wantIDs(t, filepath.Join(dir, "events.ndjson"), d.ids())
				if err := ledger.ReadFiles(outputs(t, dir)...); err != nil {
					t.Fatal(err)
				}
			} else {
				for _, e := range d.arrived() {
					ledger.SeenLine(e)
				}
			}
			report := ledger.Report()
			t.Logf("%d kills: %v", kills, report)
			if report.Lost > 0 || report.Unknown > 0 || report.NoID > 0 {
				t.Errorf("%v; lost for example %v", report, ledger.Lost(5))
			}
			if report.Produced < uint64(kills)*100 {
				t.Errorf("only %d records: the collector was never under load", report.Produced)
			}
		})
	}
}

// positions are the contents of the checkpoints' files.
func positions(t *testing.T, dir string) (text string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "checkpoints", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		text += file + string(data)
	}
	return text
}

// killsOf is how often the collector is killed over each destination: eight times,
// or LAZULI_KILLS.
func killsOf(t *testing.T) int {
	t.Helper()
	text := os.Getenv("LAZULI_KILLS")
	if text == "" {
		return 8
	}
	kills, err := strconv.Atoi(text)
	if err != nil || kills < 1 {
		t.Fatalf("LAZULI_KILLS is %q; write how often to kill, e.g. 20", text)
	}
	return kills
}

// wantIDs compares the ids at a destination with those of all events in a file.
// It is not the records that are counted: two changes of one thing within a
// second can share an id, and such a destination keeps the first.
func wantIDs(t *testing.T, file string, got map[string]int) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lost, all := 0, map[string]bool{}
	for line := range bytes.Lines(data) {
		var e struct{ Event struct{ ID string } }
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		if all[e.Event.ID] = true; got[e.Event.ID] == 0 {
			lost++
		}
	}
	twice := 0
	for _, n := range got {
		if n > 1 {
			twice++
		}
	}
	t.Logf("%d ids, %d at the destination, %d lost, %d there twice", len(all), len(got), lost, twice)
	if lost > 0 || twice > 0 || len(got) < 1000 {
		t.Errorf("%d ids are lost and %d are there twice, of %d", lost, twice, len(got))
	}
}

// TestReplayReachesEverySink: what a destination did not take for long becomes
// dead letters, and lazuli replay delivers them.
func TestReplayReachesEverySink(t *testing.T) {
	for name, open := range destinations() {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, azuresim.Options{Seed: seedOf(t), RetainBytes: -1})
			d := open(t, sim)
			if _, err := sim.Produce(t.Context(), 300, 0); err != nil {
				t.Fatal(err)
			}
			dir, file := writeConfig(t, hubTo(sim, d, "    spill_after: 500ms"))
			env := append(hubEnv(sim), d.env...)
			d.refuse(true)
			if r := execute(t, "", env, "run", "-c", file, "--once"); r.status != 0 {
				t.Fatalf("run: status %d\n%s", r.status, r.stderr)
			}
			if n := len(d.arrived()); n != 0 {
				t.Fatalf("%d events arrived although all were refused", n)
			}
			d.refuse(false)
			if r := execute(t, "", env, "replay", "-c", file, "--sink", "out"); r.status != 0 {
				t.Fatalf("replay: status %d\n%s", r.status, r.stderr)
			}
			if d.settle != nil {
				d.settle(t)
			}
			ledger := sim.Ledger.Fresh()
			for _, e := range d.arrived() {
				ledger.SeenLine(e)
			}
			if report := ledger.Report(); report.Lost > 0 || report.Duplicated > 0 || report.Delivered < 300 {
				t.Errorf("%v", report)
			}
			if data, err := os.ReadFile(filepath.Join(dir, "dead-letters", "letters.ndjson")); err == nil && len(data) > 0 {
				t.Errorf("dead letters are left after the replay: %.300s", data)
			}
		})
	}
}

// TestAPipeIntoSentinel: another product's records, piped through lazuli run into
// a table, as they are and whole.
func TestAPipeIntoSentinel(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: seedOf(t)})
	d := azureMonitor(sim)
	_, file := writeConfig(t, d.tenants+`
sources: {pipe: {type: stdin}}
sinks:
  out:
`+d.sink+`
routes: [{from: [pipe], schema: raw, to: [out]}]
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: ""}
`)
	var in strings.Builder
	const n = 5000
	for i := range n {
		fmt.Fprintf(&in, `{"actor":"zoë","n":%d,"large":9007199254740993,"note":%q}`+"\n", i, strings.Repeat("x", i%700))
	}
	if r := execute(t, in.String(), d.env, "run", "-c", file); r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.stderr)
	}
	rows := map[string]bool{}
	for _, r := range d.arrived() {
		before, after, _ := strings.Cut(string(r), ",")
		if !strings.HasPrefix(before, `{"TimeGenerated":"`) {
			t.Fatalf("a row without its time: %.100s", r)
		}
		rows["{"+after] = true
	}
	for line := range strings.Lines(in.String()) {
		if !rows[strings.TrimSuffix(line, "\n")] {
			t.Fatalf("not in the table: %s", line)
		}
	}
	if len(rows) != n {
		t.Errorf("%d rows, want %d", len(rows), n)
	}
}

// TestAFileIsFollowedOverACrash: a log is written and rotated while the collector
// is killed.
func TestAFileIsFollowedOverACrash(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: seedOf(t)})
	d := azureMonitor(sim)
	dir, file := writeConfig(t, d.tenants+`
sources: {log: {type: file, path: "%DIR%/product.log*", poll: 100ms}}
sinks:
  out:
`+d.sink+`    batch: {wait: 50ms}
routes: [{from: [log], schema: raw, to: [out]}]
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: ""}
`)
	log := filepath.Join(dir, "product.log")
	written := 0
	for round := range 4 {
		p := start(t, d.env, nil, "run", "-c", file)
		f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		for range 500 {
			written++
			fmt.Fprintf(f, "{\"line\":\"<%d>\"}\n", written)
		}
		f.Close()
		if round%2 == 0 {
			if err := os.Rename(log, fmt.Sprint(log, ".", round)); err != nil {
				t.Fatal(err)
			}
		}
		before := len(d.arrived())
		p.eventually(t, time.Minute, "rows arrive", func() bool { return len(d.arrived()) > before })
		p.kill()
	}
	if r := execute(t, "", d.env, "run", "-c", file, "--once"); r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.stderr)
	}
	var all strings.Builder
	for _, r := range d.arrived() {
		all.Write(r)
	}
	for i := 1; i <= written; i++ {
		if !strings.Contains(all.String(), fmt.Sprintf("<%d>", i)) {
			t.Errorf("line %d of %d is not in the table", i, written)
		}
	}
}
