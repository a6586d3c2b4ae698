package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest/victoriatest"
)

// way is a sink that leads to VictoriaLogs.
type way struct {
	sink string                      // YAML, indented by four
	form func(sent) victoriatest.Log // the log that it makes of an event
	id   string                      // the field that has the event's id
	// whole says that the log has no other fields than those of form.
	whole bool
	micro bool // times have microseconds
	// silent says that nobody answers: what the server has not read when it stops
	// is lost.
	silent bool
}

// noMessage is what VictoriaLogs writes where there is none.
const noMessage = "missing _msg field; see https://docs.victoriametrics.com/victorialogs/keyconcepts/#message-field"

// waysTo are all there are; each has a server of its own.
func waysTo(server func(way string) *victoriatest.Server) map[string]way {
	members := func(e sent) victoriatest.Log {
		log := maps.Clone(e.members)
		log["_msg"] = log["event.original"]
		delete(log, "event.original")
		delete(log, "@timestamp")
		return log
	}
	return map[string]way{
		"elasticsearch": {
			sink: fmt.Sprintf("    type: elasticsearch\n    urls: [%q]\n    headers: {VL-Time-Field: \"@timestamp\", VL-Msg-Field: event.original}\n",
				server("elasticsearch").URL+"/insert/elasticsearch"),
			form: func(e sent) victoriatest.Log {
				log := members(e)
				log["data_stream.type"], log["data_stream.dataset"], log["data_stream.namespace"] = "logs", cmp.Or(log["event.dataset"], "azure."+log["lazuli.log_type"]), "default"
				return log
			},
			id: "event.id", whole: true,
		},
		"http": {
			sink: fmt.Sprintf("    type: http\n    url: %q\n    compression: zstd\n", server("http").URL+"/insert/jsonline?_time_field=@timestamp&_msg_field=event.original"),
			form: members, id: "event.id", whole: true,
		},
		"otlp": {
			sink: fmt.Sprintf("    type: otlp\n    protocol: http\n    endpoint: %q\n", server("otlp").URL+"/insert/opentelemetry/v1/logs"),
			form: func(e sent) victoriatest.Log {
				return victoriatest.Log{
					"_msg": string(e.data), "log.record.uid": e.members["event.id"], "event_name": e.members["lazuli.log_type"], "lazuli.log_type": e.members["lazuli.log_type"],
					"lazuli.source": e.members["lazuli.source"], "lazuli.schema": "ecs", "scope.name": "lazuli", "service.name": "lazuli",
				}
			},
			id: "log.record.uid",
		},
		"splunk_hec": {
			sink: fmt.Sprintf("    type: splunk_hec\n    url: %q\n    token: any\n    host: azure\n", server("splunk_hec").URL),
			form: func(e sent) victoriatest.Log {
				log := victoriatest.Log{
					"_msg": noMessage, "host": "azure", "source": e.members["lazuli.source"], "sourcetype": "azure:lazuli",
					"fields.event_id": e.members["event.id"], "fields.log_type": e.members["lazuli.log_type"],
				}
				for name, value := range e.members {
					if name == "message" {
						log["_msg"] = value
					} else {
						log["event."+name] = value
					}
				}
				return log
			},
			id: "fields.event_id", whole: true, micro: true,
		},
		"syslog": {
			sink: fmt.Sprintf("    type: syslog\n    address: %q\n    tls: false\n    max_message: 250KiB\n", server("syslog").Syslog),
			form: func(e sent) victoriatest.Log {
				return victoriatest.Log{
					"_msg": string(e.data), "lazuli@32473.id": e.members["event.id"], "msg_id": e.members["lazuli.log_type"], "app_name": "lazuli",
					"facility_keyword": "local0", "format": "rfc5424",
				}
			},
			id: "lazuli@32473.id", micro: true, silent: true,
		},
	}
}

