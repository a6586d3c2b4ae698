package blobs

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// Type is what a blob is made of.
type Type string

// The types of blobs.
const (
	BlockBlob  Type = "BlockBlob"
	AppendBlob Type = "AppendBlob"
)

const (
	// maxBlocks is Azure's limit of committed blocks, of both types
	// (learn.microsoft.com/rest/api/storageservices/understanding-block-blobs--append-blobs--and-page-blobs).
	maxBlocks      = 50_000
	maxUncommitted = 100_000
	defaultType    = "application/octet-stream"
)

// block is one of the blocks that a block blob was committed from.
type block struct {
	id   string
	size int64
}

// state is what a blob is at one moment. It may be copied; see content.
type state struct {
	name              string
	kind              Type
	content           content
	created, modified time.Time
	etag              string
	headers           headers
	metadata          map[string]string // never changed, only replaced
	tier              string            // "" is inferred: Hot
	copyID            string
	copySource        string
	blocks            []block // never changed, only replaced
	appended          int     // committed blocks of an append blob
}

type blob struct {
	state
	lease lease
}

// headers are what a client may set, and gets back.
type headers struct {
	contentType, encoding, language, cacheControl, disposition string
	md5                                                        string // Base64
}

type container struct {
	name              string
	created, modified time.Time
	etag              string
	metadata          map[string]string
	lease             lease

	byName      map[string]*blob
	sorted      []*blob // by name
	uncommitted map[string][]pendingBlock

	history *History
	hidden  map[int]struct{} // of history: deleted, or replaced by a real blob
}

type pendingBlock struct {
	id   string
	data []byte
}

// find returns the index of the first real blob whose name is not before from.
func (c *container) find(from string) int {
	i, _ := slices.BinarySearchFunc(c.sorted, from, func(b *blob, name string) int { return strings.Compare(b.name, name) })
	return i
}

// blob returns the blob with this name, or nil. One of the history becomes a
// real one, if it is to be changed.
func (c *container) blob(name string, change bool) *blob {
	if b := c.byName[name]; b != nil {
		return b
	}
	i, known := c.historical(name)
	if !known {
		return nil
	}
	b := &blob{state: c.history.state(i)}
	if change {
		c.put(b)
	}
	return b
}

// put adds a blob, or replaces the one with its name.
func (c *container) put(b *blob) {
	if i, known := c.historical(b.name); known {
		c.hidden[i] = struct{}{}
	}
	i := c.find(b.name)
	if _, exists := c.byName[b.name]; exists {
		c.sorted[i] = b
	} else {
		c.sorted = slices.Insert(c.sorted, i, b)
	}
	c.byName[b.name] = b
	delete(c.uncommitted, b.name)
}

func (c *container) remove(name string) {
	if i, known := c.historical(name); known {
		c.hidden[i] = struct{}{}
	}
	if _, exists := c.byName[name]; exists {
		i := c.find(name)
		c.sorted = slices.Delete(c.sorted, i, i+1)
		delete(c.byName, name)
	}
	delete(c.uncommitted, name)
}

// changed notes that a blob has changed.
func (s *Server) changed(b *state) {
	b.modified, b.etag = s.stampLocked()
	if b.created.IsZero() {
		b.created = b.modified
	}
}

// stampLocked returns the time and an ETag that no one had before, made from the
// time as the service's are.
func (s *Server) stampLocked() (time.Time, string) {
	now := s.now().UTC()
	ticks := now.UnixNano() / 100
	s.lastTick = max(s.lastTick+1, ticks)
	return now, fmt.Sprintf("0x8D%013X", s.lastTick&0xF_FFFF_FFFF_FFFF)
}

// conditions are the conditional headers of a request.
type conditions struct {
	match, noneMatch                string
	modifiedSince, notModifiedSince time.Time
}

func readConditions(c *storageapi.Call) (conditions, error) {
	k := conditions{match: c.Header("If-Match"), noneMatch: c.Header("If-None-Match")}
	for name, t := range map[string]*time.Time{"If-Modified-Since": &k.modifiedSince, "If-Unmodified-Since": &k.notModifiedSince} {
		text := c.Header(name)
		if text == "" {
			continue
		}
		var err error
		if *t, err = http.ParseTime(text); err != nil {
			return k, storageapi.InvalidHeader(name, text)
		}
	}
	return k, nil
}

