package blobs

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// seek returns the state of the first blob whose name is not before from, real or
// historical, or nil. near is where in the history it may be, and is moved on.
func (c *container) seek(from string, near *int) *blob {
	var found *blob
	if i := c.find(from); i < len(c.sorted) {
		found = c.sorted[i]
	}
	if c.history.empty() {
		return found
	}
	n := c.history.Len()
	i := *near
	if i >= n || c.history.Name(i) < from || (i > 0 && c.history.Name(i-1) >= from) {
		i = sort.Search(n, func(i int) bool { return c.history.Name(i) >= from })
	}
	for ; i < n; i++ {
		if _, hidden := c.hidden[i]; !hidden {
			break
		}
	}
	*near = i
	if i < n && (found == nil || c.history.Name(i) < found.name) {
		*near = i + 1 // most likely the next
		return &blob{state: c.history.state(i)}
	}
	return found
}

// after returns the first text that is behind every text that begins with
// prefix; "" if there is none.
func after(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}

func (s *Server) listBlobs(t target) error {
	limit, err := t.Limit()
	if err != nil {
		return err
	}
	prefix, delimiter := t.Query.Get("prefix"), t.Query.Get("delimiter")
	from, err := t.Marker()
	if err != nil {
		return err
	}
	// startFrom came with 2026-02-06; that it is inclusive is assumed.
	from = max(from, prefix, t.Query.Get("startFrom"))
	var metadata bool
	for include := range strings.SplitSeq(strings.ToLower(t.Query.Get("include")), ",") {
		metadata = metadata || include == "metadata"
	}

	s.mu.RLock()
	c, err := s.containerLocked(t.Account, t.container)
	if err != nil {
		s.mu.RUnlock()
		return err
	}
	body := append(storageapi.AppendXML(nil), `<EnumerationResults ServiceEndpoint="`...)
	body = append(storageapi.AppendText(body, t.Base+"/"), `" ContainerName="`...)
	body = append(storageapi.AppendText(body, t.container), `">`...)
	body = t.AppendEcho(body)
	body = append(body, "<Blobs>"...)
	next, now, near := "", s.now(), 0
	for count := 0; ; count++ {
		b := c.seek(from, &near)
		if b == nil || !strings.HasPrefix(b.name, prefix) {
			break
		}
		if count == limit {
			next = storageapi.Marker(b.name)
			break
		}
		if delimiter != "" {
			if i := strings.Index(b.name[len(prefix):], delimiter); i >= 0 {
				group := b.name[:len(prefix)+i+len(delimiter)]
				body = append(appendName(append(body, "<BlobPrefix>"...), group), "</BlobPrefix>"...)
				if from = after(group); from == "" {
					break
				}
				continue
			}
		}
		body = b.appendListed(body, metadata, now)
		from = b.name + "\x00"
	}
	s.mu.RUnlock()
	body = append(body, "</Blobs>"...)
	body = storageapi.AppendElement(body, "NextMarker", next)
	return t.XML(http.StatusOK, append(body, "</EnumerationResults>"...))
}

// appendName writes a name; one that XML cannot hold is percent-encoded.
func appendName(body []byte, name string) []byte {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0xFFFE || r == 0xFFFF }) {
		return storageapi.AppendElement(body, "Name", name)
	}
	body = append(body, `<Name Encoded="true">`...)
	return append(append(body, url.PathEscape(name)...), "</Name>"...)
}

func (b *blob) appendListed(body []byte, metadata bool, now time.Time) []byte {
	body = appendName(append(body, "<Blob>"...), b.name)
	body = append(body, "<Properties>"...)
	element := func(name, value string) { body = storageapi.AppendElement(body, name, value) }
	element("Creation-Time", b.created.Format(http.TimeFormat))
	element("Last-Modified", b.modified.Format(http.TimeFormat))
	element("Etag", b.etag) // without quotes, unlike the header
	element("Content-Length", strconv.FormatInt(b.content.size, 10))
	element("Content-Type", orElse(b.headers.contentType, defaultType))
	element("Content-Encoding", b.headers.encoding)
	element("Content-Language", b.headers.language)
	element("Content-CRC64", "")
	element("Content-MD5", b.headers.md5)
	element("Cache-Control", b.headers.cacheControl)
	element("Content-Disposition", b.headers.disposition)
	element("BlobType", string(b.kind))
	if b.kind == BlockBlob {
		element("AccessTier", orElse(b.tier, "Hot"))
		if b.tier == "" {
			element("AccessTierInferred", "true")
		}
	}
	state := b.lease.state(now)
	element("LeaseStatus", map[bool]string{true: "locked", false: "unlocked"}[b.lease.held(now)])
	element("LeaseState", state)
	if state == leased {
		element("LeaseDuration", b.lease.kind())
	}
	element("ServerEncrypted", "true")
	body = append(body, "</Properties>"...)
	if metadata {
		body = storageapi.AppendMetadata(body, b.metadata)
	}
	return append(body, "<OrMetadata /></Blob>"...)
}

func (s *Server) listContainers(t target) error {
	limit, err := t.Limit()
	if err != nil {
		return err
	}
	from, err := t.Marker()
	if err != nil {
		return err
	}
	metadata := strings.Contains(t.Query.Get("include"), "metadata")
	s.mu.RLock()
	defer s.mu.RUnlock()
	body := append(storageapi.AppendXML(nil), `<EnumerationResults ServiceEndpoint="`...)
	body = append(storageapi.AppendText(body, t.Base+"/"), `">`...)
	body = t.AppendEcho(body)
	body = append(body, "<Containers>"...)
	next, count, now := "", 0, s.now()
	for _, name := range slices.Sorted(maps.Keys(s.accounts[t.Account])) {
		if name < from || !strings.HasPrefix(name, t.Query.Get("prefix")) {
			continue
		}
		if count == limit {
			next = storageapi.Marker(name)
			break
		}
		count++
		c := s.accounts[t.Account][name]
		body = append(body, "<Container>"...)
		body = storageapi.AppendElement(body, "Name", name)
		body = append(body, "<Properties>"...)
		body = storageapi.AppendElement(body, "Last-Modified", c.modified.Format(http.TimeFormat))
		body = storageapi.AppendElement(body, "Etag", `"`+c.etag+`"`)
		body = storageapi.AppendElement(body, "LeaseStatus", map[bool]string{true: "locked", false: "unlocked"}[c.lease.held(now)])
		body = storageapi.AppendElement(body, "LeaseState", c.lease.state(now))
		body = append(body, "<HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold></Properties>"...)
		if metadata {
			body = storageapi.AppendMetadata(body, c.metadata)
		}
		body = append(body, "</Container>"...)
	}
	body = append(body, "</Containers>"...)
	body = storageapi.AppendElement(body, "NextMarker", next)
	return t.XML(http.StatusOK, append(body, "</EnumerationResults>"...))
}
