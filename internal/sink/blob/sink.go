package blob

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what Content-MD5 is
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// uploads is how many blobs of one batch are made and sent at a time.
const uploads = 4

// Deps is what a Sink needs beside its settings.
type Deps struct {
	Tenant *azure.Tenant // nil unless the settings name one
	Logger *slog.Logger
	Now    func() time.Time
}

// Sink writes events to blobs of one container. Deliver may be called
// concurrently.
type Sink struct {
	cfg     Config
	deps    Deps
	path    path
	encoder *encoder
	client  *container.Client
	plain   bool // the endpoint is http://
}

// New returns a sink. It does not touch the network.
func New(cfg Config, deps Deps) (*Sink, error) {
	p, err := parsePath(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("path %w", err)
	}
	client, err := newClient(&cfg, deps.Tenant)
	if err != nil {
		return nil, err
	}
	return &Sink{
		cfg: cfg, deps: deps, path: p, encoder: newEncoder(cfg.Format, cfg.Compression), client: client,
		plain: strings.HasPrefix(client.URL(), "http://"),
	}, nil
}

// Deliver implements sink.Sink: one blob for each partition. Where some were
// written and others not, the error is a *sink.PartialError.
func (s *Sink) Deliver(ctx context.Context, events []event.Event) error {
	parts := split(s.path, events)
	errs := make([]error, len(parts))
	var mu sync.Mutex // guards next and stop
	next := 0
	var stop error // what the parts that follow would meet too
	// A few goroutines for all parts, not one for each: their stacks have grown.
	var wg sync.WaitGroup
	for range min(uploads, len(parts)) {
		wg.Go(func() {
			for {
				mu.Lock()
				i, err := next, stop
				next++
				mu.Unlock()
				if i >= len(parts) {
					return
				}
				if err == nil {
					err = s.write(ctx, parts[i], events)
				}
				if errs[i] = err; err != nil {
					mu.Lock()
					stop = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return outcome(parts, errs)
}

func outcome(parts []*part, errs []error) error {
	failed := map[int]error{}
	all := true
	for i, err := range errs {
		all = all && err != nil
		if err != nil {
			for _, k := range parts[i].index {
				failed[k] = err
			}
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case all && len(parts) == 1:
		return errs[0]
	}
	return &sink.PartialError{Failed: failed}
}

// Close implements sink.Sink. There is nothing to finish.
func (s *Sink) Close(context.Context) error { return nil }

// write makes the blob of a part and sends it.
func (s *Sink) write(ctx context.Context, p *part, events []event.Event) error {
	content, err := s.encoder.encode(p, events)
	if err != nil {
		return err
	}
	defer content.Free()
	err = s.place(ctx, p.folder, p.name(events, nil), content)
	if errors.Is(err, errTaken) {
		digest := sha256.New()
		_, _ = content.WriteTo(digest) // a hash takes everything
		err = s.place(ctx, p.folder, p.name(events, digest.Sum(nil)), content)
	}
	return err
}

var errTaken = errors.New("a blob of that name holds something else")

// place sends a blob. The error is errTaken where there is another of that name.
func (s *Sink) place(ctx context.Context, folder, name string, content *httpsink.Payload) error {
	name += s.encoder.suffix
	if folder != "" {
		name = folder + "/" + name
	}
	err := s.put(ctx, name, content)
	if s.cfg.CreateContainer && bloberror.HasCode(err, bloberror.ContainerNotFound) {
		if _, err := s.client.Create(ctx, nil); err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
			return s.explain("create container "+s.cfg.Container, err)
		}
		s.deps.Logger.Info("created the container", "container", s.cfg.Container)
		err = s.put(ctx, name, content)
	}
	if exists(err) {
		err = s.compare(ctx, name, content)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTaken):
		return fmt.Errorf("write blob %s: %w", name, err)
	}
	return s.explain("write blob "+name, err)
}

// exists tells whether an answer says that there is a blob of that name:
// azure:storage.put-if-absent
func exists(err error) bool {
	return bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, "BlobImmutableDueToPolicy")
}

// put sends a blob, if there is none of that name.
func (s *Sink) put(ctx context.Context, name string, content *httpsink.Payload) error {
	absent := azcore.ETagAny
	options := blockblob.UploadOptions{
		HTTPHeaders:      &blob.HTTPHeaders{BlobContentType: &s.encoder.contentType},
		AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &absent}},
	}
	if s.plain { // TLS has a better one: azure:storage.transfer-check
		digest := md5.New()            //nolint:gosec // see above
		_, _ = content.WriteTo(digest) // a hash takes everything
		options.TransactionalValidation = blob.TransferValidationTypeMD5(digest.Sum(nil))
	}
	_, err := s.client.NewBlockBlobClient(name).Upload(ctx, content.Reader(), &options)
	return err
}

// compare tells whether the blob that is there already holds this content, byte
// for byte: then, and only then, it was delivered before.
func (s *Sink) compare(ctx context.Context, name string, content *httpsink.Payload) error {
	there, err := s.client.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return err
	}
	defer there.Body.Close()
	if there.ContentLength == nil || *there.ContentLength != int64(content.Len()) {
		return errTaken
	}
	_, err = content.WriteTo(&same{as: there.Body})
	return err
}

// same is a writer that takes only what its reader gives too.
type same struct {
	as   io.Reader
	read [32 << 10]byte
}

func (s *same) Write(b []byte) (n int, err error) {
	for n < len(b) {
		next := b[n:min(len(b), n+len(s.read))]
		if _, err := io.ReadFull(s.as, s.read[:len(next)]); err != nil {
			return n, err
		}
		if !bytes.Equal(s.read[:len(next)], next) {
			return n, errTaken
		}
		n += len(next)
	}
	return n, nil
}
