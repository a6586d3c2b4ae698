package azuresim

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/archive"
	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/queues"
	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

const (
	// storageAudience is the resource that tokens for Storage are issued for
	// (learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory).
	storageAudience = "https://storage.azure.com"
	storageAccount  = "stkestrellogs"
	signatureLife   = 365 * 24 * time.Hour
)

// StorageOptions are about the storage account. The zero value is usable.
type StorageOptions struct {
	// NoticeQueue is the queue that an Event Grid subscription puts a message into
	// for every blob that is created. It is made at the start. Empty: none.
	NoticeQueue string
	// AppendEvery is how often logs are appended; zero: 2 s. FlowEvery is how often
	// flow logs get a block; zero: one minute. Produce writes all at its end.
	AppendEvery, FlowEvery time.Duration
	// Grown is called each time after that; may be nil.
	Grown func()
	// Keep is how long blobs of logs stay after their hour; zero: for ever.
	Keep time.Duration
	// LateShare makes one batch in so many, in the first quarter of an hour, late: it
	// goes to the blob of the hour before, which collectors look at less often. Zero:
	// 8. Negative: none.
	LateShare int
}

func (o StorageOptions) withDefaults() StorageOptions {
	if o.AppendEvery <= 0 {
		o.AppendEvery = 2 * time.Second
	}
	if o.FlowEvery <= 0 {
		o.FlowEvery = time.Minute
	}
	if o.LateShare == 0 {
		o.LateShare = 8
	}
	return o
}

// StorageEndpoints is all that a client of the storage account needs to know.
type StorageEndpoints struct {
	Account string `json:"account"`
	Key     string `json:"key"`
	// ConnectionString is for the endpoints without TLS, TLSConnectionString for
	// those with, where Entra's tokens are accepted too.
	ConnectionString    string `json:"connection_string"`
	TLSConnectionString string `json:"tls_connection_string"`
	// SAS is the query string of a signature that may read and list blobs and
	// process messages.
	SAS      string `json:"sas"`
	Blob     string `json:"blob"`      // URL with the account
	BlobTLS  string `json:"blob_tls"`  // URL with the account
	Queue    string `json:"queue"`     // URL with the account
	QueueTLS string `json:"queue_tls"` // URL with the account
	// NoticeQueue is the queue with what Event Grid reports; "" if there is none.
	NoticeQueue string `json:"notice_queue,omitempty"`
}

func (s *Sim) makeStorage() (err error) {
	options := storageapi.Options{
		Accounts:    map[string]string{storageAccount: s.key("storage account key")},
		VerifyToken: func(token string) error { return s.Entra.Verify(token, storageAudience) },
		Now:         s.options.Now,
	}
	if s.Blobs, err = blobs.New(blobs.Options{Options: options, Created: s.noticeBlob}); err != nil {
		return err
	}
	if s.Queues, err = queues.New(options); err != nil {
		return err
	}
	growth := s.options.Storage.withDefaults()
	s.archive = archive.New(archive.Options{Store: s.Blobs, Account: storageAccount, Keep: growth.Keep, LateShare: growth.LateShare, Now: s.options.Now})
	s.doors[Storage] = storageDoor{s}
	if name := s.options.Storage.NoticeQueue; name != "" {
		return s.Queues.CreateQueue(storageAccount, name)
	}
	return nil
}

// storageDoor archives records.
type storageDoor struct{ s *Sim }

func (d storageDoor) take(records []Record) error {
	for _, r := range records {
		if err := d.s.archive.Add(r.Category, r.Data); err != nil {
			return err
		}
	}
	return nil
}

// growStorage lets what the archive holds back appear as time passes.
func (s *Sim) growStorage(ctx context.Context) {
	options := s.options.Storage.withDefaults()
	lines, flows := time.NewTicker(options.AppendEvery), time.NewTicker(options.FlowEvery)
	defer lines.Stop()
	defer flows.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-lines.C:
			err = s.archive.FlushLines()
		case <-flows.C:
			err = s.archive.FlushFlows()
		}
		if err != nil {
			s.log.Error("logs are not archived", "error", err)
		}
		if options.Grown != nil {
			options.Grown()
		}
	}
}

// flushStorage writes all that was produced for Storage.
func (s *Sim) flushStorage() error {
	return errors.Join(s.archive.FlushLines(), s.archive.FlushFlows())
}

