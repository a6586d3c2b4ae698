package storage

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
)

// queueService is the part of the queue service that the source uses. The
// methods may be called concurrently for different messages.
type queueService interface {
	// take hides up to 32 messages from others for a while and returns them.
	take(ctx context.Context, hide time.Duration) ([]*message, error)
	// hide hides a message for a while longer, from now on.
	hide(ctx context.Context, m *message, hide time.Duration) error
	remove(ctx context.Context, m *message) error
}

// message is one in the queue. It is removed when all that it announces is
// taken care of.
type message struct {
	id     string
	text   string
	taken  int // how often
	queued time.Time

	mu      sync.Mutex
	receipt string
	open    int  // notices that are not taken care of; guarded by mu
	over    bool // it is removed or given back; guarded by mu
}

// notice is the announcement of one blob.
type notice struct {
	s *Source
	m *message
}

// done says that the blob's records are confirmed, or that a restart will know
// of the blob.
func (n *notice) done() {
	n.m.mu.Lock()
	n.m.open--
	last := n.m.open == 0 && !n.m.over
	n.m.over = n.m.over || last
	n.m.mu.Unlock()
	if last {
		n.s.settling.Go(func() { n.s.removeMessage(n.m) })
	}
}

func (s *Source) removeMessage(m *message) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timing.request)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := s.queue.remove(ctx, m); err != nil {
		// It comes again, and is found to be read already.
		s.log.Warn("notice was not removed from the queue", "queue", s.cfg.Queue.Name, "error", withoutSecrets(err))
	}
	s.messages.Delete(m)
}

// mostMessages bounds the notices that are in hand.
const mostMessages = 1000

// listen takes notices from the queue until ctx ends.
func (s *Source) listen(ctx, closing context.Context) {
	letters := &poison{s: s}
	defer letters.close(closing)
	wait, renewed := s.timing.tick, s.deps.Now()
	tries := 0
	for ctx.Err() == nil {
		if now := s.deps.Now(); now.Sub(renewed) >= s.cfg.Queue.Visibility.Std()/3 {
			renewed = now
			s.renew(ctx)
		}
		if s.inHand() >= mostMessages {
			sleep(ctx, s.timing.tick)
			continue
		}
		request, cancel := context.WithTimeout(ctx, s.timing.request)
		messages, err := s.queue.take(request, s.cfg.Queue.Visibility.Std())
		cancel()
		if err != nil {
			tries++
			p := s.explainQueue(err)
			if ctx.Err() == nil {
				s.health.Set(partQueue, p.status())
				s.log.Warn("queue is not read: it is tried again", "queue", s.cfg.Queue.Name, "reason", p.reason, "remedy", p.remedy)
			}
			sleep(ctx, jitter(min(s.timing.retry<<min(tries, 10), s.timing.failed)))
			continue
		}
		tries = 0
		s.health.OK(partQueue)
		for _, m := range messages {
			if err := s.accept(ctx, m, letters); err != nil && ctx.Err() == nil {
				s.log.Warn("a notice was not taken care of: it comes again", "queue", s.cfg.Queue.Name, "error", err)
			}
		}
		if len(messages) > 0 {
			wait = s.timing.tick
			continue
		}
		sleep(ctx, jitter(wait))
		wait = min(2*wait, s.cfg.Poll.Std())
	}
}

func (s *Source) inHand() (n int) {
	s.messages.Range(func(any, any) bool { n++; return true })
	return n
}

// renew keeps the messages in hand hidden.
func (s *Source) renew(ctx context.Context) {
	var held []*message
	s.messages.Range(func(m, _ any) bool { held = append(held, m.(*message)); return true }) //nolint:forcetypeassert // it holds nothing else
	each(ctx, listers, held, func(m *message) {
		request, cancel := context.WithTimeout(ctx, s.timing.request)
		defer cancel()
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.over {
			return
		}
		if err := s.queue.hide(request, m, s.cfg.Queue.Visibility.Std()); err != nil && ctx.Err() == nil {
			s.log.Warn("a notice could not be kept: another reader may take it too", "queue", s.cfg.Queue.Name, "error", withoutSecrets(err))
		}
	})
}

// accept takes in what a message announces.
func (s *Source) accept(ctx context.Context, m *message, letters *poison) error {
	created, err := parseNotices(m.text)
	switch {
	case err != nil:
		return letters.put(ctx, m, "notice", fmt.Sprintf("message %s of queue %s is no notice of Event Grid: %v", m.id, s.cfg.Queue.Name, err))
	case m.taken > s.cfg.Queue.MaxDequeues:
		return letters.put(ctx, m, "notice", fmt.Sprintf("message %s of queue %s was taken %d times without success: the blob it announces cannot be read, or takes longer than visibility (%v)",
			m.id, s.cfg.Queue.Name, m.taken, s.cfg.Queue.Visibility))
	}
	m.open = 1 // until all of its notices are counted
	s.messages.Store(m, true)
	last := &notice{s, m}
	for _, c := range created {
		m.mu.Lock()
		m.open++
		m.mu.Unlock()
		n := &notice{s, m}
		if !s.announced(c, n) {
			n.done()
		}
	}
	last.done()
	return nil
}

