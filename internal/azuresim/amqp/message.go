package amqp

import (
	"encoding/binary"
	"fmt"
)

// Descriptors of the sections of a message (AMQP 1.0 part 3, section 3.2).
const (
	CodeHeader                Code = 0x70
	CodeDeliveryAnnotations   Code = 0x71
	CodeMessageAnnotations    Code = 0x72
	CodeProperties            Code = 0x73
	CodeApplicationProperties Code = 0x74
	CodeData                  Code = 0x75
	CodeSequence              Code = 0x76
	CodeValue                 Code = 0x77
	CodeFooter                Code = 0x78
)

// MessageFormatBatch marks a message whose data sections are messages of their
// own, as the Event Hubs clients send them.
const MessageFormatBatch uint32 = 0x80013700

// Section is one section of an encoded message.
type Section struct {
	Code Code
	// Raw is the section with its descriptor; Value is Raw without it. Both
	// alias the message.
	Raw, Value []byte
}

// Decode returns the section's value. Binary values alias the message.
func (s Section) Decode() (any, error) {
	v, _, err := Decode(s.Value)
	return v, err
}

// Map returns the value of a section that is a map: annotations or properties
// of the application.
func (s Section) Map() (Map, error) {
	v, err := s.Decode()
	if err != nil {
		return nil, err
	}
	m, ok := v.(Map)
	if !ok {
		return nil, fmt.Errorf("amqp: section 0x%02x holds %T, want a map", uint64(s.Code), v)
	}
	return m, nil
}

// Binary returns the bytes of a data section without copying them.
func (s Section) Binary() ([]byte, error) {
	v, err := s.Decode()
	if err != nil {
		return nil, err
	}
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("amqp: section 0x%02x holds %T, want binary", uint64(s.Code), v)
	}
	return b, nil
}

// NextSection splits the first section off an encoded message. It checks the
// section's size but not what is inside.
func NextSection(message []byte) (s Section, rest []byte, err error) {
	if len(message) < 4 || message[0] != codeDescribed {
		return Section{}, nil, fmt.Errorf("amqp: a message section must start with a descriptor, got % x", message[:min(len(message), 4)])
	}
	var head int
	switch {
	case message[1] == codeSmallUlong:
		s.Code, head = Code(message[2]), 3
	case message[1] == codeUlong && len(message) > 10:
		s.Code, head = Code(binary.BigEndian.Uint64(message[2:])), 10
	default:
		return Section{}, nil, fmt.Errorf("amqp: a message section has descriptor type 0x%02x, want a ulong", message[1])
	}
	if s.Code < CodeHeader || s.Code > CodeFooter {
		return Section{}, nil, fmt.Errorf("amqp: descriptor 0x%02x is not a message section", uint64(s.Code))
	}
	size, err := valueSize(message[head:])
	if err != nil {
		return Section{}, nil, err
	}
	end := head + size
	s.Raw, s.Value = message[:end:end], message[head:end:end]
	return s, message[end:], nil
}

// valueSize returns the number of bytes of the value at the front of b without
// decoding what is inside.
func valueSize(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, errShort
	}
	if b[0] == codeDescribed { // only amqp-value sections can hold one
		_, rest, err := Decode(b)
		return len(b) - len(rest), err
	}
	switch b[0] >> 4 {
	case 0x4:
		return 1, nil
	case 0x5, 0x6, 0x7, 0x8, 0x9:
		if size := 1 + 1<<(b[0]>>4-5); size <= len(b) {
			return size, nil
		}
		return 0, errShort
	}
	_, rest, err := splitVariable(b[0], b[1:])
	return len(b) - len(rest), err
}

// AppendSection appends the descriptor of a section; its value must follow.
func AppendSection(b []byte, code Code) []byte {
	return append(b, codeDescribed, codeSmallUlong, byte(code))
}
