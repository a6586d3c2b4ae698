// Package splunktest is a server that answers as Splunk's HTTP Event Collector
// does, to test against: the endpoints event, raw and ack with their codes, and
// the ways to fail. It is made from Splunk's documents, shares no code with the
// sink, and is not Splunk.
package splunktest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// Event is one that was taken.
type Event struct {
	Time                            json.Number
	Index, Sourcetype, Source, Host string
	Fields                          map[string]string
	Event                           json.RawMessage
}

// Server is an http.Handler, safe for concurrent use.
type Server struct {
	sinktest.Faulty

	Token string
	// Acks says that the token has indexer acknowledgement turned on: events are
	// there once they are acknowledged, which takes AckAfter questions more than one.
	Acks     bool
	AckAfter int
	// Discard keeps no events, but counts them.
	Discard bool

	mu      sync.Mutex // guards what follows
	events  []Event
	count   int
	pending map[string]*pending // by channel + "/" + ackId
	next    map[string]int64    // ackId by channel
	code    int                 // of the requests that fail
	lose    int
}

type pending struct {
	events []Event
	asked  int
	lost   bool
}

// New returns a server that takes that token.
func New(token string) *Server {
	return &Server{Token: token, pending: map[string]*pending{}, next: map[string]int64{}}
}

// Events returns a copy of what is indexed.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.events...)
}

// Count returns how many events are indexed.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Fail answers the next n requests for events with a status and a code.
func (s *Server) Fail(n, status, code int, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
	s.Faulty.Fail(n, status, after)
}

// Lose takes the next n requests, answers them, and loses their events before
// they are on the disk: their acknowledgement never comes.
func (s *Server) Lose(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = n
}

func answer(w http.ResponseWriter, status, code int, text string, more string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"text":%q,"code":%d%s}`, text, code, more)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := sinktest.Body(r, 64<<20)
	s.Wait(r)
	credential := r.Header.Get("Authorization")
	token, found := strings.CutPrefix(credential, "Splunk ")
	channel := r.Header.Get("X-Splunk-Request-Channel")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case credential == "":
		answer(w, 401, 2, "Token is required", "")
	case !found:
		answer(w, 401, 3, "Invalid authorization", "")
	case token != s.Token:
		answer(w, 403, 4, "Invalid token", "")
	case channel != "" && uuid.Validate(channel) != nil:
		answer(w, 400, 11, "Invalid data channel", "")
	case err != nil:
		answer(w, 400, 6, "Invalid data format", "")
	case r.URL.Path == "/services/collector/ack":
		s.ack(w, channel, body)
	default:
		s.collect(w, r, channel, body)
	}
}

// collect takes a request with events.
func (s *Server) collect(w http.ResponseWriter, r *http.Request, channel string, body []byte) {
	status := s.Failing(w)
	switch {
	case status != 0:
		answer(w, status, s.code, "Simulated", "")
	case s.Acks && channel == "":
		answer(w, 400, 10, "Data channel is missing", "")
	case r.URL.Path == "/services/collector/event":
		s.event(w, channel, body)
	case r.URL.Path == "/services/collector/raw":
		if channel == "" {
			answer(w, 400, 10, "Data channel is missing", "")
			return
		}
		q := r.URL.Query()
		var events []Event
		for line := range bytes.Lines(body) {
			events = append(events, Event{Index: q.Get("index"), Sourcetype: q.Get("sourcetype"), Source: q.Get("source"), Host: q.Get("host"), Event: bytes.TrimSuffix(line, []byte("\n"))})
		}
		s.take(w, channel, events)
	default:
		answer(w, 404, 404, "The requested URL was not found on this server.", "")
	}
}

func (s *Server) event(w http.ResponseWriter, channel string, body []byte) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	var events []Event
	for {
		var e Event
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			answer(w, 400, 6, "Invalid data format", fmt.Sprintf(`,"invalid-event-number":%d`, len(events)))
			return
		}
		if len(e.Event) == 0 {
			answer(w, 400, 12, "Event field is required", fmt.Sprintf(`,"invalid-event-number":%d`, len(events)))
			return
		}
		if string(e.Event) == `""` {
			answer(w, 400, 13, "Event field cannot be blank", fmt.Sprintf(`,"invalid-event-number":%d`, len(events)))
			return
		}
		if s.Refused(e.Fields["event_id"]) {
			answer(w, 400, 15, "Error in handling indexed fields", fmt.Sprintf(`,"invalid-event-number":%d`, len(events)))
			return
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		answer(w, 400, 5, "No data", "")
		return
	}
	s.take(w, channel, events)
}

func (s *Server) take(w http.ResponseWriter, channel string, events []Event) {
	lost := s.lose > 0
	if lost {
		s.lose--
	}
	if !s.Acks {
		if !lost {
			s.keep(events)
		}
		s.Taken()
		answer(w, 200, 0, "Success", "")
		return
	}
	id := s.next[channel]
	s.next[channel]++
	s.pending[fmt.Sprint(channel, "/", id)] = &pending{events: events, lost: lost}
	s.Taken()
	answer(w, 200, 0, "Success", fmt.Sprintf(`,"ackId":%d`, id))
}

func (s *Server) keep(events []Event) {
	s.count += len(events)
	if !s.Discard {
		s.events = append(s.events, events...)
	}
}

// ack answers which requests are on the disk, and forgets them, as Splunk does.
func (s *Server) ack(w http.ResponseWriter, channel string, body []byte) {
	if !s.Acks {
		answer(w, 400, 14, "ACK is disabled", "")
		return
	}
	var question struct{ Acks []int64 }
	if err := json.Unmarshal(body, &question); err != nil || channel == "" {
		answer(w, 400, 6, "Invalid data format", "")
		return
	}
	acks := map[string]bool{}
	for _, id := range question.Acks {
		key := fmt.Sprint(channel, "/", id)
		p := s.pending[key]
		acks[strconv.FormatInt(id, 10)] = false
		if p == nil || p.lost {
			continue
		}
		if p.asked++; p.asked > s.AckAfter {
			s.keep(p.events)
			delete(s.pending, key)
			acks[strconv.FormatInt(id, 10)] = true
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"acks": acks}) // the client has gone if it fails
}
