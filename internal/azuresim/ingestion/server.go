package ingestion

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The limits of the service.
const (
	// MaxCall is the most bytes of a call, before and after decompression.
	MaxCall = 1 << 20
	// MaxField is the most bytes of a field; the rest is cut off in silence.
	MaxField = 64 << 10
	// MaxAuxiliarySpan is how far the times of a call to an auxiliary table may
	// be apart.
	MaxAuxiliarySpan = 30 * time.Minute
	// BytesPerMinute and CallsPerMinute are for each rule.
	BytesPerMinute = 2_000_000_000
	CallsPerMinute = 12_000

	apiVersion = "2023-01-01"
	// A time outside these is replaced by that of the ingestion.
	maxAge    = 48 * time.Hour
	maxFuture = 24 * time.Hour
)

// Rule is a data collection rule.
type Rule struct {
	ID      string // immutable id, "dcr-" and 32 hexadecimal digits
	Streams []Stream
}

// Stream is one way into a table.
type Stream struct {
	Name      string // e.g. "Custom-Security_CL"
	Table     string // e.g. "Security_CL"
	Auxiliary bool   // the table's plan
}

// Options configure a server.
type Options struct {
	Rules []Rule
	// VerifyToken checks a bearer token; nil takes any that is not empty.
	VerifyToken func(token string) error
	// Arrived is called with each accepted record, as it was sent; may be nil.
	Arrived func(record []byte)
	// KeepBytes bounds the rows kept; the oldest go first. Negative: all.
	KeepBytes int64
	// BytesPerMinute and CallsPerMinute replace the service's where they are not
	// zero, for tests.
	BytesPerMinute, CallsPerMinute int64
	Now                            func() time.Time // nil: time.Now
}

// Row is one accepted record.
type Row struct {
	Table         string
	TimeGenerated time.Time // as the table would show it
	Ingested      time.Time
	Data          []byte // as it was sent, but for fields over MaxField
}

// Totals is what the server has taken and refused.
type Totals struct {
	Calls     int64            `json:"calls"`
	Accepted  int64            `json:"accepted"`
	Refused   map[string]int64 `json:"refused"` // calls by error code
	Rows      map[string]int64 `json:"rows"`    // by table
	Bytes     int64            `json:"bytes"`   // accepted, uncompressed
	Wire      int64            `json:"wire"`    // accepted, as they came
	Truncated int64            `json:"truncated_fields"`
	Restamped int64            `json:"restamped"` // records whose TimeGenerated was replaced
}

// Server answers as a data collection endpoint does. It is an http.Handler, to
// be served over TLS (clients send no token otherwise), and safe for concurrent
// use.
type Server struct {
	options Options
	streams map[string]Stream // by rule + "/" + stream
	rules   map[string]bool
	// Faults makes the server fail on demand.
	Faults Faults

	mu      sync.Mutex // guards what follows
	rows    []Row
	kept    int64
	totals  Totals
	minutes map[string]*usage // by rule
}

type usage struct {
	minute       int64
	bytes, calls int64
}

// Path is what the server's paths begin with.
const Path = "/dataCollectionRules/"

// New returns a server.
func New(options Options) *Server {
	if options.Now == nil {
		options.Now = time.Now
	}
	options.BytesPerMinute = cmp.Or(options.BytesPerMinute, BytesPerMinute)
	options.CallsPerMinute = cmp.Or(options.CallsPerMinute, CallsPerMinute)
	s := &Server{
		options: options, streams: map[string]Stream{}, rules: map[string]bool{}, minutes: map[string]*usage{},
		totals: Totals{Refused: map[string]int64{}, Rows: map[string]int64{}},
	}
	for _, r := range options.Rules {
		s.rules[r.ID] = true
		for _, stream := range r.Streams {
			s.streams[r.ID+"/"+stream.Name] = stream
		}
	}
	return s
}

// Rows returns a copy of the rows kept of a table, oldest first; "" is all tables.
func (s *Server) Rows(table string) []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Row
	for _, r := range s.rows {
		if table == "" || r.Table == table {
			out = append(out, r)
		}
	}
	return out
}

// Totals returns a copy of the counts.
func (s *Server) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.totals
	t.Refused, t.Rows = map[string]int64{}, map[string]int64{}
	for k, v := range s.totals.Refused {
		t.Refused[k] = v
	}
	for k, v := range s.totals.Rows {
		t.Rows[k] = v
	}
	return t
}

// problem is a refusal: the status, and the error as the body shows it.
type problem struct {
	status        int
	code, message string
	retryAfter    time.Duration
}

