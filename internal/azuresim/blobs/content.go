package blobs

import (
	"io"
	"sort"
)

// Appended bytes are gathered in chunks, so that a thousand appends of a line
// are not a thousand allocations, and an old blob of a few lines is no megabyte.
const (
	firstChunk = 1 << 10
	largeChunk = 1 << 20
)

// segment is a piece of a blob's content.
type segment struct {
	offset int64
	size   int64
	data   []byte
	source io.ReaderAt // instead of data
}

// content is what a blob holds. Bytes once there do not change: a copy of the
// segments stays valid whatever happens to the blob.
type content struct {
	segments []segment
	size     int64
}

// append adds data, which is copied.
func (c *content) append(data []byte) {
	for len(data) > 0 {
		if n := len(c.segments); n > 0 {
			last := &c.segments[n-1]
			if room := cap(last.data) - len(last.data); room > 0 && last.source == nil {
				part := data[:min(room, len(data))]
				last.data = append(last.data, part...)
				last.size += int64(len(part))
				c.size += int64(len(part))
				data = data[len(part):]
				continue
			}
		}
		chunk := min(max(firstChunk, int(c.size)), largeChunk)
		c.segments = append(c.segments, segment{offset: c.size, data: make([]byte, 0, max(chunk, min(len(data), largeChunk)))})
	}
}

// add adds data as a segment of its own, which is not copied.
func (c *content) add(data []byte) {
	c.segments = append(c.segments, segment{offset: c.size, size: int64(len(data)), data: data[:len(data):len(data)]})
	c.size += int64(len(data))
}

// slice returns the bytes from offset on, count of them, as segments that begin
// and end there.
func (c *content) slice(offset, count int64) []segment {
	first := sort.Search(len(c.segments), func(i int) bool { return c.segments[i].offset+c.segments[i].size > offset })
	var cut []segment
	for _, s := range c.segments[first:] {
		if s.offset >= offset+count {
			break
		}
		from, to := max(offset-s.offset, 0), min(offset+count-s.offset, s.size)
		piece := segment{offset: from, size: to - from, source: s.source}
		if s.source == nil {
			piece.data = s.data[from:to]
		}
		cut = append(cut, piece)
	}
	return cut
}

// writeTo writes segments that slice returned.
func writeTo(w io.Writer, segments []segment) error {
	for _, s := range segments {
		if s.source == nil {
			if _, err := w.Write(s.data); err != nil {
				return err
			}
			continue
		}
		if _, err := io.Copy(w, io.NewSectionReader(s.source, s.offset, s.size)); err != nil {
			return err
		}
	}
	return nil
}
