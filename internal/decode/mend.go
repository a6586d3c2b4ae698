package decode

import (
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// A mender rewrites an object that is JSON but for known malformations as JSON.
// It is a tolerant parser that copies what it reads, and knows nothing of what
// comes after the object.
type mender struct {
	out  []byte // the mended object
	done Repair // what had to be mended

	src   []byte
	pos   int
	cut   bool   // what src leaves open is to be closed
	stack []byte // the open brackets
	// keep is how much of out makes an object once stack is closed.
	keep    int
	members int // complete ones
	scalar  jsonscan.Index
}

// object mends the object at the start of src into m.out. It returns how far it
// has read: on success where the object ends. An object that src does not end is
// closed if cut is set and it has at least one complete member.
func (m *mender) object(src []byte, cut bool) (int, bool) {
	m.src, m.cut, m.pos = src, cut, 0
	m.out, m.stack, m.done = m.out[:0], m.stack[:0], 0
	m.keep, m.members = 0, 0
	ok := m.value()
	for ok && len(m.stack) > 0 {
		ok = m.next()
	}
	m.src = nil
	if ok {
		return m.pos, true
	}
	if cut && m.pos >= len(src) && m.members > 0 {
		m.out = m.out[:m.keep]
		for i := len(m.stack) - 1; i >= 0; i-- {
			m.out = append(m.out, m.stack[i]+2) // '{'+2 is '}', '['+2 is ']'
		}
		m.done |= CutTail
		return len(src), true
	}
	return m.pos, false
}

// next reads the next member or element of the innermost bracket, or its end.
func (m *mender) next() bool {
	open := m.stack[len(m.stack)-1]
	first := m.out[len(m.out)-1] == open && m.keep == len(m.out)
	m.space()
	comma := false
	if !first && m.at(',') {
		comma = true
		m.pos++
		m.space()
	}
	if m.at(open + 2) {
		if comma {
			m.done |= TrailingComma
		}
		m.pos++
		m.out = append(m.out, open+2)
		m.stack = m.stack[:len(m.stack)-1]
		m.completed()
		return true
	}
	if !first && !comma {
		return false
	}
	if comma {
		m.out = append(m.out, ',')
	}
	return (open == '[' || m.name()) && m.value()
}

// completed notes that a value ends at the end of out.
func (m *mender) completed() {
	m.keep = len(m.out)
	if len(m.stack) > 0 && m.stack[len(m.stack)-1] == '{' {
		m.members++
	}
}

// value reads a scalar, or the opening bracket of another value.
func (m *mender) value() bool {
	m.space()
	if m.pos >= len(m.src) {
		return false
	}
	switch c := m.src[m.pos]; c {
	case '{', '[':
		if len(m.stack) == jsonscan.MaxDepth {
			return false
		}
		m.pos++
		m.out = append(m.out, c)
		m.stack = append(m.stack, c)
		m.keep = len(m.out)
		return true
	case '"', '\'':
		if !m.text(c) {
			if m.pos >= len(m.src) { // the part that is there is kept
				m.out = append(m.out, '"')
				m.keep = len(m.out)
			}
			return false
		}
	default:
		start := m.pos
		for m.pos < len(m.src) && isNameByte(m.src[m.pos]) {
			m.pos++
		}
		word := m.src[start:m.pos]
		if m.cut && m.pos == len(m.src) { // it may go on: 12 may have been 123
			return false
		}
		if n, err := m.scalar.Scan(word); err != nil || n != len(word) {
			return false
		}
		m.out = append(m.out, word...)
	}
	m.completed()
	return true
}

// name reads a member's name and colon.
func (m *mender) name() bool {
	if m.pos >= len(m.src) {
		return false
	}
	if c := m.src[m.pos]; c == '"' || c == '\'' {
		if !m.text(c) {
			return false
		}
	} else {
		start := m.pos
		for m.pos < len(m.src) && isNameByte(m.src[m.pos]) {
			m.pos++
		}
		if m.pos == start {
			return false
		}
		m.done |= UnquotedName
		m.out = append(m.out, '"')
		m.out = append(m.out, m.src[start:m.pos]...)
		m.out = append(m.out, '"')
	}
	m.space()
	if !m.at(':') {
		return false
	}
	m.pos++
	m.out = append(m.out, ':')
	return true
}

// isNameByte says whether c can be part of an unquoted name, number or word.
func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '_' || c == '$' || c == '-' || c == '+' || c == '.' || c >= 0x80
}

// text reads the string in those quotes. If the source ends in it, what is there
// has been appended without the closing quote.
func (m *mender) text(quote byte) bool {
	if quote == '\'' {
		m.done |= SingleQuotes
	}
	m.out = append(m.out, '"')
	m.pos++
	for {
		run := m.pos
		for run < len(m.src) {
			if c := m.src[run]; c == '"' || c == '\\' || c < 0x20 || c == quote {
				break
			}
			run++
		}
		m.out = append(m.out, m.src[m.pos:run]...)
		if m.pos = run; run >= len(m.src) {
			return false
		}
		switch c := m.src[run]; {
		case c == '\\':
			if !m.escape(quote) {
				return false
			}
		case c == '"' && quote == '"' || c == '\'' && m.closes(run):
			m.pos++
			m.out = append(m.out, '"')
			return true
		case c < 0x20:
			m.done |= RawControl
			m.out = jsonscan.AppendEscaped(m.out, m.src[run:run+1])
			m.pos++
		case c == '"':
			m.out = append(m.out, '\\', '"')
			m.pos++
		default: // an apostrophe in the text
			m.out = append(m.out, c)
			m.pos++
		}
	}
}

// closes says whether the single quote at i ends its string. Some writers do not
// escape apostrophes, so it has to stand where a string can end.
func (m *mender) closes(i int) bool {
	i = skipSpace(m.src, i+1)
	if i >= len(m.src) {
		return true
	}
	switch m.src[i] {
	case ',', ':', '}', ']':
		return true
	}
	return false
}

// escape reads the backslash at m.pos and what it escapes.
func (m *mender) escape(quote byte) bool {
	rest := m.src[m.pos+1:]
	if len(rest) == 0 {
		m.pos = len(m.src)
		return false
	}
	switch c := rest[0]; {
	case c == '\'' && quote == '\'':
		m.out = append(m.out, '\'')
		m.pos += 2
	case c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'n' || c == 'r' || c == 't':
		m.out = append(m.out, '\\', c)
		m.pos += 2
	case c == 'u':
		digits := 1
		for digits < len(rest) && digits < 5 && isHex(rest[digits]) {
			digits++
		}
		switch {
		case digits == 5:
			m.out = append(append(m.out, '\\'), rest[:5]...)
			m.pos += 6
		case digits == len(rest):
			m.pos = len(m.src)
			return false
		default:
			m.literalBackslash()
		}
	default:
		m.literalBackslash()
	}
	return true
}

func (m *mender) literalBackslash() {
	m.done |= InvalidEscape
	m.out = append(m.out, '\\', '\\')
	m.pos++
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (m *mender) space() { m.pos = skipSpace(m.src, m.pos) }

func (m *mender) at(c byte) bool { return m.pos < len(m.src) && m.src[m.pos] == c }

// A Mender mends JSON that stands in a string, as Function App logs have it: what
// a record is made of after it was cut out. It is reused for its memory, and not
// safe for concurrent use.
type Mender struct{ m mender }

// Object returns text as JSON if it is one object with known malformations. What
// it returns is valid until the next call.
func (m *Mender) Object(text []byte) ([]byte, bool) {
	n, ok := m.m.object(text, false)
	return m.m.out, ok && skipSpace(text, n) == len(text)
}
