package eventhub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/status"
)

func TestCursorRoundTrip(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for _, tc := range []struct {
		name string
		give position
		want checkpoint.Cursor
	}{
		{name: "full", give: position{sequence: 4711, offset: "538920", enqueued: at}, want: "v1 seq=4711 time=2026-01-02T03:04:05.678Z offset=538920"},
		{name: "from a foreign store", give: position{sequence: 4711, offset: "538920"}, want: "v1 seq=4711 offset=538920"},
		{name: "before the first message", give: position{sequence: -1, offset: "-1"}, want: "v1 seq=-1 offset=-1"},
		{name: "geo-replicated", give: position{sequence: 7, offset: "149:2:31 x"}, want: "v1 seq=7 offset=149:2:31 x"},
		{name: "no offset", give: position{sequence: 7}, want: "v1 seq=7 offset="},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.give.cursor(); got != tc.want {
				t.Fatalf("cursor() = %q; want %q", got, tc.want)
			}
			got, err := parseCursor(tc.want)
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.give {
				t.Errorf("parseCursor(%q) = %+v; want %+v", tc.want, got, tc.give)
			}
		})
	}
}

func TestCursorsThatAreRefused(t *testing.T) {
	for _, bad := range []checkpoint.Cursor{"v2 seq=1 offset=1", "4711", "v1 seq=x offset=1", "v1 seq=1", "v1 seq=1 time=yesterday offset=1", "v1 seq=99999999999999999999 offset=1"} {
		if p, err := parseCursor(bad); err == nil {
			t.Errorf("parseCursor(%q) = %+v; want an error", bad, p)
		} else if !strings.Contains(err.Error(), string(bad)) {
			t.Errorf("parseCursor(%q): error %q does not show the cursor", bad, err)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("v1 seq=4711 time=2026-01-02T03:04:05.678Z offset=538920")
	f.Add("v1 seq=-1 offset=")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseCursor(checkpoint.Cursor(text))
		if err != nil {
			return
		}
		again, err := parseCursor(p.cursor())
		if err != nil {
			t.Fatalf("parseCursor(%q) accepted, but what it writes, %q, is refused: %v", text, p.cursor(), err)
		}
		if again.sequence != p.sequence || again.offset != p.offset {
			t.Fatalf("round trip of %q: %+v, then %+v", text, p, again)
		}
	})
}

const testConnection = "Endpoint=sb://sec.servicebus.windows.net/;SharedAccessKeyName=listen;SharedAccessKey=aW52ZW50ZWQga2V5"

