package blob

import (
	"context"
	"crypto/md5" //nolint:gosec // what Content-MD5 is
	"encoding/hex"
	"errors"
	"fmt"
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
)

// uploads is how many blobs of one batch are made and sent at a time.
const uploads = 4

// sumName is the blob's metadata with the hash of its events. Names of metadata
// are C# identifiers, and their case is not kept.
const sumName = "lazulisha256"

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
	return &Sink{cfg: cfg, deps: deps, path: p, encoder: newEncoder(cfg.Format, cfg.Compression), client: client}, nil
}

// Deliver implements sink.Sink: one blob for each partition. Where some were
// written and others not, the error is a *sink.PartialError.
func (s *Sink) Deliver(ctx context.Context, events []event.Event) error {
	parts := split(s.path, events)
	errs := make([]error, len(parts))
	var mu sync.Mutex
	var stop error // what the parts that follow would meet too; guarded by mu
	turns := make(chan struct{}, uploads)
	var wg sync.WaitGroup
	for i, p := range parts {
		turns <- struct{}{}
		mu.Lock()
		errs[i] = stop
		mu.Unlock()
		if errs[i] != nil {
			<-turns
			continue
		}
		wg.Go(func() {
			defer func() { <-turns }()
			if errs[i] = s.write(ctx, p, events); errs[i] == nil || errors.Is(errs[i], errForeign) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			stop = errs[i]
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
	hash := p.sum(events)
	sum := hex.EncodeToString(hash[:])
	name := sum[:32] + s.encoder.suffix
	if p.folder != "" {
		name = p.folder + "/" + name
	}
	err := s.put(ctx, name, sum, p, events)
	if s.cfg.CreateContainer && bloberror.HasCode(err, bloberror.ContainerNotFound) {
		if _, err := s.client.Create(ctx, nil); err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
			return s.explain("create container "+s.cfg.Container, err)
		}
		s.deps.Logger.Info("created the container", "container", s.cfg.Container)
		err = s.put(ctx, name, sum, p, events)
	}
	switch {
	case err == nil:
		return nil
	case exists(err):
		return s.check(ctx, name, sum)
	}
	return s.explain("write blob "+name, err)
}

// exists tells whether an answer says that there is a blob of that name:
// azure:storage.put-if-absent
func exists(err error) bool {
	return bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, "BlobImmutableDueToPolicy")
}

// put sends a blob, if there is none of that name.
func (s *Sink) put(ctx context.Context, name, sum string, p *part, events []event.Event) error {
	content, err := s.encoder.encode(p, events)
	if err != nil {
		return err
	}
	defer content.Free()
	digest := md5.New()            //nolint:gosec // see above
	_, _ = content.WriteTo(digest) // a hash never fails
	absent := azcore.ETagAny
	_, err = s.client.NewBlockBlobClient(name).Upload(ctx, content.Reader(), &blockblob.UploadOptions{
		Metadata:    map[string]*string{sumName: &sum},
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: &s.encoder.contentType},
		// Azure compares what has come with it, and keeps it for readers.
		TransactionalValidation: blob.TransferValidationTypeMD5(digest.Sum(nil)),
		AccessConditions:        &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &absent}},
	})
	return err
}

var errForeign = errors.New("a blob of that name holds something else")

// check decides about a blob that is there: only one that holds these events
// counts as theirs.
func (s *Sink) check(ctx context.Context, name, sum string) error {
	there, err := s.client.NewBlobClient(name).GetProperties(ctx, nil)
	if err != nil {
		return s.explain("look at blob "+name+", which is there already", err)
	}
	for key, value := range there.Metadata {
		if strings.EqualFold(key, sumName) && value != nil && *value == sum {
			return nil
		}
	}
	return &sink.RemedyError{
		Err: fmt.Errorf("write blob %s: %w", name, errForeign), Person: true,
		Remedy: "find out who wrote it, and move it away: Lazuli overwrites nothing",
	}
}
