package otlp

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec puts requests on gRPC's wire. They are encoded while gRPC is called, into
// memory that it gives back when it needs it no longer.
type codec struct{ free sync.Pool }

// Marshal implements encoding.CodecV2.
func (c *codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*request)
	if !ok {
		return nil, fmt.Errorf("encode %T: it is no request", v)
	}
	buffer := c.Get(r.size())
	to := bytes.NewBuffer((*buffer)[:0])
	r.writeTo(to, to.Write)
	return mem.BufferSlice{mem.NewBuffer(buffer, c)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (*codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("decode %T: it is no message", v)
	}
	return proto.Unmarshal(data.Materialize(), m)
}

// Name implements encoding.CodecV2.
func (*codec) Name() string { return "proto" }

// Get implements mem.BufferPool. Unlike gRPC's own it does not clear what is
// written over anyway.
func (c *codec) Get(n int) *[]byte {
	if b, ok := c.free.Get().(*[]byte); ok && cap(*b) >= n {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n)
	return &b
}

// Put implements mem.BufferPool.
func (c *codec) Put(b *[]byte) { c.free.Put(b) }

// compressor is gzip as bodies over HTTP have it. The level of the one that gRPC
// has registered can only be set for the whole program; as it is, that takes six
// times as long. It implements grpc.Compressor, which is deprecated in favor of
// registered ones, and stays for all of gRPC 1.
type compressor struct{ free sync.Pool }

func newCompressor() *compressor {
	return &compressor{sync.Pool{New: func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level exists
		return z
	}}}
}

// Do implements grpc.Compressor.
func (c *compressor) Do(w io.Writer, b []byte) error {
	z := c.free.Get().(*gzip.Writer) //nolint:forcetypeassert // nothing else is in it
	defer c.free.Put(z)
	z.Reset(w)
	if _, err := z.Write(b); err != nil {
		return err
	}
	return z.Close()
}

// Type implements grpc.Compressor.
func (*compressor) Type() string { return "gzip" }