func sameETag(header, etag string) bool { return header == "*" || strings.Trim(header, `"`) == etag }

// write checks the conditions for a change of b, which may be nil.
func (k conditions) write(b *blob) error {
	if b == nil {
		if k.match != "" {
			return storageapi.ConditionNotMet()
		}
		return nil
	}
	switch {
	case k.noneMatch == "*":
		return storageapi.Errorf(http.StatusConflict, "BlobAlreadyExists", "The specified blob already exists.")
	case k.match != "" && !sameETag(k.match, b.etag),
		k.noneMatch != "" && sameETag(k.noneMatch, b.etag),
		!k.modifiedSince.IsZero() && !b.modified.Truncate(time.Second).After(k.modifiedSince),
		!k.notModifiedSince.IsZero() && b.modified.Truncate(time.Second).After(k.notModifiedSince):
		return storageapi.ConditionNotMet()
	}
	return nil
}

// read checks the conditions for reading.
func (k conditions) read(etag string, modified time.Time) error {
	modified = modified.Truncate(time.Second)
	switch {
	case k.match != "" && !sameETag(k.match, etag), !k.notModifiedSince.IsZero() && modified.After(k.notModifiedSince):
		return storageapi.ConditionNotMet()
	case k.noneMatch != "" && sameETag(k.noneMatch, etag),
		// learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations
		k.noneMatch == "" && !k.modifiedSince.IsZero() && !modified.After(k.modifiedSince):
		e := storageapi.ConditionNotMet()
		e.Status = http.StatusNotModified
		return e
	}
	return nil
}

func readHeaders(c *storageapi.Call) headers {
	first := func(names ...string) string {
		for _, name := range names {
			if v := c.Header(name); v != "" {
				return v
			}
		}
		return ""
	}
	return headers{
		contentType:  first("x-ms-blob-content-type", "Content-Type"),
		encoding:     first("x-ms-blob-content-encoding", "Content-Encoding"),
		language:     first("x-ms-blob-content-language", "Content-Language"),
		cacheControl: first("x-ms-blob-cache-control", "Cache-Control"),
		disposition:  first("x-ms-blob-content-disposition"),
		md5:          first("x-ms-blob-content-md5"),
	}
}

// show writes a blob's state into the header of an answer.
func (b *blob) show(h http.Header, now time.Time) {
	showStamp(h, b.etag, b.modified)
	h.Set("Content-Type", orElse(b.headers.contentType, defaultType))
	for name, value := range map[string]string{
		"Content-Encoding": b.headers.encoding, "Content-Language": b.headers.language,
		"Cache-Control": b.headers.cacheControl, "Content-Disposition": b.headers.disposition,
		"x-ms-copy-id": b.copyID, "x-ms-copy-source": b.copySource,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	if b.copyID != "" {
		h.Set("x-ms-copy-status", "success")
		h.Set("x-ms-copy-completion-time", b.created.Format(http.TimeFormat))
		h.Set("x-ms-copy-progress", fmt.Sprintf("%d/%d", b.content.size, b.content.size))
	}
	storageapi.ShowMetadata(h, b.metadata)
	h.Set("x-ms-creation-time", b.created.Format(http.TimeFormat))
	h.Set("x-ms-blob-type", string(b.kind))
	b.lease.show(h, now)
	h.Set("x-ms-server-encrypted", "true")
	h.Set("Accept-Ranges", "bytes")
	if b.kind == AppendBlob {
		h.Set("x-ms-blob-committed-block-count", fmt.Sprint(b.appended))
	}
}

func showStamp(h http.Header, etag string, modified time.Time) {
	h.Set("ETag", `"`+etag+`"`)
	h.Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func notFound() *storageapi.Error {
	return storageapi.Errorf(http.StatusNotFound, "BlobNotFound", "The specified blob does not exist.")
}

func wrongType() *storageapi.Error {
	return storageapi.Errorf(http.StatusConflict, "InvalidBlobType", "The blob type is invalid for this operation.")
}

func archived() *storageapi.Error {
	return storageapi.Errorf(http.StatusConflict, "BlobArchived", "This operation is not permitted on an archived blob.")
}
