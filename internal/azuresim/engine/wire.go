package engine

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Log is one log as it arrived.
type Log struct {
	ID, DataType, DataSource, Timestamp, TenantID string
	Raw                                           []byte
}

// parse reads a Log: fields 1 to 6, all of them strings. Unknown fields are
// skipped, as proto3 wants.
func parse(b []byte) (l Log, err error) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return l, fmt.Errorf("read a tag: %w", protowire.ParseError(n))
		}
		b = b[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return l, fmt.Errorf("read field %d: %w", number, protowire.ParseError(n))
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return l, fmt.Errorf("read field %d: %w", number, protowire.ParseError(n))
		}
		b = b[n:]
		switch number {
		case 1:
			l.ID = string(value)
		case 2:
			l.DataType = string(value)
		case 3:
			l.DataSource = string(value)
		case 4:
			l.Timestamp = string(value)
		case 5:
			l.TenantID = string(value)
		case 6:
			l.Raw = value
		}
	}
	return l, nil
}

// appendAck appends an Ack: lastId is field 1.
func appendAck(b []byte, id string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), id)
}

// rawCodec hands messages over as they are on the wire.
type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return errors.New("receive into something else than bytes")
	}
	*b = data.Materialize()
	return nil
}
