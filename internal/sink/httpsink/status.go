package httpsink

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lazuli-logs/lazuli/internal/sink"
)

// excerptBytes bounds what an error quotes of an answer.
const excerptBytes = 500

// StatusError is an answer that is no success.
type StatusError struct {
	Status int
	Body   string // an excerpt, printable
}

func (e *StatusError) Error() string {
	text := "answered " + strconv.Itoa(e.Status)
	if name := http.StatusText(e.Status); name != "" {
		text += " " + name
	}
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}

// Err is nil for a success, else the answer as an error without a class.
func (a *Answer) Err() error {
	if a.ok() {
		return nil
	}
	return &StatusError{Status: a.Status, Body: Excerpt(a.Body)}
}

// Classify is what an answer means for all events of its request, where the
// destination's own documents do not say otherwise (RFC 9110 15.5, 15.6):
//
//	2xx                                    delivered
//	429, 503, and 5xx with Retry-After     throttled
//	400, 413, 415, 422                     rejected: the same again would fare the same
//	401, 403, 404, 405, 407, 410, 3xx      a person has to act; tried again
//	the rest                               tried again
//
// now is for a Retry-After that is a date.
func (a *Answer) Classify(now time.Time) error {
	err := a.Err()
	if err == nil {
		return nil
	}
	after, told := RetryAfter(a.Header, now)
	switch s := a.Status; {
	case s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable || s >= 500 && told:
		return &sink.ThrottledError{After: after, Err: err}
	case s == http.StatusBadRequest || s == http.StatusRequestEntityTooLarge || s == http.StatusUnsupportedMediaType || s == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", sink.ErrRejected, err)
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return &sink.RemedyError{Err: err, Person: true, Remedy: "check the credential of the sink and what it is allowed to do"}
	case s == http.StatusProxyAuthRequired:
		return &sink.RemedyError{Err: err, Person: true, Remedy: "put user and password into the URL of the proxy"}
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed || s == http.StatusGone || s >= 300 && s < 400:
		return &sink.RemedyError{Err: err, Person: true, Remedy: "check the URL of the sink: nothing takes events there"}
	default:
		return err
	}
}

// maxRetryAfter bounds what a destination may ask for: a wrong clock must not
// stop deliveries for days.
const maxRetryAfter = time.Hour

// RetryAfter reads how long a destination wants to be left alone: from
// Retry-After in seconds or as a date (RFC 9110 10.2.3), or Azure's
// retry-after-ms and x-ms-retry-after-ms. Without any, it returns 0 and false,
// and the runner's own pause counts.
func RetryAfter(h http.Header, now time.Time) (after time.Duration, told bool) {
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if ms, err := strconv.ParseInt(h.Get(name), 10, 64); err == nil && ms > 0 {
			return time.Duration(min(ms, maxRetryAfter.Milliseconds())) * time.Millisecond, true
		}
	}
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter), true
	}
	return 0, false
}

// Excerpt is the beginning of an answer for an error message: on one line, and
// printable.
func Excerpt(body []byte) string {
	cut := len(body) > excerptBytes
	if cut {
		body = body[:excerptBytes]
	}
	var b strings.Builder
	space := true
	for len(body) > 0 {
		r, n := utf8.DecodeRune(body)
		body = body[n:]
		switch {
		case unicode.IsSpace(r):
			if !space {
				b.WriteByte(' ')
			}
			space = true
			continue
		case r == utf8.RuneError && n == 1, !unicode.IsPrint(r):
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
		space = false
	}
	text := strings.TrimSpace(b.String())
	if cut {
		text += " ..."
	}
	return text
}
