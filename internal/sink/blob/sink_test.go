package blob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

const (
	account = azuritetest.Account
	key     = azuritetest.Key
	lake    = "lake"
)

func connection(address string) string { return azuritetest.ConnectionString(address, "") }

// bench is a sink and the simulated storage that it writes to.
type bench struct {
	sink   *Sink
	azure  *blobs.Server
	server *sinktest.Server
	cut    atomic.Int64
	held   atomic.Pointer[chan struct{}]
}

func open(t testing.TB, change func(*Config)) *bench {
	t.Helper()
	azure, err := blobs.New(blobs.Options{Options: storageapi.Options{Accounts: map[string]string{account: key}}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{azure: azure}
	b.server = sinktest.NewServer(t, b, nil)
	b.sink = newSink(t, b.server.Addr, change)
	if !b.sink.cfg.CreateContainer {
		if err := azure.CreateContainer(account, lake); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func newSink(t testing.TB, address string, change func(*Config)) *Sink {
	t.Helper()
	cfg := DefaultConfig()
	cfg.ConnectionString, cfg.Container = config.Secret(connection(address)), lake
	if change != nil {
		change(cfg)
	}
	s, err := New(*cfg, Deps{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b *bench) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if held := b.held.Load(); held != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-*held:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
	if r.Method == http.MethodPut && b.cut.Add(-1) >= 0 {
		b.azure.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	b.azure.ServeHTTP(w, r)
}

func (b *bench) hang() (release func()) {
	held := make(chan struct{})
	b.held.Store(&held)
	return func() {
		if b.held.CompareAndSwap(&held, nil) {
			close(held)
		}
	}
}

// contents returns the blobs by name.
func contents(t *testing.T, s *Sink) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	pager := s.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{})
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Segment.BlobItems {
			answer, err := s.client.NewBlobClient(*item.Name).DownloadStream(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if out[*item.Name], err = io.ReadAll(answer.Body); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

// documents reads every document of every blob, with libraries.
func documents(t *testing.T, all map[string][]byte) (out []string) {
	t.Helper()
	for name, content := range all {
		var in io.Reader = bytes.NewReader(content)
		var err error
		switch {
		case strings.HasSuffix(name, ".parquet"):
			for _, r := range rows(t, content) {
				out = append(out, string(r.Data))
			}
			continue
		case strings.HasSuffix(name, ".zst"):
			in, err = zstd.NewReader(in)
		case strings.HasSuffix(name, ".gz"):
			in, err = gzip.NewReader(in)
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
	}
	return out
}

func rows(t *testing.T, content []byte) []row {
	t.Helper()
	out, err := parquet.Read[row](bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestContract(t *testing.T) {
	for _, form := range []string{"ndjson zstd", "ndjson gzip", "ndjson none", "parquet zstd"} {
		t.Run(form, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				b := open(t, func(c *Config) { c.Format, c.Compression, _ = strings.Cut(form, " ") })
				return sinktest.Harness{
					Sink:     b.sink,
					Received: func(t *testing.T) []string { return documents(t, contents(t, b.sink)) },
					Faults: sinktest.Faults{
						Throttle: func(n int, after time.Duration) {
							busy := storageapi.Errorf(http.StatusServiceUnavailable, "ServerBusy", "The server is busy.")
							busy.Header = http.Header{"Retry-After": {fmt.Sprint(int(after.Seconds()))}}
							b.azure.Faults.Add(storageapi.Fault{Operation: "PutBlob", Times: n, Error: busy})
						},
						Fail: func(n int) {
							b.azure.Faults.Add(storageapi.Fault{Operation: "PutBlob", Times: n, Error: storageapi.Errorf(http.StatusInternalServerError, "InternalError", "Try again.")})
						},
						Hang: b.hang,
						Cut:  func(n int) { b.cut.Store(int64(n)) },
						Down: b.server.Down,
					},
					Lacks: map[sinktest.Fault]string{sinktest.Refuse: "it does not look into blobs"},
				}
			})
		})
	}
}

// A new process that has the same batch finds it delivered. A blob of that name
// that holds something else is never taken for it, nor touched: the batch gets
// another name, under which it is found again.
func TestARepeatIsRecognized(t *testing.T) {
	scenario := func(t *testing.T, address string) {
		deliver := func(events []event.Event, wantBlobs int, wantDocuments int) {
			t.Helper()
			for range 3 {
				s := newSink(t, address, func(c *Config) { c.CreateContainer, c.Compression = true, "none" })
				if err := s.Deliver(t.Context(), events); err != nil {
					t.Fatal(err)
				}
				all := contents(t, s)
				if got := documents(t, all); len(all) != wantBlobs || len(got) != wantDocuments {
					t.Fatalf("%d blobs with %d documents; want %d with %d", len(all), len(got), wantBlobs, wantDocuments)
				}
			}
		}
		events := sinktest.Events("a", 10, 300)
		deliver(events, 1, 10)
		// Events of the same ids that have changed since, in size or not.
		changed := slices.Clone(events)
		changed[3].Data = []byte(`{"other":true}`)
		deliver(changed, 2, 20)
		changed[3].Data = []byte(`{"other":null}`)
		deliver(changed, 3, 30)
		// The same bytes as other events.
		others := slices.Clone(events)
		others[3].ID = others[3].ID[:len(others[3].ID)-1] + "x"
		deliver(others, 4, 40)

		s := newSink(t, address, nil)
		for name := range contents(t, s) {
			if _, err := s.client.NewBlockBlobClient(name).UploadBuffer(t.Context(), []byte("else"), nil); err != nil {
				t.Fatal(err)
			}
		}
		deliver(events, 5, 14)
		elses := 0
		for _, content := range contents(t, s) {
			if string(content) == "else" {
				elses++
			}
		}
		if elses != 4 {
			t.Errorf("%d of 4 foreign blobs are untouched", elses)
		}
	}
	empty := func(c *Config) { c.CreateContainer = true }
	t.Run("simulator", func(t *testing.T) { scenario(t, open(t, empty).server.Addr) })
	t.Run("Azurite", func(t *testing.T) { scenario(t, azuritetest.Blob(t)) })
}

// What is sent again must be what was sent before, or it would not be recognized.
func TestTheSameEventsMakeTheSameContent(t *testing.T) {
	for _, format := range []string{"ndjson", "parquet"} {
		for _, compression := range []string{"zstd", "gzip", "none"} {
			t.Run(format+" "+compression, func(t *testing.T) {
				e := newEncoder(format, compression)
				make := func(e *encoder, events []event.Event) []byte {
					t.Helper()
					content, err := e.encode(split(nil, events)[0], events)
					if err != nil {
						t.Fatal(err)
					}
					defer content.Free()
					var b bytes.Buffer
					_, _ = content.WriteTo(&b)
					return b.Bytes()
				}
				events := sinktest.Events("a", 300, 4000)
				want := make(e, events)
				make(e, sinktest.Events("b", 20, 9000))
				if !bytes.Equal(make(e, events), want) {
					t.Error("an encoder that was used for others has made another content")
				}
				if !bytes.Equal(make(newEncoder(format, compression), events), want) {
					t.Error("another encoder has made another content")
				}
			})
		}
	}
}

func TestPartitions(t *testing.T) {
	b := open(t, nil)
	events := sinktest.Events("a", 6, 300)
	at := time.Date(2026, 1, 31, 23, 59, 59, 0, time.FixedZone("", -3600))
	for i := range events {
		events[i].Time = at
	}
	events[1].Time = at.Add(-time.Hour)
	events[2].LogType = "../odd/ü"
	events[3].Time, events[3].Origin = time.Time{}, nil
	events[4].Time = at.Add(-59 * time.Minute)
	events[5].Time = at.Add(-2 * time.Hour)
	if err := b.sink.Deliver(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	var got []string
	for name := range contents(t, b.sink) {
		folder, _ := filepath.Split(name)
		got = append(got, folder)
	}
	slices.Sort(got)
	want := []string{
		"schema=ecs/log_type=_._odd__/date=2026-02-01/hour=00/",
		"schema=ecs/log_type=entra_signin/date=2026-01-31/hour=22/",
		"schema=ecs/log_type=entra_signin/date=2026-01-31/hour=23/",
		"schema=ecs/log_type=entra_signin/date=2026-02-01/hour=00/",
		"schema=ecs/log_type=entra_signin/date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__/",
	}
	if !slices.Equal(got, want) {
		t.Errorf("folders\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Of a batch only the part that failed is to be sent again.
func TestOnePartitionFails(t *testing.T) {
	b := open(t, nil)
	events := sinktest.Events("a", 2, 300)
	events[1].LogType = "azure_activity"
	b.azure.Faults.Add(storageapi.Fault{Operation: "PutBlob", PathPart: "azure_activity", Error: storageapi.Errorf(http.StatusInternalServerError, "InternalError", "")})
	err := b.sink.Deliver(t.Context(), events)
	var partial *sink.PartialError
	if !errors.As(err, &partial) || len(partial.Failed) != 1 || partial.Failed[1] == nil {
		t.Fatalf("Deliver() = %v; want that event 1 alone failed", err)
	}
	if err := b.sink.Deliver(t.Context(), events[1:]); err != nil {
		t.Fatal(err)
	}
	if got := documents(t, contents(t, b.sink)); len(got) != 2 {
		t.Errorf("%d documents; want 2", len(got))
	}
}

func TestParquet(t *testing.T) {
	b := open(t, func(c *Config) { c.Format, c.Path = "parquet", "all" })
	events := sinktest.Events("a", 300, 40_000)
	events[7].Time = time.Time{}
	if err := b.sink.Deliver(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	all := contents(t, b.sink)
	if len(all) != 1 {
		t.Fatalf("%d blobs; want 1", len(all))
	}
	for name, content := range all {
		if !strings.HasPrefix(name, "all/") || !strings.HasSuffix(name, ".parquet") {
			t.Errorf("the blob is called %q", name)
		}
		if len(content) > 200_000 {
			t.Errorf("the file has %d bytes; its documents compress better", len(content))
		}
		got := rows(t, content)
		if len(got) != len(events) {
			t.Fatalf("%d rows; want %d", len(got), len(events))
		}
		for i, r := range got {
			e := events[i]
			if r.ID != string(e.ID) || r.LogType != e.LogType || r.Schema != e.Schema || r.Source != e.Origin.Source || r.Tenant != e.Origin.Tenant ||
				r.TenantID != e.Origin.TenantID || !bytes.Equal(r.Data, e.Data) {
				t.Fatalf("row %d is %.300v", i, r)
			}
			if (r.Time == nil) != e.Time.IsZero() || r.Time != nil && *r.Time != e.Time.UnixMicro() {
				t.Errorf("row %d: time %v; want %v", i, r.Time, e.Time)
			}
		}
		file, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"required binary id (STRING)", "optional int64 time (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS))", "required binary data (JSON)"} {
			if schema := file.Schema().String(); !strings.Contains(schema, want) {
				t.Errorf("the schema lacks %q:\n%s", want, schema)
			}
		}
	}
}

func TestRefusalsNameTheRemedy(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		fault  *storageapi.Error
		want   string
	}{
		"no container": {func(c *Config) { c.Container = "missing" }, nil, "az storage container create"},
		"firewall":     {nil, storageapi.Errorf(http.StatusForbidden, "AuthorizationFailure", ""), "Networking"},
		"key":          {nil, storageapi.Errorf(http.StatusForbidden, "AuthenticationFailed", ""), "Access keys"},
		"sas": {func(c *Config) {
			c.Account, c.SAS = "http://"+address(c)+"/"+account, "sv=2022-11-02&sr=c&sig=c2VjcmV0&sp=rcw&se=2020-01-01T00:00:00Z"
			c.ConnectionString = ""
		}, nil, "generate-sas"},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, tc.change)
			if tc.fault != nil {
				b.azure.Faults.Add(storageapi.Fault{Operation: "PutBlob", Error: tc.fault})
			}
			err := b.sink.Deliver(t.Context(), sinktest.Events("a", 1, 300))
			var remedy *sink.RemedyError
			if !errors.As(err, &remedy) || !remedy.Person || !strings.Contains(remedy.Remedy, tc.want) {
				t.Fatalf("Deliver() = %#v; want a remedy for a person with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

// address is that of the server in a configuration's connection string.
func address(c *Config) string {
	_, rest, _ := strings.Cut(c.ConnectionString.Reveal(), "BlobEndpoint=http://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

func TestPaths(t *testing.T) {
	for _, bad := range []string{"/a", "a/", "a//b", "a/..", "{nothing}", "{date", "a b", "a?b", `a\b`, strings.Repeat("x", 901)} {
		if _, err := parsePath(bad); err == nil {
			t.Errorf("parsePath(%.20q) = nil", bad)
		}
	}
	for _, good := range []string{"", "{date}", "a/b={tenant}/{source}.x"} {
		if _, err := parsePath(good); err != nil {
			t.Errorf("parsePath(%q) = %v", good, err)
		}
	}
}

func FuzzPath(f *testing.F) {
	f.Add("schema={schema}/log_type={log_type}", "x", "..")
	f.Fuzz(func(t *testing.T, text, logType, tenant string) {
		p, err := parsePath(text)
		if err != nil {
			return
		}
		e := event.Event{LogType: logType, Origin: &event.Origin{Tenant: tenant, Source: tenant}}
		got := string(p.append(nil, &e))
		if len(got) > maxPath || !pathText.MatchString(got) || strings.Contains(got, "//") || slices.Contains(strings.Split(got, "/"), "..") {
			t.Errorf("path %q of %q, %q is %q", text, logType, tenant, got)
		}
	})
}