func (s *Sim) serveStorage(ctx context.Context, config *tls.Config) error {
	e, ports := &s.Endpoints.Storage, s.options.Ports
	for _, endpoint := range []struct {
		name    string
		port    int
		secure  bool
		handler http.Handler
		url     *string
	}{
		{"blob", ports.Blob, false, s.Blobs, &e.Blob},
		{"blob over TLS", ports.BlobTLS, true, s.Blobs, &e.BlobTLS},
		{"queue", ports.Queue, false, s.Queues, &e.Queue},
		{"queue over TLS", ports.QueueTLS, true, s.Queues, &e.QueueTLS},
	} {
		listener, err := s.listen(ctx, s.options.Host, endpoint.port)
		if err != nil {
			return err
		}
		scheme := "http://"
		address := listener.Addr().String()
		if endpoint.secure {
			scheme, listener = "https://", tls.NewListener(listener, config)
		}
		*endpoint.url = scheme + address + "/" + storageAccount
		s.serveHTTP(endpoint.name, listener, endpoint.handler)
	}
	e.Account, e.Key, e.NoticeQueue = storageAccount, s.key("storage account key"), s.options.Storage.NoticeQueue
	const form = "DefaultEndpointsProtocol=%s;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;QueueEndpoint=%s;"
	e.ConnectionString = fmt.Sprintf(form, "http", e.Account, e.Key, e.Blob, e.Queue)
	e.TLSConnectionString = fmt.Sprintf(form, "https", e.Account, e.Key, e.BlobTLS, e.QueueTLS)
	var err error
	e.SAS, err = storageapi.AccountSignature(e.Account, e.Key, "bq", "rlp", s.options.Now().Add(signatureLife))
	return err
}

// noticeBlob does what an Event Grid subscription for blob events with a queue
// as its endpoint does: one event a message, as Base64
// (learn.microsoft.com/azure/event-grid/event-schema-blob-storage, .../handler-storage-queues).
func (s *Sim) noticeBlob(c blobs.Created) {
	name := s.options.Storage.NoticeQueue
	if name == "" {
		return
	}
	id := func(x uint64) string {
		return string(recordid.New(s.options.Seed).AppendOther(nil, recordid.Mix(uint64(c.Sequence))^x))
	}
	path := fmt.Sprintf("/%s/%s", c.Container, c.Blob)
	event, err := json.Marshal(map[string]any{
		"topic":     "/subscriptions/" + s.generator.Subscription() + "/resourceGroups/rg-hub-network/providers/Microsoft.Storage/storageAccounts/" + c.Account,
		"subject":   "/blobServices/default/containers/" + c.Container + "/blobs/" + c.Blob,
		"eventType": "Microsoft.Storage.BlobCreated", "id": id(1),
		"data": map[string]any{
			"api": c.API, "clientRequestId": id(2), "requestId": id(3), "eTag": c.ETag, "contentType": c.ContentType, "contentLength": c.Size,
			"blobType": c.Type, "url": "https://" + c.Account + ".blob.core.windows.net" + path,
			"sequencer":          fmt.Sprintf("%048X", c.Sequence),
			"storageDiagnostics": map[string]string{"batchId": id(4)},
		},
		"dataVersion": "", "metadataVersion": "1", "eventTime": c.At.UTC().Format("2006-01-02T15:04:05.0000000Z"),
	})
	if err == nil {
		err = s.Queues.Put(c.Account, name, base64.StdEncoding.EncodeToString(event))
	}
	if err != nil {
		s.log.Warn("a blob's creation is not noticed", "blob", path, "error", err)
	}
}

// storageControl are the requests of the control surface about Storage.
//
//	GET  /storage                                    requests by operation
//	POST /storage/containers?container=C             makes a container
//	POST /storage/history?container=C&resources=N&hours=N[&from=TIME]
//	POST /storage/{touch,delete,archive,replace}?container=C&blob=B[&text=T]
func (s *Sim) storageControl(handle func(string, func(*http.Request, *parameters) (any, error))) {
	handle("GET /storage", func(_ *http.Request, p *parameters) (any, error) {
		return map[string]any{"blob": s.Blobs.Counts.All(), "queue": s.Queues.Counts.All()}, p.check()
	})
	handle("POST /storage/containers", func(_ *http.Request, p *parameters) (any, error) {
		name := p.needed("container")
		if err := p.check(); err != nil {
			return nil, err
		}
		return map[string]any{"container": name}, s.Blobs.CreateContainer(storageAccount, name)
	})
	handle("POST /storage/history", func(_ *http.Request, p *parameters) (any, error) {
		name := p.text("container", "insights-logs-auditevent")
		resources, hours := p.number("resources", 100), p.number("hours", 10_000)
		from := parse(p, "from", s.options.Now().Add(-time.Duration(hours+1)*time.Hour), func(text string) (time.Time, error) { return time.Parse(time.RFC3339, text) })
		if resources < 1 || hours < 1 {
			p.wrong = append(p.wrong, fmt.Errorf(`"resources" is %d and "hours" is %d: both must be 1 at least`, resources, hours))
		}
		if err := p.check(); err != nil {
			return nil, err
		}
		h := s.vaultHistory(resources, hours, from)
		if err := s.Blobs.CreateContainer(storageAccount, name); err != nil {
			return nil, err
		}
		return map[string]any{"container": name, "blobs": h.Len()}, s.Blobs.SetHistory(storageAccount, name, h)
	})
	handle("POST /storage/{action}", func(r *http.Request, p *parameters) (any, error) {
		container, blob, text := p.needed("container"), p.needed("blob"), p.text("text", "{}\n")
		action, known := map[string]func() error{
			"touch":   func() error { return s.Blobs.Touch(storageAccount, container, blob) },
			"delete":  func() error { return s.Blobs.Delete(storageAccount, container, blob) },
			"archive": func() error { return s.Blobs.SetTier(storageAccount, container, blob, "Archive") },
			"replace": func() error { return s.Blobs.Replace(storageAccount, container, blob, []byte(text)) },
		}[r.PathValue("action")]
		if !known {
			return nil, fmt.Errorf("%w: there is no action %q; there are touch, delete, archive and replace", errParameters, r.PathValue("action"))
		}
		if err := p.check(); err != nil {
			return nil, err
		}
		return map[string]any{"container": container, "blob": blob}, action()
	})
}

