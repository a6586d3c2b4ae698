package logs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/lazuli-logs/lazuli/internal/azuresim/logs/kql"
)

// Options of a server.
type Options struct {
	Workspace string // GUID
	// Verify checks a bearer token and returns who it is. One that has expired
	// gives jwt.ErrTokenExpired, one for something else ErrAudience.
	Verify func(token string) (app string, err error)
	// Allowed says who may read the workspace; nil: everybody.
	Allowed func(app string) bool
	// BasicTables are of the Basic plan: only /search reads them.
	BasicTables []string

	// The limits of an answer (azure:logs.query-limits); zero: Azure's.
	MaxRows  int
	MaxBytes int64
	// Unlimited turns off how many queries there may be.
	Unlimited bool
	// KeepBytes is how much each table holds; what is oldest goes first. Zero: 64
	// MiB. Negative: everything.
	KeepBytes int64
	Now       func() time.Time // nil: time.Now
}

// ErrAudience says that a token is for another resource.
var ErrAudience = errors.New("the token is for another audience")

// Azure's limits.
const (
	maxRows     = 500_000
	maxBytes    = 64_000_000
	perPeriod   = 200
	period      = 30 * time.Second
	concurrent  = 5
	defaultWait = 180 * time.Second
	longestWait = 600 * time.Second
	defaultKeep = 64 << 20
	maxRequest  = 1 << 20
)

// Server answers as the query API does. It is an http.Handler for paths below
// /v1/workspaces/, and safe for concurrent use.
type Server struct {
	options Options
	routes  *http.ServeMux

	// Faults makes the server fail on demand.
	Faults Faults

	mu       sync.Mutex // guards what follows
	tables   map[string]*table
	mounted  map[string]kql.Table
	recent   map[string][]time.Time // by app
	running  map[string]int         // by app
	requests uint64
}

// New returns a server of an empty workspace.
func New(options Options) *Server {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.MaxRows == 0 {
		options.MaxRows = maxRows
	}
	if options.MaxBytes == 0 {
		options.MaxBytes = maxBytes
	}
	if options.KeepBytes == 0 {
		options.KeepBytes = defaultKeep
	}
	s := &Server{
		options: options, routes: http.NewServeMux(), tables: map[string]*table{}, mounted: map[string]kql.Table{},
		recent: map[string][]time.Time{}, running: map[string]int{},
	}
	for _, name := range standardTables() {
		s.tables[name] = standardTable()
	}
	for _, verb := range []string{"query", "search"} {
		s.routes.HandleFunc("POST /v1/workspaces/{workspace}/"+verb, s.query)
		s.routes.HandleFunc("GET /v1/workspaces/{workspace}/"+verb, s.query)
	}
	s.routes.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, refusal{Code: "PathNotFoundError", Message: "The requested path does not exist"})
	})
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// Add takes a record of a category in, as diagnostic settings write it. Records
// that are added at one moment share their ingestion_time().
func (s *Server) Add(category string, data []byte, now time.Time) error {
	name, row, err := s.convert(category, data)
	if err != nil {
		return err
	}
	t := s.table(name)
	ingested, visible, again := s.Faults.times(now)
	keep := max(s.options.KeepBytes, 0)
	t.put(row, ingested, visible, keep)
	if !again.IsZero() {
		t.put(row, again, again, keep)
	}
	return nil
}

// Put adds a row of a table, given as an object, that was taken in at ingested
// and is visible from visible on.
func (s *Server) Put(table string, row []byte, ingested, visible time.Time) error {
	o, err := parseObject(row)
	if err != nil {
		return fmt.Errorf("put a row into %s: %w", table, err)
	}
	s.table(table).put(o, ingested, visible, max(s.options.KeepBytes, 0))
	return nil
}

// Mount makes a table of rows that are computed.
func (s *Server) Mount(name string, t kql.Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mounted[name] = t
}

// Count returns how many rows a table has, visible or not.
func (s *Server) Count(name string) int {
	t := s.table(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.rows)
}

