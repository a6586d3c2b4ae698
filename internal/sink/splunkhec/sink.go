package splunkhec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

const maxAnswer = 1 << 20

// Sink sends events to one collector. Deliver may be called concurrently.
type Sink struct {
	cfg     Config
	client  *httpsink.Client
	encoder *httpsink.Encoder
	header  http.Header // of events
	ask     http.Header // of questions for acknowledgements
	target  string
	acks    string
	now     func() time.Time
}

// New returns a sink. It does not touch the network.
func New(cfg Config, now func() time.Time) (*Sink, error) {
	client, err := httpsink.NewClient(cfg.Connection)
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	base := strings.TrimSuffix(cfg.URL, "/") + "/services/collector/"
	s := &Sink{cfg: cfg, client: client, encoder: httpsink.NewEncoder(cfg.Compression), now: now, target: base + cfg.Endpoint, acks: base + "ack"}
	// Splunk tells clients apart by their channel; acknowledgements are numbered
	// within one.
	common := http.Header{"Authorization": {"Splunk " + cfg.Token.Reveal()}, "X-Splunk-Request-Channel": {uuid.NewString()}}
	s.ask = common.Clone()
	s.ask.Set("Content-Type", "application/json")
	s.header = common
	if e := s.encoder.ContentEncoding(); e != "" {
		s.header.Set("Content-Encoding", e)
	}
	if cfg.Endpoint == "raw" {
		q := url.Values{}
		for name, value := range map[string]string{"index": cfg.Index, "sourcetype": cfg.Sourcetype, "source": cfg.Source, "host": cfg.Host} {
			if value != "" {
				q.Set(name, value)
			}
		}
		s.target += "?" + q.Encode()
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
	failed := map[int]error{}
	indices := make([]int, len(events))
	for i := range indices {
		indices[i] = i
	}
	err := s.send(ctx, events, indices, failed)
	switch {
	case len(failed) == 0:
		return nil
	case err != nil && len(failed) == len(events):
		return err
	default:
		return &sink.PartialError{Failed: failed}
	}
}

// send sends the events at these indices and notes what failed. The error it
// returns is that of all that are to be tried again, if there are any.
func (s *Sink) send(ctx context.Context, events []event.Event, indices []int, failed map[int]error) error {
	all := func(err error) error {
		for _, i := range indices {
			failed[i] = err
		}
		return err
	}
	for len(indices) > 0 {
		a, r, err := s.post(ctx, events, indices)
		if err != nil {
			return all(err)
		}
		switch bad := r.Invalid; {
		case a.Status >= 200 && a.Status < 300:
			if !s.cfg.Ack {
				return nil
			}
			if err := s.wait(ctx, r.AckID); err != nil {
				return all(err)
			}
			return nil
		case a.Status == http.StatusRequestEntityTooLarge && len(indices) > 1:
			half := len(indices) / 2
			err := s.send(ctx, events, indices[:half], failed)
			if other := s.send(ctx, events, indices[half:], failed); other != nil {
				err = other
			}
			return err
		case a.Status == http.StatusBadRequest && aboutAnEvent(r.Code) && bad != nil && *bad >= 0 && *bad < len(indices):
			// Splunk takes a request whole or not, as a rule; what it may have taken
			// before the bad event is repeated.
			failed[indices[*bad]] = fmt.Errorf("%w: %w", sink.ErrRejected, a.Err())
			indices = append(append([]int(nil), indices[:*bad]...), indices[*bad+1:]...)
		case a.Status == http.StatusBadRequest && aboutAnEvent(r.Code) && len(indices) > 1:
			half := len(indices) / 2
			err := s.send(ctx, events, indices[:half], failed)
			if other := s.send(ctx, events, indices[half:], failed); other != nil {
				err = other
			}
			return err
		case a.Status == http.StatusBadRequest && aboutAnEvent(r.Code), a.Status == http.StatusRequestEntityTooLarge:
			failed[indices[0]] = fmt.Errorf("%w: %w", sink.ErrRejected, a.Err())
			return nil
		default:
			return all(s.explain(a, r.Code))
		}
	}
	return nil
}

// reply is what the collector answers.
type reply struct {
	Text    string
	Code    int
	Invalid *int   `json:"invalid-event-number"`
	AckID   *int64 `json:"ackId"`
}

// aboutAnEvent tells whether a code is about an event and not about the request
// (docs.splunk.com, "Troubleshoot HTTP Event Collector"): no data, invalid data
// format, event field required or blank, indexed fields wrong.
func aboutAnEvent(code int) bool {
	return code == 5 || code == 6 || code == 12 || code == 13 || code == 15
}

func (s *Sink) post(ctx context.Context, events []event.Event, indices []int) (*httpsink.Answer, reply, error) {
	p := s.encoder.New()
	defer p.Free()
	var line []byte
	end := []byte("}\n")
	if s.cfg.Endpoint == "raw" {
		end = []byte{'\n'}
	}
	for _, i := range indices {
		if s.cfg.Endpoint == "event" {
			line = s.frame(line[:0], &events[i])
			_, _ = p.Write(line) // into memory: Finish returns the error
		}
		_, _ = p.Share(events[i].Data)
		_, _ = p.Write(end)
	}
	if err := p.Finish(); err != nil {
		return nil, reply{}, err
	}
	a, err := s.client.Do(ctx, http.MethodPost, s.target, s.header, p, maxAnswer)
	if err != nil {
		return nil, reply{}, fmt.Errorf("send to %s: %w", s.cfg.URL, err)
	}
	var r reply
	if err := json.Unmarshal(a.Body, &r); err != nil && a.Status >= 200 && a.Status < 300 {
		return nil, reply{}, fmt.Errorf("read the answer: it is not one of the collector: %s", httpsink.Excerpt(a.Body))
	}
	return a, r, nil
}

// frame begins an event of the endpoint event.
func (s *Sink) frame(b []byte, e *event.Event) []byte {
	at := e.Time
	if at.IsZero() {
		at = s.now()
	}
	text := func(name, value string) {
		if value == "" {
			return
		}
		b = append(b, `,"`...)
		b = append(b, name...)
		b = append(b, `":"`...)
		b = jsonscan.AppendEscaped(b, []byte(value))
		b = append(b, '"')
	}
	b = append(b, `{"time":`...)
	b = strconv.AppendInt(b, at.Unix(), 10)
	b = at.AppendFormat(b, ".000000")
	source, sourcetype := s.cfg.Source, s.cfg.Sourcetype
	if source == "" && e.Origin != nil {
		source = e.Origin.Source
	}
	if other, ok := s.cfg.Sourcetypes[e.LogType]; ok {
		sourcetype = other
	}
	text("index", s.cfg.Index)
	text("sourcetype", sourcetype)
	text("source", source)
	text("host", s.cfg.Host)
	b = append(b, `,"fields":{"event_id":"`...)
	b = jsonscan.AppendEscaped(b, []byte(e.ID))
	b = append(b, '"')
	text("log_type", e.LogType)
	return append(b, `},"event":`...)
}

// wait asks until the indexer has acknowledged a request.
func (s *Sink) wait(ctx context.Context, id *int64) error {
	if id == nil {
		return &sink.RemedyError{
			Err:    errors.New("the collector gave no ackId: indexer acknowledgement is turned off for the token"),
			Remedy: "turn on indexer acknowledgement for the token, or set ack: false", Person: true,
		}
	}
	tick := time.NewTicker(s.cfg.AckPoll.Std())
	defer tick.Stop()
	name := strconv.FormatInt(*id, 10)
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the indexer's acknowledgement %s: %w: the events are sent again", name, context.Cause(ctx))
		case <-tick.C:
		}
		done, err := s.acknowledged(ctx, name)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

func (s *Sink) acknowledged(ctx context.Context, name string) (bool, error) {
	p := httpsink.Body([]byte(`{"acks":[` + name + `]}`))
	defer p.Free()
	a, err := s.client.Do(ctx, http.MethodPost, s.acks, s.ask, p, maxAnswer)
	if err != nil {
		return false, fmt.Errorf("ask for an acknowledgement: %w", err)
	}
	if a.Status < 200 || a.Status >= 300 {
		var r reply
		_ = json.Unmarshal(a.Body, &r) // without a code, the status says enough
		return false, fmt.Errorf("ask for an acknowledgement: %w", s.explain(a, r.Code))
	}
	var answer struct{ Acks map[string]bool }
	if err := json.NewDecoder(bytes.NewReader(a.Body)).Decode(&answer); err != nil {
		return false, fmt.Errorf("read the acknowledgements: %w", err)
	}
	return answer.Acks[name], nil
}

// explain says what an answer means that concerns the whole request.
func (s *Sink) explain(a *httpsink.Answer, code int) error {
	person := func(remedy string) error { return &sink.RemedyError{Err: a.Err(), Remedy: remedy, Person: true} }
	switch code {
	case 1:
		return person("enable the token in Splunk, under Settings, Data inputs, HTTP Event Collector")
	case 2, 3, 4:
		return person("check token: it must be the value of a token of this collector")
	case 7:
		return person("allow the token to write to the index, or correct index")
	case 10, 11, 14:
		return person("turn on indexer acknowledgement for the token, or set ack: false")
	case 16:
		return person("nothing of Lazuli's: the token is sent in a header")
	}
	err := a.Classify(s.now())
	var throttled *sink.ThrottledError
	switch {
	case errors.As(err, &throttled) && (code == 18 || code == 19 || code == 20):
		throttled.Err = &sink.RemedyError{Err: throttled.Err, Remedy: "the indexer's queues are full or its acknowledgement service is down: see its health in Splunk"}
		return throttled
	case errors.Is(err, sink.ErrRejected): // no event is known to be to blame
		return a.Err()
	default:
		return err
	}
}
