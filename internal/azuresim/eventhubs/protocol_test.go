package eventhubs

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"
	"go.uber.org/goleak"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

const testPartition = testHub + "/ConsumerGroups/$Default/Partitions/0"

// attached returns a client with a receiver on handle 0 that has no credit yet.
func attached(t *testing.T, f *fixture, open amqp.Open, window uint32) *wire {
	t.Helper()
	w := dialWire(t, f.address)
	w.login(testPolicy, testKey)
	open.ContainerID = "c"
	w.open(open)
	w.begin(window)
	w.attachReceiver(0, testPartition, "amqp.annotation.x-opt-offset > '-1'", nil)
	return w
}

// echo asks for the link's state and returns it. Frames that come before it are
// returned too.
func (w *wire) echo(credit, next, window uint32) (state *amqp.Flow, before []amqp.Performative) {
	w.t.Helper()
	w.send(&amqp.Flow{NextIncomingID: &next, IncomingWindow: window, Handle: new(uint32), LinkCredit: credit, Echo: true})
	for {
		p, _ := expect[amqp.Performative](w)
		if f, ok := p.(*amqp.Flow); ok {
			return f, before
		}
		before = append(before, p)
	}
}

func TestCreditIsObeyed(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	fill(t, f.hub, 0, 10)
	w := attached(t, f, amqp.Open{MaxFrameSize: 65536}, 100)
	w.send(&amqp.Flow{NextIncomingID: new(uint32), IncomingWindow: 100, Handle: new(uint32), LinkCredit: 3})
	for i := range uint32(3) {
		tr, payload := expect[*amqp.Transfer](w)
		if tr.DeliveryID == nil || *tr.DeliveryID != i || !tr.Settled || tr.More || tr.DeliveryTag == nil || tr.MessageFormat == nil {
			t.Errorf("transfer %d: got %+v", i, tr)
		}
		if !bytes.HasSuffix(payload, []byte{'e', 'v', 'e', 'n', 't', ' ', '0' + byte(i)}) {
			t.Errorf("transfer %d: got payload %q", i, payload)
		}
	}
	// Credit is counted from the delivery-count that the flow names.
	state, before := w.echo(3, 3, 100)
	if len(before) > 0 || state.DeliveryCount != 3 || state.LinkCredit != 0 || state.NextOutgoingID != 3 {
		t.Errorf("got %d frames, then %+v; want delivery-count 3, no credit left and next-outgoing-id 3", len(before), state)
	}
}

func TestSessionWindowIsObeyed(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	body := bytes.Repeat([]byte("0123456789"), 300) // some seven frames of 512 bytes
	if _, err := f.hub.Append(0, body); err != nil {
		t.Fatal(err)
	}
	w := attached(t, f, amqp.Open{MaxFrameSize: 512}, 2)
	w.send(&amqp.Flow{NextIncomingID: new(uint32), IncomingWindow: 2, Handle: new(uint32), LinkCredit: 10})
	var message []byte
	frames := uint32(0)
	for more := true; more; {
		tr, payload := expect[*amqp.Transfer](w)
		if (tr.DeliveryID != nil) != (frames == 0) {
			t.Errorf("frame %d: delivery id %v: want one in the first frame only", frames, tr.DeliveryID)
		}
		message, more = append(message, payload...), tr.More
		if frames++; frames%2 != 0 || !more {
			continue
		}
		// Nothing may come until the window opens again; an echo shows it.
		w.send(&amqp.Flow{NextIncomingID: &frames, Echo: true})
		if state, _ := expect[*amqp.Flow](w); state.NextOutgoingID != frames {
			t.Fatalf("next-outgoing-id %d, want %d: the window was ignored", state.NextOutgoingID, frames)
		}
		w.send(&amqp.Flow{NextIncomingID: &frames, IncomingWindow: 2})
	}
	if !bytes.HasSuffix(message, body) || frames < 6 {
		t.Errorf("got %d bytes in %d frames, want them to end with the body", len(message), frames)
	}
}

