package amqp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// unhex reads hex digits; blanks are ignored and quoted text stands for itself.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	var out []byte
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

// The bytes that four official clients accepted.
func TestKnownEncodings(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  []byte
		want string
	}{
		{
			name: "transfer",
			got:  AppendTransfer(nil, 0, 0, 7, 0, true, false, 3)[FrameHeaderSize:],
			want: `00 53 14 c0 0d 06 43 52 07 a0 04 00 00 00 07 43 41 42`,
		},
		{
			name: "partition ids",
			got:  Append(nil, Map{{"partition_ids", Strings{"0", "1"}}}),
			want: `d1 00000027 00000002 a1 0d "partition_ids" f0 0000000f 00000002 b1 00000001 30 00000001 31`,
		},
		{
			name: "sasl mechanisms",
			got:  AppendPerformative(nil, &SASLMechanisms{Mechanisms: []Symbol{"ANONYMOUS"}}),
			want: `00 53 40 d0 0000001b 00000001 f0 00000012 00000001 b3 00000009 "ANONYMOUS"`,
		},
		{
			name: "sasl outcome",
			got:  AppendPerformative(nil, &SASLOutcome{}),
			want: `00 53 44 d0 00000006 00000001 50 00`,
		},
		{
			name: "detach of a stolen link",
			got:  AppendPerformative(nil, &Detach{Closed: true, Error: &Error{"amqp:link:stolen", "x"}}),
			want: `00 53 16 d0 00000027 00000003 43 41 00 53 1d d0 00000019 00000002 a3 10 "amqp:link:stolen" a1 01 "x"`,
		},
		{name: "keep-alive", got: AppendKeepAlive(nil), want: `00 00 00 08 02 00 00 00`},
		{name: "protocol header", got: AppendHeader(nil, ProtocolSASL), want: `"AMQP" 03 01 00 00`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if want := unhex(t, tc.want); !bytes.Equal(tc.got, want) {
				t.Errorf("got  % x\nwant % x", tc.got, want)
			}
		})
	}
}

func TestValuesRoundTrip(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, v := range []any{
		nil, true, false, uint8(200), uint16(60000), uint32(0), uint32(7), uint32(70000), uint64(0), uint64(255), uint64(math.MaxUint64),
		int8(-1), int16(-300), int32(-128), int32(128), int32(math.MinInt32), int64(127), int64(-129), int64(math.MinInt64),
		float32(1.5), 2.25, Char('é'), time.UnixMilli(1767225600000).UTC(),
		UUID{1, 2, 3},
		[]byte("bytes"), []byte(long),
		"text", long, Symbol("symbol"), Symbol(long),
		List{},
		List{nil, "a", List{uint32(1)}},
		Map{},
		Map{{"k", "v"}, {Symbol("s"), nil}},
		Array{"a", "b"},
		Array{Symbol("a")},
		Array{uint32(0), uint32(9)},
		Array{int32(-1)},
		Array{int64(1)},
		Array{uint64(1)},
		Array{true, false},
		Array{[]byte("x")},
		Array{2.5},
		Array{UUID{9}},
		Array{},
		Described{uint64(0x28), List{"address"}},
		Described{Symbol("d"), "v"},
	} {
		b := Append([]byte("head"), v)
		got, rest, err := Decode(append(b[4:], 0xff))
		if err != nil {
			t.Errorf("decode %#v: %v", v, err)
			continue
		}
		if len(rest) != 1 {
			t.Errorf("decode %#v: %d bytes left, want 1", v, len(rest))
		}
		if diff := cmp.Diff(v, got); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
		if !Encodable(v) {
			t.Errorf("Encodable(%#v) = false", v)
		}
	}
}

