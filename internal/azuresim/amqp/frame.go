package amqp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Protocol is the third part of a protocol header: what the bytes after it speak.
type Protocol byte

// The protocols that a header can announce (AMQP 1.0 part 5, section 3.2 for SASL).
const (
	ProtocolAMQP Protocol = 0
	ProtocolTLS  Protocol = 2
	ProtocolSASL Protocol = 3
)

// FrameType says what the body of a frame holds.
type FrameType byte

// The types of frames.
const (
	FrameAMQP FrameType = 0
	FrameSASL FrameType = 1
)

// Sizes of the fixed parts of the protocol, in bytes.
const (
	FrameHeaderSize = 8
	// MinMaxFrameSize is the frame size that every peer must accept.
	MinMaxFrameSize = 512
)

// Frame is one frame without its header. Body is valid until the next read. An
// empty body is a keep-alive.
type Frame struct {
	Type    FrameType
	Channel uint16
	Body    []byte
}

// Reader reads protocol headers and frames. It is not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	max uint32
	buf []byte
}

// NewReader returns a Reader that refuses frames larger than maxFrameSize bytes.
func NewReader(r io.Reader, maxFrameSize uint32) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), max: maxFrameSize}
}

// ReadHeader reads a protocol header and returns its protocol. Errors name what
// came instead: most often a client that speaks TLS or HTTP to the wrong port.
func (r *Reader) ReadHeader() (Protocol, error) {
	var h [8]byte
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return 0, err
	}
	if string(h[:4]) != "AMQP" || h[5] != 1 || h[6] != 0 || h[7] != 0 {
		return 0, fmt.Errorf("amqp: read protocol header: got %q, want AMQP 1.0.0", h[:])
	}
	return Protocol(h[4]), nil
}

// AppendHeader appends the header of AMQP 1.0.0 for the protocol.
func AppendHeader(b []byte, p Protocol) []byte {
	return append(b, 'A', 'M', 'Q', 'P', byte(p), 1, 0, 0)
}

// ReadFrame reads the next frame. It allocates no more than the peer has sent
// and never more than the maximum. The error is io.EOF only between frames.
func (r *Reader) ReadFrame() (Frame, error) {
	var h [FrameHeaderSize]byte
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return Frame{}, err
	}
	size, offset := binary.BigEndian.Uint32(h[:]), 4*uint32(h[4])
	if size < FrameHeaderSize || size > r.max {
		return Frame{}, fmt.Errorf("amqp: read frame: size %d is not within %d and the agreed maximum %d", size, FrameHeaderSize, r.max)
	}
	if offset < FrameHeaderSize || offset > size {
		return Frame{}, fmt.Errorf("amqp: read frame: data offset %d is not within %d and the size %d", offset, FrameHeaderSize, size)
	}
	n := int(size - FrameHeaderSize)
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return Frame{
		Type:    FrameType(h[5]),
		Channel: binary.BigEndian.Uint16(h[6:]),
		Body:    r.buf[offset-FrameHeaderSize:],
	}, nil
}

// AppendFrame appends a frame that holds the performative.
func AppendFrame(b []byte, t FrameType, channel uint16, p Performative) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 2, byte(t), byte(channel>>8), byte(channel))
	b = AppendPerformative(b, p)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// AppendKeepAlive appends the empty frame that proves that a peer is alive.
func AppendKeepAlive(b []byte) []byte {
	return append(b, 0, 0, 0, FrameHeaderSize, 2, byte(FrameAMQP), 0, 0)
}

// MaxTransferHeader bounds what AppendTransfer appends, in bytes.
const MaxTransferHeader = 48

// AppendTransfer appends the header and performative of a settled transfer whose
// payload of that many bytes follows it in the frame. first marks the frame that
// starts the delivery: only that one carries the id, tag and message format.
func AppendTransfer(b []byte, channel uint16, handle, deliveryID, format uint32, first, more bool, payload int) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 2, byte(FrameAMQP), byte(channel>>8), byte(channel))
	b = append(b, codeDescribed, codeSmallUlong, byte(CodeTransfer), codeList8, 0, 6)
	list := len(b) - 1
	b = AppendUint(b, handle)
	if first {
		b = AppendUint(b, deliveryID)
		b = append(b, codeBinary8, 4)
		b = binary.BigEndian.AppendUint32(b, deliveryID)
		b = AppendUint(b, format)
	} else {
		b = append(b, codeNull, codeNull, codeNull)
	}
	b = AppendBool(b, true)
	b = AppendBool(b, more)
	b[list-1] = byte(len(b) - list)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start+payload))
	return b
}