func (p *problem) Error() string { return p.code + ": " + p.message }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.Faults.before(w, r) {
		return
	}
	rows, plain, wire, err := s.accept(r)
	var refused *problem
	if errors.As(err, &refused) {
		s.mu.Lock()
		s.totals.Calls++
		s.totals.Refused[refused.code]++
		s.mu.Unlock()
		refuse(w, refused)
		return
	}
	s.keep(rows, plain, wire)
	s.Faults.after()
	w.WriteHeader(http.StatusNoContent)
}

func refuse(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(p.status)
	// The client has gone if this fails.
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": p.code, "message": p.message}})
}

// accept checks a call in the order of the service: who, what, how much, and
// last the records themselves.
func (s *Server) accept(r *http.Request) (rows []Row, plain, wire int64, err error) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || token == "" {
		return nil, 0, 0, &problem{status: 401, code: "MissingAuthorization", message: "Authentication is required for this request."}
	}
	if s.options.VerifyToken != nil {
		if err := s.options.VerifyToken(token); err != nil {
			return nil, 0, 0, &problem{status: 401, code: "InvalidAuthenticationToken", message: "The access token is invalid: " + err.Error()}
		}
	}
	rule, stream, err := s.target(r)
	if err != nil {
		return nil, 0, 0, err
	}
	if s.Faults.denied() {
		return nil, 0, 0, &problem{status: 403, code: "OperationFailed", message: fmt.Sprintf(
			"The authentication token provided does not have access to ingest data for the data collection rule with immutable Id '%s' "+
				"PipelineAccessResult: AccessGranted: False, IsRbacPresent: False, IsDcrDceBindingValid: , DcrArmId: , Message: "+
				"Required authorization action was not found.", rule)}
	}
	body, wire, err := readBody(r)
	if err != nil {
		return nil, 0, 0, err
	}
	if err := s.count(rule, int64(len(body))); err != nil {
		return nil, 0, 0, err
	}
	rows, err = s.parse(body, stream)
	return rows, int64(len(body)), wire, err
}

func (s *Server) target(r *http.Request) (rule string, stream Stream, err error) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, Path), "/")
	if len(parts) != 3 || parts[1] != "streams" {
		return "", stream, &problem{status: 404, code: "NotFound", message: "The resource cannot be found."}
	}
	if r.Method != http.MethodPost {
		return "", stream, &problem{status: 405, code: "MethodNotAllowed", message: "The method is not allowed."}
	}
	if got := r.URL.Query().Get("api-version"); got != apiVersion {
		return "", stream, &problem{status: 400, code: "InvalidApiVersion", message: fmt.Sprintf("The api-version '%s' is invalid.", got)}
	}
	if !s.rules[parts[0]] {
		return "", stream, &problem{status: 404, code: "NotFound", message: fmt.Sprintf("Data collection rule with immutable Id '%s' not found.", parts[0])}
	}
	stream, known := s.streams[parts[0]+"/"+parts[2]]
	if !known {
		return "", stream, &problem{status: 400, code: "InvalidStream", message: fmt.Sprintf(
			"The stream %s was not configured in the ruleset %s.", parts[2], parts[0])}
	}
	return parts[0], stream, nil
}

func readBody(r *http.Request) (body []byte, wire int64, err error) {
	tooLong := &problem{status: 413, code: "ContentLengthLimitExceeded", message: fmt.Sprintf(
		"Maximum allowed content length: %d bytes (1 MB). Provided content length: %d bytes.", MaxCall, r.ContentLength)}
	raw, err := io.ReadAll(io.LimitReader(r.Body, MaxCall+1))
	if err != nil {
		return nil, 0, &problem{status: 400, code: "BadRequest", message: "The body could not be read."}
	}
	if len(raw) > MaxCall {
		return nil, 0, tooLong
	}
	if len(raw) == 0 {
		return nil, 0, &problem{status: 500, code: "InternalServerError", message: "An internal error has occurred."}
	}
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "":
		return raw, int64(len(raw)), nil
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, 0, &problem{status: 400, code: "InvalidContentEncoding", message: "The body is not in gzip format."} // code invented
		}
		body, err := io.ReadAll(io.LimitReader(z, MaxCall+1))
		if err != nil {
			return nil, 0, &problem{status: 400, code: "InvalidContentEncoding", message: "The body is not in gzip format."} // code invented
		}
		if len(body) > MaxCall {
			return nil, 0, tooLong
		}
		return body, int64(len(raw)), nil
	default:
		return nil, 0, &problem{status: 415, code: "UnsupportedMediaType", message: fmt.Sprintf("Content-Encoding '%s' is not supported.", encoding)} // code invented
	}
}

