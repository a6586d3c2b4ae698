package loganalytics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"github.com/lazuli-logs/lazuli/internal/azure"
)

// client sends queries. It may be used concurrently.
type client struct {
	endpoint string
	pipeline runtime.Pipeline
	http     *http.Client  // its own; nil: the tenant's
	timeout  time.Duration // for Azure's work on a query
	idle     time.Duration // an answer that stands still this long is broken
}

const (
	// grace is how much longer than Azure's own time-out an answer may take.
	grace       = 30 * time.Second
	defaultIdle = time.Minute
	maxRefusal  = 1 << 20
)

// newClient makes a client for a tenant's cloud. It does not touch the network.
func newClient(tenant *azure.Tenant, timeout time.Duration) *client {
	options := tenant.ClientOptions()
	// Failures are the source's to judge: the SDK would give up where Azure asks
	// for more than a minute's patience, and would not tell of its retries.
	options.Retry = policy.RetryOptions{MaxRetries: -1}
	options.Telemetry = policy.TelemetryOptions{ApplicationID: "lazuli"}
	audience := tenant.Cloud.LogsQuery
	c := &client{endpoint: audience, timeout: timeout, idle: defaultIdle}
	if transport, ok := tenant.HTTP.Transport.(*http.Transport); ok {
		own := transport.Clone()
		own.ResponseHeaderTimeout = 0 // a query may take ten minutes; it is bounded below
		c.http = &http.Client{Transport: own}
		options.Transport = c.http
	}
	c.pipeline = runtime.NewPipeline("lazuli", "v1", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(tenant.Credential, []string{audience + "/.default"}, nil)},
	}, &options)
	return c
}

// close gives its connections up.
func (c *client) close() {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// statusError is a refused request.
type statusError struct {
	status int
	after  time.Duration // Retry-After; 0: none was given
	api    *apiError     // nil: the refusal has another form
	text   string        // its beginning, in that case
}

func (e *statusError) Error() string {
	reason := e.text
	if e.api != nil {
		reason = e.api.Error()
	}
	if reason == "" {
		reason = errNoError.Error()
	}
	return fmt.Sprintf("%d %s: %s", e.status, http.StatusText(e.status), reason)
}

// errTimeout says that Azure did not answer in time.
var errTimeout = errors.New("the query did not come to an end in time")

// answered is what is known of an answer beside its rows.
type answered struct {
	reported *apiError     // the answer is not complete, and says why
	took     time.Duration // until it began
	bytes    int64
}

// query runs a query and hands its rows to out as they come.
func (c *client) query(ctx context.Context, workspace, text, timespan string, basic bool, out rowsOf) (answered, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := c.request(ctx, workspace, text, timespan, basic)
	if err != nil {
		return answered{}, err
	}
	begin := time.Now()
	limit := time.AfterFunc(c.timeout+grace, func() { cancel(errTimeout) })
	response, err := c.pipeline.Do(request)
	took := time.Since(begin)
	limit.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errTimeout
		}
		return answered{took: took}, err
	}
	defer response.Body.Close()
	body := &patient{in: response.Body, wait: c.idle, stop: cancel}
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent: // the workspace holds nothing
		return answered{took: took}, nil
	default:
		return answered{took: took}, refusal(response, body)
	}
	d := newDecoder(body)
	reported, err := d.answer(out)
	if err != nil && errors.Is(context.Cause(ctx), errIdle) {
		err = errIdle
	}
	return answered{reported: reported, took: took, bytes: d.bytes}, err
}

func (c *client) request(ctx context.Context, workspace, text, timespan string, basic bool) (*policy.Request, error) {
	operation := "query"
	if basic {
		operation = "search" // azure:logs.basic-tables
	}
	address := c.endpoint + "/v1/workspaces/" + url.PathEscape(workspace) + "/" + operation
	if timespan != "" {
		address += "?timespan=" + url.QueryEscape(timespan)
	}
	request, err := runtime.NewRequest(ctx, http.MethodPost, address)
	if err != nil {
		return nil, err
	}
	runtime.SkipBodyDownload(request)
	request.Raw().Header.Set("Accept", "application/json")
	request.Raw().Header.Set("Prefer", "wait="+strconv.Itoa(int(c.timeout.Seconds())))
	body, err := json.Marshal(struct {
		Query string `json:"query"`
	}{text})
	if err != nil {
		return nil, err
	}
	return request, request.SetBody(streaming.NopCloser(bytes.NewReader(body)), "application/json")
}

// refusal reads what a refused request is told.
func refusal(response *http.Response, body io.Reader) error {
	e := &statusError{status: response.StatusCode, after: retryAfter(response.Header, time.Now())}
	text, err := io.ReadAll(io.LimitReader(body, maxRefusal))
	var wrapped struct {
		Error *apiError `json:"error"`
	}
	if err == nil && json.Unmarshal(text, &wrapped) == nil && wrapped.Error != nil {
		e.api = wrapped.Error
	} else {
		e.text = string(text[:min(len(text), 200)])
	}
	return e
}

// retryAfter reads the header in its forms: milliseconds, seconds, a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	for _, name := range []string{"retry-after-ms", "x-ms-retry-after-ms"} {
		if n, err := strconv.Atoi(h.Get(name)); err == nil && n > 0 {
			return time.Duration(n) * time.Millisecond
		}
	}
	text := h.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

var errIdle = errors.New("the answer stood still")

// patient is a body that is broken if it stands still; what its reader does
// between two reads is not counted.
type patient struct {
	in   io.Reader
	wait time.Duration
	stop context.CancelCauseFunc
	t    *time.Timer
}

func (p *patient) Read(b []byte) (int, error) {
	if p.t == nil {
		p.t = time.AfterFunc(p.wait, func() { p.stop(errIdle) })
	} else {
		p.t.Reset(p.wait)
	}
	defer p.t.Stop()
	return p.in.Read(b)
}
