package storage

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/memstore"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// logBuffer keeps what the source logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func wait(t *testing.T, rec *sourcetest.Recorder, partition string, n int) []string {
	t.Helper()
	rec.Wait(t, fmt.Sprintf("%d payloads of %s", n, partition), func() bool { return rec.Count(partition) >= n })
	return rec.Bodies(partition)
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("payloads (-want +got):\n%s", diff)
	}
}

// flowLog writes a blob as Network Watcher does, azure:storage.flow-blobs.
type flowLog struct {
	a               *azurite
	container, name string
	blocks          []string
}

func (f *flowLog) add(t *testing.T, records ...string) {
	t.Helper()
	client := f.a.client.NewContainerClient(f.container).NewBlockBlobClient(f.name)
	stage := func(text string) string {
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", len(f.blocks)))
		if _, err := client.StageBlock(context.Background(), id, streaming.NopCloser(strings.NewReader(text)), nil); err != nil {
			t.Fatal(err)
		}
		return id
	}
	if len(f.blocks) == 0 {
		f.blocks = append(f.blocks, stage(`{"records":[`))
		f.blocks = append(f.blocks, stage(`]}`))
	}
	for _, r := range records {
		if len(f.blocks) > 2 {
			r = "," + r
		}
		last := len(f.blocks) - 1
		f.blocks = append(f.blocks[:last:last], stage(r), f.blocks[last])
	}
	if _, err := client.CommitBlockList(context.Background(), f.blocks, nil); err != nil {
		t.Fatal(err)
	}
}

func TestWithAzurite(t *testing.T) {
	a := startAzurite(t)
	for name, test := range map[string]func(*testing.T, *azurite){
		"flow logs are rewritten":             testFlowLogs,
		"formats":                             testFormats,
		"what is read is not asked for again": testQuiet,
		"replaced blobs are new generations":  testReplaced,
		"gzip grows":                          testGzipGrows,
		"damaged gzip":                        testDamagedGzip,
		"a line of 50 MB":                     testHugeLine,
		"refusals name the remedy":            testRefusals,
		"flat containers":                     testFlat,
		"corpus in random cuts":               testCorpus,
		"many blobs, one of them huge":        testFairness,
		"notices in a queue":                  testQueue,
		"instances take turns":                testLease,
	} {
		t.Run(name, func(t *testing.T) { test(t, a) })
	}
}

func testFlowLogs(t *testing.T, a *azurite) {
	name := a.container(t, "insights-logs-flowlogflowevent")
	blob := strings.Replace(hourBlob(time.Now()), "PT1H.json", "macAddress=0022480A/PT1H.json", 1)
	flow := &flowLog{a: a, container: name, name: blob}
	flow.add(t)
	store, partition := memstore.New(), name+"/"+blob
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	s := hastened(t, a.config("insights-logs-*"), Deps{Checkpoints: store})
	s.cfg.Containers = []string{name}
	running := sourcetest.Start(t, s, rec)
	var all []string
	for i := range 5 {
		records := []string{fmt.Sprintf(`{"time":"2026-01-02T03:04:0%dZ","flowRecords":{"flows":[{"x":"]}"}]}}`, i), fmt.Sprintf(`{"n":%d}`, i)}
		flow.add(t, records...)
		all = append(all, records...)
		want(t, wait(t, rec, partition, len(all)), all...)
	}
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	flow.add(t, `{"late":1}`)
	rec = sourcetest.NewRecorder(store, sourcetest.Name)
	if err := sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store, Once: true}), rec).Result(); err != nil {
		t.Fatal(err)
	}
	want(t, rec.Bodies(partition), `{"late":1}`)
	if p := rec.Partition(partition).Payloads[0]; p.Position != int64(len(`{"records":[`+strings.Join(all, ",")+",")) {
		t.Errorf("position %d is not where the record is", p.Position)
	}
}

