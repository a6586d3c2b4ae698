// Package elastictest is a server that answers as Elasticsearch's bulk API does,
// to test against: operation create with ids, data streams that want @timestamp,
// fields whose type conflicts, and the ways to fail. It is made from the
// reference of the API, shares no code with the sink, and is not Elasticsearch.
package elastictest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// Document is one that is stored.
type Document struct {
	Index, ID string
	Pipeline  string // that the request asked for
	Source    []byte
}

// Server is an http.Handler, safe for concurrent use.
type Server struct {
	sinktest.Faulty

	// Authorization is the value of that header that requests must have; "" any.
	Authorization string
	// MaxBody is http.max_content_length; 0: 100 MiB.
	MaxBody int64
	// Unreadable refuses a bulk request with such text in it as a whole, as VictoriaLogs
	// does for a line that is too long.
	Unreadable string
	// Discard keeps only the ids.
	Discard bool

	mu        sync.Mutex // guards what follows
	documents []Document
	ids       map[string]bool   // index + "\x00" + id
	kinds     map[string]string // index + "\x00" + path → object or value
	templates map[string][]byte
	conflicts int
	item      map[int]int // status of items → how many next ones get it
}

// New returns an empty server.
func New() *Server {
	return &Server{ids: map[string]bool{}, kinds: map[string]string{}, templates: map[string][]byte{}, item: map[int]int{}}
}

// Documents returns a copy of what is stored, in order.
func (s *Server) Documents() []Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Document(nil), s.documents...)
}

// Count returns how many documents are stored, and how many came again.
func (s *Server) Count() (stored, conflicts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids), s.conflicts
}

// Template returns the index template of that name, nil if there is none.
func (s *Server) Template(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.templates[name]
}

// FailItems answers the next n documents with a status, such as 429.
func (s *Server) FailItems(n, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.item[status] = n
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, unreadable := s.body(r)
	s.Wait(r)
	failing := s.Failing(w)
	switch {
	case s.Authorization != "" && r.Header.Get("Authorization") != s.Authorization:
		refuse(w, 401, "security_exception", "missing or wrong authentication credentials for REST request")
	case failing != 0:
		refuse(w, failing, "simulated_exception", "simulated")
	case unreadable != 0:
		refuse(w, unreadable, "content_too_long_exception", "entity content is too long or unreadable")
	case r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/_index_template/"):
		if !json.Valid(body) {
			refuse(w, 400, "parse_exception", "request body is not JSON")
			return
		}
		s.mu.Lock()
		s.templates[strings.TrimPrefix(r.URL.Path, "/_index_template/")] = body
		s.mu.Unlock()
		_, _ = io.WriteString(w, `{"acknowledged":true}`)
	case r.Method == http.MethodPost && r.URL.Path == "/_bulk":
		s.bulk(w, body, r.URL.Query().Get("pipeline"))
	default:
		refuse(w, 404, "resource_not_found_exception", "no handler found for uri")
	}
}

func refuse(w http.ResponseWriter, status int, kind, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"type": kind, "reason": reason}, "status": status})
}

func (s *Server) body(r *http.Request) (body []byte, status int) {
	limit := s.MaxBody
	if limit == 0 {
		limit = 100 << 20
	}
	body, err := sinktest.Body(r, limit+1)
	switch {
	case err != nil:
		return nil, 400
	case int64(len(body)) > limit:
		return nil, 413
	}
	return body, 0
}

type result struct {
	status       int
	kind, reason string
}

