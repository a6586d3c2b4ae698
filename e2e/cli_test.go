package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

func TestDemoBalancesItsBooks(t *testing.T) {
	for _, schema := range []string{"ecs", "raw", "ocsf"} {
		t.Run(schema, func(t *testing.T) {
			output := filepath.Join(t.TempDir(), "out.ndjson")
			r := execute(t, "", nil, "demo", "--events", "20000", "--schema", schema, "--output", output)
			lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
			var b map[string]float64
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &b); err != nil || r.status != 0 {
				t.Fatalf("status %d, %v\nstdout: %s\nstderr: %s", r.status, err, r.stdout, r.stderr)
			}
			if b["produced"] != 20000 || b["delivered"] != 20000 || b["lost"] != 0 || b["duplicated"] != 0 || b["seconds"] <= 0 || b["events_per_second"] <= 0 {
				t.Errorf("balance %v, want 20000 produced and delivered, none lost, none twice", b)
			}
			data, err := os.ReadFile(output)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(data, []byte("\n")); n != 20000 {
				t.Errorf("%d lines in the output, want 20000", n)
			}
			flows := 0
			for line := range bytes.Lines(data) {
				if !json.Valid(line) {
					t.Fatalf("not JSON: %.300s", line)
				}
				if bytes.Contains(line, []byte("flowTuples")) {
					flows++
				}
			}
			if flows < 1000 {
				t.Errorf("%d events of flow logs, want 1,000 at least", flows)
			}
		})
	}
}

func TestDemoRunsUntilInterrupted(t *testing.T) {
	var stdout lockedBuffer
	output := filepath.Join(t.TempDir(), "out.ndjson")
	p := start(t, nil, &stdout, "demo", "--output", output)
	eventually(t, 30*time.Second, "events are written", func() bool { return size(output) > 0 })
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(t, time.Minute); status != 0 {
		t.Fatalf("status %d\n%s", status, p.stderr)
	}
	var b map[string]float64
	if err := json.Unmarshal([]byte(stdout.String()), &b); err != nil || b["produced"] == 0 || b["lost"] != 0 || b["duplicated"] != 0 {
		t.Errorf("balance %v (%v), want something produced and nothing lost", b, err)
	}
}

func TestSimPrintsItsEndpointsFirst(t *testing.T) {
	var stdout lockedBuffer
	ports := filepath.Join(t.TempDir(), "ports.json")
	p := start(t, nil, &stdout, "sim", "--ports", ports, "--events", "500")
	eventually(t, 30*time.Second, "the endpoints are printed", func() bool { return strings.Contains(stdout.String(), "\n") && size(ports) > 0 })
	first, _, _ := strings.Cut(stdout.String(), "\n")
	var e azuresim.Endpoints
	if err := json.Unmarshal([]byte(first), &e); err != nil || !strings.Contains(e.ConnectionString, "UseDevelopmentEmulator=true") {
		t.Fatalf("first line %s (%v), want the endpoints", first, err)
	}
	if saved, err := os.ReadFile(ports); err != nil || strings.TrimSpace(string(saved)) != first {
		t.Errorf("the file holds %s (%v), want the first line", saved, err)
	}
	// A user's collector reads what it holds and stops.
	dir, file := writeConfig(t, hubToFile(&azuresim.Sim{Endpoints: e}, ""))
	eventually(t, 30*time.Second, "500 events are delivered", func() bool {
		r := execute(t, "", []string{"HUB=" + e.ConnectionString}, "run", "-c", file, "--once")
		if r.status != 0 {
			t.Fatalf("status %d\n%s", r.status, r.stderr)
		}
		data, err := os.ReadFile(filepath.Join(dir, "events.ndjson"))
		return err == nil && bytes.Count(data, []byte("\n")) == 500
	})
	if status := p.stop(t); status != 0 {
		t.Errorf("sim ended with status %d\n%s", status, p.stderr)
	}
}