// count keeps the soft limits of a rule, by the minute of the clock.
func (s *Server) count(rule string, size int64) error {
	now := s.options.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.minutes[rule]
	if u == nil {
		u = &usage{}
		s.minutes[rule] = u
	}
	if minute := now.Unix() / 60; u.minute != minute {
		*u = usage{minute: minute}
	}
	if u.calls+1 > s.options.CallsPerMinute || u.bytes+size > s.options.BytesPerMinute {
		return &problem{
			status: 429, code: "TooManyRequests", message: "The request rate or the data volume of the data collection rule is over its limit.",
			retryAfter: time.Duration(60-now.Unix()%60) * time.Second,
		}
	}
	u.calls++
	u.bytes += size
	return nil
}

func (s *Server) parse(body []byte, stream Stream) ([]Row, error) {
	invalid := func(message string) error {
		return &problem{status: 400, code: "InvalidRequestBody", message: message} // code invented
	}
	var records []json.RawMessage
	if err := json.Unmarshal(body, &records); err != nil {
		return nil, invalid("The body must be a JSON array of records: " + err.Error())
	}
	now := s.options.Now()
	rows := make([]Row, 0, len(records))
	var first, last time.Time
	for i, record := range records {
		if len(record) == 0 || record[0] != '{' {
			return nil, invalid(fmt.Sprintf("Record %d is not an object.", i))
		}
		var known struct{ TimeGenerated json.RawMessage }
		if err := json.Unmarshal(record, &known); err != nil {
			return nil, invalid(fmt.Sprintf("Record %d cannot be read.", i))
		}
		if s.Faults.refuses(record) {
			return nil, invalid(fmt.Sprintf("Record %d cannot be converted to the declaration of the stream.", i))
		}
		at := now
		if known.TimeGenerated != nil {
			var text string
			if json.Unmarshal(known.TimeGenerated, &text) != nil || at.UnmarshalText([]byte(text)) != nil {
				return nil, invalid(fmt.Sprintf("Record %d: TimeGenerated is not a date and time.", i))
			}
		}
		if i == 0 || at.Before(first) {
			first = at
		}
		if i == 0 || at.After(last) {
			last = at
		}
		rows = append(rows, Row{Table: stream.Table, TimeGenerated: at, Ingested: now, Data: record})
	}
	if stream.Auxiliary && last.Sub(first) > MaxAuxiliarySpan {
		return nil, &problem{status: 400, code: "RecordsTimeRangeIsMoreThan30Minutes", message: "The time range of the records in the call is more than 30 minutes."}
	}
	return rows, nil
}

// keep notes the rows of one accepted call.
func (s *Server) keep(rows []Row, plain, wire int64) {
	if s.options.Arrived != nil {
		for _, r := range rows {
			s.options.Arrived(r.Data)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.totals.Calls++
	s.totals.Accepted++
	s.totals.Bytes += plain
	s.totals.Wire += wire
	for _, r := range rows {
		if age := r.Ingested.Sub(r.TimeGenerated); age > maxAge || -age > maxFuture {
			r.TimeGenerated = r.Ingested
			s.totals.Restamped++
		}
		var cut int
		r.Data, cut = truncate(r.Data)
		s.totals.Truncated += int64(cut)
		s.totals.Rows[r.Table]++
		s.rows = append(s.rows, r)
		s.kept += int64(len(r.Data))
	}
	for s.options.KeepBytes >= 0 && s.kept > s.options.KeepBytes && len(s.rows) > 0 {
		s.kept -= int64(len(s.rows[0].Data))
		s.rows[0] = Row{}
		s.rows = s.rows[1:]
	}
}

// truncate cuts the texts of a record that are over MaxField.
func truncate(record []byte) (out []byte, cut int) {
	if len(record) <= MaxField {
		return record, 0
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(record, &fields) != nil {
		return record, 0
	}
	for name, value := range fields {
		var text string
		if len(value) <= MaxField || json.Unmarshal(value, &text) != nil || len(text) <= MaxField {
			continue
		}
		short, err := json.Marshal(strings.ToValidUTF8(text[:MaxField], ""))
		if err != nil {
			continue
		}
		fields[name] = short
		cut++
	}
	if cut == 0 {
		return record, 0
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return record, 0
	}
	return slices.Clip(out), cut
}