func TestValidateNamesEveryMistake(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   []string // paths
	}{
		{name: "connection string", change: func(c *Config) { c.ConnectionString, c.Hub = testConnection, "insights" }},
		{name: "entity path", change: func(c *Config) { c.ConnectionString = testConnection + ";EntityPath=insights" }},
		{name: "tenant", change: func(c *Config) {
			c.Tenant, c.Namespace, c.Hub = "contoso", "sec-logs.servicebus.windows.net", "insights"
		}},
		{name: "nothing", change: func(*Config) {}, want: []string{"connection_string", "hub"}},
		{name: "both", change: func(c *Config) {
			c.ConnectionString, c.Hub, c.Tenant, c.Namespace = testConnection, "insights", "contoso", "sec-logs.servicebus.windows.net"
		}, want: []string{"tenant", "namespace"}},
		{name: "two hubs", change: func(c *Config) { c.ConnectionString, c.Hub = testConnection+";EntityPath=a", "b" }, want: []string{"hub"}},
		{name: "no hub", change: func(c *Config) { c.ConnectionString = testConnection }, want: []string{"hub"}},
		{name: "half a connection string", change: func(c *Config) {
			c.ConnectionString, c.Hub = "Endpoint=sb://sec.servicebus.windows.net/", "insights"
		}, want: []string{"connection_string"}},
		{name: "short namespace", change: func(c *Config) { c.Tenant, c.Namespace, c.Hub = "contoso", "sec-logs", "insights" }, want: []string{"namespace"}},
		{name: "namespace with scheme", change: func(c *Config) {
			c.Tenant, c.Namespace, c.Hub = "contoso", "sb://sec-logs.servicebus.windows.net", "insights"
		}, want: []string{"namespace"}},
		{name: "numbers out of range", change: func(c *Config) {
			c.ConnectionString, c.Hub = testConnection, "insights"
			c.Prefetch, c.PrefetchBytes, c.Batch, c.Watchdog = 5001, 1000, Batch{}, config.Duration(time.Second)
		}, want: []string{"prefetch", "prefetch_bytes", "batch.events", "batch.bytes", "watchdog"}},
		{name: "words", change: func(c *Config) {
			c.ConnectionString, c.Hub = testConnection, "in/sights"
			c.ConsumerGroup, c.Start, c.Transport, c.Endpoint = "", "yesterday", "kafka", "10.0.0.5"
		}, want: []string{"hub", "consumer_group", "start", "transport", "endpoint"}},
		{name: "proxy without websockets", change: func(c *Config) {
			c.ConnectionString, c.Hub, c.Proxy = testConnection, "insights", "http://proxy:3128"
		}, want: []string{"proxy"}},
		{name: "proxy without scheme", change: func(c *Config) {
			c.ConnectionString, c.Hub, c.Transport, c.Proxy = testConnection, "insights", "websockets", "proxy:3128"
		}, want: []string{"proxy"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := DefaultConfig()
			tc.change(&c)
			var r config.Report
			c.Validate(&r)
			var got []string
			for _, p := range r.Problems {
				got = append(got, p.Path)
				if p.Rule == "" || p.Fix == "" {
					t.Errorf("%s: rule %q, fix %q; both must be given", p.Path, p.Rule, p.Fix)
				}
				if strings.Contains(p.Rule+p.Fix, "aW52ZW50ZWQga2V5") {
					t.Errorf("%s shows the key: %s", p.Path, p.Rule)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("problem paths (-want +got):\n%s", diff)
			}
			if _, err := c.Target(); len(r.Problems) == 0 && err != nil {
				t.Errorf("Target: %v", err)
			}
		})
	}
}

// refused has the method of the SDK's internal RPC error.
type refused struct{ code int }

func (e refused) Error() string { return fmt.Sprintf("rpc: failed, status code %d", e.code) }
func (e refused) RPCCode() int  { return e.code }

func TestExplain(t *testing.T) {
	link := func(condition amqp.ErrCond, text string) error {
		return fmt.Errorf("receive: %w", &amqp.LinkError{RemoteErr: &amqp.Error{Condition: condition, Description: text}})
	}
	for _, tc := range []struct {
		name   string
		at     stage
		err    error
		class  string
		state  status.State
		reason string
		remedy string
	}{
		{name: "stolen", at: atLink, err: link("amqp:link:stolen", "New receiver 'filebeat-1' with higher epoch of '0' is created hence"), class: classStolen, state: status.Retrying, reason: `"filebeat-1"`, remedy: "consumer group of its own"},
		{name: "wrong key", at: atHub, err: refused{401}, class: classUnauthorized, state: status.Failed, reason: "not allowed", remedy: "Listen"},
		{name: "no claim", at: atLink, err: link(amqp.ErrCondUnauthorizedAccess, ""), class: classUnauthorized, state: status.Failed, remedy: "Listen"},
		{name: "no hub", at: atHub, err: refused{404}, class: classHub, state: status.Failed, reason: `"insights"`, remedy: "create"},
		{name: "no group", at: atLink, err: link(amqp.ErrCondNotFound, ""), class: classGroup, state: status.Failed, reason: `"$Default"`, remedy: "consumer-group create"},
		{name: "sixth reader", at: atLink, err: &amqp.Error{Condition: amqp.ErrCondResourceLimitExceeded}, class: classReaders, state: status.Failed, remedy: "of its own"},
		{name: "busy", at: atLink, err: link("com.microsoft:server-busy", ""), class: classBusy, state: status.Retrying, remedy: "throughput units"},
		{name: "disabled", at: atLink, err: link("com.microsoft:entity-disabled", ""), class: classDisabled, state: status.Failed, remedy: "Active"},
		{name: "connection", at: atHub, err: &amqp.ConnError{}, class: classNetwork, state: status.Retrying, remedy: "5671"},
		{name: "no answer", at: atHub, err: errManagement, class: classNetwork, state: status.Retrying, remedy: "5671"},
		{name: "unknown", at: atHub, err: errors.New("odd"), class: classOther, state: status.Retrying, reason: "odd"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.ConnectionString, cfg.Hub = testConnection, "insights"
			s, err := New(cfg, Deps{Name: "entra"})
			if err != nil {
				t.Fatal(err)
			}
			p := s.explain(tc.at, tc.err)
			if p.class != tc.class || p.state != tc.state || !strings.Contains(p.reason, tc.reason) || !strings.Contains(p.remedy, tc.remedy) {
				t.Errorf("explain = %+v; want class %q, state %q, reason with %q, remedy with %q", p, tc.class, tc.state, tc.reason, tc.remedy)
			}
		})
	}
}

