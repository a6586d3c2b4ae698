package blobs

import (
	"crypto/md5" //nolint:gosec // what Content-MD5 is
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// maxRangeMD5 is up to where the service computes the MD5 of a range.
const maxRangeMD5 = 4 << 20

// snapshot returns a blob as it is now.
func (s *Server) snapshot(t target) (blob, time.Time, error) {
	k, err := readConditions(t.Call)
	if err != nil {
		return blob{}, time.Time{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := s.now()
	c, err := s.containerLocked(t.Account, t.container)
	if err != nil {
		return blob{}, now, err
	}
	b := c.blob(t.blob, false)
	if b == nil {
		return blob{}, now, notFound()
	}
	if err := b.lease.check(t.Header("x-ms-lease-id"), "Blob", false, now); err != nil {
		return blob{}, now, err
	}
	if err := k.read(b.etag, b.modified); err != nil {
		showStamp(t.Answer(), b.etag, b.modified)
		return blob{}, now, err
	}
	return *b, now, nil
}

func (s *Server) getBlob(t target) error {
	b, now, err := s.snapshot(t)
	if err != nil {
		return err
	}
	h := t.Answer()
	if t.Method == http.MethodHead {
		b.show(h, now)
		h.Set("x-ms-access-tier", orElse(b.tier, "Hot"))
		if b.tier == "" {
			h.Set("x-ms-access-tier-inferred", "true")
		}
		if b.headers.md5 != "" {
			h.Set("Content-MD5", b.headers.md5)
		}
		h.Set("Content-Length", strconv.FormatInt(b.content.size, 10))
		t.WriteHeader(http.StatusOK)
		return nil
	}
	if b.tier == "Archive" {
		return archived()
	}
	text := orElse(t.Header("x-ms-range"), t.Header("Range"))
	from, to, ranged, err := readRange(text, b.content.size)
	if err != nil {
		return err
	}
	// The lock is not needed: the segments up to the size at the time stay as they are.
	segments := s.cut(&b.content, from, to-from)
	b.show(h, now)
	status := http.StatusOK
	switch {
	case ranged:
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, b.content.size))
		if b.headers.md5 != "" {
			h.Set("x-ms-blob-content-md5", b.headers.md5)
		}
		if t.Header("x-ms-range-get-content-md5") == "true" {
			if to-from > maxRangeMD5 {
				return storageapi.OutOfRange()
			}
			sum := md5.New() //nolint:gosec // see above
			if err := writeTo(sum, segments); err != nil {
				return err
			}
			h.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum.Sum(nil)))
		}
	case b.headers.md5 != "":
		h.Set("Content-MD5", b.headers.md5)
	}
	h.Set("Content-Length", strconv.FormatInt(to-from, 10))
	t.WriteHeader(status)
	_ = writeTo(t.ResponseWriter, segments) // the client has gone if this fails
	return nil
}

// cut takes the lock, since an append writes into the last segment's descriptor.
func (s *Server) cut(c *content, from, count int64) []segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return c.slice(from, count)
}

// readRange returns the bytes that a range header asks for, [from, to).
func readRange(text string, size int64) (from, to int64, ranged bool, err error) {
	if text == "" {
		return 0, size, false, nil
	}
	bad := storageapi.InvalidHeader("Range", text)
	first, last, ok := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	if !ok || !strings.HasPrefix(text, "bytes=") {
		return 0, 0, false, bad
	}
	if from, err = strconv.ParseInt(first, 10, 64); err != nil || from < 0 {
		return 0, 0, false, bad
	}
	to = size
	if last != "" {
		end, err := strconv.ParseInt(last, 10, 64)
		if err != nil || end < from {
			return 0, 0, false, bad
		}
		to = min(end+1, size)
	}
	if from >= size {
		e := storageapi.Errorf(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The range specified is invalid for the current size of the resource.")
		e.Header = http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}}
		return 0, 0, false, e
	}
	return from, to, true, nil
}

func (s *Server) blobMetadata(t target) error {
	b, _, err := s.snapshot(t)
	if err != nil {
		return err
	}
	showStamp(t.Answer(), b.etag, b.modified)
	storageapi.ShowMetadata(t.Answer(), b.metadata)
	return t.Empty(http.StatusOK)
}

func (s *Server) getBlockList(t target) error {
	which := strings.ToLower(orElse(t.Query.Get("blocklisttype"), "committed"))
	if which != "committed" && which != "uncommitted" && which != "all" {
		return storageapi.InvalidQuery("blocklisttype", which)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.containerLocked(t.Account, t.container)
	if err != nil {
		return err
	}
	b, pending := c.blob(t.blob, false), c.uncommitted[t.blob]
	if b == nil && pending == nil {
		return notFound()
	}
	if b != nil && b.kind != BlockBlob {
		return wrongType()
	}
	body := append(storageapi.AppendXML(nil), "<BlockList>"...)
	write := func(tag string, n int, at func(i int) (string, int64)) {
		body = append(body, "<"+tag+">"...)
		for i := range n {
			id, size := at(i)
			body = append(body, "<Block>"...)
			body = storageapi.AppendElement(body, "Name", id)
			body = storageapi.AppendElement(body, "Size", strconv.FormatInt(size, 10))
			body = append(body, "</Block>"...)
		}
		body = append(body, "</"+tag+">"...)
	}
	if b != nil {
		showStamp(t.Answer(), b.etag, b.modified)
		t.Answer().Set("x-ms-blob-content-length", strconv.FormatInt(b.content.size, 10))
	}
	if which != "uncommitted" {
		var committed []block
		if b != nil {
			committed = b.blocks
		}
		write("CommittedBlocks", len(committed), func(i int) (string, int64) { return committed[i].id, committed[i].size })
	}
	if which != "committed" {
		write("UncommittedBlocks", len(pending), func(i int) (string, int64) { return pending[i].id, int64(len(pending[i].data)) })
	}
	return t.XML(http.StatusOK, append(body, "</BlockList>"...))
}