// testQuiet shows that listings alone tell that there is nothing new.
func testQuiet(t *testing.T, a *azurite) {
	name := a.container(t, "insights-logs-quiet")
	a.append(t, name, hourBlob(time.Now()), "{\"a\":1}\n")
	store, counts := memstore.New(), &counter{}
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store, Metrics: counts}), rec)
	wait(t, rec, name+"/"+hourBlob(time.Now()), 1)
	before := counts.of("list_blobs")
	counts.Wait(t, "more listings", func() bool { return counts.of("list_blobs") > before+20 })
	if n := counts.of("get_blob"); n > 2 { // one, and one if it was listed again while it was being read
		t.Errorf("%d downloads of a blob that did not change", n)
	}
}

func testFormats(t *testing.T, a *azurite) {
	for file, tc := range map[string]struct {
		content string
		want    []string
	}{
		"a.json":   {"{\n \"a\": 1\n}\n", []string{"{\n \"a\": 1\n}"}},
		"b.json":   {`[{"a":1},{"b":2}]`, []string{`{"a":1}`, `{"b":2}`}},
		"c.log":    {"one\r\n\"two\"\n", []string{`{"message":"one"}`, `{"message":"\"two\""}`}},
		"d.csv":    {"\xef\xbb\xbfid,text\r\n1,\"a,b\"\r\n2,\r\n", []string{`{"message":"1,\"a,b\"","columns":{"id":"1","text":"a,b"}}`, `{"message":"2,","columns":{"id":"2","text":""}}`}},
		"e.ndjson": {"{\"a\":1}\n{\"b\":2}", []string{`{"a":1}`, `{"b":2}`}},
		"f.json":   {"", nil},
		"g.csv.gz": {zip(t, "id,text\n1,x\n"), []string{`{"message":"1,x","columns":{"id":"1","text":"x"}}`}},
		"h.gz":     {zip(t, "{\"a\":1}\n{\"b\":2}\n"), []string{`{"a":1}`, `{"b":2}`}},
	} {
		t.Run(file, func(t *testing.T) {
			name := a.container(t, "formats")
			a.put(t, name, file, []byte(tc.content))
			store := memstore.New()
			for _, want := range [][]string{tc.want, nil} {
				rec := sourcetest.NewRecorder(store, sourcetest.Name)
				if err := sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store, Once: true}), rec).Result(); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, rec.Bodies(name+"/"+file), cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
					t.Fatalf("payloads (-want +got):\n%s", diff)
				}
			}
		})
	}
	t.Run("csv that grows", func(t *testing.T) {
		name := a.container(t, "formats")
		store := memstore.New()
		var got []string
		for _, part := range []string{"id,", "text\n1,\"a", "\nb\"\n2,c", "\n"} {
			a.append(t, name, "x.csv", part)
			rec := sourcetest.NewRecorder(store, sourcetest.Name)
			if err := sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store, Once: true}), rec).Result(); err != nil {
				t.Fatal(err)
			}
			got = append(got, rec.Bodies(name+"/x.csv")...)
		}
		want(t, got, `{"message":"1,\"a\nb\"","columns":{"id":"1","text":"a\nb"}}`, `{"message":"2,c","columns":{"id":"2","text":"c"}}`)
	})
}

func zip(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func testReplaced(t *testing.T, a *azurite) {
	name := a.container(t, "insights-logs-replaced")
	blob := hourBlob(time.Now())
	partition := name + "/" + blob
	store, log := memstore.New(), &logBuffer{}
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	a.put(t, name, blob, []byte("{\"a\":1}\n{\"a\":2}\n"))
	sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store, Logger: log.logger()}), rec)
	wait(t, rec, partition, 2)
	first := rec.Partition(partition).Origin.Namespace

	a.put(t, name, blob, []byte("{\"b\":1}\n{\"b\":2}\n{\"b\":3}\n")) // longer
	want(t, wait(t, rec, partition, 5)[2:], `{"b":1}`, `{"b":2}`, `{"b":3}`)
	second := rec.Partition(partition).Origin.Namespace
	a.put(t, name, blob, []byte("{\"c\":1}\n")) // shorter
	want(t, wait(t, rec, partition, 6)[5:], `{"c":1}`)
	a.append(t, name, strings.Replace(blob, "/ONE/", "/TWO/", 1), "{\"d\":1}\n") // others go on
	wait(t, rec, strings.Replace(partition, "/ONE/", "/TWO/", 1), 1)
	a.remove(t, name, blob)
	a.append(t, name, blob, "{\"e\":1}\n{\"e\":2}\n") // made anew
	want(t, wait(t, rec, partition, 8)[6:], `{"e":1}`, `{"e":2}`)
	third := rec.Partition(partition).Origin.Namespace
	if first == second || second == third || !strings.HasPrefix(second, first) {
		t.Errorf("namespaces %q, %q, %q: ids would be those of other records", first, second, third)
	}
	if !log.has("blob was replaced") {
		t.Error("nothing was logged")
	}
}

