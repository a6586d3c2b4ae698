package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/lazuli-logs/lazuli/internal/azure"
)

const (
	// maxAnswer bounds a page: a thousand sign-ins have about 8 MB.
	maxAnswer = 1 << 30
	// maxRefusal bounds what is read of an error.
	maxRefusal = 64 << 10
	// stall is how long an answer may stand still while it is read.
	stall = time.Minute
)

// client asks Graph for pages. It may be used concurrently.
type client struct {
	pipeline runtime.Pipeline
	base     *url.URL // scheme and host
	limits   *Limits
	now      func() time.Time
	metrics  Metrics
}

func newClient(tenant *azure.Tenant, limits *Limits, now func() time.Time, metrics Metrics) (*client, error) {
	base, err := url.Parse(strings.TrimRight(tenant.Cloud.Graph, "/"))
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("the endpoint of Microsoft Graph is %q; it must be an https URL without a path", tenant.Cloud.Graph)
	}
	options := tenant.ClientOptions()
	// Waiting is done here, where the operator is told about it, and where a long
	// Retry-After is obeyed for all that share the limit.
	options.Retry = policy.RetryOptions{MaxRetries: -1}
	return &client{
		pipeline: runtime.NewPipeline("lazuli/graph", "v1", runtime.PipelineOptions{
			PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(tenant.Credential, []string{base.String() + "/.default"}, nil)},
		}, &options),
		base: base, limits: limits, now: now, metrics: metrics,
	}, nil
}

// refusal is an answer other than 200.
type refusal struct {
	status        int
	code, message string
	retryAfter    time.Duration // 0: Graph did not say
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("Microsoft Graph answered %d %s", r.status, http.StatusText(r.status))
	if r.code != "" {
		text += ", " + r.code
	}
	if r.message != "" {
		text += ": " + r.message
	}
	return text
}

// page asks for one page when the limit allows it and hands its objects to each.
// No error means that the page was complete. A nextLink that must not be
// followed is an error behind the page's objects.
func (c *client) page(ctx context.Context, class limitClass, link string, each func(object []byte) error) (next string, err error) {
	answered, err := c.limits.paces[class].wait(ctx, c.now)
	if err != nil {
		return "", err
	}
	// A canceled context is how a stalled body is given up.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := runtime.NewRequest(ctx, http.MethodGet, link)
	if err != nil {
		answered()
		return "", err
	}
	runtime.SkipBodyDownload(request)
	request.Raw().Header.Set("Accept", "application/json")
	// Without it newer values of enumerations come as "unknownFutureValue".
	// azure:graph.enums
	request.Raw().Header.Set("Prefer", "include-unknown-enum-members")
	response, err := c.pipeline.Do(request)
	answered()
	if err != nil {
		c.metrics.Request("failed")
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		refused := c.refusal(response)
		outcome := "refused"
		switch {
		case refused.status == http.StatusTooManyRequests:
			outcome = "throttled"
		case refused.status >= 500:
			outcome = "failed"
		}
		c.metrics.Request(outcome)
		return "", refused
	}
	next, err = splitPage(&patientReader{r: io.LimitReader(response.Body, maxAnswer), cancel: cancel}, each)
	if err != nil {
		c.metrics.Request("failed")
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = fmt.Errorf("%w: %w", errDamaged, cause)
		}
		return "", err
	}
	c.metrics.Request("ok")
	if next != "" {
		err = checkLink(c.base, next)
	}
	return next, err
}

// refusal reads an error of Graph's. What is not in its form is a proxy's.
func (c *client) refusal(response *http.Response) *refusal {
	refused := &refusal{status: response.StatusCode, retryAfter: retryAfter(response.Header, c.now())}
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal)) // what could be read is enough
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &body) == nil {
		refused.code, refused.message = body.Error.Code, body.Error.Message
	}
	if len(refused.message) > 500 {
		refused.message = strings.ToValidUTF8(refused.message[:500], "") + "..."
	}
	return refused
}

// retryAfter reads the header's two forms: seconds, and a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 && seconds < 7*24*3600 {
		return max(time.Duration(seconds*float64(time.Second)), time.Millisecond)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), time.Millisecond)
	}
	return 0
}

var errStalled = fmt.Errorf("nothing came for %v", stall)

// patientReader gives a body up that stands still while it is read. A reader
// that is not asked, because the pipeline takes nothing, does not stand still.
type patientReader struct {
	r      io.Reader
	cancel context.CancelCauseFunc
}

func (p *patientReader) Read(b []byte) (int, error) {
	t := time.AfterFunc(stall, func() { p.cancel(errStalled) })
	defer t.Stop()
	return p.r.Read(b)
}