func TestEncodableRefusesWhatAppendCannotEncode(t *testing.T) {
	for _, v := range []any{1, struct{}{}, map[string]any{}, List{1}, Map{{"k", 1}}, Array{"a", uint32(1)}, Array{List{}}, Described{uint64(1), 1}} {
		if Encodable(v) {
			t.Errorf("Encodable(%#v) = true", v)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct{ name, in string }{
		{"nothing", ``},
		{"unknown constructor", `3f`},
		{"cut number", `70 0000`},
		{"cut string", `a1 05 "abc"`},
		{"string longer than four gigabytes can be", `b1 ffffffff "abc"`},
		{"list with more elements than bytes", `d0 00000005 ffffffff 40`},
		{"map with a key without a value", `c1 02 01 40`},
		{"array of nothing with a huge count", `f0 00000005 ffffffff 43`},
		{"array of null", `e0 02 05 40`},
		{"array of lists", `e0 02 01 45`},
		{"decimal", `74 00000000`},
		{"described without a value", `00 53 10`},
		{"deep nesting", strings.Repeat("00", 100)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if v, _, err := Decode(unhex(t, tc.in)); err == nil {
				t.Errorf("got %#v, want an error", v)
			}
		})
	}
}

func performatives() []Performative {
	format := MessageFormatBatch
	return []Performative{
		&SASLMechanisms{Mechanisms: []Symbol{"PLAIN", "ANONYMOUS"}},
		&SASLInit{Mechanism: "PLAIN", InitialResponse: []byte("\x00user\x00key"), Hostname: "h"},
		&SASLOutcome{Result: 1},
		&Open{ContainerID: "c", Hostname: "h", MaxFrameSize: 65536, ChannelMax: 4999, IdleTimeout: 30 * time.Second, Properties: Map{{Symbol("product"), "p"}}},
		&Begin{RemoteChannel: new(uint16(3)), NextOutgoingID: 1, IncomingWindow: 5000, OutgoingWindow: 5000, HandleMax: 255},
		&Begin{HandleMax: math.MaxUint32},
		&Attach{
			Name: "l", Handle: 1, Receiver: true, SenderSettleMode: uint8(2), ReceiverSettleMode: uint8(0),
			Source: Described{uint64(CodeSource), List{"a"}}, Target: Described{uint64(CodeTarget), List{}},
			InitialDeliveryCount: new(uint32), MaxMessageSize: 1 << 20, Properties: Map{{Symbol("com.microsoft:epoch"), int64(4)}},
		},
		&Attach{Name: "refused"},
		&Flow{NextIncomingID: new(uint32(9)), IncomingWindow: 5, NextOutgoingID: 1, OutgoingWindow: 2},
		&Flow{IncomingWindow: 5, Echo: true},
		&Flow{NextIncomingID: new(uint32), Handle: new(uint32), DeliveryCount: 10, LinkCredit: 300, Drain: true, Echo: true},
		&Transfer{Handle: 2, DeliveryID: new(uint32(5)), DeliveryTag: []byte{1}, MessageFormat: &format, Settled: true, More: true},
		&Transfer{Aborted: true},
		&Disposition{Receiver: true, First: 1, Last: new(uint32(4)), Settled: true, Accepted: true},
		&Disposition{Receiver: true, Rejected: &Error{"amqp:not-allowed", "no"}},
		&Detach{Handle: 3, Closed: true, Error: &Error{"amqp:link:stolen", "x"}},
		&Detach{},
		&End{}, &End{Error: &Error{"amqp:internal-error", ""}},
		&Close{}, &Close{Error: &Error{"amqp:connection:forced", "bye"}},
	}
}

func TestPerformativesRoundTripInFrames(t *testing.T) {
	var stream []byte
	for i, p := range performatives() {
		stream = AppendFrame(stream, FrameAMQP, uint16(i), p)
	}
	r := NewReader(bytes.NewReader(stream), 4096)
	for i, want := range performatives() {
		frame, err := r.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if frame.Channel != uint16(i) {
			t.Errorf("channel: got %d, want %d", frame.Channel, i)
		}
		got, payload, err := DecodePerformative(frame.Body)
		if err != nil {
			t.Fatalf("%T: %v", want, err)
		}
		if len(payload) != 0 {
			t.Errorf("%T: %d bytes of payload", want, len(payload))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
	}
	if _, err := r.ReadFrame(); err != io.EOF {
		t.Errorf("after the last frame: got %v, want io.EOF", err)
	}
}

func TestTransferHeaderDecodes(t *testing.T) {
	for _, tc := range []struct {
		name        string
		first, more bool
		want        *Transfer
	}{
		{"whole", true, false, &Transfer{Handle: 300, DeliveryID: new(uint32(1 << 20)), DeliveryTag: []byte{0, 16, 0, 0}, MessageFormat: new(uint32), Settled: true}},
		{"first part", true, true, &Transfer{Handle: 300, DeliveryID: new(uint32(1 << 20)), DeliveryTag: []byte{0, 16, 0, 0}, MessageFormat: new(uint32), Settled: true, More: true}},
		{"last part", false, false, &Transfer{Handle: 300, Settled: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := AppendTransfer(nil, 7, 300, 1<<20, 0, tc.first, tc.more, 4)
			if len(b) > MaxTransferHeader {
				t.Errorf("%d bytes, more than MaxTransferHeader", len(b))
			}
			frame, err := NewReader(bytes.NewReader(append(b, "body"...)), 4096).ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			got, payload, err := DecodePerformative(frame.Body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Performative(tc.want), got); diff != "" || string(payload) != "body" || frame.Channel != 7 {
				t.Errorf("channel %d, payload %q, (-want +got):\n%s", frame.Channel, payload, diff)
			}
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   string
		want error // nil: any
	}{
		{"size below the header's", `00000007 02 00 0000`, nil},
		{"size above the maximum", `00001001 02 00 0000`, nil},
		{"data offset within the header", `00000008 01 00 0000`, nil},
		{"data offset behind the frame", `00000008 03 00 0000`, nil},
		{"cut header", `00000008 02`, io.ErrUnexpectedEOF},
		{"cut body", `00000009 02 00 0000`, io.ErrUnexpectedEOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := NewReader(bytes.NewReader(unhex(t, tc.in)), 4096).ReadFrame()
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("got error %v, want %v", err, tc.want)
			}
		})
	}
	if _, err := NewReader(strings.NewReader("GET / HTTP/1.1"), 4096).ReadHeader(); err == nil {
		t.Error("an HTTP request was taken for a protocol header")
	}
}

func TestExtendedHeaderIsSkipped(t *testing.T) {
	frame, err := NewReader(bytes.NewReader(unhex(t, `0000000e 03 00 0005 01020304 "hi"`)), 4096).ReadFrame()
	if err != nil || string(frame.Body) != "hi" || frame.Channel != 5 {
		t.Errorf("got %+v, %v; want the body behind the extended header", frame, err)
	}
}

func TestDecodePerformativeRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []byte
	}{
		{"not described", Append(nil, List{})},
		{"symbolic descriptor", Append(nil, Described{Symbol("amqp:open:list"), List{}})},
		{"unknown descriptor", Append(nil, Described{uint64(0x99), List{}})},
		{"not a list", Append(nil, Described{uint64(CodeOpen), "x"})},
		{"wrong type of a field", Append(nil, Described{uint64(CodeOpen), List{"id", uint32(3)}})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if p, _, err := DecodePerformative(tc.in); err == nil {
				t.Errorf("got %#v, want an error", p)
			}
		})
	}
}

