package http

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

const maxAnswer = 1 << 20

// Sink sends events to one endpoint. Deliver may be called concurrently.
type Sink struct {
	cfg      Config
	client   *httpsink.Client
	encoder  *httpsink.Encoder
	header   http.Header       // the same for all requests
	varied   map[string]string // with placeholders
	batchKey bool              // {batch} is used
	now      func() time.Time
}

// New returns a sink. It does not touch the network.
func New(cfg Config, now func() time.Time) (*Sink, error) {
	client, err := httpsink.NewClient(cfg.Connection)
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	s := &Sink{cfg: cfg, client: client, encoder: httpsink.NewEncoder(cfg.Compression), header: http.Header{}, varied: map[string]string{}, now: now}
	s.header.Set("Content-Type", "application/x-ndjson")
	if cfg.Format == "array" {
		s.header.Set("Content-Type", "application/json")
	}
	if e := s.encoder.ContentEncoding(); e != "" {
		s.header.Set("Content-Encoding", e)
	}
	switch {
	case cfg.BearerToken != "":
		s.header.Set("Authorization", "Bearer "+cfg.BearerToken.Reveal())
	case cfg.Username != "":
		s.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(cfg.Username+":"+cfg.Password.Reveal())))
	}
	for name, secret := range cfg.Headers {
		if value := secret.Reveal(); placeholder.MatchString(value) {
			s.varied[name] = value
			s.batchKey = s.batchKey || strings.Contains(value, "{batch}")
		} else {
			s.header.Set(name, value)
		}
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
	d := &delivery{s: s, ctx: ctx, events: events, failed: map[int]error{}}
	from := 0
	for i := range events {
		if limit := int(s.cfg.MaxEvent); limit > 0 && len(events[i].Data) > limit {
			d.send(from, i)
			d.reject(i, fmt.Errorf("the event has %d bytes, more than max_event (%d)", len(events[i].Data), limit))
			from = i + 1
		}
	}
	d.send(from, len(events))
	switch {
	case len(d.failed) == 0:
		return nil
	case d.stop != nil && len(d.failed) == len(events) && d.rejected == 0:
		return d.stop
	default:
		return &sink.PartialError{Failed: d.failed}
	}
}

// delivery is one call of Deliver.
type delivery struct {
	s        *Sink
	ctx      context.Context
	events   []event.Event
	failed   map[int]error // by index
	rejected int
	stop     error // what the rest would meet too
}

func (d *delivery) reject(i int, why error) {
	d.failed[i] = fmt.Errorf("%w: %w", sink.ErrRejected, why)
	d.rejected++
}

// send sends the events from one index up to another.
func (d *delivery) send(from, to int) {
	if from == to {
		return
	}
	if d.stop == nil {
		answer, err := d.s.post(d.ctx, d.events[from:to])
		switch {
		case err != nil:
			d.stop = err
		case answer.Err() == nil:
			return
		case slices.Contains(d.s.cfg.Rejected, answer.Status) || answer.Status == http.StatusRequestEntityTooLarge:
			if to-from > 1 {
				half := (from + to) / 2
				d.send(from, half)
				d.send(half, to)
				return
			}
			d.reject(from, fmt.Errorf("the endpoint %w", answer.Err()))
			return
		default:
			d.stop = d.s.explain(answer)
		}
	}
	for i := from; i < to; i++ {
		d.failed[i] = d.stop
	}
}

// explain is what an answer means that is no rejection by the configuration.
func (s *Sink) explain(a *httpsink.Answer) error {
	switch a.Status {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity: // taken off the list
		return a.Err()
	}
	return a.Classify(s.now())
}

func (s *Sink) post(ctx context.Context, events []event.Event) (*httpsink.Answer, error) {
	p := s.encoder.New()
	defer p.Free()
	before, between, after := []byte{}, []byte{'\n'}, []byte{'\n'}
	if s.cfg.Format == "array" {
		before, between, after = []byte{'['}, []byte{','}, []byte{']'}
	}
	for i := range events {
		lead := between
		if i == 0 {
			lead = before
		}
		_, _ = p.Write(lead) // into memory: Finish returns the error
		_, _ = p.Share(events[i].Data)
	}
	_, _ = p.Write(after)
	if err := p.Finish(); err != nil {
		return nil, err
	}
	answer, err := s.client.Do(ctx, s.cfg.Method, s.cfg.URL, s.headers(events, p), p, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("send to the endpoint: %w", err)
	}
	return answer, nil
}

// headers returns the headers of one request.
func (s *Sink) headers(events []event.Event, body *httpsink.Payload) http.Header {
	if len(s.varied) == 0 && s.cfg.HMAC.Secret == "" {
		return s.header
	}
	h := s.header.Clone()
	key := ""
	if s.batchKey {
		key = batchKey(events)
	}
	values := strings.NewReplacer("{batch}", key, "{count}", strconv.Itoa(len(events)), "{time}", s.now().UTC().Format(time.RFC3339))
	for name, value := range s.varied {
		h.Set(name, values.Replace(value))
	}
	if secret := s.cfg.HMAC.Secret.Reveal(); secret != "" {
		algorithm := sha256.New
		if s.cfg.HMAC.Algorithm == "sha512" {
			algorithm = sha512.New
		}
		h.Set(s.cfg.HMAC.Header, s.cfg.HMAC.Prefix+sign(algorithm, secret, body))
	}
	return h
}

func sign(algorithm func() hash.Hash, secret string, body io.WriterTo) string {
	mac := hmac.New(algorithm, []byte(secret))
	_, _ = body.WriteTo(mac) // a hash never fails
	return hex.EncodeToString(mac.Sum(nil))
}

// batchKey is the same for the same events in the same order.
func batchKey(events []event.Event) string {
	h := sha256.New()
	for i := range events {
		_, _ = h.Write([]byte(events[i].ID)) // a hash never fails
		_, _ = h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