// announced queues the blob that a notice is about; false says that it is not
// wanted, or read already.
func (s *Source) announced(c createdBlob, n *notice) bool {
	if !s.wants(c.container) || !s.wantsBlob(c.name) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.folderOfLocked(c.container, c.name)
	_, hour, _ := splitDate(c.name)
	b := f.blobs[c.name]
	if b == nil {
		if f.flat && c.when.Before(s.start) || !f.flat && hour.Before(hourOf(s.start)) {
			return false
		}
		if !f.flat && hour.Before(f.low) && !c.when.After(hour.Add(time.Hour+s.cfg.LookBack.Std())) {
			return false // it was listed since, and is read
		}
		b = &blob{folder: f, name: c.name, hour: hour}
		b.listed.modified = c.when
		f.blobs[c.name] = b
	}
	b.closed = false
	b.notices = append(b.notices, n)
	if b.state == idle {
		s.queueLocked(b)
	} else {
		b.dirty = true
	}
	return true
}

// createdBlob is what Event Grid says of a blob.
type createdBlob struct {
	container, name string
	when            time.Time
}

// parseNotices reads a message of Event Grid: one event or several, in its own
// schema or in that of CloudEvents, as it is or in Base64.
func parseNotices(text string) ([]createdBlob, error) {
	raw := []byte(strings.TrimSpace(text))
	if len(raw) > 0 && raw[0] != '{' && raw[0] != '[' {
		decoded, err := base64.StdEncoding.DecodeString(string(raw))
		if err != nil {
			return nil, errors.New("it is neither JSON nor Base64")
		}
		raw = decoded
	}
	type announcement struct {
		EventType string    `json:"eventType"`
		Type      string    `json:"type"` // of CloudEvents
		Subject   string    `json:"subject"`
		EventTime time.Time `json:"eventTime"`
		Time      time.Time `json:"time"`
	}
	var all []announcement
	if len(raw) > 0 && raw[0] == '[' {
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, fmt.Errorf("read the events: %w", err)
		}
	} else {
		var one announcement
		if err := json.Unmarshal(raw, &one); err != nil {
			return nil, fmt.Errorf("read the event: %w", err)
		}
		all = append(all, one)
	}
	var created []createdBlob
	for _, e := range all {
		kind := e.EventType + e.Type
		if kind == "" {
			return nil, errors.New("it has no eventType and no type")
		}
		if kind != "Microsoft.Storage.BlobCreated" {
			continue // of something else, e.g. that a blob was deleted
		}
		const before, between = "/blobServices/default/containers/", "/blobs/"
		rest, ok := strings.CutPrefix(e.Subject, before)
		container, name, ok2 := strings.Cut(rest, between)
		if !ok || !ok2 || container == "" || name == "" {
			return nil, fmt.Errorf("the subject is %q; it must be %s…%s…", e.Subject, before, between)
		}
		when := e.EventTime
		if when.IsZero() {
			when = e.Time
		}
		created = append(created, createdBlob{container, name, when})
	}
	return created, nil
}

// poison puts messages that cannot be used into the dead letters, as a partition
// of its own. It is used by one goroutine.
type poison struct {
	s      *Source
	stream source.Stream
	count  int64
}

// queuePrefix sets this partition off from those of blobs.
const queuePrefix = "queue "

func (l *poison) put(ctx context.Context, m *message, class, reason string) error {
	s := l.s
	if l.stream == nil {
		partition := queuePrefix + s.cfg.Queue.Name
		stream, err := s.out.Open(ctx, event.Origin{
			Source: s.deps.Name, Tenant: s.cfg.Tenant, Partition: partition, Namespace: s.account + "/" + partition,
		})
		if err != nil {
			return err
		}
		l.stream = stream
	}
	l.count++
	// Once Emit returns, the letter is durable.
	if err := l.stream.Emit(ctx, []event.Payload{{
		Body: []byte(m.text), Position: l.count, Enqueued: m.queued, Defect: &event.Defect{Class: class, Reason: reason},
	}}, checkpoint.Cursor(fmt.Sprintf("v1 notices=%d", l.count))); err != nil {
		return err
	}
	s.log.Warn("a notice went to the dead letters", "queue", s.cfg.Queue.Name, "reason", reason,
		"remedy", "blobs that it may have announced are found by the listing of queue.safety_net")
	s.messages.Store(m, true)
	s.removeMessage(m)
	return nil
}

