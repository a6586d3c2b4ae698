package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Keys of the requests that a connection is opened with.
const (
	keyHandshake    = 17
	keyAuthenticate = 36
	// maxOpening bounds a request before the client has signed in.
	maxOpening = 64 << 10
)

// signingIn is a connection until its client has signed in: it puts what the
// cluster understands in the place of the service's own credentials. Who is
// refused is told so, which the cluster would not do, and the connection ends.
type signingIn struct {
	net.Conn
	check     func(mechanism string, response []byte) (user, password string, err error)
	mechanism string
	ready     []byte // read and not yet handed on
	through   bool   // signed in, or refused: hand everything on
}

func (c *signingIn) Read(b []byte) (int, error) {
	if len(c.ready) == 0 && !c.through {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if len(c.ready) > 0 {
		n := copy(b, c.ready)
		c.ready = c.ready[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// next reads one request and leaves in ready what the cluster is to see.
func (c *signingIn) next() error {
	var size [4]byte
	if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 8 || n > maxOpening {
		return fmt.Errorf("kafka: a request of %d bytes before signing in", n)
	}
	request := make([]byte, n)
	if _, err := io.ReadFull(c.Conn, request); err != nil {
		return err
	}
	request, err := c.rewrite(request)
	if err != nil {
		return err
	}
	c.ready = append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)
	return nil
}

func (c *signingIn) rewrite(request []byte) ([]byte, error) {
	key := int16(binary.BigEndian.Uint16(request))
	version := int16(binary.BigEndian.Uint16(request[2:]))
	if key != keyHandshake && key != keyAuthenticate {
		return request, nil
	}
	head, err := headerLength(request, key == keyAuthenticate && version >= 2)
	if err != nil {
		return nil, err
	}
	if key == keyHandshake {
		r := kmsg.SASLHandshakeRequest{Version: version}
		if err := r.ReadFrom(request[head:]); err != nil {
			return nil, fmt.Errorf("kafka: handshake: %w", err)
		}
		c.mechanism = r.Mechanism
		if r.Mechanism == "OAUTHBEARER" {
			r.Mechanism = "PLAIN"
		}
		return r.AppendTo(bytes.Clone(request[:head])), nil
	}
	r := kmsg.SASLAuthenticateRequest{Version: version}
	if err := r.ReadFrom(request[head:]); err != nil {
		return nil, fmt.Errorf("kafka: authenticate: %w", err)
	}
	user, password, err := c.check(c.mechanism, r.SASLAuthBytes)
	if err != nil {
		return nil, c.refuse(request[4:8], version, err)
	}
	r.SASLAuthBytes = []byte("\x00" + user + "\x00" + password)
	c.through = true
	return r.AppendTo(bytes.Clone(request[:head])), nil
}

// refuse answers as the service does (error 58, SASL_AUTHENTICATION_FAILED) and
// returns what ends the connection.
func (c *signingIn) refuse(correlation []byte, version int16, cause error) error {
	text := cause.Error()
	response := kmsg.SASLAuthenticateResponse{Version: version, ErrorCode: 58, ErrorMessage: &text}
	body := bytes.Clone(correlation)
	if version >= 2 {
		body = append(body, 0) // no tags
	}
	body = response.AppendTo(body)
	if _, err := c.Conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		return err
	}
	return io.EOF
}

// headerLength returns where a request's body begins: after key, version,
// correlation id, client id and, in flexible versions, tags.
func headerLength(request []byte, flexible bool) (int, error) {
	n := 8
	if len(request) < n+2 {
		return 0, errors.New("kafka: a request ends in its header")
	}
	if id := int16(binary.BigEndian.Uint16(request[n:])); id > 0 {
		n += int(id)
	}
	n += 2
	if flexible {
		if n >= len(request) || request[n] != 0 {
			return 0, errors.New("kafka: a request has tags in its header, or ends there")
		}
		n++
	}
	if n > len(request) {
		return 0, errors.New("kafka: a request ends in its header")
	}
	return n, nil
}

// plainResponse splits the response of SASL PLAIN (RFC 4616).
func plainResponse(response []byte) (user, password string) {
	parts := strings.SplitN(string(response), "\x00", 3)
	if len(parts) != 3 {
		return "", ""
	}
	return parts[1], parts[2]
}

// bearer returns the token in the response of OAUTHBEARER (RFC 7628).
func bearer(response []byte) string {
	for part := range strings.SplitSeq(string(response), "\x01") {
		if token, ok := strings.CutPrefix(part, "auth=Bearer "); ok {
			return token
		}
	}
	return ""
}
