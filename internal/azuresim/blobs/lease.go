package blobs

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// lease is that of a blob or a container
// (learn.microsoft.com/rest/api/storageservices/lease-blob). The zero value is
// an available one.
type lease struct {
	id       string        // "" when there never was one, or it was released
	duration time.Duration // negative: for ever
	until    time.Time     // of a lease that ends
	breaks   time.Time     // when it ends since it was broken
	broken   bool
}

const (
	available = "available"
	leased    = "leased"
	expired   = "expired"
	breaking  = "breaking"
	broken    = "broken"
)

func (l *lease) state(now time.Time) string {
	switch {
	case l.id == "":
		return available
	case l.broken && now.Before(l.breaks):
		return breaking
	case l.broken:
		return broken
	case l.duration >= 0 && !now.Before(l.until):
		return expired
	default:
		return leased
	}
}

func (l *lease) held(now time.Time) bool {
	s := l.state(now)
	return s == leased || s == breaking
}

func (l *lease) show(h http.Header, now time.Time) {
	state := l.state(now)
	h.Set("x-ms-lease-state", state)
	h.Set("x-ms-lease-status", map[bool]string{true: "locked", false: "unlocked"}[l.held(now)])
	if state == leased {
		h.Set("x-ms-lease-duration", l.kind())
	}
}

func (l *lease) kind() string {
	if l.duration < 0 {
		return "infinite"
	}
	return "fixed"
}

// check returns nil if a request that gives id may go on; what names the thing
// in errors, "Blob" or "Container".
func (l *lease) check(id, what string, write bool, now time.Time) error {
	held := l.held(now)
	switch {
	case held && id == "" && write:
		return storageapi.Errorf(http.StatusPreconditionFailed, "LeaseIdMissing",
			"There is currently a lease on the %s and no lease ID was specified in the request.", strings.ToLower(what))
	case held && id != "" && !strings.EqualFold(id, l.id):
		return storageapi.Errorf(http.StatusPreconditionFailed, "LeaseIdMismatchWith"+what+"Operation",
			"The lease ID specified did not match the lease ID for the %s.", strings.ToLower(what))
	case !held && id != "" && l.id == "":
		return storageapi.Errorf(http.StatusPreconditionFailed, "LeaseNotPresentWith"+what+"Operation",
			"There is currently no lease on the %s.", strings.ToLower(what))
	case !held && id != "":
		return storageapi.Errorf(http.StatusPreconditionFailed, "LeaseLost", "A lease ID was specified, but the lease for the %s has expired.", strings.ToLower(what))
	}
	return nil
}

// leaseRequest is what the headers of a lease operation say.
type leaseRequest struct {
	action, id, proposed string
	duration             time.Duration
	breakAfter           time.Duration // negative: as long as the lease lasts
}

func readLease(c *storageapi.Call) (r leaseRequest, err error) {
	r = leaseRequest{action: strings.ToLower(c.Header("x-ms-lease-action")), id: c.Header("x-ms-lease-id"), proposed: c.Header("x-ms-proposed-lease-id"), breakAfter: -1}
	if text := c.Header("x-ms-lease-break-period"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 60 {
			return r, storageapi.InvalidHeader("x-ms-lease-break-period", text)
		}
		r.breakAfter = time.Duration(n) * time.Second
	}
	switch r.action {
	case "acquire":
		text := c.Header("x-ms-lease-duration")
		n, err := strconv.Atoi(text)
		if err != nil || (n != -1 && (n < 15 || n > 60)) {
			return r, storageapi.InvalidHeader("x-ms-lease-duration", text)
		}
		r.duration = time.Duration(n) * time.Second
		if r.proposed == "" {
			r.proposed = uuid.NewString()
		}
	case "renew", "release":
		if r.id == "" {
			return r, missing("x-ms-lease-id")
		}
	case "change":
		if r.id == "" || r.proposed == "" {
			return r, missing("x-ms-lease-id or x-ms-proposed-lease-id")
		}
	case "break":
	default:
		return r, storageapi.InvalidHeader("x-ms-lease-action", r.action)
	}
	for _, id := range []string{r.id, r.proposed} {
		if _, err := uuid.Parse(id); id != "" && err != nil {
			return r, storageapi.InvalidHeader("x-ms-lease-id", id)
		}
	}
	return r, nil
}

func missing(header string) error {
	e := storageapi.Errorf(http.StatusBadRequest, "MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified.")
	e.Detail = header
	return e
}

func conflict(code, text string) error {
	return storageapi.Errorf(http.StatusConflict, code, "%s", text)
}

// apply carries the request out and answers it.
func (l *lease) apply(r leaseRequest, h http.Header, now time.Time) (status int, err error) {
	state := l.state(now)
	mine := l.id != "" && strings.EqualFold(r.id, l.id)
	mismatch := conflict("LeaseIdMismatchWithLeaseOperation", "The lease ID specified did not match the lease ID for the blob.")
	switch r.action {
	case "acquire":
		if state == breaking {
			return 0, conflict("LeaseIsBreakingAndCannotBeAcquired", "There is already a breaking lease, and can't be acquired.")
		}
		if state == leased && !strings.EqualFold(r.proposed, l.id) {
			return 0, conflict("LeaseAlreadyPresent", "There is already a lease present.")
		}
		*l = lease{id: r.proposed, duration: r.duration, until: now.Add(r.duration)}
		h.Set("x-ms-lease-id", l.id)
		return http.StatusCreated, nil
	case "renew":
		if !mine {
			return 0, mismatch
		}
		if state == breaking || state == broken {
			return 0, conflict("LeaseIsBrokenAndCannotBeRenewed", "The lease ID matched, but the lease has been broken explicitly and cannot be renewed.")
		}
		l.until = now.Add(l.duration)
		h.Set("x-ms-lease-id", l.id)
		return http.StatusOK, nil
	case "release":
		if !mine {
			return 0, mismatch
		}
		*l = lease{}
		return http.StatusOK, nil
	case "change":
		if state == breaking {
			return 0, conflict("LeaseIsBreakingAndCannotBeChanged", "The lease ID matched, but the lease is currently in breaking state and cannot be changed.")
		}
		if state != leased {
			return 0, conflict("LeaseNotPresentWithLeaseOperation", "There is currently no lease on the blob.")
		}
		if !mine && !strings.EqualFold(r.proposed, l.id) {
			return 0, mismatch
		}
		l.id = r.proposed
		h.Set("x-ms-lease-id", l.id)
		return http.StatusOK, nil
	default: // break
		if state == available {
			return 0, conflict("LeaseNotPresentWithLeaseOperation", "There is currently no lease on the blob.")
		}
		left := time.Duration(0)
		switch {
		case state == breaking:
			left = l.breaks.Sub(now)
		case state == leased && l.duration >= 0:
			left = l.until.Sub(now)
		case state == leased: // an infinite one is broken at once
			left = max(r.breakAfter, 0)
		}
		if r.breakAfter >= 0 {
			left = min(left, r.breakAfter)
		}
		l.broken, l.breaks = true, now.Add(left)
		h.Set("x-ms-lease-time", strconv.Itoa(int(left/time.Second)))
		return http.StatusAccepted, nil
	}
}
