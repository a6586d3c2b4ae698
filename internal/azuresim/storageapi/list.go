package storageapi

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// MaxResults is the most that one page of a listing has
// (learn.microsoft.com/rest/api/storageservices/list-blobs).
const MaxResults = 5000

// markerHead begins the markers that listings hand out; what follows is where to
// go on. The service's are opaque too.
const markerHead = "2!"

// Marker returns what a listing is to be continued with at the name from.
func Marker(from string) string { return markerHead + base64.URLEncoding.EncodeToString([]byte(from)) }

// Marker returns the name at which the listing is to go on.
func (c *Call) Marker() (from string, err error) {
	text := c.Query.Get("marker")
	if text == "" {
		return "", nil
	}
	raw, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(text, markerHead))
	if err != nil || !strings.HasPrefix(text, markerHead) {
		return "", OutOfRange()
	}
	return string(raw), nil
}

// Limit returns how many results a page may have.
func (c *Call) Limit() (int, error) {
	n, err := c.Number("maxresults", 1, 1<<31-1, MaxResults)
	return min(n, MaxResults), err
}

// AppendEcho repeats the parameters of a listing that were given.
func (c *Call) AppendEcho(body []byte) []byte {
	for _, p := range [...]struct{ name, element string }{
		{"prefix", "Prefix"},
		{"marker", "Marker"},
		{"maxresults", "MaxResults"},
		{"delimiter", "Delimiter"},
	} {
		if value := c.Query.Get(p.name); value != "" {
			body = AppendElement(body, p.element, value)
		}
	}
	return body
}

const metaPrefix = "X-Ms-Meta-"

// Metadata returns the metadata that the request sets, with names in lower case.
func (c *Call) Metadata() (map[string]string, error) {
	metadata := map[string]string{}
	for name, values := range c.Request.Header {
		rest, is := strings.CutPrefix(name, metaPrefix)
		if !is {
			continue
		}
		if rest == "" {
			return nil, Errorf(http.StatusBadRequest, "EmptyMetadataKey", "The key for one of the metadata key-value pairs is empty.")
		}
		for _, r := range rest { // a C# identifier
			if r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
				return nil, Errorf(http.StatusBadRequest, "InvalidMetadata", "The metadata specified is invalid. It has characters that are not permitted.")
			}
		}
		metadata[strings.ToLower(rest)] = strings.Join(values, ",")
	}
	return metadata, nil
}

// ShowMetadata writes metadata into the header of an answer.
func ShowMetadata(h http.Header, metadata map[string]string) {
	for name, value := range metadata {
		h.Set("x-ms-meta-"+name, value)
	}
}

// AppendMetadata appends metadata as a listing has them.
func AppendMetadata(body []byte, metadata map[string]string) []byte {
	if len(metadata) == 0 {
		return append(body, "<Metadata />"...)
	}
	body = append(body, "<Metadata>"...)
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		body = AppendElement(body, name, metadata[name])
	}
	return append(body, "</Metadata>"...)
}
