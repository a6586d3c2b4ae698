package eventhubs

import (
	"net"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// wire is a client that does exactly what a test says, frame by frame, on channel 0.
type wire struct {
	t  testing.TB
	nc net.Conn
	r  *amqp.Reader
}

func dialWire(t testing.TB, address string) *wire {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &wire{t, nc, amqp.NewReader(nc, 1<<20)}
}

func (w *wire) write(b []byte) {
	w.t.Helper()
	if _, err := w.nc.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) send(p amqp.Performative, payload ...byte) {
	w.t.Helper()
	b := append(amqp.AppendFrame(nil, amqp.FrameAMQP, 0, p), payload...)
	b[0], b[1], b[2], b[3] = byte(len(b)>>24), byte(len(b)>>16), byte(len(b)>>8), byte(len(b))
	w.write(b)
}

func (w *wire) frame() amqp.Frame {
	w.t.Helper()
	f, err := w.r.ReadFrame()
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// expect reads frames until one is not a keep-alive, and requires its type.
func expect[P amqp.Performative](w *wire) (P, []byte) {
	w.t.Helper()
	for {
		f := w.frame()
		if len(f.Body) == 0 {
			continue
		}
		p, payload, err := amqp.DecodePerformative(f.Body)
		if err != nil {
			w.t.Fatal(err)
		}
		got, ok := p.(P)
		if !ok {
			w.t.Fatalf("got %#v, want %T", p, got)
		}
		return got, payload
	}
}

func (w *wire) header(p amqp.Protocol) {
	w.t.Helper()
	w.write(amqp.AppendHeader(nil, p))
	if got, err := w.r.ReadHeader(); err != nil || got != p {
		w.t.Fatalf("protocol header: got %d, %v; want %d", got, err, p)
	}
}

// login authenticates with SASL PLAIN and expects that it is accepted.
func (w *wire) login(policy, key string) {
	w.t.Helper()
	if result := w.tryLogin(policy, key); result != 0 {
		w.t.Fatalf("SASL outcome %d, want 0", result)
	}
}

func (w *wire) tryLogin(policy, key string) uint8 {
	w.t.Helper()
	w.header(amqp.ProtocolSASL)
	expect[*amqp.SASLMechanisms](w)
	w.write(amqp.AppendFrame(nil, amqp.FrameSASL, 0, &amqp.SASLInit{Mechanism: "PLAIN", InitialResponse: []byte("\x00" + policy + "\x00" + key)}))
	outcome, _ := expect[*amqp.SASLOutcome](w)
	return outcome.Result
}

func (w *wire) open(o amqp.Open) *amqp.Open {
	w.t.Helper()
	w.header(amqp.ProtocolAMQP)
	w.send(&o)
	answer, _ := expect[*amqp.Open](w)
	return answer
}

// begin starts a session that takes window frames.
func (w *wire) begin(window uint32) {
	w.t.Helper()
	w.send(&amqp.Begin{IncomingWindow: window, OutgoingWindow: 100, HandleMax: 10})
	expect[*amqp.Begin](w)
}

func (w *wire) attachReceiver(handle uint32, address, selector string, properties amqp.Map) *amqp.Attach {
	w.t.Helper()
	filter := amqp.Map{{Key: amqp.Symbol("apache.org:selector-filter:string"), Value: amqp.Described{Descriptor: uint64(0x468C00000004), Value: selector}}}
	w.send(&amqp.Attach{
		Name: "link", Handle: handle, Receiver: true,
		Source:     amqp.Described{Descriptor: uint64(amqp.CodeSource), Value: amqp.List{address, nil, nil, nil, nil, nil, nil, filter}},
		Target:     amqp.Described{Descriptor: uint64(amqp.CodeTarget), Value: amqp.List{"me"}},
		Properties: properties,
	})
	answer, _ := expect[*amqp.Attach](w)
	return answer
}

func (w *wire) attachSender(handle uint32, address string) *amqp.Attach {
	w.t.Helper()
	w.send(&amqp.Attach{
		Name: "sender", Handle: handle,
		Source:               amqp.Described{Descriptor: uint64(amqp.CodeSource), Value: amqp.List{"me"}},
		Target:               amqp.Described{Descriptor: uint64(amqp.CodeTarget), Value: amqp.List{address}},
		InitialDeliveryCount: new(uint32),
	})
	answer, _ := expect[*amqp.Attach](w)
	return answer
}
