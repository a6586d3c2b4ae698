package syslog

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest/victoriatest"
)

// receiver keeps what comes.
type receiver struct {
	t    *testing.T
	addr string
	tls  *tls.Config

	mu       sync.Mutex
	ln       net.Listener
	conns    map[net.Conn]bool
	messages [][]byte
}

func newReceiver(t *testing.T, config *tls.Config) *receiver {
	t.Helper()
	r := &receiver{t: t, addr: "127.0.0.1:0", tls: config, conns: map[net.Conn]bool{}}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *receiver) start() {
	ln := sinktest.Listen(r.t, "tcp", r.addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ln, r.addr = ln, ln.Addr().String()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns[conn] = true
			r.mu.Unlock()
			if r.tls != nil {
				conn = tls.Server(conn, r.tls)
			}
			go r.read(conn)
		}
	}()
}

// read takes the frames of one connection until that ends.
func (r *receiver) read(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 1<<20)
	for {
		size, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, " "))
		if err != nil {
			r.t.Errorf("a frame begins with %q", size)
			return
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(in, message); err != nil {
			return // cut
		}
		r.mu.Lock()
		r.messages = append(r.messages, message)
		r.mu.Unlock()
	}
}

func (r *receiver) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ln.Close()
	for conn := range r.conns {
		conn.Close()
	}
	clear(r.conns)
}

// bodies waits until the receiver has read what its system has.
func (r *receiver) bodies(t *testing.T) (all []string) {
	t.Helper()
	last := -1
	for quiet := 0; quiet < 15; {
		r.mu.Lock()
		n := len(r.messages)
		r.mu.Unlock()
		if n != last {
			last, quiet = n, 0
		} else {
			quiet++
		}
		timer := time.NewTimer(20 * time.Millisecond)
		<-timer.C
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, message := range r.messages {
		m, err := rfc5424.NewParser().Parse(message) // another project's
		if err != nil {
			t.Fatalf("%v: %.200q", err, message)
		}
		all = append(all, *m.(*rfc5424.SyslogMessage).Message)
	}
	return all
}

func open(t testing.TB, change func(*Config)) *Sink {
	t.Helper()
	cfg := *DefaultConfig()
	cfg.TLS, cfg.MaxMessage = false, 4<<20
	change(&cfg)
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	const silent = "a receiver of syslog says nothing at all"
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("tls ", secure), func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				var server *tls.Config
				caFile := ""
				if secure {
					authority, err := ca.New(time.Now)
					if err != nil {
						t.Fatal(err)
					}
					caFile = filepath.Join(t.TempDir(), "ca.pem")
					if err := authority.WriteFile(caFile); err != nil {
						t.Fatal(err)
					}
					if server, err = authority.ServerConfig("127.0.0.1"); err != nil {
						t.Fatal(err)
					}
				}
				r := newReceiver(t, server)
				return sinktest.Harness{
					Sink: open(t, func(c *Config) {
						c.Address, c.TLS, c.CAFile = r.addr, secure, config.Path(caFile)
					}),
					Limit: 4<<20 - 400, Repeats: true, Received: r.bodies,
					Faults: sinktest.Faults{Down: func(t *testing.T) func() {
						// What the receiver's system had and its program had not read is lost
						// when that goes away: no sink could know.
						r.bodies(t)
						r.stop()
						return r.start
					}},
					Lacks: map[sinktest.Fault]string{
						sinktest.Throttle: silent, sinktest.Fail: silent, sinktest.Refuse: silent, sinktest.Hang: silent, sinktest.Cut: silent,
					},
				}
			})
		})
	}
}

const signIn = `{"@timestamp":"2026-01-02T03:04:05.678Z","event":{"id":"e|1","action":"Sign-in | \\activity","outcome":"failure","dataset":"azure.signinlogs"},` +
	`"source":{"ip":"192.0.2.7","port":443},"user":{"name":"ann=b\nc","email":"ann@contoso.example"},"related":{"ip":["192.0.2.7"]},"message":"tab\there é"}`

func one(data string) event.Event {
	return event.Event{
		ID: `id]"\1`, Time: time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC), LogType: "entra_signin", Schema: "ecs", Data: []byte(data),
		Severity: event.Severity{Failed: true},
	}
}

func framed(w *writer, e *event.Event) (string, error) {
	err := w.add(e)
	return string(bytes.Join(w.runs, nil)), err
}