// Requests returns how many queries came in so far, refused ones included.
func (s *Server) Requests() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *Server) table(name string) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	if t == nil {
		t = newTable()
		s.tables[name] = t
	}
	return t
}

// view is the workspace at one moment. It implements kql.Database.
type view struct {
	s   *Server
	now time.Time
	// within limits TimeGenerated, as the request's timespan does.
	within *timespan
	search bool
	basic  string // a table that was named at the wrong path
}

// Table implements kql.Database.
func (v *view) Table(name string) (kql.Table, bool) {
	if slices.Contains(v.s.options.BasicTables, name) != v.search {
		v.basic = name
		return nil, false
	}
	v.s.mu.Lock()
	mounted, t := v.s.mounted[name], v.s.tables[name]
	v.s.mu.Unlock()
	var out kql.Table
	switch {
	case mounted != nil:
		out = mounted
	case t != nil:
		out = t.at(v.now)
	default:
		return nil, false
	}
	if v.within != nil {
		out = &limited{out, v.within}
	}
	return out, true
}

// limited is a table of which a timespan shows a part.
type limited struct {
	kql.Table
	within *timespan
}

func (l *limited) Rows(from, to int64, yield func(kql.Row) bool) {
	at := slices.IndexFunc(l.Columns(), func(c kql.Column) bool { return c.Name == "TimeGenerated" })
	l.Table.Rows(from, to, func(r kql.Row) bool {
		if at >= 0 && at < len(r.Cells) {
			t, err := time.Parse(time.RFC3339Nano, strings.Trim(string(r.Cells[at]), `"`))
			if err == nil && (t.Before(l.within.from) || !t.Before(l.within.to)) {
				return true
			}
		}
		return yield(r)
	})
}

type request struct {
	Query      string   `json:"query"`
	Timespan   string   `json:"timespan"`
	Workspaces []string `json:"workspaces"`
}

func (s *Server) query(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
	app, refused := s.admit(w, r)
	if refused {
		return
	}
	defer s.leave(app)
	fate := s.Faults.next()
	if fate.status != 0 {
		s.fail(w, fate)
		return
	}
	in, ok := readRequest(w, r)
	if !ok {
		return
	}
	within, err := parseTimespan(in.Timespan, s.options.Now())
	if err != nil {
		refuse(w, http.StatusBadRequest, refusal{Code: "BadArgumentError", Message: "The request had some invalid properties", Inner: &refusal{Code: "ValidationError", Message: err.Error()}})
		return
	}
	prefer := preferences(r.Header.Get("Prefer"))
	if fate.wait > 0 && !pause(r, min(fate.wait, prefer.wait)) {
		return
	}
	if fate.wait > prefer.wait {
		refuse(w, http.StatusGatewayTimeout, refusal{Code: "GatewayTimeout", Message: "Gateway timeout", Inner: &refusal{Code: "GatewayTimeout", Message: "Unable to unzip response"}})
		return
	}
	v := &view{s: s, now: s.options.Now(), within: within, search: strings.HasSuffix(r.URL.Path, "/search")}
	q, err := kql.Parse(in.Query)
	var result *kql.Result
	if err == nil {
		result, err = q.Run(v, v.now)
	}
	if err != nil {
		refuseQuery(w, err, v)
		return
	}
	if s.empty() {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.answer(w, result, prefer, fate)
}

// empty reports whether nothing has ever been taken in.
func (s *Server) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		if len(t.at(time.Time{}).rows) > 0 {
			return false
		}
	}
	return len(s.mounted) == 0
}

