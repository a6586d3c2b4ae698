package amqp

import (
	"fmt"
	"time"
)

// Code is the numeric descriptor of a performative, an outcome or a section.
type Code uint64

// Descriptors (AMQP 1.0 parts 2, 3 and 5).
const (
	CodeOpen           Code = 0x10
	CodeBegin          Code = 0x11
	CodeAttach         Code = 0x12
	CodeFlow           Code = 0x13
	CodeTransfer       Code = 0x14
	CodeDisposition    Code = 0x15
	CodeDetach         Code = 0x16
	CodeEnd            Code = 0x17
	CodeClose          Code = 0x18
	CodeError          Code = 0x1d
	CodeAccepted       Code = 0x24
	CodeRejected       Code = 0x25
	CodeSource         Code = 0x28
	CodeTarget         Code = 0x29
	CodeSASLMechanisms Code = 0x40
	CodeSASLInit       Code = 0x41
	CodeSASLOutcome    Code = 0x44
)

// Performative is the command of a frame. A list shorter than the performative
// has fields means null for the rest; fields of a wrong type are an error.
type Performative interface {
	code() Code
	list() List
	set(*fields)
}

// Error is a condition with its description, in end, detach, close or rejected.
type Error struct {
	Condition   Symbol
	Description string
}

func (e *Error) Error() string { return string(e.Condition) + ": " + e.Description }

func (e *Error) described() any {
	if e == nil {
		return nil
	}
	return Described{uint64(CodeError), List{e.Condition, e.Description}}
}

// SASLMechanisms offers ways to authenticate.
type SASLMechanisms struct{ Mechanisms []Symbol }

// SASLInit chooses one of them.
type SASLInit struct {
	Mechanism       Symbol
	InitialResponse []byte
	Hostname        string
}

// SASLOutcome ends the negotiation. Result 0 is ok, 1 refuses the credentials.
type SASLOutcome struct{ Result uint8 }

// Open starts a connection. Null sizes are read as the protocol's defaults.
type Open struct {
	ContainerID  string
	Hostname     string
	MaxFrameSize uint32
	ChannelMax   uint16
	IdleTimeout  time.Duration // whole milliseconds; 0: none
	Properties   Map
}

// Begin starts a session. RemoteChannel is nil when it asks for one.
type Begin struct {
	RemoteChannel  *uint16
	NextOutgoingID uint32
	IncomingWindow uint32
	OutgoingWindow uint32
	HandleMax      uint32
}

// Attach starts a link. Source and Target are kept as decoded, to be echoed.
type Attach struct {
	Name                 string
	Handle               uint32
	Receiver             bool // the role of whoever sends this frame
	SenderSettleMode     any  // nil or uint8
	ReceiverSettleMode   any  // nil or uint8
	Source               any
	Target               any
	InitialDeliveryCount *uint32
	MaxMessageSize       uint64 // bytes; 0: no limit
	Properties           Map
}

// Flow updates the state of a session and, where Handle is set, of a link.
type Flow struct {
	NextIncomingID *uint32
	IncomingWindow uint32
	NextOutgoingID uint32
	OutgoingWindow uint32
	Handle         *uint32
	DeliveryCount  uint32
	LinkCredit     uint32
	Drain          bool
	Echo           bool
}

// Transfer carries a message or a part of it. The payload follows in the frame.
type Transfer struct {
	Handle        uint32
	DeliveryID    *uint32
	DeliveryTag   []byte
	MessageFormat *uint32
	Settled       bool
	More          bool
	Aborted       bool
}

// Disposition tells the fate of deliveries First to Last.
type Disposition struct {
	Receiver bool
	First    uint32
	Last     *uint32
	Settled  bool
	Accepted bool
	Rejected *Error // set when the outcome is rejected
}

// Detach ends a link.
type Detach struct {
	Handle uint32
	Closed bool
	Error  *Error
}

// End ends a session.
type End struct{ Error *Error }

// Close ends a connection.
type Close struct{ Error *Error }

func (*SASLMechanisms) code() Code { return CodeSASLMechanisms }
func (*SASLInit) code() Code       { return CodeSASLInit }
func (*SASLOutcome) code() Code    { return CodeSASLOutcome }
func (*Open) code() Code           { return CodeOpen }
func (*Begin) code() Code          { return CodeBegin }
func (*Attach) code() Code         { return CodeAttach }
func (*Flow) code() Code           { return CodeFlow }
func (*Transfer) code() Code       { return CodeTransfer }
func (*Disposition) code() Code    { return CodeDisposition }
func (*Detach) code() Code         { return CodeDetach }
func (*End) code() Code            { return CodeEnd }
func (*Close) code() Code          { return CodeClose }

