package blobs

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what Content-MD5 is
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// maxBody is the largest body taken. The service takes 5000 MiB at a time; what
// is larger here comes by Put Block.
const maxBody = 1 << 30

// readBody reads a body whole and checks its MD5.
func readBody(t target) (body []byte, sum string, err error) {
	if t.ContentLength < 0 {
		return nil, "", storageapi.Errorf(http.StatusLengthRequired, "MissingContentLengthHeader", "Content-Length HTTP header is missing.")
	}
	if t.ContentLength > maxBody {
		return nil, "", storageapi.Errorf(http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", "The request body is too large and exceeds the maximum permissible limit.")
	}
	body = make([]byte, t.ContentLength)
	if _, err := io.ReadFull(t.Body, body); err != nil && !errors.Is(err, io.EOF) {
		return nil, "", fmt.Errorf("read the body: %w", err)
	}
	if given := t.Header("Content-MD5"); given != "" {
		if sum = digest(body); sum != given {
			e := storageapi.Errorf(http.StatusBadRequest, "Md5Mismatch", "The MD5 value specified in the request did not match with the MD5 value calculated by the server.")
			e.Detail = given + " is not " + sum
			return nil, "", e
		}
	}
	return body, sum, nil
}

func digest(b []byte) string {
	sum := md5.Sum(b) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// written answers a write.
func (t target) written(b *state) error {
	showStamp(t.Answer(), b.etag, b.modified)
	t.Answer().Set("x-ms-request-server-encrypted", "true")
	return t.Empty(http.StatusCreated)
}

func (s *Server) putBlob(t target) error {
	kind := Type(t.Header("x-ms-blob-type"))
	if kind != BlockBlob && kind != AppendBlob {
		if kind == "" {
			return missing("x-ms-blob-type")
		}
		return storageapi.InvalidHeader("x-ms-blob-type", string(kind))
	}
	body, sum, err := readBody(t)
	if err != nil {
		return err
	}
	if kind == AppendBlob && len(body) > 0 {
		return storageapi.InvalidHeader("Content-Length", strconv.Itoa(len(body)))
	}
	metadata, err := t.Metadata()
	if err != nil {
		return err
	}
	made := &blob{state: state{name: t.blob, kind: kind, headers: readHeaders(t.Call), metadata: metadata, tier: t.Header("x-ms-access-tier")}}
	if kind == BlockBlob {
		made.content.add(body)
		if sum == "" {
			sum = digest(body)
		}
		made.headers.md5 = orElse(made.headers.md5, sum)
		t.Answer().Set("Content-MD5", sum)
	}
	err = s.change(t, true, func(c *container, old *blob) error {
		if old != nil {
			made.lease = old.lease
		}
		s.changed(&made.state)
		c.put(made)
		return t.written(&made.state)
	})
	s.tell(t.Account, t.container, "PutBlob", made, err)
	return err
}

// tell reports a blob that was created.
func (s *Server) tell(account, container, api string, b *blob, err error) {
	if err != nil || s.created == nil {
		return
	}
	s.mu.Lock()
	sequence := s.lastTick
	told := Created{
		Account: account, Container: container, Blob: b.name, API: api, ETag: b.etag, ContentType: orElse(b.headers.contentType, defaultType),
		Type: b.kind, Size: b.content.size, At: b.modified, Sequence: sequence,
	}
	s.mu.Unlock()
	s.created(told)
}

func (s *Server) putBlock(t target) error {
	id := t.Query.Get("blockid")
	if raw, err := base64.StdEncoding.DecodeString(id); err != nil || len(raw) == 0 || len(raw) > 64 {
		return storageapi.InvalidQuery("blockid", id)
	}
	body, sum, err := readBody(t)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return storageapi.InvalidHeader("Content-Length", "0")
	}
	err = s.change(t, true, func(c *container, b *blob) error {
		if b != nil && b.kind != BlockBlob {
			return wrongType()
		}
		return c.stage(t.blob, id, body)
	})
	if err != nil {
		return err
	}
	if sum != "" {
		t.Answer().Set("Content-MD5", sum)
	}
	t.Answer().Set("x-ms-request-server-encrypted", "true")
	return t.Empty(http.StatusCreated)
}

// stage keeps a block that is not committed yet.
func (c *container) stage(name, id string, data []byte) error {
	pending := c.uncommitted[name]
	i := slices.IndexFunc(pending, func(p pendingBlock) bool { return p.id == id })
	switch {
	case i >= 0:
		pending[i].data = data
	case len(pending) > 0 && len(pending[0].id) != len(id):
		return storageapi.Errorf(http.StatusBadRequest, "InvalidBlobOrBlock", "The specified blob or block content is invalid.")
	case len(pending) >= maxUncommitted:
		return storageapi.Errorf(http.StatusConflict, "BlockCountExceedsLimit", "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks.")
	default:
		pending = append(pending, pendingBlock{id, data})
	}
	c.uncommitted[name] = pending
	return nil
}

// blockRef is an entry of a block list: where the block is to be looked for, and
// its id.
type blockRef struct {
	XMLName xml.Name
	ID      string `xml:",chardata"`
}

func (s *Server) putBlockList(t target) error {
	body, _, err := readBody(t)
	if err != nil {
		return err
	}
	var list struct {
		Blocks []blockRef `xml:",any"`
	}
	if err := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff")))).Decode(&list); err != nil {
		return storageapi.InvalidXML()
	}
	metadata, err := t.Metadata()
	if err != nil {
		return err
	}
	given := readHeaders(t.Call)
	given.contentType = t.Header("x-ms-blob-content-type") // the request's own is that of the list
	var made *blob
	err = s.change(t, true, func(c *container, old *blob) error {
		if made, err = s.commit(c, t.blob, old, list.Blocks); err != nil {
			return err
		}
		made.headers, made.metadata = given, metadata
		if tier := t.Header("x-ms-access-tier"); tier != "" {
			made.tier = tier
		}
		return t.written(&made.state)
	})
	s.tell(t.Account, t.container, "PutBlockList", made, err)
	return err
}