// TestVictoriaLogsHoldsWhatItWasSent sends to a database by every protocol that it
// knows, and asks for all it holds: first each event once, whole; then, after the
// databases were stopped and started while events poured in, each at least once.
func TestVictoriaLogsHoldsWhatItWasSent(t *testing.T) {
	servers := map[string]*victoriatest.Server{}
	ways := waysTo(func(way string) *victoriatest.Server {
		servers[way] = victoriatest.Start(t)
		return servers[way]
	})
	seed := seedOf(t)
	sim := startSim(t, azuresim.Options{Seed: seed, RetainBytes: -1})
	sinks := ""
	for name, w := range ways {
		sinks += "  " + name + ":\n" + w.sink + "    retry: {initial: 20ms, max: 200ms}\n"
	}
	dir, file := writeConfig(t, `
sources:
  hub: {type: event_hub, connection_string: "${env:HUB}", hub: `+sim.Endpoints.Hubs[0]+`, consumer_group: lazuli}
  log: {type: file, path: "%DIR%/records"}
sinks:
  events: {type: file, path: "%DIR%/events.ndjson"}
`+sinks+`
checkpoint: {path: "%DIR%/checkpoints"}
dead_letters: {path: "%DIR%/dead-letters"}
telemetry: {listen: "127.0.0.1:0"}
`)
	var records bytes.Buffer
	for i := range 20 {
		fmt.Fprintf(&records, `{"time":"2026-01-02T03:04:05.123456789Z","category":"Shapes","properties":{"i":%d,"n":9007199254740993,"big":123456789012345678901234567890,`+
			`"f":1.50,"e":1e3,"t":true,"z":null,"s":"","text":"é \"q\" €\n<&>\\","l":["é<",1.50,{"a":{"b":[2]}},null],"o":{"p":{"q":"r"},"e":{},"l":[]},"a.b":"dot","long":"%s"}}`+"\n",
			i, strings.Repeat("é", i*i*125))
	}
	if err := os.WriteFile(filepath.Join(dir, "records"), records.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	compare := func(repeats bool) int {
		t.Helper()
		events, err := os.ReadFile(filepath.Join(dir, "events.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		var all []sent
		for line := range bytes.Lines(events) {
			data := bytes.TrimSuffix(line, []byte("\n"))
			all = append(all, sent{data, membersOf(t, data)})
		}
		for name, w := range ways {
			w.compare(t, name, servers[name], all, repeats && !w.silent)
		}
		if letters := filepath.Join(dir, "dead-letters", "letters.ndjson"); size(letters) > 0 {
			t.Error("there are dead letters")
		}
		return len(all)
	}

	if _, err := sim.Produce(t.Context(), 1000, 0); err != nil {
		t.Fatal(err)
	}
	if r := execute(t, "", hubEnv(sim), "run", "-c", file, "--once"); r.status != 0 {
		t.Fatalf("status %d:\n%s", r.status, r.stderr)
	}
	if n := compare(false); n != 1020 {
		t.Fatalf("%d events, want 1020", n)
	}

	producing, stopProducing := context.WithCancel(t.Context())
	defer stopProducing()
	produced := make(chan error, 1)
	go func() {
		_, err := sim.Produce(producing, 0, 300)
		produced <- err
	}()
	r := rand.New(rand.NewPCG(seed, 1))
	p := start(t, hubEnv(sim), nil, "run", "-c", file)
	for range 2 {
		before := size(filepath.Join(dir, "events.ndjson"))
		eventually(t, time.Minute, "events come:\n"+p.stderr.String(), func() bool { return size(filepath.Join(dir, "events.ndjson")) > before })
		var ups []func()
		for name, w := range ways {
			if !w.silent {
				ups = append(ups, servers[name].Down())
			}
		}
		pause(t, time.Duration(r.IntN(200))*time.Millisecond)
		for _, up := range ups {
			up()
		}
	}
	stopProducing()
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	if status := p.stop(t); status != 0 {
		t.Fatalf("status %d:\n%s", status, p.stderr)
	}
	if last := execute(t, "", hubEnv(sim), "run", "-c", file, "--once"); last.status != 0 {
		t.Fatalf("status %d:\n%s", last.status, last.stderr)
	}
	if n := compare(true); n < 1200 {
		t.Errorf("%d events; the collector was never under load", n)
	}
}

// sent is an event, and its members.
type sent struct {
	data    []byte
	members victoriatest.Log
}

// compare holds what a server has against what was sent.
func (w *way) compare(t *testing.T, name string, server *victoriatest.Server, all []sent, repeats bool) {
	t.Helper()
	type wanted struct {
		log victoriatest.Log
		n   int // times it is there
	}
	want := map[string][]*wanted{} // by id, which two events may share
	for _, e := range all {
		log := w.form(e)
		log["_time"] = e.members["@timestamp"]
		want[log[w.id]] = append(want[log[w.id]], &wanted{log: log})
	}
	if w.silent {
		server.Wait(t, len(all))
	}
	unknown := 0
	for _, log := range server.Logs(t) {
		delete(log, "_stream")
		delete(log, "_stream_id")
		var found *wanted
		for _, candidate := range want[log[w.id]] {
			if w.same(t, log, candidate.log) && (found == nil || candidate.n < found.n) {
				found = candidate
			}
		}
		if found == nil {
			if unknown++; unknown <= 2 {
				t.Errorf("%s holds what was not sent: %.3000v", name, log)
			}
			continue
		}
		found.n++
	}
	lost, twice := 0, 0
	for _, events := range want {
		for _, e := range events {
			switch {
			case e.n == 0:
				if lost++; lost <= 2 {
					t.Errorf("%s has not: %.3000v", name, e.log)
				}
			case e.n > 1:
				twice++
			}
		}
	}
	t.Logf("%s: %d events, %d lost, %d there twice", name, len(all), lost, twice)
	if lost > 0 || unknown > 0 || twice > 0 && !repeats {
		t.Errorf("%s: of %d events %d are lost and %d there twice; %d logs are none of them", name, len(all), lost, twice, unknown)
	}
}

// same tells whether a log is the one that was meant.
func (w *way) same(t *testing.T, got, want victoriatest.Log) bool {
	t.Helper()
	if w.whole && len(got) != len(want) {
		return false
	}
	for field, value := range want {
		if got[field] == value {
			continue
		}
		switch {
		case field == "_time":
			at, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				t.Fatal(err)
			}
			if w.micro {
				at = at.Truncate(time.Microsecond)
			}
			if there, err := time.Parse(time.RFC3339Nano, got[field]); err != nil || !there.Equal(at) {
				return false
			}
		case value == "0.0" && got[field] == "0": // it keeps a column of numbers as such
		case strings.HasPrefix(value, "["): // texts in a list may be escaped in more than one way
			var a, b []any
			if json.Unmarshal([]byte(value), &a) != nil || json.Unmarshal([]byte(got[field]), &b) != nil || !reflect.DeepEqual(a, b) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// membersOf are the members of an event as VictoriaLogs names them, those that are
// empty left out.
func membersOf(t *testing.T, data []byte) victoriatest.Log {
	t.Helper()
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		t.Fatal(err)
	}
	log := victoriatest.Log{}
	var add func(prefix string, object map[string]any)
	add = func(prefix string, object map[string]any) {
		for name, value := range object {
			name = prefix + name
			switch v := value.(type) {
			case map[string]any:
				add(name+".", v)
			case []any:
				list, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				log[name] = string(list)
			case nil:
			default:
				if text := fmt.Sprint(v); text != "" {
					log[name] = text
				}
			}
		}
	}
	add("", object)
	return log
}