func TestSections(t *testing.T) {
	// Annotations in the encoding that four official clients accepted, then a body.
	message := unhex(t, `00 53 72 d1 0000004f 00000006 a3 15 "x-opt-sequence-number" 55 07 a3 0c "x-opt-offset" a1 04 "7896"
		a3 13 "x-opt-enqueued-time" 83 0000019b76daa800 00 53 75 a0 02 6869`)
	annotations, rest, err := NextSection(message)
	if err != nil {
		t.Fatal(err)
	}
	got, err := annotations.Map()
	if err != nil {
		t.Fatal(err)
	}
	want := Map{
		{Symbol("x-opt-sequence-number"), int64(7)},
		{Symbol("x-opt-offset"), "7896"},
		{Symbol("x-opt-enqueued-time"), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if again := Append(AppendSection(nil, CodeMessageAnnotations), want); !bytes.Equal(again, annotations.Raw) {
		t.Errorf("encoded again:\ngot  % x\nwant % x", again, annotations.Raw)
	}
	data, rest, err := NextSection(rest)
	if err != nil || len(rest) != 0 {
		t.Fatalf("data section: %v, %d bytes left", err, len(rest))
	}
	if body, err := data.Binary(); err != nil || string(body) != "hi" || data.Code != CodeData {
		t.Errorf("data: got code %x, %q, %v", data.Code, body, err)
	}
	if _, _, err := NextSection(unhex(t, `00 53 75 b0 ffffffff 00`)); err == nil {
		t.Error("a cut section was accepted")
	}
	if _, _, err := NextSection(unhex(t, `00 53 10 45`)); err == nil {
		t.Error("a performative was accepted as a section")
	}
}

// FuzzFrame reads a stream of frames as a connection would. What decodes must
// encode and decode to the same value, and nothing may panic.
func FuzzFrame(f *testing.F) {
	for _, p := range performatives() {
		f.Add(AppendFrame(nil, FrameAMQP, 1, p))
	}
	f.Add(AppendKeepAlive(nil))
	f.Add(append(AppendTransfer(nil, 0, 1, 2, 0, true, false, 7), 0, 0x53, 0x75, 0xa0, 2, 'h', 'i'))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewReader(bytes.NewReader(stream), 4096)
		for {
			frame, err := r.ReadFrame()
			if err != nil {
				return
			}
			if v, _, err := Decode(frame.Body); err == nil {
				if !Encodable(v) {
					t.Fatalf("decoded %#v, which cannot be encoded", v)
				}
				encoded := Append(nil, v)
				again, rest, err := Decode(encoded)
				if err != nil || len(rest) > 0 {
					t.Fatalf("decode again: %v, %d bytes left", err, len(rest))
				}
				if !bytes.Equal(encoded, Append(nil, again)) { // bytes: NaN differs from itself
					t.Fatalf("the second round trip differs: %#v", v)
				}
			}
			p, payload, err := DecodePerformative(frame.Body)
			if err != nil {
				continue
			}
			if _, _, err := DecodePerformative(AppendPerformative(nil, p)); err != nil {
				t.Fatalf("decode %#v again: %v", p, err)
			}
			for len(payload) > 0 {
				section, rest, err := NextSection(payload)
				if err != nil {
					break
				}
				_, _ = section.Decode()
				payload = rest
			}
		}
	})
}