func (p *SASLMechanisms) list() List { return List{Symbols(p.Mechanisms)} }
func (p *SASLInit) list() List {
	return List{p.Mechanism, p.InitialResponse, optionalText(p.Hostname)}
}
func (p *SASLOutcome) list() List { return List{p.Result} }
func (p *Open) list() List {
	var idle any
	if p.IdleTimeout > 0 {
		idle = uint32(p.IdleTimeout.Milliseconds())
	}
	return List{p.ContainerID, optionalText(p.Hostname), p.MaxFrameSize, p.ChannelMax, idle, nil, nil, nil, nil, optionalMap(p.Properties)}
}

func (p *Begin) list() List {
	return List{optional(p.RemoteChannel), p.NextOutgoingID, p.IncomingWindow, p.OutgoingWindow, p.HandleMax}
}

func (p *Attach) list() List {
	var size any
	if p.MaxMessageSize > 0 {
		size = p.MaxMessageSize
	}
	return List{
		p.Name, p.Handle, p.Receiver, p.SenderSettleMode, p.ReceiverSettleMode, p.Source, p.Target,
		nil, nil, optional(p.InitialDeliveryCount), size, nil, nil, optionalMap(p.Properties),
	}
}

func (p *Flow) list() List {
	l := List{optional(p.NextIncomingID), p.IncomingWindow, p.NextOutgoingID, p.OutgoingWindow}
	if p.Handle != nil {
		l = append(l, *p.Handle, p.DeliveryCount, p.LinkCredit, nil, p.Drain, p.Echo)
	} else if p.Echo {
		l = append(l, nil, nil, nil, nil, nil, true)
	}
	return l
}

func (p *Transfer) list() List {
	var tag any
	if p.DeliveryTag != nil {
		tag = p.DeliveryTag
	}
	l := List{p.Handle, optional(p.DeliveryID), tag, optional(p.MessageFormat), p.Settled, p.More}
	if p.Aborted {
		l = append(l, nil, nil, nil, true)
	}
	return l
}

func (p *Disposition) list() List {
	var state any
	switch {
	case p.Rejected != nil:
		state = Described{uint64(CodeRejected), List{p.Rejected.described()}}
	case p.Accepted:
		state = Described{uint64(CodeAccepted), List{}}
	}
	return List{p.Receiver, p.First, optional(p.Last), p.Settled, state}
}

func (p *Detach) list() List {
	if p.Error == nil {
		return List{p.Handle, p.Closed}
	}
	return List{p.Handle, p.Closed, p.Error.described()}
}
func (p *End) list() List   { return errorList(p.Error) }
func (p *Close) list() List { return errorList(p.Error) }

func (p *SASLMechanisms) set(f *fields) {
	switch v := f.at(0).(type) {
	case Symbol: // a single value may stand for an array of one
		p.Mechanisms = []Symbol{v}
	case Array:
		for _, e := range v {
			p.Mechanisms = append(p.Mechanisms, Symbol(Text(e)))
		}
	}
}

func (p *SASLInit) set(f *fields) {
	p.Mechanism, p.InitialResponse, p.Hostname = Symbol(f.text(0)), f.binary(1), f.text(2)
}
func (p *SASLOutcome) set(f *fields) { p.Result = optionalField[uint8](f, 0) }
func (p *Open) set(f *fields) {
	p.ContainerID, p.Hostname = f.text(0), f.text(1)
	p.MaxFrameSize, p.ChannelMax = f.uint(2, 1<<32-1), defaultField(f, 3, uint16(1<<16-1))
	p.IdleTimeout = time.Duration(f.uint(4, 0)) * time.Millisecond
	p.Properties = optionalField[Map](f, 9)
}

func (p *Begin) set(f *fields) {
	p.RemoteChannel = pointerField[uint16](f, 0)
	p.NextOutgoingID, p.IncomingWindow, p.OutgoingWindow = f.uint(1, 0), f.uint(2, 0), f.uint(3, 0)
	p.HandleMax = f.uint(4, 1<<32-1)
}

func (p *Attach) set(f *fields) {
	p.Name, p.Handle, p.Receiver = f.text(0), f.uint(1, 0), optionalField[bool](f, 2)
	p.SenderSettleMode, p.ReceiverSettleMode = nullableField[uint8](f, 3), nullableField[uint8](f, 4)
	p.Source, p.Target = f.at(5), f.at(6)
	p.InitialDeliveryCount = pointerField[uint32](f, 9)
	p.MaxMessageSize = optionalField[uint64](f, 10)
	p.Properties = optionalField[Map](f, 13)
}

func (p *Flow) set(f *fields) {
	p.NextIncomingID, p.IncomingWindow = pointerField[uint32](f, 0), f.uint(1, 0)
	p.NextOutgoingID, p.OutgoingWindow = f.uint(2, 0), f.uint(3, 0)
	p.Handle, p.DeliveryCount, p.LinkCredit = pointerField[uint32](f, 4), f.uint(5, 0), f.uint(6, 0)
	p.Drain, p.Echo = optionalField[bool](f, 8), optionalField[bool](f, 9)
}

