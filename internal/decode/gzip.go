package decode

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

func isGzip(b []byte) bool { return len(b) >= 3 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8 }

type unzipper struct {
	reader gzip.Reader
	in     bytes.Reader
}

// all decompresses the gzip members of payload into new memory. If something is
// wrong on the way it returns what came before, and the damage, with the payload
// as it is, since the text alone would not be all of it.
func (u *unzipper) all(payload []byte, limit int) (text []byte, damage *Bad) {
	broken := func(class, format string, args ...any) *Bad {
		reason := fmt.Sprintf(format, args...)
		return &Bad{Raw: payload, Class: class, Reason: fmt.Sprintf("%s; %d bytes of text were recovered", reason, len(text))}
	}
	text = make([]byte, 0, min(4*len(payload)+512, limit+1))
	u.in.Reset(payload)
	defer u.in.Reset(nil)
	for {
		rest := payload[len(payload)-u.in.Len():]
		if len(bytes.Trim(rest, "\x00")) == 0 { // padding is allowed
			return text, nil
		}
		if !isGzip(rest) {
			return text, broken(ClassGzip, "%d bytes after the gzip data are not gzip", len(rest))
		}
		if err := u.reader.Reset(&u.in); err != nil {
			return text, broken(ClassGzip, "cannot read the gzip header at byte %d: %v", len(payload)-len(rest), err)
		}
		u.reader.Multistream(false)
		for {
			if len(text) == cap(text) {
				text = append(text, 0)[:len(text)]
			}
			n, err := u.reader.Read(text[len(text):min(cap(text), limit+1)])
			text = text[:len(text)+n]
			if len(text) > limit {
				text = nil
				return nil, broken(ClassTooLarge, "the gzip data is larger than the limit of %d bytes when decompressed", limit)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return text, broken(ClassGzip, "cannot decompress the gzip data: %v", err)
			}
		}
	}
}