func TestBalance(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	own := func(partition int, owner string, age time.Duration) azeventhubs.Ownership {
		return azeventhubs.Ownership{PartitionID: fmt.Sprint(partition), OwnerID: owner, LastModifiedTime: now.Add(-age)}
	}
	for _, tc := range []struct {
		name       string
		partitions int
		owners     []azeventhubs.Ownership
		want       int  // claims of "me"
		keeps      bool // all that is ours already
	}{
		{name: "alone claims everything at once", partitions: 32, want: 32},
		{name: "alone keeps everything", partitions: 2, owners: []azeventhubs.Ownership{own(0, "me", 0), own(1, "me", 0)}, want: 2, keeps: true},
		{name: "newcomer takes half", partitions: 4, owners: []azeventhubs.Ownership{own(0, "a", 0), own(1, "a", 0), own(2, "a", 0), own(3, "a", 0)}, want: 2},
		{name: "odd number leaves the other one more", partitions: 3, owners: []azeventhubs.Ownership{own(0, "a", 0), own(1, "a", 0), own(2, "a", 0)}, want: 1},
		{name: "difference of one is even enough", partitions: 3, owners: []azeventhubs.Ownership{own(0, "a", 0), own(1, "a", 0), own(2, "me", 0)}, want: 1, keeps: true},
		{name: "more owners than partitions", partitions: 2, owners: []azeventhubs.Ownership{own(0, "a", 0), own(1, "b", 0)}, want: 0},
		{name: "expired and relinquished are free", partitions: 2, owners: []azeventhubs.Ownership{own(0, "a", 61*time.Second), own(1, "", 0)}, want: 2},
		{name: "partitions that are gone do not count", partitions: 1, owners: []azeventhubs.Ownership{own(0, "me", 0), own(7, "a", 0)}, want: 1, keeps: true},
		{name: "too much is kept until another takes it", partitions: 3, owners: []azeventhubs.Ownership{own(0, "me", 0), own(1, "me", 0), own(2, "me", 0)}, want: 3, keeps: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := claims{me: "me", expiry: time.Minute, now: func() time.Time { return now }, random: rand.New(rand.NewPCG(1, 2))}
			var ids []string
			for i := range tc.partitions {
				ids = append(ids, fmt.Sprint(i))
			}
			got := c.balance(tc.owners, ids)
			if len(got) != tc.want {
				t.Errorf("claims %d partitions; want %d: %v", len(got), tc.want, got)
			}
			seen := map[string]bool{}
			for _, o := range got {
				if o.OwnerID != "me" || seen[o.PartitionID] {
					t.Errorf("claim %+v; want owner me and each partition once", o)
				}
				seen[o.PartitionID] = true
			}
			for _, o := range tc.owners {
				if tc.keeps && o.OwnerID == "me" && !seen[o.PartitionID] {
					t.Errorf("partition %s is ours and is not renewed", o.PartitionID)
				}
			}
		})
	}
}

