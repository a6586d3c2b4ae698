package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// errDamaged says that an answer is not what Graph sends: it was cut, or a proxy
// wrote it. It may be right the next time.
var errDamaged = errors.New("the answer is damaged")

// consumerError is an error of what the objects of a page are handed to.
type consumerError struct{ err error }

func (e *consumerError) Error() string { return e.err.Error() }
func (e *consumerError) Unwrap() error { return e.err }

// splitPage reads an answer {"value":[...],"@odata.nextLink":"..."} and hands each
// object of the list on, byte for byte, as soon as it is read; each may keep it.
// It returns the nextLink, "" on the last page, and no error only if the answer
// was read to its end. An error of each comes back as a *consumerError; all
// others are errDamaged, or the reader's.
func splitPage(r io.Reader, each func(object []byte) error) (next string, err error) {
	d := json.NewDecoder(r)
	damaged := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it ends in the middle")
		}
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if open, err := d.Token(); err != nil {
		return "", damaged(err)
	} else if open != json.Delim('{') {
		return "", damaged(errors.New("it is not an object"))
	}
	hasValue := false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return "", damaged(err)
		}
		switch name {
		case "value":
			hasValue = true
			if open, err := d.Token(); err != nil {
				return "", damaged(err)
			} else if open != json.Delim('[') {
				return "", damaged(errors.New("its value is not a list"))
			}
			for d.More() {
				var object json.RawMessage
				if err := d.Decode(&object); err != nil {
					return "", damaged(err)
				}
				if err := each(object); err != nil {
					return "", &consumerError{err}
				}
			}
			if _, err := d.Token(); err != nil { // the closing bracket
				return "", damaged(err)
			}
		case "@odata.nextLink":
			var link *string
			if err := d.Decode(&link); err != nil {
				return "", damaged(err)
			}
			if link != nil {
				next = *link
			}
		default:
			var other json.RawMessage
			if err := d.Decode(&other); err != nil {
				return "", damaged(err)
			}
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return "", damaged(err)
	}
	if !hasValue {
		return "", damaged(errors.New("it has no value"))
	}
	return next, nil
}

// linkError is a nextLink that must not be followed.
type linkError struct{ link, rule string }

func (e *linkError) Error() string {
	link := e.link
	if len(link) > 200 {
		link = link[:200] + "..."
	}
	return fmt.Sprintf("the nextLink %q %s", link, e.rule)
}

// checkLink refuses a nextLink to anywhere but the host that is configured: the
// request carries a token, and what the host says is taken for the tenant's.
func checkLink(base *url.URL, link string) error {
	u, err := url.Parse(link)
	switch {
	case err != nil:
		return &linkError{link, "is not a URL"}
	case u.Scheme != base.Scheme || !strings.EqualFold(u.Host, base.Host) || u.User != nil:
		return &linkError{link, "does not lead to " + base.Scheme + "://" + base.Host}
	}
	return nil
}