func (p *Transfer) set(f *fields) {
	p.Handle, p.DeliveryID, p.DeliveryTag = f.uint(0, 0), pointerField[uint32](f, 1), f.binary(2)
	p.MessageFormat, p.Settled, p.More = pointerField[uint32](f, 3), optionalField[bool](f, 4), optionalField[bool](f, 5)
	p.Aborted = optionalField[bool](f, 9)
}

func (p *Disposition) set(f *fields) {
	p.Receiver, p.First, p.Last = optionalField[bool](f, 0), f.uint(1, 0), pointerField[uint32](f, 2)
	p.Settled = optionalField[bool](f, 3)
	state, _ := f.at(4).(Described)
	switch code, _ := state.Descriptor.(uint64); Code(code) {
	case CodeAccepted:
		p.Accepted = true
	case CodeRejected:
		p.Rejected = &Error{}
		if l, _ := state.Value.(List); len(l) > 0 {
			if e := decodeError(l[0]); e != nil {
				p.Rejected = e
			}
		}
	}
}

func (p *Detach) set(f *fields) {
	p.Handle, p.Closed, p.Error = f.uint(0, 0), optionalField[bool](f, 1), decodeError(f.at(2))
}
func (p *End) set(f *fields)   { p.Error = decodeError(f.at(0)) }
func (p *Close) set(f *fields) { p.Error = decodeError(f.at(0)) }

// AppendPerformative appends the described list of a performative.
func AppendPerformative(b []byte, p Performative) []byte {
	l := p.list()
	for len(l) > 0 && l[len(l)-1] == nil {
		l = l[:len(l)-1]
	}
	return appendList(append(b, codeDescribed, codeSmallUlong, byte(p.code())), l)
}

// DecodePerformative reads the performative at the start of a frame's body and
// returns the payload behind it. Binary fields and payload alias body.
func DecodePerformative(body []byte) (p Performative, payload []byte, err error) {
	v, payload, err := Decode(body)
	if err != nil {
		return nil, nil, err
	}
	code, list, err := describedList(v)
	if err != nil {
		return nil, nil, err
	}
	if p = newPerformative(code); p == nil {
		return nil, nil, fmt.Errorf("amqp: descriptor 0x%02x is not a performative", uint64(code))
	}
	f := &fields{List: list}
	p.set(f)
	if f.err != nil {
		return nil, nil, fmt.Errorf("amqp: performative 0x%02x: %w", uint64(code), f.err)
	}
	return p, payload, nil
}

func newPerformative(code Code) Performative {
	switch code {
	case CodeOpen:
		return &Open{}
	case CodeBegin:
		return &Begin{}
	case CodeAttach:
		return &Attach{}
	case CodeFlow:
		return &Flow{}
	case CodeTransfer:
		return &Transfer{}
	case CodeDisposition:
		return &Disposition{}
	case CodeDetach:
		return &Detach{}
	case CodeEnd:
		return &End{}
	case CodeClose:
		return &Close{}
	case CodeSASLMechanisms:
		return &SASLMechanisms{}
	case CodeSASLInit:
		return &SASLInit{}
	case CodeSASLOutcome:
		return &SASLOutcome{}
	}
	return nil
}

// TerminusAddress returns the address of a source or target, "" where it has none.
func TerminusAddress(terminus any) string {
	_, list, err := describedList(terminus)
	if err != nil || len(list) == 0 {
		return ""
	}
	return Text(list[0])
}

// SourceFilter returns the filter set of a source: names to described values.
func SourceFilter(source any) Map {
	_, list, err := describedList(source)
	if err != nil || len(list) < 8 {
		return nil
	}
	filter, _ := list[7].(Map)
	return filter
}

func describedList(v any) (Code, List, error) {
	d, ok := v.(Described)
	if !ok {
		return 0, nil, fmt.Errorf("amqp: got %T where a described list is required", v)
	}
	code, ok := d.Descriptor.(uint64)
	if !ok {
		return 0, nil, fmt.Errorf("amqp: descriptor %v is not a number: symbolic descriptors are not supported", d.Descriptor)
	}
	list, ok := d.Value.(List)
	if !ok {
		return 0, nil, fmt.Errorf("amqp: descriptor 0x%02x holds %T, want a list", code, d.Value)
	}
	return Code(code), list, nil
}

func decodeError(v any) *Error {
	code, list, err := describedList(v)
	if err != nil || code != CodeError {
		return nil
	}
	f := &fields{List: list}
	return &Error{Condition: Symbol(f.text(0)), Description: f.text(1)}
}

func errorList(e *Error) List {
	if e == nil {
		return nil
	}
	return List{e.described()}
}