// However instances come and go, taking turns ends with even shares.
func TestBalanceConverges(t *testing.T) {
	now := time.Now()
	random := rand.New(rand.NewPCG(3, 4))
	for _, shape := range []struct{ partitions, instances int }{{4, 2}, {5, 2}, {32, 3}, {8, 5}, {3, 4}, {1, 2}} {
		var ids []string
		for i := range shape.partitions {
			ids = append(ids, fmt.Sprint(i))
		}
		owner := map[string]string{}
		for range 3 * shape.instances {
			for i := range shape.instances {
				var all []azeventhubs.Ownership
				for p, o := range owner {
					all = append(all, azeventhubs.Ownership{PartitionID: p, OwnerID: o, LastModifiedTime: now})
				}
				c := claims{me: fmt.Sprint("instance", i), expiry: time.Minute, now: func() time.Time { return now }, random: random}
				for _, o := range c.balance(all, ids) {
					owner[o.PartitionID] = o.OwnerID
				}
			}
		}
		shares := map[string]int{}
		for _, o := range owner {
			shares[o]++
		}
		low, high := shape.partitions, 0
		for i := range shape.instances {
			n := shares[fmt.Sprint("instance", i)]
			low, high = min(low, n), max(high, n)
		}
		if len(owner) != shape.partitions || high-low > 1 {
			t.Errorf("%d partitions, %d instances: shares %v; want them to differ by 1 at most", shape.partitions, shape.instances, shares)
		}
	}
}

func TestBodyOfEveryKind(t *testing.T) {
	message := func(b azeventhubs.AMQPAnnotatedMessageBody) *azeventhubs.ReceivedEventData {
		return &azeventhubs.ReceivedEventData{RawAMQPMessage: &azeventhubs.AMQPAnnotatedMessage{Body: b}}
	}
	for _, tc := range []struct {
		name string
		give *azeventhubs.ReceivedEventData
		want string
	}{
		{name: "data", give: &azeventhubs.ReceivedEventData{EventData: azeventhubs.EventData{Body: []byte("x")}}, want: "x"},
		{name: "several data sections", give: message(azeventhubs.AMQPAnnotatedMessageBody{Data: [][]byte{[]byte("a"), []byte("b")}}), want: "ab"},
		{name: "string value", give: message(azeventhubs.AMQPAnnotatedMessageBody{Value: `{"a":1}`}), want: `{"a":1}`},
		{name: "map value", give: message(azeventhubs.AMQPAnnotatedMessageBody{Value: map[string]any{"a": 1}}), want: `{"a":1}`},
		{name: "map JSON does not have", give: message(azeventhubs.AMQPAnnotatedMessageBody{Value: map[any]any{1: 2}}), want: "map[1:2]"},
		{name: "sequence", give: message(azeventhubs.AMQPAnnotatedMessageBody{Sequence: [][]any{{"a", 1}}}), want: `[["a",1]]`},
		{name: "nothing", give: message(azeventhubs.AMQPAnnotatedMessageBody{}), want: ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(body(tc.give)); got != tc.want {
				t.Errorf("body = %q; want %q", got, tc.want)
			}
		})
	}
}

// What is asked for ahead fits the memory, whatever the size of messages.
func TestWindowFollowsTheSizeOfMessages(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ConnectionString, cfg.Hub = testConnection, "insights"
	cfg.Prefetch, cfg.PrefetchBytes = 500, 16<<20
	s, err := New(cfg, Deps{Name: "entra"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name       string
		partitions int64
		size       int
		want       int
	}{
		{name: "small messages", partitions: 1, size: 1 << 10, want: 500},
		{name: "small messages, many partitions", partitions: 32, size: 1 << 10, want: 409},
		{name: "large messages", partitions: 8, size: 400 << 10, want: 5},
		{name: "largest messages, many partitions", partitions: 32, size: 1 << 20, want: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.owned.Store(tc.partitions)
			r := s.newReader("0", nil)
			// Nothing is known yet: the first messages may be the largest there are.
			if first := r.window(); first > max(1, int(cfg.PrefetchBytes)>>20/int(tc.partitions)) {
				t.Errorf("the first window is %d messages, which may take 1 MiB each", first)
			}
			for range 100 {
				r.learnSize(10*tc.size, 10)
			}
			if got := r.window(); got != tc.want {
				t.Errorf("window is %d; want %d", got, tc.want)
			}
		})
	}
	r := s.newReader("0", nil)
	s.owned.Store(1)
	for range 100 {
		r.learnSize(1<<10, 1)
	}
	r.learnSize(1<<20, 1)
	if got := r.window(); got != 15 {
		t.Errorf("window after one message of 1 MiB is %d; want 15 at once", got)
	}
}

