package queues

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// Server is Queue Storage. It is an http.Handler, to be served with and without
// TLS, and safe for concurrent use.
type Server struct {
	*storageapi.Service
	now func() time.Time

	mu       sync.Mutex // guards what follows
	accounts map[string]map[string]*queue
}

// New returns a server without queues.
func New(options storageapi.Options) (*Server, error) {
	s := &Server{now: options.Now, accounts: map[string]map[string]*queue{}}
	if s.now == nil {
		s.now = time.Now
	}
	for name := range options.Accounts {
		s.accounts[name] = map[string]*queue{}
	}
	var err error
	s.Service, err = storageapi.New(storageapi.Queue, options, s.route)
	return s, err
}

var queueName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`)

// target is what a request is about.
type target struct {
	*storageapi.Call
	queue, message string
}

// route finds the operation that a request asks for.
func (s *Server) route(c *storageapi.Call) (op storageapi.Operation, err error) {
	t := target{Call: c}
	name, rest, _ := strings.Cut(c.Path, "/")
	t.queue = name
	comp := c.Query.Get("comp")
	if name == "" {
		if c.Method == http.MethodGet && comp == "list" {
			return operation("ListQueues", s.listQueues, t, storageapi.Need{ResourceType: 's', Permissions: "l", AccountOnly: true}), nil
		}
		return op, unsupported(c)
	}
	if !queueName.MatchString(name) {
		return op, storageapi.Errorf(http.StatusBadRequest, "InvalidResourceName", "The specified resource name contains invalid characters.")
	}
	collection, id, _ := strings.Cut(rest, "/")
	t.message = id
	switch {
	case rest == "":
		return s.routeQueue(t, comp)
	case collection == "messages":
		return s.routeMessages(t)
	}
	return op, unsupported(c)
}

func (s *Server) routeQueue(t target, comp string) (op storageapi.Operation, err error) {
	need := storageapi.Need{ResourceType: 'c', Container: t.queue, AccountOnly: true}
	switch t.Method + " " + comp {
	case "PUT ":
		need.Permissions, need.Write = "cw", true
		return operation("CreateQueue", s.createQueue, t, need), nil
	case "DELETE ":
		need.Permissions, need.Write = "d", true
		return operation("DeleteQueue", s.deleteQueue, t, need), nil
	case "GET metadata", "HEAD metadata":
		need.Permissions, need.AccountOnly = "r", false
		return operation("GetQueueMetadata", s.queueMetadata, t, need), nil
	case "PUT metadata":
		need.Permissions, need.Write = "w", true
		return operation("SetQueueMetadata", s.setQueueMetadata, t, need), nil
	}
	return op, unsupported(t.Call)
}

func (s *Server) routeMessages(t target) (op storageapi.Operation, err error) {
	need := storageapi.Need{ResourceType: 'o', Container: t.queue, Write: true}
	one := t.message != ""
	switch {
	case t.Method == http.MethodPost && !one:
		need.Permissions = "a"
		return operation("PutMessage", s.putMessage, t, need), nil
	case t.Method == http.MethodGet && !one && t.Query.Get("peekonly") == "true":
		need.Permissions, need.Write = "r", false
		return operation("PeekMessages", s.peekMessages, t, need), nil
	case t.Method == http.MethodGet && !one:
		need.Permissions = "p"
		return operation("GetMessages", s.getMessages, t, need), nil
	case t.Method == http.MethodDelete && !one:
		need.Permissions = "d"
		return operation("ClearMessages", s.clearMessages, t, need), nil
	case t.Method == http.MethodDelete:
		need.Permissions = "p"
		return operation("DeleteMessage", s.deleteMessage, t, need), nil
	case t.Method == http.MethodPut && one:
		need.Permissions = "u"
		return operation("UpdateMessage", s.updateMessage, t, need), nil
	}
	return op, unsupported(t.Call)
}

func operation(name string, run func(target) error, t target, need storageapi.Need) storageapi.Operation {
	return storageapi.Operation{Name: name, Need: need, Run: func(c *storageapi.Call) error {
		t.Call = c
		return run(t)
	}}
}

func unsupported(c *storageapi.Call) error {
	return storageapi.NotImplemented(c.Method + " with comp=" + c.Query.Get("comp"))
}

// withQueue runs f under the lock.
func (s *Server) withQueue(t target, f func(q *queue) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.accounts[t.Account][t.queue]
	if q == nil {
		return notFound()
	}
	return f(q)
}

func notFound() *storageapi.Error {
	return storageapi.Errorf(http.StatusNotFound, "QueueNotFound", "The specified queue does not exist.")
}

func newQueue(metadata map[string]string) *queue {
	return &queue{metadata: metadata, byID: map[string]*message{}}
}

func (s *Server) createQueue(t target) error {
	metadata, err := t.Metadata()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch old := s.accounts[t.Account][t.queue]; {
	case old == nil:
		s.accounts[t.Account][t.queue] = newQueue(metadata)
		return t.Empty(http.StatusCreated)
	case maps.Equal(old.metadata, metadata):
		return t.Empty(http.StatusNoContent)
	}
	return storageapi.Errorf(http.StatusConflict, "QueueAlreadyExists", "The specified queue already exists.")
}

func (s *Server) deleteQueue(t target) error {
	return s.withQueue(t, func(*queue) error {
		delete(s.accounts[t.Account], t.queue)
		return t.Empty(http.StatusNoContent)
	})
}

func (s *Server) queueMetadata(t target) error {
	return s.withQueue(t, func(q *queue) error {
		t.Answer().Set("x-ms-approximate-messages-count", strconv.Itoa(len(q.byID)))
		storageapi.ShowMetadata(t.Answer(), q.metadata)
		return t.Empty(http.StatusOK)
	})
}

func (s *Server) setQueueMetadata(t target) error {
	metadata, err := t.Metadata()
	if err != nil {
		return err
	}
	return s.withQueue(t, func(q *queue) error {
		q.metadata = metadata
		return t.Empty(http.StatusNoContent)
	})
}

func (s *Server) listQueues(t target) error {
	limit, err := t.Limit()
	if err != nil {
		return err
	}
	from, err := t.Marker()
	if err != nil {
		return err
	}
	metadata := strings.Contains(t.Query.Get("include"), "metadata")
	s.mu.Lock()
	defer s.mu.Unlock()
	body := append(storageapi.AppendXML(nil), `<EnumerationResults ServiceEndpoint="`...)
	body = append(storageapi.AppendText(body, t.Base+"/"), `">`...)
	body = append(t.AppendEcho(body), "<Queues>"...)
	next, count := "", 0
	for _, name := range slices.Sorted(maps.Keys(s.accounts[t.Account])) {
		if name < from || !strings.HasPrefix(name, t.Query.Get("prefix")) {
			continue
		}
		if count == limit {
			next = storageapi.Marker(name)
			break
		}
		count++
		body = storageapi.AppendElement(append(body, "<Queue>"...), "Name", name)
		if metadata {
			body = storageapi.AppendMetadata(body, s.accounts[t.Account][name].metadata)
		}
		body = append(body, "</Queue>"...)
	}
	body = storageapi.AppendElement(append(body, "</Queues>"...), "NextMarker", next)
	return t.XML(http.StatusOK, append(body, "</EnumerationResults>"...))
}

