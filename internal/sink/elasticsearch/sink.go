package elasticsearch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

const (
	// maxAnswer bounds an answer: about 1 KB for each event that fails.
	maxAnswer = 32 << 20
	// maxNames bounds the names of indices that are remembered.
	maxNames = 1000
	// maxID is Elasticsearch's limit for _id, in bytes.
	maxID = 512
	// bulk asks for no more of an answer than is read.
	bulk = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
)

// Sink sends events to one cluster. Deliver may be called concurrently.
type Sink struct {
	cfg     Config
	client  *httpsink.Client
	encoder *httpsink.Encoder
	header  http.Header
	bulk    string // path of its requests
	now     func() time.Time
	node    atomic.Uint32 // of cfg.URLs
	taken   atomic.Bool   // a bulk request was taken: one that is bad is so for its events

	mu        sync.Mutex
	installed bool             // the template is there, or not wanted; guarded by mu
	scanners  []*scanner       // guarded by mu
	targets   map[names]target // guarded by mu
}

// names is what the name of an index can be made of.
type names struct{ dataset, logType, schema, source, tenant string }

// target is an index, and the member by which a document names it, if it is a
// data stream after Elastic's naming scheme, type-dataset-namespace.
type target struct{ index, stream string }

// scanner is the scratch memory of one delivery.
type scanner struct {
	index jsonscan.Index
	line  []byte
}

// New returns a sink. It does not touch the network.
func New(cfg Config, now func() time.Time) (*Sink, error) {
	client, err := httpsink.NewClient(cfg.Connection)
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	s := &Sink{
		cfg: cfg, client: client, encoder: httpsink.NewEncoder(cfg.Compression), now: now,
		bulk: bulk, installed: !cfg.InstallTemplate, targets: map[names]target{}, header: http.Header{"Content-Type": {"application/x-ndjson"}},
	}
	if cfg.Pipeline != "" {
		s.bulk += "&pipeline=" + url.QueryEscape(cfg.Pipeline)
	}
	if e := s.encoder.ContentEncoding(); e != "" {
		s.header.Set("Content-Encoding", e)
	}
	switch {
	case cfg.APIKey != "":
		s.header.Set("Authorization", "ApiKey "+cfg.APIKey.Reveal())
	case cfg.Username != "":
		s.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(cfg.Username+":"+cfg.Password.Reveal())))
	}
	for name, value := range cfg.Headers {
		s.header.Set(name, value.Reveal())
	}
	return s, nil
}

// Close implements sink.Sink.
func (s *Sink) Close(context.Context) error {
	s.client.Close()
	return nil
}

// Deliver implements sink.Sink.
func (s *Sink) Deliver(ctx context.Context, events []event.Event) error {
	if err := s.install(ctx); err != nil {
		return err
	}
	failed := map[int]error{}
	err := s.send(ctx, events, 0, failed)
	switch {
	case err == nil && len(failed) == 0:
		return nil
	case err != nil && len(failed) == len(events):
		return err
	default:
		return &sink.PartialError{Failed: failed}
	}
}

// send sends events, of which the first has that index in its batch, and notes
// what failed. The error it returns is the one that all of them have, if so.
func (s *Sink) send(ctx context.Context, events []event.Event, first int, failed map[int]error) error {
	all := func(err error) error {
		for i := range events {
			failed[first+i] = err
		}
		return err
	}
	p := s.encoder.New()
	defer p.Free()
	s.write(p, events)
	if err := p.Finish(); err != nil {
		return all(err)
	}
	answer, err := s.post(ctx, http.MethodPost, s.bulk, s.header, p)
	if err != nil {
		return all(err)
	}
	bad := answer.Status == http.StatusBadRequest // the request as a whole
	if len(events) > 1 && (answer.Status == http.StatusRequestEntityTooLarge || bad && s.taken.Load()) {
		half := len(events) / 2
		err := s.send(ctx, events[:half], first, failed)
		if other := s.send(ctx, events[half:], first+half, failed); err == nil || !errors.Is(other, err) {
			return nil
		}
		return err
	}
	if bad {
		err := fmt.Errorf("bulk request: %w", answer.Err())
		if !s.taken.Load() { // the events need not be to blame
			return all(err)
		}
		return all(fmt.Errorf("%w: %w", sink.ErrRejected, err))
	}
	if err := answer.Classify(s.now()); err != nil {
		return all(s.explain(err))
	}
	results, err := readAnswer(answer.Body, len(events))
	if err != nil {
		return all(err)
	}
	s.taken.Store(true)
	for i, err := range results {
		failed[first+i] = err
	}
	return nil
}