func TestSimKeepsItsHubsOverARestart(t *testing.T) {
	data := t.TempDir()
	dir := ""
	file := ""
	for run := range 2 {
		var stdout lockedBuffer
		p := start(t, nil, &stdout, "sim", "--data", data, "--events", "1000", "--amqp-port", fmt.Sprint(freePort(t)))
		eventually(t, 30*time.Second, "the simulator has produced", func() bool { return strings.Contains(p.stderr.String(), "produced") })
		first, _, _ := strings.Cut(stdout.String(), "\n")
		var e azuresim.Endpoints
		if err := json.Unmarshal([]byte(first), &e); err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			dir, file = writeConfig(t, hubToFile(&azuresim.Sim{Endpoints: e}, ""))
		}
		// The collector has read the first run's events only after the restart.
		if run == 1 {
			r := execute(t, "", []string{"HUB=" + e.ConnectionString}, "run", "-c", file, "--once")
			if r.status != 0 {
				t.Fatalf("status %d\n%s", r.status, r.stderr)
			}
			out, err := os.ReadFile(filepath.Join(dir, "events.ndjson"))
			if n := bytes.Count(out, []byte("\n")); err != nil || n != 2000 {
				t.Errorf("%d events over both runs of the simulator (%v), want 2000", n, err)
			}
		}
		p.kill()
	}
}

func TestRunStopsInOrder(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: 5, RetainBytes: -1})
	if _, err := sim.Produce(t.Context(), 3000, 0); err != nil {
		t.Fatal(err)
	}
	dir, file := writeConfig(t, hubToFile(sim, ""))
	p := start(t, hubEnv(sim), nil, "run", "-c", file)
	eventually(t, 30*time.Second, "everything is written", func() bool {
		data, err := os.ReadFile(filepath.Join(dir, "events.ndjson"))
		return err == nil && bytes.Count(data, []byte("\n")) >= 3000
	})
	m := telemetryAddress.FindStringSubmatch(p.stderr.String())
	if m == nil {
		t.Fatalf("the log does not tell where metrics are:\n%s", p.stderr)
	}
	resp, err := http.Get("http://" + m[1] + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("/readyz = %d while it collects, want 200", resp.StatusCode)
	}
	if status := p.stop(t); status != 0 {
		t.Fatalf("status %d\n%s", status, p.stderr)
	}
	// The positions were saved at the stop: nothing is read again.
	if r := execute(t, "", hubEnv(sim), "run", "-c", file, "--once"); r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.stderr)
	}
	ledger := sim.Ledger.Fresh()
	if err := ledger.ReadFiles(outputs(t, dir)...); err != nil {
		t.Fatal(err)
	}
	if r := ledger.Report(); r.Lost != 0 || r.Duplicated != 0 {
		t.Errorf("%v, want nothing lost and nothing twice", r)
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	sim := startSim(t, azuresim.Options{Seed: 6, RetainBytes: -1})
	if _, err := sim.Produce(t.Context(), 2000, 0); err != nil {
		t.Fatal(err)
	}
	// Standard output is a pipe that nobody reads: the sink hangs, and a stop waits.
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	_, file := writeConfig(t, strings.NewReplacer("type: file", "type: stdout", `path: "%DIR%/events.ndjson"`, "").Replace(hubToFile(sim, "shutdown: {grace: 10m}\n")))
	p := start(t, hubEnv(sim), writer, "run", "-c", file)
	eventually(t, 30*time.Second, "events are in flight", func() bool {
		m := telemetryAddress.FindStringSubmatch(p.stderr.String())
		return m != nil && metric(m[1], "lazuli_sink_queued_events") > 0
	})
	for range 2 {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, "the signal is seen", func() bool {
			select {
			case <-p.done:
				return true
			default:
				return strings.Contains(p.stderr.String(), "again to stop at once")
			}
		})
	}
	if status := p.wait(t, 20*time.Second); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
}

