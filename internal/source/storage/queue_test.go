package storage

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/checkpoint/memstore"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
)

func created(container, name string) string {
	return fmt.Sprintf(`{"topic":"/subscriptions/x","subject":"/blobServices/default/containers/%s/blobs/%s","eventType":"Microsoft.Storage.BlobCreated",`+
		`"id":"1","data":{"api":"PutBlob","blobType":"AppendBlob"},"dataVersion":"","metadataVersion":"1","eventTime":%q}`, container, name, time.Now().UTC().Format(time.RFC3339Nano))
}

func TestNoticesAreRead(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one := `{"eventType":"Microsoft.Storage.BlobCreated","subject":"/blobServices/default/containers/logs/blobs/a/b%20ü.json","eventTime":"2026-01-02T03:04:05Z"}`
	want := []createdBlob{{"logs", "a/b%20ü.json", at}}
	for name, tc := range map[string]struct {
		text string
		want []createdBlob
	}{
		"as it is":     {one, want},
		"Base64":       {base64.StdEncoding.EncodeToString([]byte(one)), want},
		"several":      {"[" + one + "," + one + "]", append(want, want...)},
		"CloudEvents":  {strings.NewReplacer("eventType", "type", "eventTime", "time").Replace(one), want},
		"another kind": {strings.Replace(one, "BlobCreated", "BlobDeleted", 1), nil},
	} {
		got, err := parseNotices(tc.text)
		if err != nil || !cmp.Equal(got, tc.want, cmp.AllowUnexported(createdBlob{})) {
			t.Errorf("%s: %v (%v), want %v", name, got, err, tc.want)
		}
	}
	for _, text := range []string{"", "oops", "{}", "[1]", "{", `{"eventType":"Microsoft.Storage.BlobCreated","subject":"/x"}`} {
		if got, err := parseNotices(text); err == nil {
			t.Errorf("%q reads as %v, want an error", text, got)
		}
	}
}

func FuzzNotice(f *testing.F) {
	f.Add(created("logs", "x/y.json"))
	f.Add("[" + created("logs", "x") + "]")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseNotices(text)
		for _, c := range got {
			if err != nil || c.container == "" || c.name == "" {
				t.Fatalf("%q reads as %v (%v)", text, got, err)
			}
		}
	})
}

func testQueue(t *testing.T, a *azurite) {
	name, queueName := a.container(t, "insights-logs-announced"), fmt.Sprintf("notices-%d", a.named.Add(1))
	queue, err := azqueue.NewQueueClientFromConnectionString(a.connection(), queueName, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queue.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	send := func(text string) {
		t.Helper()
		if _, err := queue.EnqueueMessage(t.Context(), text, nil); err != nil {
			t.Fatal(err)
		}
	}
	counts := &counter{}
	removed := func(n int64) {
		t.Helper()
		counts.Wait(t, fmt.Sprintf("%d notices to be removed", n), func() bool { return counts.of("delete_message") >= n })
		if got := counts.of("delete_message"); got > n {
			t.Fatalf("%d notices were removed, want %d", got, n)
		}
	}
	cfg := a.config(name)
	cfg.Notifications = "queue"
	cfg.Queue.Name = queueName
	store := memstore.New()
	start := func(rec *sourcetest.Recorder) *sourcetest.Running {
		s := hastened(t, cfg, Deps{Checkpoints: store, Metrics: counts})
		s.cfg.Queue.SafetyNet, s.cfg.Discover = config.Duration(time.Hour), config.Duration(time.Hour)
		return sourcetest.Start(t, s, rec)
	}
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	running := start(rec)
	blob := hourBlob(time.Now())
	partition := name + "/" + blob
	// The creation is announced, what is appended is not.
	a.append(t, name, blob, "")
	send(base64.StdEncoding.EncodeToString([]byte(created(name, blob))))
	removed(1)
	if entries, _ := store.List(t.Context(), sourcetest.Name); len(entries) == 0 {
		t.Error("a restart would not know of the blob")
	}
	a.append(t, name, blob, "{\"a\":1}\n{\"a\":2}\n")
	wait(t, rec, partition, 2)

	// Nothing is removed before it is confirmed.
	rec.Hold()
	other := strings.Replace(blob, "/ONE/", "/TWO/", 1)
	a.put(t, name, other, []byte("{\"b\":1}\n"))
	send(created(name, other))
	wait(t, rec, name+"/"+other, 1)
	send("oops")
	send(created("another-container", "x"))
	rec.Wait(t, "the dead letter", func() bool { return rec.Count(queuePrefix+queueName) == 1 })
	if d := rec.Partition(queuePrefix + queueName).Payloads[0]; d.Defect == nil || string(d.Body) != "oops" {
		t.Errorf("the dead letter is %+v", d)
	}
	removed(3)
	if err := rec.Confirm(t.Context(), name+"/"+other, 1); err != nil {
		t.Fatal(err)
	}
	if err := rec.Confirm(t.Context(), queuePrefix+queueName, 1); err != nil {
		t.Fatal(err)
	}
	removed(4)

	// A notice that comes again, and one of a blob that is gone, cost nothing.
	send(created(name, other))
	send(created(name, strings.Replace(blob, "/ONE/", "/GONE/", 1)))
	removed(6)
	until(t, "the queue to be empty", func() bool { // what is counted is that removing was tried
		p, err := queue.GetProperties(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.ApproximateMessagesCount != nil && *p.ApproximateMessagesCount == 0
	})
	if n := rec.Count(name + "/" + other); n != 1 {
		t.Errorf("%d records of a blob of one", n)
	}
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	// After a restart the open blobs are still asked for.
	rec = sourcetest.NewRecorder(store, sourcetest.Name)
	start(rec)
	a.append(t, name, blob, "{\"a\":3}\n")
	want(t, wait(t, rec, partition, 1), `{"a":3}`)
}

// counter counts requests.
type counter struct {
	noMetrics
	sourcetest.Bell // rings at each

	n sync.Map // operation: *atomic.Int64
}

func (c *counter) Request(operation string) {
	n, _ := c.n.LoadOrStore(operation, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	c.Ring()
}

func (c *counter) of(operation string) int64 {
	n, ok := c.n.Load(operation)
	if !ok {
		return 0
	}
	return n.(*atomic.Int64).Load()
}
