package eventhub

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

// BlobCheckpoints keeps one hub's checkpoints and owners in a blob container,
// as every Azure SDK does: blobs of zero bytes with metadata, named
// <namespace>/<hub>/<group>/{checkpoint,ownership}/<partition>. It is both the
// checkpoint.Store of the source's runner and the source's Ownership, so that
// several instances share a hub, and Lazuli and another SDK program can take a
// consumer group over from each other.
//
// A write replaces a blob's metadata at once: after a crash Load returns the
// old cursor or the new one. The format has no place for a cursor's time.
// Its methods may be called concurrently.
type BlobCheckpoints struct {
	container *container.Client
	store     *checkpoints.BlobStore
	target    Target
}

var (
	_ checkpoint.Store = (*BlobCheckpoints)(nil)
	_ Ownership        = (*BlobCheckpoints)(nil)
)

// NewBlobCheckpoints returns the store of one hub in that container. It does
// not touch the network; Prepare does.
func NewBlobCheckpoints(c *container.Client, target Target) (*BlobCheckpoints, error) {
	store, err := checkpoints.NewBlobStore(c, nil)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint container: %w", err)
	}
	return &BlobCheckpoints{container: c, store: store, target: target}, nil
}

// StoreAccessError says that the checkpoint container cannot be used until a
// person acts.
type StoreAccessError struct {
	Remedy string
	Err    error
}

func (e *StoreAccessError) Error() string { return e.Err.Error() }

// Unwrap returns the service's error.
func (e *StoreAccessError) Unwrap() error { return e.Err }

// Prepare checks that the container can be listed, and creates it if it is not
// there. The error is a *StoreAccessError where a permission is missing.
func (b *BlobCheckpoints) Prepare(ctx context.Context) error {
	pager := b.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix: to.Ptr(b.prefix("checkpoint")), MaxResults: to.Ptr[int32](1),
	})
	_, err := pager.NextPage(ctx)
	if bloberror.HasCode(err, bloberror.ContainerNotFound) {
		_, err = b.container.Create(ctx, nil)
		if bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
			err = nil // another instance was faster
		}
	}
	if err != nil {
		return b.explain("use checkpoint container", err)
	}
	return nil
}

func (b *BlobCheckpoints) explain(doing string, err error) error {
	err = fmt.Errorf("%s %s: %w", doing, withoutQuery(b.container.URL()), &briefError{err})
	switch {
	case bloberror.HasCode(err, bloberror.AuthorizationFailure, bloberror.AuthorizationPermissionMismatch,
		bloberror.AuthenticationFailed, bloberror.InsufficientAccountPermissions, bloberror.NoAuthenticationInformation):
		return &StoreAccessError{
			Remedy: `grant Lazuli the role "Storage Blob Data Contributor" on the storage account, or create the container and grant the role on it; with a key or SAS, check that it is current`,
			Err:    err,
		}
	case bloberror.HasCode(err, bloberror.ContainerBeingDeleted):
		return &StoreAccessError{Remedy: "the container was deleted moments ago: wait a minute, or name another one", Err: err}
	}
	return err
}

// briefError shows the part of an error of the storage client that an operator
// needs: not the page of headers the SDK prints, and not the URL, which may hold
// a SAS token.
type briefError struct{ err error }

func (e *briefError) Error() string {
	var response *azcore.ResponseError
	var request *url.Error
	switch {
	case errors.As(e.err, &response) && response.ErrorCode != "":
		return response.ErrorCode
	case errors.As(e.err, &response):
		return fmt.Sprintf("the storage service answered with status %d", response.StatusCode)
	case errors.As(e.err, &request):
		return request.Err.Error()
	}
	text, _, _ := strings.Cut(e.err.Error(), "\n")
	return text
}

func (e *briefError) Unwrap() error { return e.err }

// withoutQuery cuts a SAS token off a URL.
func withoutQuery(address string) string {
	address, _, _ = strings.Cut(address, "?")
	return address
}

func (b *BlobCheckpoints) prefix(kind string) string {
	return b.target.FullyQualifiedNamespace + "/" + b.target.Hub + "/" + b.target.ConsumerGroup + "/" + kind + "/"
}

// Load implements checkpoint.Store. The key's source is not used: the container
// holds one checkpoint per partition and consumer group, whoever wrote it.
func (b *BlobCheckpoints) Load(ctx context.Context, k checkpoint.Key) (checkpoint.Cursor, error) {
	properties, err := b.container.NewBlobClient(b.prefix("checkpoint")+k.Partition).GetProperties(ctx, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return "", nil
	}
	if err != nil {
		return "", b.explain("load checkpoint of partition "+k.Partition+" from", err)
	}
	return cursorOf(properties.Metadata)
}

// Save implements checkpoint.Store.
func (b *BlobCheckpoints) Save(ctx context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	p, err := parseCursor(c)
	if err != nil {
		return err
	}
	err = b.store.SetCheckpoint(ctx, azeventhubs.Checkpoint{
		FullyQualifiedNamespace: b.target.FullyQualifiedNamespace,
		EventHubName:            b.target.Hub,
		ConsumerGroup:           b.target.ConsumerGroup,
		PartitionID:             k.Partition,
		SequenceNumber:          &p.sequence,
		Offset:                  &p.offset,
	}, nil)
	if err != nil {
		return b.explain("save checkpoint of partition "+k.Partition+" to", err)
	}
	return nil
}

// List implements checkpoint.Store.
func (b *BlobCheckpoints) List(ctx context.Context, source string) ([]checkpoint.Entry, error) {
	prefix := b.prefix("checkpoint")
	pager := b.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix: &prefix, Include: container.ListBlobsInclude{Metadata: true},
	})
	var entries []checkpoint.Entry
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, b.explain("list checkpoints in", err)
		}
		for _, item := range page.Segment.BlobItems {
			cursor, err := cursorOf(item.Metadata)
			if err != nil {
				return nil, fmt.Errorf("list checkpoints: %s: %w", *item.Name, err)
			}
			entries = append(entries, checkpoint.Entry{
				Key:    checkpoint.Key{Source: source, Partition: strings.TrimPrefix(*item.Name, prefix)},
				Cursor: cursor, Saved: *item.Properties.LastModified,
			})
		}
	}
	return entries, nil
}

// cursorOf reads what an SDK wrote. The keys are compared without case: they
// come back as HTTP headers from one request and as XML from another.
func cursorOf(metadata map[string]*string) (checkpoint.Cursor, error) {
	var sequence, offset string
	for key, value := range metadata {
		if value == nil {
			continue
		}
		switch strings.ToLower(key) {
		case "sequencenumber":
			sequence = *value
		case "offset":
			offset = *value
		}
	}
	n, err := strconv.ParseInt(sequence, 10, 64)
	if err != nil {
		return "", fmt.Errorf("read checkpoint: metadata sequencenumber is %q; it must be a whole number (remove the blob to begin at start again)", sequence)
	}
	return position{sequence: n, offset: offset}.cursor(), nil
}

// ListOwnership implements Ownership.
func (b *BlobCheckpoints) ListOwnership(ctx context.Context, namespace, hub, group string, o *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	owners, err := b.store.ListOwnership(ctx, namespace, hub, group, o)
	if err != nil {
		return nil, b.explain("list owners in", err)
	}
	return owners, nil
}

// ClaimOwnership implements Ownership.
func (b *BlobCheckpoints) ClaimOwnership(ctx context.Context, claims []azeventhubs.Ownership, o *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	claimed, err := b.store.ClaimOwnership(ctx, claims, o)
	if err != nil {
		return nil, b.explain("write owners to", err)
	}
	return claimed, nil
}