func TestCheckReportsEveryMistakeAtOnce(t *testing.T) {
	_, file := writeConfig(t, `
sources:
  hub: {type: event_hub, connection_string: "${env:NOT_SET}", hub: insights, start: yesterday, prefetc: 3}
sinks:
  out: {type: fil}
routes:
  - {from: [hubb], to: [out]}
`)
	r := execute(t, "", nil, "check", "-c", file)
	if r.status != 2 {
		t.Errorf("status %d, want 2", r.status)
	}
	for _, want := range []string{"NOT_SET", "yesterday", "prefetc", "prefetch", `"fil"`, "hubb", ":3:", ":5:", ":7:"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("the report does not mention %s:\n%s", want, r.stderr)
		}
	}
	if r.stdout != "" {
		t.Errorf("check wrote to standard output: %s", r.stdout)
	}
}

func TestWrongUsageIsStatus2(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"}, {"run"}, {"run", "-c", "/does/not/exist.yaml"}, {"normalize", "--schema", "xml"}, {"demo", "--events", "many"}, {"check", "-c", "."},
	} {
		if r := execute(t, "", nil, args...); r.status != 2 || r.stdout != "" || r.stderr == "" {
			t.Errorf("lazuli %s: status %d, stdout %q, stderr %q; want 2 and a message on stderr", strings.Join(args, " "), r.status, r.stdout, r.stderr)
		}
	}
	for _, args := range [][]string{{"--help"}, {}, {"run", "--help"}, {"config", "schema", "--help"}} {
		if r := execute(t, "", nil, args...); r.status != 0 || !strings.Contains(r.stdout, "Usage") {
			t.Errorf("lazuli %s: status %d, %q; want 0 and the usage", strings.Join(args, " "), r.status, r.stdout)
		}
	}
}

// TestEveryHelpTextHasAnExample walks the commands as the help lists them.
func TestEveryHelpTextHasAnExample(t *testing.T) {
	commands := regexp.MustCompile(`(?m)^  ([a-z]+)( |$)`).FindAllStringSubmatch(execute(t, "", nil, "--help").stdout, -1)
	if len(commands) < 8 {
		t.Fatalf("the help lists only %v", commands)
	}
	for _, c := range commands {
		args := []string{c[1], "--help"}
		if c[1] == "config" {
			args = []string{"config", "example", "--help"}
		}
		if r := execute(t, "", nil, args...); !strings.Contains(r.stdout, "Example:") {
			t.Errorf("lazuli %s shows no example:\n%s", strings.Join(args, " "), r.stdout)
		}
	}
}

func TestTheExampleConfigurationIsValid(t *testing.T) {
	r := execute(t, "", nil, "config", "example")
	if r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.stderr)
	}
	file := filepath.Join(t.TempDir(), "lazuli.yaml")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`\$\{file:[^}]*\}`).ReplaceAllString(r.stdout, "$${file:"+secret+"}")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{}
	for _, m := range regexp.MustCompile(`\$\{env:([A-Z_]+)\}`).FindAllStringSubmatch(r.stdout, -1) {
		value := "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0"
		if strings.HasSuffix(m[1], "STORAGE") {
			value = "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net"
		}
		env = append(env, m[1]+"="+value)
	}
	if c := execute(t, "", env, "check", "-c", file); c.status != 0 {
		t.Errorf("the example has mistakes:\n%s", c.stderr)
	}
	var schema map[string]any
	if s := execute(t, "", nil, "config", "schema"); json.Unmarshal([]byte(s.stdout), &schema) != nil || schema["$schema"] == nil {
		t.Errorf("config schema prints no JSON Schema: %.200s", s.stdout)
	}
}

func TestNormalizeReadsStandardInputAndKeepsTheOrder(t *testing.T) {
	in := "{\"records\":[{\"n\":1},{\"n\":2}]}\n{\"n\":3}\n{broken\n[{\"n\":4}]"
	letters := filepath.Join(t.TempDir(), "letters.ndjson")
	r := execute(t, in, nil, "normalize", "--schema", "raw", "--dead-letters", letters)
	if want := "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n"; r.stdout != want || r.status != 0 {
		t.Errorf("status %d, %q; want %q\n%s", r.status, r.stdout, want, r.stderr)
	}
	if !strings.HasSuffix(r.stderr, "events 4, dead letters 1\n") {
		t.Errorf("stderr does not end in the count: %q", r.stderr)
	}
	if data, err := os.ReadFile(letters); err != nil || !strings.Contains(string(data), "{broken") {
		t.Errorf("dead letters %s (%v), want the broken line", data, err)
	}
	if r := execute(t, in, nil, "normalize", "--schema", "raw", "--strict"); r.status != 1 {
		t.Errorf("strict: status %d, want 1", r.status)
	}
}