// write writes an action and a document for each event.
func (s *Sink) write(p *httpsink.Payload, events []event.Event) {
	sc := s.scanner()
	defer s.putScanner(sc)
	for i := range events {
		e := &events[i]
		line := sc.line[:0]
		if i > 0 {
			line = append(line, '\n')
		}
		line = append(line, `{"create":{"_index":"`...)
		to := s.target(e)
		line = jsonscan.AppendEscaped(line, []byte(to.index))
		line = append(line, `","_id":"`...)
		line = jsonscan.AppendEscaped(line, []byte(documentID(e)))
		line = append(line, "\"}}\n"...)
		data := e.Data
		if len(data) > 1 && data[0] == '{' {
			document := len(line)
			line = append(line, '{')
			// Rules and dashboards look for the dataset there. What a table of the user's sets stands.
			if e.Schema == "ecs" && to.stream != "" && (e.LacksDataStream || !bytes.Contains(data, []byte(`"data_stream":`))) {
				line = append(append(line, to.stream...), ',')
			}
			if sc.lacksTimestamp(data) {
				at := e.Time
				if at.IsZero() {
					at = s.now()
				}
				line = append(line, `"@timestamp":"`...)
				line = at.UTC().AppendFormat(line, time.RFC3339Nano)
				line = append(line, '"', ',')
			}
			if data = data[1:]; data[0] == '}' && len(line) > document+1 {
				line = line[:len(line)-1]
			}
		}
		sc.line = line
		_, _ = p.Write(line) // into memory: Finish returns the error
		_, _ = p.Share(data)
	}
	_, _ = p.Write([]byte{'\n'})
}

func (sc *scanner) lacksTimestamp(data []byte) bool {
	if bytes.HasPrefix(data, []byte(`{"@timestamp":`)) {
		return false
	}
	_, err := sc.index.Scan(data)
	return err == nil && sc.index.Member(0, "@timestamp") < 0
}

func (s *Sink) scanner() *scanner {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.scanners); n > 0 {
		sc := s.scanners[n-1]
		s.scanners = s.scanners[:n-1]
		return sc
	}
	return &scanner{}
}

func (s *Sink) putScanner(sc *scanner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scanners = append(s.scanners, sc)
}

// documentID is the event's id, and its schema before it where that is not ECS:
// one record in two schemas must not be taken for a repeat.
func documentID(e *event.Event) string {
	id := string(e.ID)
	if e.Schema != "" && e.Schema != "ecs" {
		id = e.Schema + ":" + id
	}
	if len(id) > maxID {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:])
	}
	return id
}