func TestFormats(t *testing.T) {
	for format, want := range map[string]string{
		"json": signIn,
		"cef": `CEF:0|Lazuli|Azure|1|entra_signin|Sign-in \| \\activity|4|act=Sign-in | \\activity deviceFacility=azure.signinlogs ` +
			`email=ann@contoso.example externalId=e|1 kind=x\=y msg=tab` + "\t" + `here é outcome=failure rt=1767323045678 spt=443 src=192.0.2.7 suser=ann\=b\nc`,
		"leef": "LEEF:2.0|Lazuli|Azure|1|entra_signin|x09|" + strings.Join([]string{
			`action=Sign-in | \activity`, "cat=azure.signinlogs", "devTime=1767323045678", "email=ann@contoso.example", "externalId=e|1", "kind=x=y", "msg=tab here é",
			"outcome=failure", "src=192.0.2.7", "srcPort=443", "usrName=ann=b c",
		}, "\t"),
	} {
		t.Run(format, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Format, cfg.Hostname = format, "host"
			if format != "json" {
				cfg.Fields = map[string]string{"email": "user.email", "kind": "$x=y", "none": "user.none"}
			}
			e := one(signIn)
			frame, err := framed(newWriter(cfg), &e)
			if err != nil {
				t.Fatal(err)
			}
			size, text, _ := strings.Cut(frame, " ")
			if n, err := strconv.Atoi(size); err != nil || n != len(text) {
				t.Errorf("the frame says %s, the message has %d bytes", size, len(text))
			}
			m, err := rfc5424.NewParser().Parse([]byte(text))
			if err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			got := m.(*rfc5424.SyslogMessage)
			data := (*got.StructuredData)["lazuli@32473"]
			if *got.Message != want {
				t.Errorf("message\n%q\nwant\n%q", *got.Message, want)
			}
			if *got.Facility != 16 || *got.Severity != sevNotice || *got.Hostname != "host" || *got.Appname != "lazuli" || *got.MsgID != "entra_signin" ||
				!got.Timestamp.Equal(e.Time) || data["id"] != string(e.ID) || data["schema"] != "ecs" {
				t.Errorf("header %d.%d %v %s %s %s, data %v", *got.Facility, *got.Severity, got.Timestamp, *got.Hostname, *got.Appname, *got.MsgID, data)
			}
		})
	}
}

func TestTooLargeIsRejectedAlone(t *testing.T) {
	r := newReceiver(t, nil)
	s := open(t, func(c *Config) { c.Address, c.MaxMessage = r.addr, 1000 })
	defer s.Close(t.Context())
	small, large := one(`{"a":1}`), one(`{"a":"`+strings.Repeat("x", 2000)+`"}`)
	err := s.Deliver(t.Context(), []event.Event{small, large, small})
	if err == nil || !strings.Contains(err.Error(), "more than max_message (1000)") {
		t.Errorf("Deliver() = %v", err)
	}
	if got := r.bodies(t); len(got) != 2 {
		t.Errorf("%d messages arrived, want the two small ones", len(got))
	}
}

func TestMistakes(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"address":     func(c *Config) { c.Address = "host" },
		"tls":         func(c *Config) { c.TLS, c.CAFile = false, "x" },
		"key_file":    func(c *Config) { c.CertFile = "x" },
		"fields":      func(c *Config) { c.Fields = map[string]string{"a": "b"} },
		"fields.a b":  func(c *Config) { c.Format, c.Fields = "cef", map[string]string{"a b": "c"} },
		"fields.a":    func(c *Config) { c.Format, c.Fields = "cef", map[string]string{"a": "b..c"} },
		"hostname":    func(c *Config) { c.Hostname = "a b" },
		"app_name":    func(c *Config) { c.AppName = strings.Repeat("x", 49) },
		"app_name  ":  func(c *Config) { c.AppName = "" },
		"app_name   ": func(c *Config) { c.AppName = "é" },
	} {
		c := DefaultConfig()
		c.Address = "h:1"
		var r config.Report
		c.Validate(&r)
		if len(r.Problems) > 0 {
			t.Fatal(r.Problems)
		}
		change(c)
		c.Validate(&r)
		if len(r.Problems) != 1 || r.Problems[0].Path != strings.TrimSpace(want) {
			t.Errorf("problems %v, want one at %q", r.Problems, want)
		}
	}
}