// readText reads the body of a message; nil if there is none.
func readText(t target) (*string, error) {
	// The text may be escaped in XML: up to six bytes for one.
	raw, err := io.ReadAll(io.LimitReader(t.Body, 8*maxMessage))
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	if len(raw) == 0 {
		return nil, nil
	}
	var document struct {
		XMLName xml.Name `xml:"QueueMessage"`
		Text    string   `xml:"MessageText"`
	}
	if err := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\ufeff")))).Decode(&document); err != nil {
		return nil, storageapi.InvalidXML()
	}
	if len(document.Text) > maxMessage {
		return nil, errTooLarge
	}
	return &document.Text, nil
}

var errTooLarge = storageapi.Errorf(http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", "The request body is too large and exceeds the maximum permissible limit.")

func seconds(t target, name string, low, otherwise time.Duration) (time.Duration, error) {
	n, err := t.Number(name, int(low/time.Second), int(maxVisibility/time.Second), int(otherwise/time.Second))
	return time.Duration(n) * time.Second, err
}

func (s *Server) putMessage(t target) error {
	hidden, err := seconds(t, "visibilitytimeout", 0, 0)
	if err != nil {
		return err
	}
	life, err := t.Number("messagettl", -1, 1<<31-1, int(defaultLife/time.Second))
	if err != nil {
		return err
	}
	text, err := readText(t)
	if err != nil {
		return err
	}
	if text == nil {
		return storageapi.InvalidXML()
	}
	return s.withQueue(t, func(q *queue) error {
		m := q.put(*text, hidden, time.Duration(life)*time.Second, s.now())
		body := append(storageapi.AppendXML(nil), "<QueueMessagesList>"...)
		body = m.append(body, true, false)
		return t.XML(http.StatusCreated, append(body, "</QueueMessagesList>"...))
	})
}

// append writes a message, with what is only for who holds it, and its text.
func (m *message) append(body []byte, holder, text bool) []byte {
	body = append(body, "<QueueMessage>"...)
	body = storageapi.AppendElement(body, "MessageId", m.id)
	body = storageapi.AppendElement(body, "InsertionTime", m.inserted.Format(http.TimeFormat))
	body = storageapi.AppendElement(body, "ExpirationTime", m.expires.Format(http.TimeFormat))
	if holder {
		body = storageapi.AppendElement(body, "PopReceipt", m.receipt)
		body = storageapi.AppendElement(body, "TimeNextVisible", m.visible.Format(http.TimeFormat))
	}
	if text {
		body = storageapi.AppendElement(body, "DequeueCount", strconv.Itoa(m.dequeued))
		body = storageapi.AppendElement(body, "MessageText", m.text)
	}
	return append(body, "</QueueMessage>"...)
}

func (s *Server) getMessages(t target) error {
	most, err := t.Number("numofmessages", 1, maxTaken, 1)
	if err != nil {
		return err
	}
	hidden, err := seconds(t, "visibilitytimeout", time.Second, defaultVisibility)
	if err != nil {
		return err
	}
	return s.withQueue(t, func(q *queue) error {
		return t.messages(q.take(most, hidden, s.now().UTC()), true)
	})
}

func (s *Server) peekMessages(t target) error {
	most, err := t.Number("numofmessages", 1, maxTaken, 1)
	if err != nil {
		return err
	}
	return s.withQueue(t, func(q *queue) error { return t.messages(q.peek(most, s.now().UTC()), false) })
}

func (t target) messages(found []message, holder bool) error {
	body := append(storageapi.AppendXML(nil), "<QueueMessagesList>"...)
	for i := range found {
		body = found[i].append(body, holder, true)
	}
	return t.XML(http.StatusOK, append(body, "</QueueMessagesList>"...))
}

func (s *Server) clearMessages(t target) error {
	return s.withQueue(t, func(q *queue) error {
		*q = queue{metadata: q.metadata, byID: map[string]*message{}, order: q.order}
		return t.Empty(http.StatusNoContent)
	})
}

func (s *Server) deleteMessage(t target) error {
	return s.withQueue(t, func(q *queue) error {
		m, err := q.held(t.message, t.Query.Get("popreceipt"))
		if err != nil {
			return err
		}
		q.remove(m)
		return t.Empty(http.StatusNoContent)
	})
}

func (s *Server) updateMessage(t target) error {
	if !t.Query.Has("visibilitytimeout") {
		return storageapi.Errorf(http.StatusBadRequest, "MissingRequiredQueryParameter", "A query parameter that's mandatory for this request is not specified.")
	}
	hidden, err := seconds(t, "visibilitytimeout", 0, 0)
	if err != nil {
		return err
	}
	text, err := readText(t)
	if err != nil {
		return err
	}
	return s.withQueue(t, func(q *queue) error {
		m, err := q.held(t.message, t.Query.Get("popreceipt"))
		if err != nil {
			return err
		}
		if text != nil {
			m.text = *text
		}
		q.hide(m, s.now().UTC().Add(hidden))
		t.Answer().Set("x-ms-popreceipt", m.receipt)
		t.Answer().Set("x-ms-time-next-visible", m.visible.Format(http.TimeFormat))
		return t.Empty(http.StatusNoContent)
	})
}

// CreateQueue makes a queue unless it exists.
func (s *Server) CreateQueue(account, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	queues, known := s.accounts[account]
	if !known {
		return fmt.Errorf("create queue %q: there is no storage account %q", name, account)
	}
	if !queueName.MatchString(name) {
		return fmt.Errorf("create queue %q: the name must have 3 to 63 lower-case letters, digits and single dashes", name)
	}
	if queues[name] == nil {
		queues[name] = newQueue(nil)
	}
	return nil
}

// Put puts a message into a queue, as a service of Azure does: no request is
// counted, nothing authorized. It fails if there is no such queue.
func (s *Server) Put(account, name, text string) error {
	if len(text) > maxMessage {
		return errors.New("a message is longer than 64 KiB")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.accounts[account][name]
	if q == nil {
		return fmt.Errorf("queue %q of storage account %q: %w", name, account, notFound())
	}
	q.put(text, 0, defaultLife, s.now())
	return nil
}

// Len is how many messages a queue holds, also those that nobody can see now.
func (s *Server) Len(account, name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.accounts[account][name]; q != nil {
		return len(q.byID)
	}
	return 0
}
