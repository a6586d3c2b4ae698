package blob

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// nameBytes is how much of a SHA-256 is in a name, as twice as many letters.
const nameBytes = 16

// part is what one blob gets of a batch.
type part struct {
	folder string
	index  []int // of its events in the batch, in order
}

// hour is what of an event its folder depends on.
type hour struct {
	schema, logType string
	origin          *event.Origin
	begin           int64 // in seconds since 1970
}

// split sorts the events of a batch into partitions, in the order in which each
// is met first.
func split(p path, events []event.Event) []*part {
	var parts []*part
	byFolder, byHour := map[string]*part{}, map[hour]*part{}
	var folder []byte
	for i := range events {
		e := &events[i]
		at := hour{e.Schema, e.LogType, e.Origin, e.Time.Truncate(time.Hour).Unix()}
		in := byHour[at]
		if in == nil {
			folder = p.append(folder[:0], e)
			if in = byFolder[string(folder)]; in == nil {
				in = &part{folder: string(folder)}
				byFolder[in.folder] = in
				parts = append(parts, in)
			}
			byHour[at] = in
		}
		in.index = append(in.index, i)
	}
	return parts
}

// name is the last part of a blob's name: a hash of which events are in it, and of
// more, where that is not enough. Its own bytes are not in it: they are compared,
// see docs/adr/0020-names-of-blobs.md.
func (p *part) name(events []event.Event, more []byte) string {
	h := sha256.New()
	_, _ = h.Write(more) // a hash takes everything
	var b []byte
	for _, i := range p.index {
		e := &events[i]
		// With their lengths, so that no two lists of ids are alike.
		b = binary.LittleEndian.AppendUint32(b[:0], uint32(len(e.ID)))
		b = append(b, e.ID...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Data)))
		_, _ = h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)[:nameBytes])
}

// encoder makes the content of blobs. It may be used concurrently.
type encoder struct {
	payloads *httpsink.Encoder
	tables   *sync.Pool // of *table, for Parquet; nil for NDJSON
	// suffix and contentType are those of the blobs. Their Content-Encoding is not
	// set: engines go by the name, and clients would decompress them a second time.
	suffix, contentType string
}

func newEncoder(format, compression string) *encoder {
	if format == "parquet" {
		return &encoder{payloads: httpsink.NewEncoder("none"), tables: newTables(compression), suffix: ".parquet", contentType: "application/vnd.apache.parquet"}
	}
	e := &encoder{payloads: httpsink.NewEncoder(compression)}
	switch compression {
	case "zstd":
		e.suffix, e.contentType = ".ndjson.zst", "application/zstd"
	case "gzip":
		e.suffix, e.contentType = ".ndjson.gz", "application/gzip"
	default:
		e.suffix, e.contentType = ".ndjson", "application/x-ndjson"
	}
	return e
}

// encode returns the content of a part's blob, to be freed.
func (c *encoder) encode(p *part, events []event.Event) (*httpsink.Payload, error) {
	content := c.payloads.New()
	var err error
	if c.tables != nil {
		t := c.tables.Get().(*table) //nolint:forcetypeassert // nothing else is in it
		if err = t.write(content, p, events); err == nil {
			c.tables.Put(t)
		}
	} else {
		for _, i := range p.index {
			_, _ = content.Share(events[i].Data) // into memory: Finish returns the error
			_, _ = content.Write([]byte{'\n'})
		}
	}
	if err == nil {
		err = content.Finish()
	}
	if err != nil {
		content.Free()
		return nil, fmt.Errorf("make the file of %s: %w", p.folder, err)
	}
	return content, nil
}
