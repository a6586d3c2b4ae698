package graph

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
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
	// Graph's bytes are passed on as they are, also where they are odd.
	d := jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	damaged := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it ends in the middle")
		}
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	open := func(kind jsontext.Kind, rule string) error {
		token, err := d.ReadToken()
		if err == nil && token.Kind() != kind {
			err = errors.New(rule)
		}
		return err
	}
	if err := open('{', "it is not an object"); err != nil {
		return "", damaged(err)
	}
	hasValue := false
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return "", damaged(err)
		}
		switch name.String() {
		case "value":
			hasValue = true
			if err := open('[', "its value is not a list"); err != nil {
				return "", damaged(err)
			}
			for d.PeekKind() != ']' {
				object, err := d.ReadValue()
				if err != nil {
					return "", damaged(err)
				}
				if err := each(bytes.Clone(object)); err != nil { // the decoder's memory is used again
					return "", &consumerError{err}
				}
			}
			if _, err := d.ReadToken(); err != nil { // the closing bracket
				return "", damaged(err)
			}
		case "@odata.nextLink":
			link, err := d.ReadToken()
			switch {
			case err != nil:
				return "", damaged(err)
			case link.Kind() == '"':
				next = link.String()
			case link.Kind() != 'n': // null
				return "", damaged(errors.New("its nextLink is not text"))
			}
		default:
			if err := d.SkipValue(); err != nil {
				return "", damaged(err)
			}
		}
	}
	if _, err := d.ReadToken(); err != nil { // the closing brace
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