// commit makes a blob of blocks.
func (s *Server) commit(c *container, name string, old *blob, list []blockRef) (*blob, error) {
	if len(list) > maxBlocks {
		return nil, storageapi.Errorf(http.StatusBadRequest, "BlockListTooLong", "The block list may not contain more than 50,000 blocks.")
	}
	committed, pending := map[string][]byte{}, map[string][]byte{}
	if old != nil {
		if old.kind != BlockBlob {
			return nil, wrongType()
		}
		for i, b := range old.blocks {
			committed[b.id] = old.content.segments[i].data
		}
	}
	for _, p := range c.uncommitted[name] {
		pending[p.id] = p.data
	}
	made := &blob{state: state{name: name, kind: BlockBlob}}
	for _, ref := range list {
		id := strings.TrimSpace(ref.ID)
		data, found := pending[id]
		switch ref.XMLName.Local {
		case "Latest":
			if !found {
				data, found = committed[id]
			}
		case "Committed":
			data, found = committed[id]
		case "Uncommitted":
		default:
			return nil, storageapi.InvalidXML()
		}
		if !found {
			return nil, storageapi.Errorf(http.StatusBadRequest, "InvalidBlockList", "The specified block list is invalid.")
		}
		made.content.add(data)
		made.blocks = append(made.blocks, block{id, int64(len(data))})
	}
	if old != nil {
		made.created, made.lease, made.tier = old.created, old.lease, old.tier
	}
	s.changed(&made.state)
	c.put(made)
	return made, nil
}

func (s *Server) appendBlock(t target) error {
	body, sum, err := readBody(t)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return storageapi.InvalidHeader("Content-Length", "0")
	}
	limits := map[string]int64{"x-ms-blob-condition-appendpos": -1, "x-ms-blob-condition-maxsize": -1}
	for name := range limits {
		text := t.Header(name)
		if text == "" {
			continue
		}
		if limits[name], err = strconv.ParseInt(text, 10, 64); err != nil {
			return storageapi.InvalidHeader(name, text)
		}
	}
	return s.change(t, false, func(_ *container, b *blob) error {
		if at := limits["x-ms-blob-condition-appendpos"]; at >= 0 && at != b.content.size {
			return storageapi.Errorf(http.StatusPreconditionFailed, "AppendPositionConditionNotMet", "The append position condition specified was not met.")
		}
		if most := limits["x-ms-blob-condition-maxsize"]; most >= 0 && b.content.size+int64(len(body)) > most {
			return storageapi.Errorf(http.StatusPreconditionFailed, "MaxBlobSizeConditionNotMet", "The max blob size condition specified was not met.")
		}
		offset := b.content.size
		if err := s.appendLocked(b, body); err != nil {
			return err
		}
		t.Answer().Set("x-ms-blob-append-offset", strconv.FormatInt(offset, 10))
		t.Answer().Set("x-ms-blob-committed-block-count", strconv.Itoa(b.appended))
		if sum != "" {
			t.Answer().Set("Content-MD5", sum)
		}
		return t.written(&b.state)
	})
}