// vaultHistory is what key vaults left in hours long past: one blob an hour each.
func (s *Sim) vaultHistory(resources, hours int, from time.Time) *blobs.History {
	h := &blobs.History{From: from, Hours: hours, Line: fmt.Sprintf(
		`{"time":"{time}","category":"AuditEvent","operationName":"SecretGet","resultType":"Success","resourceId":"/SUBSCRIPTIONS/%s"}`,
		strings.ToUpper(s.generator.Subscription()))}
	for i := range resources {
		h.Prefixes = append(h.Prefixes, fmt.Sprintf("resourceId=/SUBSCRIPTIONS/%s/RESOURCEGROUPS/RG-OLD/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/KV-OLD-%06d/",
			strings.ToUpper(s.generator.Subscription()), i))
	}
	return h
}

// storageFaults are the faults of Storage by their names on the control surface.
func (s *Sim) storageFaults() map[string]fault {
	add := func(p *parameters, f storageapi.Fault) func() (int, error) {
		f.Operation, f.PathPart, f.Times = p.text("operation", ""), p.text("path", ""), p.number("times", 1)
		service := p.text("service", "blob")
		if service != "blob" && service != "queue" {
			p.wrong = append(p.wrong, fmt.Errorf(`"service" is %q: there are blob and queue`, service))
		}
		return func() (int, error) {
			if service == "queue" {
				s.Queues.Faults.Add(f)
			} else {
				s.Blobs.Faults.Add(f)
			}
			return 0, nil
		}
	}
	return map[string]fault{
		"storage": func(p *parameters) func() (int, error) {
			status, code, after := p.number("status", http.StatusServiceUnavailable), p.text("code", "ServerBusy"), p.duration("retry_after", 0)
			if status < 400 || status > 599 {
				p.wrong = append(p.wrong, fmt.Errorf(`"status" is %d: an error has 400 to 599`, status))
			}
			e := storageapi.ServerBusy(after)
			e.Status, e.Code = status, code
			return add(p, storageapi.Fault{Error: e, Delay: p.duration("delay", 0)})
		},
		"storage-cut": func(p *parameters) func() (int, error) { return add(p, storageapi.Fault{Cut: true}) },
		"storage-truncate": func(p *parameters) func() (int, error) {
			return add(p, storageapi.Fault{TruncateAfter: int64(p.number("bytes", 1000))})
		},
		"storage-slow": func(p *parameters) func() (int, error) {
			return add(p, storageapi.Fault{BytesPerSecond: p.number("bytes", 100_000)})
		},
		"storage-role": func(p *parameters) func() (int, error) {
			name := p.text("role", "none")
			role, known := map[string]storageapi.Role{"none": storageapi.RoleNone, "reader": storageapi.RoleReader, "contributor": storageapi.RoleContributor}[name]
			if !known {
				p.wrong = append(p.wrong, fmt.Errorf(`"role" is %q: there are none, reader and contributor`, name))
			}
			return func() (int, error) {
				s.Blobs.SetRole(role)
				s.Queues.SetRole(role)
				return 0, nil
			}
		},
	}
}

func (s *Sim) clearStorageFaults() {
	s.Blobs.Faults.Clear()
	s.Queues.Faults.Clear()
	s.Blobs.SetRole(storageapi.RoleContributor)
	s.Queues.SetRole(storageapi.RoleContributor)
}