func testGzipGrows(t *testing.T, a *azurite) {
	name := a.container(t, "zipped")
	store := memstore.New()
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	member := zip(t, "{\"a\":1}\n{\"a\":2}\n{\"half\"")
	a.append(t, name, "x.gz", member[:len(member)/2])
	sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store}), rec)
	a.append(t, name, "x.gz", member[len(member)/2:])
	wait(t, rec, name+"/x.gz", 2)
	a.append(t, name, "x.gz", zip(t, ":3}\n{\"a\":4}\n"))
	want(t, wait(t, rec, name+"/x.gz", 4), `{"a":1}`, `{"a":2}`, `{"half":3}`, `{"a":4}`)
}

func testDamagedGzip(t *testing.T, a *azurite) {
	name := a.container(t, "damaged")
	text := strings.Builder{}
	for i := range 20000 {
		fmt.Fprintf(&text, "{\"n\":%d}\n", i*i*7919)
	}
	whole := []byte(zip(t, text.String()))
	for i := range 20 {
		whole[len(whole)/2+i] ^= 0x55
	}
	a.put(t, name, "bad.gz", whole)
	a.put(t, name, "good.gz", []byte(zip(t, "{\"a\":1}\n")))
	store := memstore.New()
	for i := range 2 {
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		if err := sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store, Once: true}), rec).Result(); err != nil {
			t.Fatal(err)
		}
		got := rec.Partition(name + "/bad.gz").Payloads
		if i == 1 {
			if len(got) > 0 || rec.Count(name+"/good.gz") > 0 {
				t.Errorf("%d payloads for a second time", len(got))
			}
			continue
		}
		want(t, rec.Bodies(name+"/good.gz"), `{"a":1}`)
		n := len(got)
		if n < 2 || got[0].Defect != nil || got[n-1].Defect == nil || !strings.Contains(got[n-1].Defect.Reason, "bad.gz") {
			t.Fatalf("%d payloads, of which the last should say what is damaged", n)
		}
	}
}

func testHugeLine(t *testing.T, a *azurite) {
	name := a.container(t, "huge")
	line := bytes.Repeat([]byte("x"), 50<<20)
	a.put(t, name, "x.log", append(append([]byte("first\n"), line...), "\nlast\n"...))
	store := memstore.New()
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	if err := sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store, Once: true}), rec).Result(); err != nil {
		t.Fatal(err)
	}
	var size, largest int
	payloads := rec.Partition(name + "/x.log").Payloads
	for _, p := range payloads {
		if p.Defect != nil {
			if p.Position != int64(6+size) {
				t.Fatalf("a piece is at %d, want %d", p.Position, 6+size)
			}
			size += len(p.Body)
			largest = max(largest, len(p.Body))
		}
	}
	if size != len(line) || largest > 20<<20 {
		t.Errorf("dead letters of %d bytes in all, the largest of %d; want all %d bytes in pieces", size, largest, len(line))
	}
	if got := string(payloads[0].Body) + string(payloads[len(payloads)-1].Body); got != `{"message":"first"}{"message":"last"}` {
		t.Errorf("the neighbors are %s", got)
	}
}