// admit checks who asks, for what, and how often. The caller has to leave if it
// was admitted.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (app string, refused bool) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="https://login.windows.net/common"`)
		refuse(w, http.StatusUnauthorized, refusal{Code: "AuthenticationFailed", Message: "Authentication failed. The 'Authorization' header is missing."})
		return "", true
	}
	if s.options.Verify != nil {
		var err error
		app, err = s.options.Verify(token)
		switch {
		case errors.Is(err, jwt.ErrTokenExpired):
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="The access token has expired"`)
			refuse(w, http.StatusUnauthorized, refusal{Code: "InvalidTokenError", Message: "Valid authentication was not provided", Inner: &refusal{Code: "TokenExpired", Message: "The access token has expired"}})
			return "", true
		case errors.Is(err, ErrAudience):
			refuse(w, http.StatusForbidden, refusal{Code: "InvalidAuthenticationTokenAudience", Message: "The access token has been obtained from wrong audience or resource."})
			return "", true
		case err != nil:
			refuse(w, http.StatusForbidden, refusal{Code: "InvalidAuthenticationToken", Message: "The access token is invalid."})
			return "", true
		}
	}
	if workspace := r.PathValue("workspace"); !strings.EqualFold(workspace, s.options.Workspace) {
		refuse(w, http.StatusNotFound, refusal{Code: "WorkspaceNotFoundError", Message: fmt.Sprintf("The workspace '%.80s' could not be found", workspace)})
		return "", true
	}
	if s.options.Allowed != nil && !s.options.Allowed(app) {
		refuse(w, http.StatusForbidden, refusal{
			Code: "InsufficientAccessError", Message: "The provided credentials have insufficient access to perform the requested operation",
		})
		return "", true
	}
	if wait := s.enter(app); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(max(int(wait.Seconds()+0.999), 1)))
		refuse(w, http.StatusTooManyRequests, refusal{Code: "ThrottledError", Message: "Rate limit is exceeded."})
		return "", true
	}
	return app, false
}

// enter counts a query in, or says how long to wait.
func (s *Server) enter(app string) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	if !s.options.Unlimited {
		recent := slices.DeleteFunc(s.recent[app], func(t time.Time) bool { return now.Sub(t) >= period })
		s.recent[app] = recent
		if len(recent) >= perPeriod {
			return period - now.Sub(recent[0])
		}
		if s.running[app] >= concurrent {
			return time.Second
		}
		s.recent[app] = append(recent, now)
	}
	s.running[app]++
	return 0
}

func (s *Server) leave(app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[app]--
}

func (s *Server) fail(w http.ResponseWriter, f fate) {
	if f.after >= time.Second {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.after.Seconds())))
	}
	switch f.status {
	case http.StatusTooManyRequests:
		refuse(w, f.status, refusal{Code: "ThrottledError", Message: "Rate limit is exceeded."})
	case http.StatusForbidden:
		refuse(w, f.status, refusal{Code: "InsufficientAccessError", Message: "The provided credentials have insufficient access to perform the requested operation"})
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		w.WriteHeader(f.status) // of something in between
	default:
		refuse(w, f.status, refusal{Code: "InternalServerError", Message: "Something went wrong on the server."})
	}
}

func readRequest(w http.ResponseWriter, r *http.Request) (in request, ok bool) {
	values := r.URL.Query()
	in.Query, in.Timespan = values.Get("query"), values.Get("timespan")
	if r.Method == http.MethodGet {
		return in, true
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		w.WriteHeader(http.StatusOK) // with an empty body: azure:logs.content-type
		return in, false
	}
	var body request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, refusal{Code: "BadArgumentError", Message: "The request had some invalid properties", Inner: &refusal{Code: "InvalidJsonBody", Message: "Unable to parse JSON body"}})
		return in, false
	}
	in.Query, in.Workspaces = body.Query, body.Workspaces
	if body.Timespan != "" {
		in.Timespan = body.Timespan
	}
	return in, true
}

type preference struct {
	wait               time.Duration
	statistics, render bool
}

func preferences(header string) preference {
	p := preference{wait: defaultWait}
	for one := range strings.SplitSeq(header, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		switch key {
		case "wait", "servertimeout":
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				p.wait = min(time.Duration(n)*time.Second, longestWait)
			}
		case "include-statistics":
			p.statistics = value == "true"
		case "include-render":
			p.render = value == "true"
		}
	}
	return p
}

func pause(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// answer writes a result as it is computed.
func (s *Server) answer(w http.ResponseWriter, result *kql.Result, prefer preference, f fate) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Ms-Request-Id", uuid.NewString())
	// It keeps the first error, which says that the client has gone.
	out := bufio.NewWriterSize(w, 64<<10)
	begin := time.Now()
	columns, err := json.Marshal(result.Columns)
	if err != nil || result.Columns == nil {
		columns = []byte("[]")
	}
	fmt.Fprintf(out, `{"tables":[{"name":"PrimaryResult","columns":%s,"rows":[`, columns)
	rows, size := 0, int64(0)
	var limit *refusal
	result.Rows(func(row kql.Row) bool {
		if f.partial && rows > 0 && rows%2 == 0 {
			limit = &refusal{Code: "-2146233088", Message: "The query was aborted by the engine.", Severity: 2, SeverityName: "Error"}
			return false
		}
		if f.cut && rows > 0 && rows%3 == 0 {
			return false
		}
		rowSize := int64(2)
		for i := range result.Columns {
			rowSize += int64(len(cellAt(row, i))) + 1
		}
		switch {
		case rows >= s.options.MaxRows:
			limit = &refusal{
				Code: "-2133196797", Severity: 2, SeverityName: "Error",
				Message: fmt.Sprintf("The results of this query exceed the set limit of %d records, so not all records were returned (E_QUERY_RESULT_SET_TOO_LARGE, 0x80DA0003).", s.options.MaxRows),
			}
			return false
		case size+rowSize > s.options.MaxBytes:
			limit = &refusal{
				Code: "-2133196797", Severity: 2, SeverityName: "Error",
				Message: fmt.Sprintf("The results of this query exceed the set limit of %d bytes, so not all records were returned (E_QUERY_RESULT_SET_TOO_LARGE, 0x80DA0003).", s.options.MaxBytes),
			}
			return false
		}
		if rows > 0 {
			_ = out.WriteByte(',')
		}
		rows, size = rows+1, size+rowSize
		_ = out.WriteByte('[')
		for i := range result.Columns {
			if i > 0 {
				_ = out.WriteByte(',')
			}
			_, _ = out.Write(cellAt(row, i))
		}
		return out.WriteByte(']') == nil
	})
	if f.cut {
		_ = out.Flush()
		panic(http.ErrAbortHandler)
	}
	if f.partial && limit == nil {
		limit = &refusal{Code: "-2146233088", Message: "The query was aborted by the engine.", Severity: 2, SeverityName: "Error"}
	}
	_, _ = out.WriteString("]}]")
	if prefer.statistics {
		fmt.Fprintf(out, `,"statistics":{"query":{"executionTime":%f,"resourceUsage":{"cache":{},"cpu":{},"memory":{}},"datasetStatistics":[{"tableRowCount":%d,"tableSize":%d}]}}`, time.Since(begin).Seconds(), rows, size)
	}
	if prefer.render {
		_, _ = out.WriteString(`,"render":{"visualization":null,"title":null}`)
	}
	if limit != nil {
		text, err := json.Marshal(refusal{
			Code: "PartialError", Message: "There were some errors when processing your query.",
			Details: []refusal{{Code: "EngineError", Message: "Something went wrong processing your query on the server.", Inner: limit}},
		})
		if err == nil {
			_, _ = out.WriteString(`,"error":`)
			_, _ = out.Write(text)
		}
	}
	_, _ = out.WriteString("}")
	_ = out.Flush()
}

func cellAt(r kql.Row, i int) []byte {
	if i < len(r.Cells) && r.Cells[i] != nil {
		return r.Cells[i]
	}
	return []byte("null")
}

// Tables returns the names of the tables that have rows.
func (s *Server) Tables() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		if len(s.tables[name].at(time.Time{}).rows) > 0 {
			names = append(names, name)
		}
	}
	return names
}