func (s *Server) appendLocked(b *blob, data []byte) error {
	switch {
	case b.kind != AppendBlob:
		return wrongType()
	case b.tier == "Archive":
		return archived()
	case b.appended >= maxBlocks:
		return storageapi.Errorf(http.StatusConflict, "BlockCountExceedsLimit", "The committed block count cannot exceed the maximum limit of 50,000 blocks.")
	}
	b.content.append(data)
	b.appended++
	s.changed(&b.state)
	return nil
}

// copyBlob copies within the account, at once.
func (s *Server) copyBlob(t target) error {
	source, err := url.Parse(t.Header("x-ms-copy-source"))
	if err != nil {
		return storageapi.InvalidHeader("x-ms-copy-source", t.Header("x-ms-copy-source"))
	}
	path := strings.TrimPrefix(source.Path, "/")
	if strings.HasSuffix(t.Base, "/"+t.Account) {
		path = strings.TrimPrefix(path, t.Account+"/")
	}
	from, name, _ := strings.Cut(path, "/")
	metadata, err := t.Metadata()
	if err != nil {
		return err
	}
	var made *blob
	err = s.change(t, true, func(c *container, old *blob) error {
		origin, err := s.containerLocked(t.Account, from)
		if err != nil {
			return err
		}
		b := origin.blob(name, false)
		if b == nil {
			return notFound()
		}
		if b.tier == "Archive" {
			return archived()
		}
		made = &blob{state: b.state}
		made.name, made.created, made.copyID, made.copySource = t.blob, s.now().UTC(), uuid.NewString(), source.String()
		made.content.segments = b.content.slice(0, b.content.size)
		for i, offset := 0, int64(0); i < len(made.content.segments); i++ { // slice counts from each segment's own start
			segment := &made.content.segments[i]
			if segment.source != nil {
				return storageapi.NotImplemented("copies of blobs with a source")
			}
			segment.data = slices.Clip(segment.data)
			segment.offset, offset = offset, offset+segment.size
		}
		if len(metadata) > 0 {
			made.metadata = metadata
		}
		if old != nil {
			made.lease = old.lease
		}
		s.changed(&made.state)
		c.put(made)
		showStamp(t.Answer(), made.etag, made.modified)
		t.Answer().Set("x-ms-copy-id", made.copyID)
		t.Answer().Set("x-ms-copy-status", "success")
		return t.Empty(http.StatusAccepted)
	})
	s.tell(t.Account, t.container, "CopyBlob", made, err)
	return err
}

// modify is a change of a blob that must exist.
func (s *Server) modify(t target, status int, f func(c *container, b *blob) error) error {
	return s.change(t, false, func(c *container, b *blob) error {
		if err := f(c, b); err != nil {
			return err
		}
		if status == http.StatusOK {
			showStamp(t.Answer(), b.etag, b.modified)
			t.Answer().Set("x-ms-request-server-encrypted", "true")
		}
		return t.Empty(status)
	})
}

func (s *Server) setBlobMetadata(t target) error {
	metadata, err := t.Metadata()
	if err != nil {
		return err
	}
	return s.modify(t, http.StatusOK, func(_ *container, b *blob) error {
		b.metadata = metadata
		s.changed(&b.state)
		return nil
	})
}

func (s *Server) setBlobProperties(t target) error {
	given := readHeaders(t.Call)
	given.contentType = t.Header("x-ms-blob-content-type")
	return s.modify(t, http.StatusOK, func(_ *container, b *blob) error {
		b.headers = given
		s.changed(&b.state)
		return nil
	})
}

// setTier changes the tier, which is not a modification.
func (s *Server) setTier(t target) error {
	tier := t.Header("x-ms-access-tier")
	if !slices.Contains([]string{"Hot", "Cool", "Cold", "Archive"}, tier) {
		return storageapi.InvalidHeader("x-ms-access-tier", tier)
	}
	return s.modify(t, http.StatusOK, func(_ *container, b *blob) error {
		if b.kind != BlockBlob {
			return wrongType()
		}
		b.tier = tier
		return nil
	})
}

func (s *Server) deleteBlob(t target) error {
	return s.modify(t, http.StatusAccepted, func(c *container, b *blob) error {
		c.remove(b.name)
		return nil
	})
}

func (s *Server) leaseBlob(t target) error {
	request, err := readLease(t.Call)
	if err != nil {
		return err
	}
	k, err := readConditions(t.Call)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.containerLocked(t.Account, t.container)
	if err != nil {
		return err
	}
	b := c.blob(t.blob, true)
	if b == nil {
		return notFound()
	}
	if k.write(b) != nil {
		return storageapi.ConditionNotMet()
	}
	status, err := b.lease.apply(request, t.Answer(), s.now())
	if err != nil {
		return err
	}
	showStamp(t.Answer(), b.etag, b.modified)
	return t.Empty(status)
}