func (s *Server) bulk(w http.ResponseWriter, body []byte, pipeline string) {
	if s.Unreadable != "" && bytes.Contains(body, []byte(s.Unreadable)) {
		refuse(w, 400, "parse_exception", "cannot read the request")
		return
	}
	if len(body) == 0 || body[len(body)-1] != '\n' {
		refuse(w, 400, "illegal_argument_exception", `The bulk request must be terminated by a newline [\n]`)
		return
	}
	lines := bytes.Split(body[:len(body)-1], []byte{'\n'})
	if len(lines)%2 != 0 {
		refuse(w, 400, "illegal_argument_exception", "an action without a document")
		return
	}
	results := make([]result, 0, len(lines)/2)
	s.mu.Lock()
	failed := false
	for i := 0; i < len(lines); i += 2 {
		var action struct {
			Create *struct {
				Index string `json:"_index"`
				ID    string `json:"_id"`
			}
		}
		if err := json.Unmarshal(lines[i], &action); err != nil || action.Create == nil || action.Create.Index == "" {
			s.mu.Unlock()
			refuse(w, 400, "illegal_argument_exception", fmt.Sprintf("Malformed action/metadata line [%d]", i+1))
			return
		}
		one := s.create(Document{Index: action.Create.Index, ID: action.Create.ID, Pipeline: pipeline, Source: lines[i+1]})
		failed = failed || one.status >= 300
		results = append(results, one)
	}
	s.mu.Unlock()
	s.Taken()
	var out bytes.Buffer
	fmt.Fprintf(&out, `{"errors":%v,"items":[`, failed) // as filter_path leaves it
	for i, one := range results {
		if i > 0 {
			out.WriteByte(',')
		}
		if one.status < 300 {
			fmt.Fprintf(&out, `{"create":{"status":%d}}`, one.status)
			continue
		}
		reason, _ := json.Marshal(one.reason) // a text
		fmt.Fprintf(&out, `{"create":{"status":%d,"error":{"type":%q,"reason":%s}}}`, one.status, one.kind, reason)
	}
	out.WriteString("]}")
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(out.Bytes()) // the client has gone if it fails
}

// create stores a document; it needs mu.
func (s *Server) create(d Document) result {
	index, id := d.Index, d.ID
	for status, n := range s.item {
		if n > 0 {
			s.item[status]--
			return result{status, "es_rejected_execution_exception", "rejected execution of coordinating operation"}
		}
	}
	if index != strings.ToLower(index) || strings.ContainsAny(index, "\\/*?\"<>| ,#:") {
		return result{400, "invalid_index_name_exception", "Invalid index name [" + index + "]"}
	}
	if len(id) > 512 {
		return result{400, "illegal_argument_exception", "id is too long, must be no longer than 512 bytes"}
	}
	if s.ids[index+"\x00"+id] {
		s.conflicts++
		return result{409, "version_conflict_engine_exception", "[" + id + "]: version conflict, document already exists (current version [1])"}
	}
	if s.Refused(id) {
		return result{400, "document_parsing_exception", "failed to parse field [x] of type [long] in document with id '" + id + "'"}
	}
	if !s.Discard {
		var doc map[string]any
		if err := json.Unmarshal(d.Source, &doc); err != nil {
			return result{400, "document_parsing_exception", "failed to parse: " + err.Error()}
		}
		if doc["@timestamp"] == nil {
			return result{400, "document_parsing_exception", "data stream timestamp field [@timestamp] is missing"}
		}
		if path := s.conflict(index, "", doc); path != "" {
			return result{400, "document_parsing_exception", "object mapping for [" + path + "] tried to parse field [" + path + "] as object, but found a concrete value"}
		}
		d.Source = bytes.Clone(d.Source)
		s.documents = append(s.documents, d)
	}
	s.ids[index+"\x00"+id] = true
	return result{status: 201}
}

// conflict returns a path that is an object in one document and a value in
// another.
func (s *Server) conflict(index, path string, doc map[string]any) string {
	for name, value := range doc {
		at := path + name
		kind := "value"
		inner, isObject := value.(map[string]any)
		if isObject {
			kind = "object"
		}
		if value == nil {
			continue
		}
		key := index + "\x00" + at
		if known := s.kinds[key]; known != "" && known != kind {
			return at
		}
		s.kinds[key] = kind
		if isObject {
			if found := s.conflict(index, at+".", inner); found != "" {
				return found
			}
		}
	}
	return ""
}