// TestNormalizeExplains: the row of the table that set each field of one record.
func TestNormalizeExplains(t *testing.T) {
	in := `{"category":"SignInLogs","properties":{"userId":"1"}}` + "\n" + `{"category":"AuditLogs","properties":{"initiatedBy":{"user":{"id":"2"}}}}`
	r := execute(t, in, nil, "normalize", "--schema", "ecs", "--explain", "--record", "2")
	line := regexp.MustCompile(`(?m)^user\.id +"2" +properties\.initiatedBy\.user\.id +ecs/entra_audit\.yaml:\d+$`)
	if r.status != 0 || !strings.HasPrefix(r.stdout, "log type  entra_audit") || !line.MatchString(r.stdout) {
		t.Errorf("status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	if r := execute(t, in, nil, "normalize", "--schema", "ecs", "--explain", "--record", "3"); r.status != 1 || !strings.Contains(r.stderr, "the input has 2 records") {
		t.Errorf("a record that is not there: status %d, %s", r.status, r.stderr)
	}
	if r := execute(t, in, nil, "normalize", "--schema", "raw", "--explain"); r.status != 2 || !strings.Contains(r.stderr, "choose ecs or ocsf") {
		t.Errorf("raw: status %d, %s", r.status, r.stderr)
	}
}

// TestNormalizeLosesNoRecordOfTheCorpus runs over samples that are not part of
// the project; LAZULI_SHARED names the folder that holds them.
func TestNormalizeLosesNoRecordOfTheCorpus(t *testing.T) {
	shared := os.Getenv("LAZULI_SHARED")
	if shared == "" {
		shared = "../../shared"
	}
	corpus := filepath.Join(shared, "corpus")
	if _, err := os.Stat(corpus); err != nil {
		t.Skipf("there is no corpus at %s (LAZULI_SHARED)", corpus)
	}
	count := regexp.MustCompile(`events (\d+), dead letters (\d+)\n$`)
	files := 0
	err := filepath.WalkDir(corpus, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(d.Name(), "-expected") || d.Name() == "INDEX.md" {
			return err
		}
		files++
		counts := map[string]string{}
		for _, schema := range []string{"raw", "ecs"} {
			r := execute(t, "", nil, "normalize", "--schema", schema, path)
			m := count.FindStringSubmatch(r.stderr)
			if r.status != 0 || m == nil {
				t.Errorf("%s as %s: status %d\n%s", path, schema, r.status, r.stderr)
				continue
			}
			if n := fmt.Sprint(strings.Count(r.stdout, "\n")); n != m[1] {
				t.Errorf("%s as %s: %s lines, %s events", path, schema, n, m[1])
			}
			for line := range strings.Lines(r.stdout) {
				if !json.Valid([]byte(line)) {
					t.Errorf("%s as %s: not JSON: %.200s", path, schema, line)
				}
			}
			counts[schema] = m[0]
		}
		if counts["raw"] != counts["ecs"] {
			t.Errorf("%s: %q as raw, %q as ecs", path, counts["raw"], counts["ecs"])
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Fatalf("%d files, %v", files, err)
	}
}

func TestVersion(t *testing.T) {
	if r := execute(t, "", nil, "version"); r.status != 0 || !strings.HasPrefix(r.stdout, "lazuli ") || !strings.Contains(r.stdout, "go1.") {
		t.Errorf("status %d, %q", r.status, r.stdout)
	}
}

func TestMappingsOfOnesOwn(t *testing.T) {
	mapping := filepath.Join(t.TempDir(), "doors.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(mapping, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`
define:
  - {name: door_log, category: DoorEvents, id: properties.eventId}
log_types: [door_log]
include: [envelope]
fields:
  - {to: event.category, value: [physical]}
  - {to: message, format: "{properties.door} opened by {identity}"}
`)
	record := `{"time":"2026-01-01T00:00:00Z","category":"DoorEvents","identity":"kim","properties":{"eventId":"e-1234567","door":"front"}}`
	r := execute(t, record, nil, "normalize", "--schema", "ecs", "--mapping", mapping)
	for _, want := range []string{`"category":["physical"]`, `"message":"front opened by kim"`, `"id":"e-1234567"`, `"log_type":"door_log"`} {
		if r.status != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("status %d, the event lacks %s: %s%s", r.status, want, r.stdout, r.stderr)
		}
	}
	_, file := writeConfig(t, `
sources: {hub: {type: event_hub, connection_string: "${env:HUB}", hub: h}}
sinks: {out: {type: stdout}}
normalize: {mappings: ["`+mapping+`"]}
`)
	env := []string{"HUB=Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0"}
	if r := execute(t, "", env, "check", "-c", file); r.status != 0 {
		t.Errorf("check of a good mapping: status %d\n%s", r.status, r.stderr)
	}
	write("log_types: [entra_audit]\nfields:\n  - {to: a.b, form: x}\n")
	for _, args := range [][]string{{"check", "-c", file}, {"run", "-c", file}, {"normalize", "--schema", "ecs", "--mapping", mapping}} {
		if r := execute(t, record, env, args...); r.status != 2 || !strings.Contains(r.stderr, "doors.yaml:3:") || !strings.Contains(r.stderr, `"form"`) {
			t.Errorf("%v: status %d, want 2 and the line of the mistake:\n%s", args, r.status, r.stderr)
		}
	}
}

func TestOnceCutShortIsAFailure(t *testing.T) {
	_, file := writeConfig(t, `
sources: {hub: {type: event_hub, connection_string: "${env:HUB}", hub: h}}
sinks: {out: {type: stdout}}
telemetry: {listen: ""}
`)
	env := []string{fmt.Sprintf("HUB=Endpoint=sb://127.0.0.1:%d;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true", freePort(t))}
	p := start(t, env, nil, "run", "--once", "-c", file)
	eventually(t, 30*time.Second, "it has started", func() bool { return strings.Contains(p.stderr.String(), `"collecting"`) })
	if status := p.stop(t); status != 1 || !strings.Contains(p.stderr.String(), "interrupted before everything was read") {
		t.Errorf("status %d, want 1 and the reason:\n%s", status, p.stderr)
	}
}

func TestNormalizeReadsGzip(t *testing.T) {
	var member bytes.Buffer
	w := gzip.NewWriter(&member)
	for i := range 10_000 {
		fmt.Fprintf(w, "{\"n\":%d,\"x\":\"%s\"}\n", i, strings.Repeat("x", 1500))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// More than a payload may hold when decompressed: 300 MB. A gzip file may have
	// many members.
	large := strings.Repeat(member.String(), 20)
	for name, tc := range map[string]struct {
		input       string
		least, dead int
	}{
		"a large file":    {large, 200_000, 0},
		"a damaged file":  {large[:len(large)/2-100], 50_000, 1},
		"only its magic":  {"\x1f\x8b\x08broken", 0, 1},
		"a text file":     {"{\"n\":1}", 1, 0},
		"an empty file":   {"", 0, 0},
		"a two-byte file": {"{}", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var written lines
			status, stderr := executeTo(t, &written, tc.input, nil, "normalize", "--schema", "raw")
			var events, dead int
			if _, err := fmt.Sscanf(stderr[strings.LastIndex(stderr, "events "):], "events %d, dead letters %d", &events, &dead); err != nil || status != 0 {
				t.Fatalf("status %d, %v: %s", status, err, stderr)
			}
			if events < tc.least || dead != tc.dead || int(written) != events {
				t.Errorf("%d events, %d lines and %d dead letters, want %d or more and %d\n%s", events, written, dead, tc.least, tc.dead, stderr)
			}
		})
	}
}

// lines counts the lines that are written to it.
type lines int

func (l *lines) Write(p []byte) (int, error) {
	*l += lines(bytes.Count(p, []byte("\n")))
	return len(p), nil
}