func TestDrainUsesUpTheCredit(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	fill(t, f.hub, 0, 2)
	w := attached(t, f, amqp.Open{MaxFrameSize: 65536}, 100)
	w.send(&amqp.Flow{NextIncomingID: new(uint32), IncomingWindow: 100, Handle: new(uint32), LinkCredit: 50, Drain: true})
	expect[*amqp.Transfer](w)
	expect[*amqp.Transfer](w)
	state, _ := expect[*amqp.Flow](w)
	if state.DeliveryCount != 50 || state.LinkCredit != 0 || !state.Drain {
		t.Errorf("got %+v, want delivery-count 50, no credit and drain", state)
	}
}

func TestGoClientDrains(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	ctx := testContext(t)
	fill(t, f.hub, 0, 2)
	c, err := goamqp.Dial(ctx, "amqp://"+f.address, &goamqp.ConnOptions{SASLType: goamqp.SASLTypePlain(testPolicy, testKey)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.NewReceiver(ctx, testPartition, &goamqp.ReceiverOptions{
		Credit: -1, Filters: []goamqp.LinkFilter{goamqp.NewSelectorFilter("amqp.annotation.x-opt-offset > '-1'")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.IssueCredit(10); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Receive(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.DrainCredit(ctx, nil); err != nil {
		t.Fatal(err)
	}
	fill(t, f.hub, 0, 1)
	// This client drains with a credit of 0, also while events wait.
	if err := r.DrainCredit(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.IssueCredit(1); err != nil {
		t.Fatal(err)
	}
	if m, err := r.Receive(ctx, nil); err != nil || string(m.GetData()) != "event 0" {
		t.Errorf("after the drain: %v, %v", m, err)
	}
}

func TestIncomingWindowIsRenewed(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	w := dialWire(t, f.address)
	w.login(testPolicy, testKey)
	w.open(amqp.Open{ContainerID: "c"})
	w.begin(100)
	w.attachSender(0, testHub)
	expect[*amqp.Flow](w)
	const frames = incomingWindow/2 + 1 // of one message, each with one byte
	message := append(amqp.AppendBinaryHeader([]byte{0, 0x53, 0x75}, frames-8), make([]byte, frames-8)...)
	w.send(&amqp.Transfer{DeliveryID: new(uint32), DeliveryTag: []byte{1}, MessageFormat: new(uint32), More: true}, message[0])
	for _, b := range message[1 : frames-1] {
		w.send(&amqp.Transfer{More: true}, b)
	}
	if state, _ := expect[*amqp.Flow](w); state.Handle != nil || *state.NextIncomingID != incomingWindow/2 || state.IncomingWindow != incomingWindow {
		t.Errorf("got %+v, want the session's window from %d on", state, incomingWindow/2)
	}
	w.send(&amqp.Transfer{}, message[frames-1])
	if d, _ := expect[*amqp.Disposition](w); !d.Accepted {
		t.Errorf("got %+v, want accepted", d)
	}
	if bodies := stored(t, f.hub, 0); len(bodies) != 1 || len(bodies[0]) != frames-8 {
		t.Errorf("got %d events, want one of %d bytes", len(bodies), frames-8)
	}
}

func TestKeepAlive(t *testing.T) {
	for _, tc := range []struct {
		name      string
		keepAlive time.Duration
		peerIdle  time.Duration
	}{
		{"the broker's period", 20 * time.Millisecond, 0},
		{"half of what the peer allows", time.Hour, 40 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := testOptions()
			o.KeepAlive = tc.keepAlive
			f := newFixture(t, o, 1, HubOptions{})
			w := dialWire(t, f.address)
			w.login(testPolicy, testKey)
			w.open(amqp.Open{ContainerID: "c", IdleTimeout: tc.peerIdle})
			for range 3 {
				if frame := w.frame(); len(frame.Body) != 0 {
					t.Fatalf("got a frame of %d bytes, want a keep-alive", len(frame.Body))
				}
			}
		})
	}
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	o := testOptions()
	o.IdleTimeout = 50 * time.Millisecond
	f := newFixture(t, o, 1, HubOptions{})
	w := dialWire(t, f.address)
	w.login(testPolicy, testKey)
	if answer := w.open(amqp.Open{ContainerID: "c"}); answer.IdleTimeout != o.IdleTimeout {
		t.Errorf("announced idle time-out %s, want %s", answer.IdleTimeout, o.IdleTimeout)
	}
	w.begin(1) // a sign of life
	if p, _ := expect[*amqp.Close](w); p.Error == nil || p.Error.Condition != condResourceLimitExceeded {
		t.Errorf("got %+v, want %s", p.Error, condResourceLimitExceeded)
	}
	if _, err := w.r.ReadFrame(); err != io.EOF {
		t.Errorf("after close: got %v, want io.EOF", err)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent() // the Go SDK's clients of other tests leave some
	f := newFixture(t, testOptions(), 1, HubOptions{})
	fill(t, f.hub, 0, 100_000)
	// One waits for credit, one for the window, one for its peer to read.
	attached(t, f, amqp.Open{MaxFrameSize: 65536}, 100)
	for _, window := range []uint32{10, 1 << 30} {
		w := attached(t, f, amqp.Open{MaxFrameSize: 65536}, window)
		w.send(&amqp.Flow{NextIncomingID: new(uint32), IncomingWindow: window, Handle: new(uint32), LinkCredit: 1 << 30})
	}
	f.waitReceivers(t, 0, 3)
	if err := f.broker.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(f.broker.connections()); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	goleak.VerifyNone(t, before)
}

func TestOrderlyEnd(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	w := attached(t, f, amqp.Open{MaxFrameSize: 65536}, 100)
	f.waitReceivers(t, 0, 1)
	w.send(&amqp.Detach{Closed: true})
	if d, _ := expect[*amqp.Detach](w); !d.Closed || d.Error != nil {
		t.Errorf("got %+v, want a plain detach", d)
	}
	if info, err := f.hub.Partition(0); err != nil || info.Receivers != 0 {
		t.Errorf("after detach: got %+v, %v; want no receiver", info, err)
	}
	w.attachReceiver(0, testPartition, "amqp.annotation.x-opt-offset > '-1'", nil)
	w.send(&amqp.End{})
	expect[*amqp.End](w)
	f.waitReceivers(t, 0, 0)
	w.send(&amqp.Close{})
	expect[*amqp.Close](w)
	if _, err := w.r.ReadFrame(); err != io.EOF {
		t.Errorf("after close: got %v, want io.EOF", err)
	}
}

func TestProtocolErrorsCloseTheConnection(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(*wire)
		want string
	}{
		{"no session", func(w *wire) { w.send(&amqp.Flow{}) }, "no session"},
		{"attach without session", func(w *wire) { w.send(&amqp.Attach{}) }, "no session"},
		{"channel in use", func(w *wire) { w.begin(1); w.send(&amqp.Begin{}) }, "in use"},
		{"second open", func(w *wire) { w.send(&amqp.Open{}) }, "on an open connection"},
		{"unknown handle", func(w *wire) { w.begin(1); w.send(&amqp.Transfer{Handle: 9}) }, "no link"},
		{"detach of an unknown handle", func(w *wire) { w.begin(1); w.send(&amqp.Detach{Handle: 9}) }, "no link"},
		{"transfer to a receiver", func(w *wire) {
			w.begin(1)
			w.attachReceiver(0, testPartition, "amqp.annotation.x-opt-offset > '-1'", nil)
			w.send(&amqp.Transfer{DeliveryID: new(uint32)})
		}, "the peer is the receiver"},
		{"handle in use", func(w *wire) {
			w.begin(1)
			w.attachReceiver(0, testPartition, "amqp.annotation.x-opt-offset > '-1'", nil)
			w.send(&amqp.Attach{Receiver: true, Source: amqp.Described{Descriptor: uint64(amqp.CodeSource), Value: amqp.List{testPartition}}})
		}, "in use"},
		{"no performative", func(w *wire) { w.write([]byte{0, 0, 0, 9, 2, 0, 0, 0, 0x40}) }, "described list"},
		{"a frame that is too large", func(w *wire) { w.write([]byte{0x7f, 0, 0, 0, 2, 0, 0, 0}) }, "maximum"},
		{"a SASL frame", func(w *wire) { w.write(amqp.AppendFrame(nil, amqp.FrameSASL, 0, &amqp.SASLOutcome{})) }, "frame type 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, testOptions(), 1, HubOptions{})
			w := dialWire(t, f.address)
			w.login(testPolicy, testKey)
			w.open(amqp.Open{ContainerID: "c"})
			tc.do(w)
			for {
				p, _ := expect[amqp.Performative](w)
				if p, ok := p.(*amqp.Close); ok {
					if p.Error == nil || !strings.Contains(p.Error.Description, tc.want) {
						t.Errorf("got %v, want %q", p.Error, tc.want)
					}
					return
				}
			}
		})
	}
}

func TestGarbageIsHungUpOn(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	for _, in := range []string{"GET / HTTP/1.1\r\n\r\n", "AMQP\x02\x01\x00\x00", "AMQP\x03\x01\x00\x00\x00\x00\x00\x08\x02\x01\x00\x00"} {
		w := dialWire(t, f.address)
		w.write([]byte(in))
		if _, err := io.ReadAll(w.nc); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: got %v, want the end of the connection", in, err)
		}
	}
}

func TestPositionsParse(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want position
		ok   bool
	}{
		{"amqp.annotation.x-opt-offset > '@latest'", position{field: fieldLatest}, true},
		{"amqp.annotation.x-opt-offset > '-1'", position{field: fieldOffset, value: -1}, true},
		{"amqp.annotation.x-opt-offset >= '4294968320'", position{field: fieldOffset, inclusive: true, value: 4294968320}, true},
		{"amqp.annotation.x-opt-sequence-number > '7'", position{field: fieldSequence, value: 7}, true},
		{"amqp.annotation.x-opt-sequence-number >7", position{field: fieldSequence, value: 7}, true},
		{"amqp.annotation.x-opt-enqueued-time >= '1767225600000'", position{field: fieldEnqueued, inclusive: true, value: 1767225600000}, true},
		{"amqp.annotation.x-opt-enqueuedtimeutc > 5", position{field: fieldEnqueued, value: 5}, true},
		{"amqp.annotation.x-opt-offset < '5'", position{}, false},
		{"amqp.annotation.x-opt-color > '5'", position{}, false},
		{"amqp.annotation.x-opt-offset > 'five'", position{}, false},
		{"", position{}, false},
	} {
		got, err := parsePosition(tc.in)
		if (err == nil) != tc.ok || tc.ok && got != tc.want {
			t.Errorf("%q: got %+v, %v; want %+v, ok %t", tc.in, got, err, tc.want, tc.ok)
		}
	}
}

// FuzzParseEvents feeds what a producer may send.
func FuzzParseEvents(f *testing.F) {
	f.Add([]byte{0, 0x53, 0x75, 0xa0, 2, 'h', 'i'}, false)
	f.Add([]byte{0, 0x53, 0x75, 0xa0, 7, 0, 0x53, 0x75, 0xa0, 2, 'h', 'i'}, true)
	f.Add([]byte{0, 0x53, 0x72, 0xc1, 10, 2, 0xa3, 1, 'a', 0xa1, 1, 'b', 0, 0x53, 0x77, 0x40}, false)
	f.Add([]byte{0, 0x53, 0x74, 0xc1, 1, 0, 0, 0x53, 0x78, 0xc1, 1, 0}, false) // a footer is not a body
	f.Fuzz(func(t *testing.T, message []byte, batch bool) {
		format := uint32(0)
		if batch {
			format = amqp.MessageFormatBatch
		}
		events, err := parseEvents(message, format)
		if err != nil {
			return
		}
		for _, e := range events {
			// What is stored must read as a message again, and survive the disk.
			out := append(e.appendPrefix(nil, 1), e.body...)
			if _, err := parseEvent(out); err != nil {
				t.Fatalf("the stored event does not parse: %v", err)
			}
			again, rest, ok := decodeRecord(appendRecord(nil, &e))
			if !ok || len(rest) > 0 || !bytes.Equal(again.body, e.body) || !bytes.Equal(again.annotations, e.annotations) || again.encoded != e.encoded || again.pairs != e.pairs {
				t.Fatalf("the record does not read back: %+v, want %+v", again, e)
			}
			_ = e.partitionKey()
			if _, err := e.plainBody(); err != nil {
				t.Fatalf("the body cannot be read: %v", err)
			}
		}
	})
}