// target returns where an event goes.
func (s *Sink) target(e *event.Event) target {
	n := names{dataset: e.Dataset, logType: e.LogType, schema: e.Schema}
	if e.Origin != nil {
		n.source, n.tenant = e.Origin.Source, e.Origin.Tenant
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	to, known := s.targets[n]
	if !known {
		if len(s.targets) > maxNames {
			clear(s.targets)
		}
		part := func(v string) string {
			if v == "" {
				return "none"
			}
			return strings.ReplaceAll(cleanName(v), "-", "_") // a hyphen parts a data stream's name
		}
		dataset := part(n.dataset)
		if n.dataset == "" {
			dataset = "azure." + part(n.logType)
		}
		to.index = strings.NewReplacer("{dataset}", dataset, "{log_type}", part(n.logType), "{schema}", part(n.schema), "{source}", part(n.source),
			"{tenant}", part(n.tenant), "{namespace}", s.cfg.Namespace).Replace(s.cfg.Index)
		if parts := strings.Split(to.index, "-"); len(parts) == 3 && parts[0] == "logs" {
			to.stream = fmt.Sprintf(`"data_stream":{"type":"logs","dataset":"%s","namespace":"%s"}`,
				jsonscan.AppendEscaped(nil, []byte(parts[1])), jsonscan.AppendEscaped(nil, []byte(parts[2])))
		}
		s.targets[n] = to
	}
	return to
}

// post sends a request to the node in use, and goes over to the next if that does
// not answer.
func (s *Sink) post(ctx context.Context, method, path string, header http.Header, p *httpsink.Payload) (*httpsink.Answer, error) {
	node := s.node.Load()
	base := strings.TrimSuffix(s.cfg.URLs[int(node)%len(s.cfg.URLs)], "/")
	answer, err := s.client.Do(ctx, method, base+path, header, p, maxAnswer)
	if err != nil {
		s.node.CompareAndSwap(node, node+1)
		return nil, fmt.Errorf("send to %s: %w", base, err)
	}
	if answer.Status >= 500 {
		s.node.CompareAndSwap(node, node+1)
	}
	return answer, nil
}

func (s *Sink) explain(err error) error {
	var known *sink.RemedyError
	if errors.As(err, &known) {
		known.Remedy = "check urls and the credential; it needs the privileges auto_configure and create_doc on the indices (create_index too, without an index template)"
	}
	return err
}

// readAnswer returns what failed, by the index of the event in the request.
func readAnswer(body []byte, n int) (map[int]error, error) {
	var answer struct {
		Errors *bool
		Items  []map[string]struct {
			Status int
			Error  struct{ Type, Reason string }
		}
	}
	if bytes.HasPrefix(body, []byte(`{"errors":false,`)) {
		return nil, nil
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Errors == nil {
		return nil, fmt.Errorf("read the answer: it is not one of the bulk API: %s", httpsink.Excerpt(body))
	}
	if !*answer.Errors {
		return nil, nil
	}
	if len(answer.Items) != n {
		return nil, fmt.Errorf("read the answer: it tells of %d documents, %d were sent", len(answer.Items), n)
	}
	failed := map[int]error{}
	for i, item := range answer.Items {
		result, ok := item["create"]
		if !ok {
			return nil, fmt.Errorf("read the answer: document %d has no result of create", i)
		}
		if err := classify(result.Status, result.Error.Type, result.Error.Reason); err != nil {
			failed[i] = err
		}
	}
	return failed, nil
}

// classify is what the result of one document means.
func classify(status int, kind, reason string) error {
	err := fmt.Errorf("status %d, %s: %s", status, kind, httpsink.Excerpt([]byte(reason)))
	switch {
	case status >= 200 && status < 300, status == http.StatusConflict: // it is there, with this id
		return nil
	case kind == "cluster_block_exception": // a full disk makes indices read-only
		return &sink.RemedyError{Err: err, Remedy: "the index takes no documents: make room on the nodes' disks, or take the block off the index"}
	case status == http.StatusTooManyRequests || status >= 500:
		return err
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return &sink.RemedyError{Err: err, Person: true, Remedy: "give the credential the privileges auto_configure and create_doc on the index"}
	case status == http.StatusNotFound:
		return &sink.RemedyError{Err: err, Person: true, Remedy: "create the index or data stream, or allow it to be created (action.auto_create_index)"}
	default: // 400: mapping, parsing; the same document would fare the same
		return fmt.Errorf("%w: %w", sink.ErrRejected, err)
	}
}