func (l *poison) close(closing context.Context) {
	if l.stream != nil {
		_ = l.stream.Close(closing) // its letters are durable, whatever becomes of its cursor
	}
}

func (s *Source) explainQueue(err error) problem {
	p := s.explain("take notices from queue "+s.cfg.Queue.Name, err)
	p.reason = strings.ReplaceAll(p.reason, "it is not there", "there is no such queue")
	p.remedy = strings.ReplaceAll(p.remedy, "Storage Blob Data Reader", "Storage Queue Data Message Processor")
	if p.class == classGone {
		p.remedy = "check queue.name and queue.account, and that an Event Grid subscription of the account delivers to it"
	}
	return p
}

// azureQueue is a queue of a storage account.
type azureQueue struct {
	client  *azqueue.QueueClient
	metrics Metrics
}

// newQueue makes the client of the queue that cfg describes.
func newQueue(cfg *Config, tenant *azure.Tenant, metrics Metrics) (queueService, error) {
	options, err := clientOptions(cfg, tenant)
	if err != nil {
		return nil, err
	}
	queueOptions := &azqueue.ClientOptions{ClientOptions: options}
	q := &cfg.Queue
	connection := q.ConnectionString.Reveal()
	if connection == "" && q.Account == "" {
		connection = cfg.ConnectionString.Reveal()
	}
	if connection != "" {
		client, err := azqueue.NewQueueClientFromConnectionString(connection, q.Name, queueOptions)
		if err != nil {
			return nil, errors.New("read queue.connection_string: it must have an AccountName and AccountKey, or a QueueEndpoint and SharedAccessSignature")
		}
		return &azureQueue{client, metrics}, nil
	}
	suffix, account := "queue.core.windows.net", q.Account
	if tenant != nil {
		suffix = tenant.Cloud.QueueSuffix
	}
	if account == "" {
		account = strings.Replace(cfg.Account, ".blob.", ".queue.", 1)
	}
	address, err := azure.StorageEndpoint(account, suffix)
	if err != nil {
		return nil, fmt.Errorf("queue.account is %q; %w", account, err)
	}
	address += "/" + url.PathEscape(q.Name)
	var client *azqueue.QueueClient
	switch {
	case cfg.AccountKey != "":
		key, keyErr := azqueue.NewSharedKeyCredential(accountName(strings.TrimSuffix(address, "/"+q.Name)), cfg.AccountKey.Reveal())
		if keyErr != nil {
			return nil, errors.New("read account_key: it must be Base64, as Access keys in the portal shows it")
		}
		client, err = azqueue.NewQueueClientWithSharedKeyCredential(address, key, queueOptions)
	case cfg.SAS != "":
		client, err = azqueue.NewQueueClientWithNoCredential(address+"?"+strings.TrimPrefix(cfg.SAS.Reveal(), "?"), queueOptions)
	case tenant == nil:
		return nil, fmt.Errorf("tenant %q was not passed", cfg.Tenant)
	default:
		client, err = azqueue.NewQueueClient(address, tenant.Credential, queueOptions)
	}
	if err != nil {
		return nil, fmt.Errorf("open the queue: %s", withoutSecrets(err))
	}
	return &azureQueue{client, metrics}, nil
}

func (q *azureQueue) take(ctx context.Context, hide time.Duration) ([]*message, error) {
	most, seconds := int32(32), int32(hide/time.Second)
	q.metrics.Request("get_messages")
	r, err := q.client.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: &most, VisibilityTimeout: &seconds})
	if err != nil {
		return nil, err
	}
	var out []*message
	for _, m := range r.Messages {
		if m != nil && m.MessageID != nil {
			out = append(out, &message{
				id: *m.MessageID, text: value(m.MessageText), receipt: value(m.PopReceipt), taken: int(value(m.DequeueCount)),
				queued: value(m.InsertionTime),
			})
		}
	}
	return out, nil
}

func (q *azureQueue) hide(ctx context.Context, m *message, hide time.Duration) error {
	seconds := int32(hide / time.Second)
	q.metrics.Request("update_message")
	r, err := q.client.UpdateMessage(ctx, m.id, m.receipt, m.text, &azqueue.UpdateMessageOptions{VisibilityTimeout: &seconds})
	if err == nil {
		m.receipt = value(r.PopReceipt)
	}
	return err
}

func (q *azureQueue) remove(ctx context.Context, m *message) error {
	q.metrics.Request("delete_message")
	_, err := q.client.DeleteMessage(ctx, m.id, m.receipt, nil)
	return err
}