func testRefusals(t *testing.T, a *azurite) {
	name := a.container(t, "insights-logs-refused")
	a.put(t, name, hourBlob(time.Now()), []byte("{\"a\":1}\n"))
	key, err := service.NewSharedKeyCredential(azuritetest.Account, azuritetest.Key)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(until time.Time, permissions sas.ContainerPermissions) config.Secret {
		query, err := sas.BlobSignatureValues{
			ContainerName: name, ExpiryTime: until, Permissions: permissions.String(),
			StartTime: until.Add(-time.Hour), Protocol: sas.ProtocolHTTPSandHTTP,
		}.SignWithSharedKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return config.Secret(query.Encode())
	}
	endpoint := "http://" + a.blob + "/" + azuritetest.Account
	bySAS := func(s config.Secret) Config {
		cfg := DefaultConfig()
		cfg.Account, cfg.SAS, cfg.Containers = endpoint, s, []string{name}
		return cfg
	}
	wrongKey := a.config(name)
	wrongKey.ConnectionString = config.Secret(strings.Replace(a.connection(), azuritetest.Key, base64.StdEncoding.EncodeToString([]byte("another key")), 1))
	nowhere := DefaultConfig()
	nowhere.Account, nowhere.AccountKey, nowhere.Containers = "http://127.0.0.1:1/account", azuritetest.Key, []string{name}
	soon := time.Now().Add(30 * time.Minute)
	for what, tc := range map[string]struct {
		cfg  Config
		want string
	}{
		"wrong key":       {wrongKey, "copy the key again"},
		"wrong container": {a.config("insights-logs-nothing"), "there is no such container"},
		"expired SAS":     {bySAS(signed(time.Now().Add(-time.Minute), sas.ContainerPermissions{Read: true, List: true})), "which has not expired"},
		"SAS cannot list": {bySAS(signed(soon, sas.ContainerPermissions{Read: true})), "permissions read and list"},
		"SAS cannot read": {bySAS(signed(soon, sas.ContainerPermissions{List: true})), "permissions read and list"},
		"no server":       {nowhere, "port 443"},
	} {
		t.Run(what, func(t *testing.T) {
			rec := sourcetest.NewRecorder(memstore.New(), sourcetest.Name)
			board := status.NewBoard(time.Now).Component("source", "x")
			log := &logBuffer{}
			once := hastened(t, tc.cfg, Deps{Checkpoints: memstore.New(), Once: true})
			if err := sourcetest.Start(t, once, rec).Result(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Run once = %v, want an error with %q", err, tc.want)
			} else if sig := tc.cfg.SAS.Reveal(); sig != "" && strings.Contains(err.Error(), sig[strings.Index(sig, "sig=")+4:][:10]) {
				t.Errorf("the error holds the signature: %v", err)
			}
			running := sourcetest.Start(t, hastened(t, tc.cfg, Deps{Checkpoints: memstore.New(), Status: board, Logger: log.logger()}), rec)
			until(t, "the status to name the remedy", func() bool {
				r := board.Report()
				return strings.Contains(r.Reason+r.Remedy, tc.want)
			})
			if err := running.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("SAS of the container suffices", func(t *testing.T) {
		store := memstore.New()
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		cfg := bySAS(signed(soon, sas.ContainerPermissions{Read: true, List: true}))
		if err := sourcetest.Start(t, hastened(t, cfg, Deps{Checkpoints: store, Once: true}), rec).Result(); err != nil {
			t.Fatal(err)
		}
		if rec.Count(name+"/"+hourBlob(time.Now())) != 1 {
			t.Error("nothing was read")
		}
	})
}

func testFlat(t *testing.T, a *azurite) {
	name := a.container(t, "flat")
	store, log := memstore.New(), &logBuffer{}
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	a.append(t, name, "some/folder/a.log", "one\n")
	a.append(t, name, "skipped.txt", "no\n")
	cfg := a.config(name)
	cfg.Suffix = ".log"
	s := hastened(t, cfg, Deps{Checkpoints: store, Logger: log.logger()})
	s.timing.most = 2
	running := sourcetest.Start(t, s, rec)
	wait(t, rec, name+"/some/folder/a.log", 1)
	for i := range 7 {
		a.append(t, name, fmt.Sprintf("b%d.log", i), "first\n")
	}
	a.append(t, name, "some/folder/a.log", "two\n")
	wait(t, rec, name+"/some/folder/a.log", 2)
	for i := range 7 {
		wait(t, rec, name+fmt.Sprintf("/b%d.log", i), 1)
	}
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	if rec.Count(name+"/skipped.txt") > 0 {
		t.Error("a blob without the suffix was read")
	}
}

// testCorpus uploads real blobs in Azure's own layout and lets them grow in
// random cuts while they are read: every record comes once.
func testCorpus(t *testing.T, a *azurite) {
	shared := os.Getenv("LAZULI_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "..", "shared")
	}
	type file struct {
		name, blob string
		text       []byte
	}
	var files []file
	for _, collection := range []string{"datadog_lfo", "sumologic"} {
		root := filepath.Join(shared, "corpus", collection)
		if _, err := os.Stat(root); err != nil {
			t.Skipf("no corpus: %v", err)
		}
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			relative, _ := filepath.Rel(root, path)
			files = append(files, file{relative, strings.Replace(hourBlob(time.Now()), "PT1H.json", "part="+filepath.ToSlash(relative), 1), text})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	name := a.container(t, "insights-logs-corpus")
	store := memstore.New()
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	running := sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store}), rec)
	var writers sync.WaitGroup
	for i, f := range files {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 42))
			for at := 0; at < len(f.text); {
				n := min(1+random.IntN(1+len(f.text)/8), len(f.text)-at)
				a.append(t, name, f.blob, string(f.text[at:at+n]))
				at += n
				time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond) // so that some is read before it is whole
			}
			a.append(t, name, f.blob, "\n") // the last record of some is not ended by a line feed
		})
	}
	writers.Wait()
	for _, f := range files {
		t.Run(f.name, func(t *testing.T) {
			// What is expected comes from the decoder, over the whole file at once.
			var want, got []string
			var d decode.Decoder
			collect := func(to *[]string) (func(*decode.Record), func(decode.Bad)) {
				return func(r *decode.Record) { *to = append(*to, string(r.Raw)) }, func(b decode.Bad) { *to = append(*to, "bad: "+string(b.Raw)) }
			}
			records, bads := collect(&want)
			kind := detect(f.blob, f.text, true)
			if kind == formatText || kind == formatCSV {
				want = append(want, strings.Split(strings.TrimSpace(strings.ReplaceAll(string(f.text), "\r\n", "\n")), "\n")...)
				if kind == formatCSV {
					want = want[1:]
				}
			} else {
				d.Decode(f.text, records, bads)
			}
			partition := name + "/" + f.blob
			pieces, _ := cutAll(t, framer{format: kind, max: 8 << 20}, f.text)
			n := len(pieces)
			if kind == formatCSV {
				n--
			}
			wait(t, rec, partition, n)
			records, bads = collect(&got)
			for _, body := range rec.Bodies(partition) {
				if kind == formatText || kind == formatCSV {
					got = append(got, messageOf(t, body))
				} else {
					d.Decode([]byte(body), records, bads)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
}

// testFairness shows that a huge blob does not keep others waiting.
func testFairness(t *testing.T, a *azurite) {
	name := a.container(t, "insights-logs-fair")
	mac := func(m string) string {
		return strings.Replace(hourBlob(time.Now()), "PT1H", "macAddress="+m+"/PT1H", 1)
	}
	a.put(t, name, mac("A"), bytes.Repeat([]byte(`{"a":"`+strings.Repeat("x", 1000)+"\"}\n"), 60_000))
	for i := range 20 {
		a.put(t, name, mac(fmt.Sprintf("B%d", i)), []byte("{\"a\":1}\n"))
	}
	store := memstore.New()
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	cfg := a.config(name)
	cfg.Workers = 1
	sourcetest.Start(t, hastened(t, cfg, Deps{Checkpoints: store}), rec)
	for i := range 20 {
		wait(t, rec, name+"/"+mac(fmt.Sprintf("B%d", i)), 1)
	}
	if n := rec.Count(name + "/" + mac("A")); n == 60_000 {
		t.Error("the small blobs came after all of the huge one")
	}
	wait(t, rec, name+"/"+mac("A"), 60_000)
}

// messageOf returns the member of that name.
func messageOf(t *testing.T, body string) string {
	t.Helper()
	var v struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return v.Message
}