// The SDK waits for $management without a limit; manage does not.
func TestManagementThatNeverAnswersIsGivenUp(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ConnectionString, cfg.Hub = testConnection, "insights"
	s, err := New(cfg, Deps{Name: "entra"})
	if err != nil {
		t.Fatal(err)
	}
	_, before, err := s.hub.get()
	if err != nil {
		t.Fatal(err)
	}
	released := make(chan struct{})
	defer close(released)
	_, err = manage(t.Context(), s.hub, time.Millisecond, func(context.Context, *azeventhubs.ConsumerClient) (int, error) {
		<-released
		return 0, nil
	})
	if !errors.Is(err, errManagement) {
		t.Errorf("manage returned %v; want %v", err, errManagement)
	}
	if _, after, err := s.hub.get(); after == before || err != nil {
		t.Errorf("generation of the connection is %d, then %d, %v; want it replaced", before, after, err)
	}
}

// A round that is cut short has written claims it could not report.
func TestReleaseFreesWhatACutRoundClaimed(t *testing.T) {
	store := &memoryOwnership{}
	c := claims{store: store, me: "me", expiry: time.Minute, now: time.Now, random: rand.New(rand.NewPCG(1, 2))}
	store.fail(errors.New("cut"))
	if _, err := c.round(t.Context(), []string{"0", "1"}); err == nil {
		t.Fatal("round: want an error")
	}
	store.fail(nil)
	store.owners = map[string]azeventhubs.Ownership{
		"0": {PartitionID: "0", OwnerID: "me"}, "1": {PartitionID: "1", OwnerID: "other"},
	}
	if err := c.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if store.owners["0"].OwnerID != "" || store.owners["1"].OwnerID != "other" {
		t.Errorf("owners after release: %+v; want ours freed and the other's kept", store.owners)
	}
}

// positions records what a reader emits.
type positions struct{ emitted []int64 }

func (p *positions) Resume() checkpoint.Cursor { return "" }
func (p *positions) Emit(_ context.Context, batch []event.Payload, _ checkpoint.Cursor) error {
	for _, b := range batch {
		p.emitted = append(p.emitted, b.Position)
	}
	return nil
}
func (p *positions) Close(context.Context) error { return nil }

func TestASkippedMessageIsAskedForAgainBeforeItIsMissing(t *testing.T) {
	messages := func(sequences ...int64) (all []*azeventhubs.ReceivedEventData) {
		for _, n := range sequences {
			all = append(all, &azeventhubs.ReceivedEventData{SequenceNumber: n, Offset: fmt.Sprint(n)})
		}
		return all
	}
	p, out := newProbe(), &positions{}
	s := &Source{cfg: DefaultConfig(), metrics: p, health: status.NewGroup(nil), log: slog.New(slog.DiscardHandler)}
	r := &reader{src: s, id: "0", log: s.log, averageSize: 1, attached: true}
	take := func(want error, sequences ...int64) {
		t.Helper()
		if err := r.take(t.Context(), out, messages(sequences...)); !errors.Is(err, want) {
			t.Fatalf("take(%v) = %v; want %v", sequences, err, want)
		}
	}
	take(nil, 1, 2)
	take(errSkipped, 3, 5, 6)
	r.attached = true // a new link behind 3, which has no 4 either
	take(nil, 5, 6)
	take(nil, 7)
	if diff := cmp.Diff([]int64{1, 2, 3, 5, 6, 7}, out.emitted); diff != "" {
		t.Errorf("emitted (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0 retention 1"}, p.gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
}
