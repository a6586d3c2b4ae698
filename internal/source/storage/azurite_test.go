package storage

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/memstore"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
)

// azurite is Microsoft's storage emulator.
type azurite struct {
	t           *testing.T
	blob, queue string // addresses
	client      *service.Client
	named       atomic.Int64
}

// startAzurite starts it. It skips the test where it is not installed.
func startAzurite(t *testing.T) *azurite {
	t.Helper()
	a := &azurite{t: t}
	a.blob, a.queue = azuritetest.Storage(t)
	var err error
	if a.client, err = service.NewClientFromConnectionString(a.connection(), nil); err != nil {
		t.Fatal(err)
	}
	return a
}

// until waits for something that nothing announces.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(sourcetest.Patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", sourcetest.Patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (a *azurite) connection() string { return azuritetest.ConnectionString(a.blob, a.queue) }

// container makes a container of a name of its own.
func (a *azurite) container(t *testing.T, prefix string) string {
	t.Helper()
	name := fmt.Sprintf("%s-%d", prefix, a.named.Add(1))
	if _, err := a.client.CreateContainer(t.Context(), name, nil); err != nil {
		t.Fatal(err)
	}
	return name
}

// append puts text behind what an append blob holds, and makes it if it is
// not there.
func (a *azurite) append(t *testing.T, container, name, text string) {
	t.Helper()
	client := a.client.NewContainerClient(container).NewAppendBlobClient(name)
	if text == "" {
		if _, err := client.Create(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	for {
		_, err := client.AppendBlock(context.Background(), streaming.NopCloser(strings.NewReader(text)), nil)
		if bloberror.HasCode(err, bloberror.BlobNotFound) {
			if _, err := client.Create(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}

func (a *azurite) put(t *testing.T, container, name string, content []byte) {
	t.Helper()
	client := a.client.NewContainerClient(container).NewBlockBlobClient(name)
	if _, err := client.Upload(context.Background(), streaming.NopCloser(bytes.NewReader(content)), nil); err != nil {
		t.Fatal(err)
	}
}

func (a *azurite) remove(t *testing.T, container, name string) {
	t.Helper()
	if _, err := a.client.NewContainerClient(container).NewBlobClient(name).Delete(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

func (a *azurite) config(containers ...string) Config {
	cfg := DefaultConfig()
	cfg.ConnectionString = config.Secret(a.connection())
	cfg.Containers = containers
	return cfg
}

// hastened returns a source that waits as little as a test wants to.
func hastened(t *testing.T, cfg Config, deps Deps) *Source {
	t.Helper()
	if deps.Name == "" {
		deps.Name = sourcetest.Name
	}
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Poll, s.cfg.Discover = config.Duration(20*time.Millisecond), config.Duration(100*time.Millisecond)
	s.timing.turns.Standby = 50 * time.Millisecond
	s.timing.tick, s.timing.retry, s.timing.turns.Retry, s.timing.failed = 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond, 50*time.Millisecond
	return s
}

// journalOf makes a journal of a store of the contract suite, which knows Save only.
type journalOf struct{ *sourcetest.Store }

func (j journalOf) SaveAll(ctx context.Context, entries []checkpoint.Entry) error {
	for _, e := range entries {
		if err := j.Save(ctx, e.Key, e.Cursor); err != nil {
			return err
		}
	}
	return nil
}

func (j journalOf) Forget(context.Context, []checkpoint.Key) error { return nil }

const resource = "resourceId=/SUBSCRIPTIONS/0B1F/RESOURCEGROUPS/SEC/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/ONE/"

func hourBlob(t time.Time) string { return resource + hourPath(t) + "m=00/PT1H.json" }

func TestContract(t *testing.T) {
	a := startAzurite(t)
	sourcetest.Run(t, func(t *testing.T) sourcetest.Harness {
		name := a.container(t, "insights-logs-suite")
		hour := hourBlob(time.Now())
		blobs := []string{hour, strings.Replace(hour, "/ONE/", "/TWO/", 1)}
		var n atomic.Int64
		return sourcetest.Harness{
			Partitions: []string{name + "/" + blobs[0], name + "/" + blobs[1]},
			Append: func(t *testing.T, partition string, count int) []string {
				var lines []string
				for range count {
					lines = append(lines, fmt.Sprintf(`{"time":"2026-01-02T03:04:05Z","n":%d}`, n.Add(1)))
				}
				if count > 0 {
					a.append(t, name, strings.TrimPrefix(partition, name+"/"), strings.Join(lines, "\r\n")+"\r\n")
				}
				return lines
			},
			New: func(t *testing.T, store checkpoint.Store, once bool) source.Source {
				return hastened(t, a.config(name), Deps{Checkpoints: journalOf{store.(*sourcetest.Store)}, Once: once})
			},
		}
	})
}

var _ checkpoint.Journal = (*memstore.Store)(nil)