// A message is written from where the event lies; what stands before it is made
// in memory that is used again.
func TestMessagesTakeNoNewMemory(t *testing.T) {
	w := newWriter(DefaultConfig())
	events := sinktest.Events("a", 100, 2000)
	collect := func() {
		w.reset()
		for i := range events {
			if err := w.add(&events[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if allocs := testing.AllocsPerRun(10, collect); allocs > 0 {
		t.Errorf("%.0f allocations for %d messages, want none", allocs, len(events))
	}
	if &w.runs[1][0] != &events[0].Data[0] {
		t.Error("the event was copied")
	}
}

func TestSeverities(t *testing.T) {
	for want, s := range map[int]event.Severity{
		sevAlert: {Alert: true, Failed: true, Text: "Error"}, sevNotice: {Failed: true, Text: "Error"}, sevError: {Text: "Critical"}, sevWarn: {Text: "warning"}, sevInfo: {Text: "4"},
	} {
		if got := severity(&s); got != want {
			t.Errorf("severity(%+v) = %d, want %d", s, got, want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, format := range []string{"json", "cef", "leef"} {
		f.Add(format, "id", "entra_signin", "ecs", signIn)
	}
	f.Add("cef", "]\"\\\n", "a|b\nc", "", `{"event":{"action":["x",{"y":1}]},"source":{"ip":[]},"user":5}`)
	f.Fuzz(func(t *testing.T, format, id, logType, schema, data string) {
		if format != "json" && format != "cef" && format != "leef" || !json.Valid([]byte(data)) {
			return
		}
		cfg := DefaultConfig()
		cfg.Format, cfg.Hostname, cfg.MaxMessage = format, "host", 1<<20
		e := event.Event{ID: event.ID(strings.ToValidUTF8(id, "")), LogType: logType, Schema: strings.ToValidUTF8(schema, ""), Data: []byte(data)}
		frame, err := framed(newWriter(cfg), &e)
		if err != nil {
			return
		}
		size, text, _ := strings.Cut(frame, " ")
		if n, err := strconv.Atoi(size); err != nil || n != len(text) {
			t.Fatalf("the frame says %s, the message has %d bytes", size, len(text))
		}
		if format == "cef" || format == "leef" {
			if _, body, found := strings.Cut(text, "\"] "); !found || strings.ContainsAny(body, "\n\r") && format == "leef" {
				t.Fatalf("%q", text)
			}
		}
		if _, err := rfc5424.NewParser().Parse([]byte(text)); err != nil && format == "json" && strings.IndexFunc(id+schema, func(r rune) bool { return r < 32 }) < 0 {
			t.Fatalf("%v: %q", err, text)
		}
	})
}

// daemon starts a syslog server with that configuration and waits until it listens.
func daemon(t *testing.T, address, root string, command ...string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	if root != "" {
		lib := filepath.Join(root, "usr", "lib")
		matches, _ := filepath.Glob(filepath.Join(lib, "*-linux-gnu*"))
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(append(matches, lib), ":"))
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	})
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%s does not listen: %v\n%s", command[0], err, text)
		}
		timer := time.NewTimer(50 * time.Millisecond)
		<-timer.C
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// TestRealServers sends to rsyslog and syslog-ng, where they are installed. As
// Debian's packages the two exclude each other: either may be unpacked into a
// folder that RSYSLOG_ROOT names (.ci/run does).
func TestRealServers(t *testing.T) {
	servers := map[string]func(t *testing.T, path, port, output string) []string{
		"rsyslogd": func(t *testing.T, path, port, output string) []string {
			file := filepath.Join(t.TempDir(), "rsyslog.conf")
			write(t, file, fmt.Sprintf(`
global(maxMessageSize="1m" workDirectory=%q)
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port=%q ruleset="all")
template(name="line" type="string" string="%%msgid%%|%%structured-data%%|%%msg%%\n")
ruleset(name="all") { action(type="omfile" file=%q template="line" flushInterval="1" asyncWriting="off") }
`, t.TempDir(), port, output))
			return []string{path, "-n", "-f", file, "-i", filepath.Join(t.TempDir(), "pid")}
		},
		"syslog-ng": func(t *testing.T, path, port, output string) []string {
			file := filepath.Join(t.TempDir(), "syslog-ng.conf")
			write(t, file, fmt.Sprintf(`@version: 3.38
options { log-msg-size(1048576); stats-freq(0); };
source s { syslog(ip("127.0.0.1") port(%s) transport("tcp")); };
destination d { file(%q template("${MSGID}|${SDATA}|${MSG}\n")); };
log { source(s); destination(d); };
`, port, output))
			dir := t.TempDir()
			return []string{path, "-F", "--no-caps", "-f", file, "-p", filepath.Join(dir, "pid"), "-c", filepath.Join(dir, "ctl"), "-R", filepath.Join(dir, "persist")}
		},
	}
	for name, command := range servers {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(name)
			root := ""
			if unpacked := os.Getenv("RSYSLOG_ROOT"); err != nil && name == "rsyslogd" && unpacked != "" {
				root, path, err = unpacked, filepath.Join(unpacked, "usr", "sbin", name), nil
			}
			if err != nil {
				t.Skipf("%s is not installed", name)
			}
			const n = 5000
			port, output := freePort(t), filepath.Join(t.TempDir(), "out")
			args := command(t, path, port, output)
			if modules, _ := filepath.Glob(filepath.Join(root, "usr", "lib", "*-linux-gnu*", "rsyslog")); root != "" && len(modules) > 0 {
				args = append(args, "-M", modules[0])
			}
			daemon(t, "127.0.0.1:"+port, root, args...)
			s := open(t, func(c *Config) { c.Address, c.MaxMessage = "127.0.0.1:"+port, 1<<20 })
			defer s.Close(t.Context())
			var events []event.Event
			for i := range n {
				e := one(fmt.Sprintf(`{"n":%d,"text":"line\nfeed \"quoted\" é %s"}`, i, strings.Repeat("x", i%3000)))
				e.ID = event.ID(fmt.Sprint("id-", i))
				events = append(events, e)
			}
			for part := range 10 {
				if err := s.Deliver(t.Context(), events[part*n/10:(part+1)*n/10]); err != nil {
					t.Fatal(err)
				}
			}
			want := map[string]bool{}
			for i := range events {
				want[string(events[i].Data)] = true
			}
			deadline := time.Now().Add(time.Minute)
			for {
				missing := len(want)
				file, err := os.Open(output)
				if err == nil {
					seen := map[string]bool{}
					lines := bufio.NewScanner(file)
					lines.Buffer(nil, 1<<20)
					for lines.Scan() {
						parts := strings.SplitN(lines.Text(), "|", 3)
						if len(parts) == 3 && parts[0] == "entra_signin" && strings.Contains(parts[1], `[lazuli@32473 id="id-`) && want[strings.TrimSpace(parts[2])] {
							seen[strings.TrimSpace(parts[2])] = true
						}
					}
					missing -= len(seen)
					file.Close()
				}
				if missing == 0 {
					return
				}
				if time.Now().After(deadline) {
					text, _ := os.ReadFile(output)
					t.Fatalf("%d of %d events did not arrive as they were sent; the file begins %.600s", missing, n, text)
				}
				timer := time.NewTimer(50 * time.Millisecond)
				<-timer.C
			}
		})
	}
}

// TestVictoriaLogsReadsCEF: it takes the format apart by itself.
func TestVictoriaLogsReadsCEF(t *testing.T) {
	server := victoriatest.Start(t)
	s := open(t, func(c *Config) {
		c.Address, c.Format, c.Hostname = server.Syslog, "cef", "host"
		// It leaves the last value as it is escaped: zz has nothing to escape.
		c.Fields = map[string]string{"cs1": "user.email", "cs1Label": "$e=mail of\\user", "zz": "$end"}
	})
	defer s.Close(t.Context())
	e := one(signIn)
	if err := s.Deliver(t.Context(), []event.Event{e}); err != nil {
		t.Fatal(err)
	}
	server.Wait(t, 1)
	logs := server.Logs(t)
	if len(logs) != 1 {
		t.Fatalf("%d logs, want 1", len(logs))
	}
	for name, want := range map[string]string{
		"_time": "2026-01-02T03:04:05.6789Z", "hostname": "host", "app_name": "lazuli", "msg_id": "entra_signin", "facility_keyword": "local0", "level": "notice",
		"lazuli@32473.id": string(e.ID), "lazuli@32473.schema": "ecs",
		"cef.version": "0", "cef.device_vendor": "Lazuli", "cef.device_product": "Azure", "cef.device_version": "1",
		"cef.device_event_class_id": "entra_signin", "cef.name": `Sign-in | \activity`, "cef.severity": "4",
		"cef.extension.act": `Sign-in | \activity`, "cef.extension.deviceFacility": "azure.signinlogs", "cef.extension.externalId": "e|1",
		"cef.extension.msg": "tab\there é", "cef.extension.outcome": "failure", "cef.extension.rt": "1767323045678", "cef.extension.spt": "443",
		"cef.extension.src": "192.0.2.7", "cef.extension.suser": "ann=b\nc", "cef.extension.cs1": "ann@contoso.example", "cef.extension.cs1Label": `e=mail of\user`,
		"cef.extension.zz": "end",
	} {
		if got := logs[0][name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkDeliver(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, conn)
		}
	}()
	events := sinktest.Events("a", 1000, 2000)
	size := 0
	for i := range events {
		size += len(events[i].Data)
	}
	for _, format := range []string{"json", "cef"} {
		b.Run(format, func(b *testing.B) {
			s := open(b, func(c *Config) { c.Address, c.Format = ln.Addr().String(), format })
			defer s.Close(b.Context())
			b.SetBytes(int64(size))
			for b.Loop() {
				if err := s.Deliver(b.Context(), events); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
