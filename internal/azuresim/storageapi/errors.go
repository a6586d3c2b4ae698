package storageapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is a refusal with a code of
// learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes and
// its neighbors for blobs and queues.
type Error struct {
	Status  int
	Code    string
	Message string
	// Detail is what the service adds as AuthenticationErrorDetail.
	Detail string
	Header http.Header // added to the answer; may be nil
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message) }

// Errorf returns an error with this status and code.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// The errors that both services know.

// ConditionNotMet answers a request whose condition does not hold.
func ConditionNotMet() *Error {
	return Errorf(http.StatusPreconditionFailed, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")
}

// InvalidHeader answers a header that is not in its format.
func InvalidHeader(name, value string) *Error {
	e := Errorf(http.StatusBadRequest, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format.")
	e.Detail = name + ": " + value
	return e
}

// InvalidQuery answers a parameter of the URL that has a value it may not have.
func InvalidQuery(name, value string) *Error {
	e := Errorf(http.StatusBadRequest, "InvalidQueryParameterValue", "Value for one of the query parameters specified in the request URI is invalid.")
	e.Detail = name + ": " + value
	return e
}

// OutOfRange answers a number or a marker that is out of its range.
func OutOfRange() *Error {
	return Errorf(http.StatusBadRequest, "OutOfRangeInput", "One of the request inputs is out of range.")
}

// InvalidXML answers a body that is not the document it should be.
func InvalidXML() *Error {
	return Errorf(http.StatusBadRequest, "InvalidXmlDocument", "XML specified is not syntactically valid.")
}

// NotImplemented answers what Azure can do and the simulator cannot.
func NotImplemented(what string) *Error {
	return Errorf(http.StatusNotImplemented, "NotImplemented", "The simulator does not know %s.", what)
}

// ServerBusy is how the service throttles.
func ServerBusy(retryAfter time.Duration) *Error {
	e := Errorf(http.StatusServiceUnavailable, "ServerBusy", "The server is busy.")
	if retryAfter > 0 {
		e.Header = http.Header{"Retry-After": {strconv.Itoa(int((retryAfter + time.Second - 1) / time.Second))}}
	}
	return e
}

// xmlHead is how the service begins its documents, with the byte order mark that
// clients strip.
const xmlHead = "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?>"

// AppendXML appends the head of a document.
func AppendXML(dst []byte) []byte { return append(dst, xmlHead...) }

// AppendText appends text as it stands between tags and in attributes. What XML
// cannot hold is left out.
func AppendText(dst []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '"':
			dst = append(dst, "&quot;"...)
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xFFFE, r == 0xFFFF:
		default:
			dst = append(dst, string(r)...)
		}
	}
	return dst
}

// AppendElement appends an element with text in it.
func AppendElement(dst []byte, name, text string) []byte {
	if text == "" {
		return append(append(append(dst, '<'), name...), " />"...)
	}
	dst = append(append(append(dst, '<'), name...), '>')
	dst = AppendText(dst, text)
	return append(append(append(dst, "</"...), name...), '>')
}

func (e *Error) body(requestID string, now time.Time) []byte {
	b := AppendXML(nil)
	b = append(b, "<Error>"...)
	b = AppendElement(b, "Code", e.Code)
	b = AppendElement(b, "Message", fmt.Sprintf("%s\nRequestId:%s\nTime:%s", strings.TrimSpace(e.Message), requestID, now.UTC().Format("2006-01-02T15:04:05.0000000Z")))
	if e.Detail != "" {
		b = AppendElement(b, "AuthenticationErrorDetail", e.Detail)
	}
	return append(b, "</Error>"...)
}
