package storage

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	azureblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// blobService is the part of the blob service that the source uses: it only lists
// and reads. The methods may be called concurrently.
type blobService interface {
	// containers returns the names that begin with prefix, and where to go on.
	containers(ctx context.Context, prefix, marker string) (names []string, next string, err error)
	// list returns a page of a container's blobs, and with a delimiter those
	// and what comes before the delimiter in the names of others.
	list(ctx context.Context, container, prefix, delimiter, marker string, most int32) (page, error)
	// get begins to download count bytes from offset on; less if the blob ends
	// there. It answers unchanged if the blob still has the etag unless.
	get(ctx context.Context, container, name string, offset, count int64, unless string) (*download, error)
}

type page struct {
	items    []item
	prefixes []string
	next     string // marker of the next page, "" if there is none
}

// item is what a listing says of a blob.
type item struct {
	name              string
	size              int64
	etag              string
	created, modified time.Time
	archived          bool
}

// download is an answer to get. If the blob is empty or ends before the range,
// there is no body.
type download struct {
	body              io.ReadCloser
	length            int64 // of the body
	size              int64 // of the blob
	etag              string
	created, modified time.Time
	unchanged         bool
	beyond            bool // the range begins at or behind the blob's end; size, times and etag may be missing
}

func (d *download) close() {
	if d != nil && d.body != nil {
		_ = d.body.Close()
	}
}

// azureBlobs is the blob service of a storage account.
type azureBlobs struct {
	client  *service.Client
	metrics Metrics
}

func (a *azureBlobs) containers(ctx context.Context, prefix, marker string) ([]string, string, error) {
	options := &service.ListContainersOptions{Prefix: &prefix}
	if strings.HasPrefix(prefix, "$") {
		options.Include.System = true // $logs and the like are not listed otherwise
	}
	if marker != "" {
		options.Marker = &marker
	}
	a.metrics.Request("list_containers")
	p, err := a.client.NewListContainersPager(options).NextPage(ctx)
	if err != nil {
		return nil, "", err
	}
	var names []string
	for _, c := range p.ContainerItems {
		if c.Name != nil {
			names = append(names, *c.Name)
		}
	}
	return names, value(p.NextMarker), nil
}

func (a *azureBlobs) list(ctx context.Context, name, prefix, delimiter, marker string, most int32) (page, error) {
	client := a.client.NewContainerClient(name)
	var mark *string
	if marker != "" {
		mark = &marker
	}
	var limit *int32
	if most > 0 {
		limit = &most
	}
	a.metrics.Request("list_blobs")
	if delimiter == "" {
		p, err := client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix, Marker: mark, MaxResults: limit}).NextPage(ctx)
		if err != nil {
			return page{}, err
		}
		return page{items: items(p.Segment.BlobItems), next: value(p.NextMarker)}, nil
	}
	p, err := client.NewListBlobsHierarchyPager(delimiter, &container.ListBlobsHierarchyOptions{Prefix: &prefix, Marker: mark, MaxResults: limit}).NextPage(ctx)
	if err != nil {
		return page{}, err
	}
	out := page{items: items(p.Segment.BlobItems), next: value(p.NextMarker)}
	for _, dir := range p.Segment.BlobPrefixes {
		if dir.Name != nil {
			out.prefixes = append(out.prefixes, *dir.Name)
		}
	}
	return out, nil
}

func items(listed []*container.BlobItem) []item {
	out := make([]item, 0, len(listed))
	for _, b := range listed {
		if b.Name == nil || b.Properties == nil {
			continue
		}
		p := b.Properties
		out = append(out, item{
			name: *b.Name, size: value(p.ContentLength), etag: bare(p.ETag),
			created: value(p.CreationTime), modified: value(p.LastModified),
			archived: p.AccessTier != nil && *p.AccessTier == azureblob.AccessTierArchive,
		})
	}
	return out
}

func (a *azureBlobs) get(ctx context.Context, name, blobName string, offset, count int64, unless string) (*download, error) {
	options := &azureblob.DownloadStreamOptions{Range: azureblob.HTTPRange{Offset: offset, Count: count}}
	if unless != "" {
		options.AccessConditions = &azureblob.AccessConditions{
			ModifiedAccessConditions: &azureblob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETag(`"` + unless + `"`))},
		}
	}
	a.metrics.Request("get_blob")
	r, err := a.client.NewContainerClient(name).NewBlobClient(blobName).DownloadStream(ctx, options)
	if bloberror.HasCode(err, bloberror.InvalidRange) {
		return &download{beyond: true}, nil
	}
	if err != nil {
		return nil, err
	}
	d := &download{
		body: r.Body, length: value(r.ContentLength), etag: bare(r.ETag),
		created: value(r.CreationTime), modified: value(r.LastModified),
	}
	if r.ErrorCode != nil { // 304 is no error to the SDK: azure:storage.not-modified
		d.close()
		return &download{unchanged: true, etag: unless}, nil
	}
	// "bytes 0-99/1234"; an answer without it is the whole blob.
	d.size = d.length
	_, total, ok := strings.Cut(value(r.ContentRange), "/")
	if n, isNumber := parseSize(total); ok && isNumber {
		d.size = n
	} else if offset > 0 {
		d.close()
		return nil, fmt.Errorf("the answer to a request for the bytes from %d on does not say which bytes it holds (Content-Range %q)", offset, value(r.ContentRange))
	}
	return d, nil
}

// bare is an etag without its quotes: headers have them and listings have not,
// azure:storage.etag-quotes
func bare(etag *azcore.ETag) string { return strings.Trim(string(value(etag)), `"`) }

func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

func parseSize(s string) (n int64, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' || n > 1<<58 {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, s != ""
}
