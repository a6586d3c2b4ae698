package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendUnescaped appends to dst the UTF-8 text that the content of a JSON
// string (without its quotes, as Index.Text and Index.Key return it) stands
// for. Bytes that are not UTF-8 and lone surrogates become U+FFFD, one for each
// byte or surrogate. A malformed escape, which a scanned string does not have,
// is kept as it is. It is safe for concurrent use, and dst must not overlap text.
func AppendUnescaped(dst, text []byte) []byte {
	for i := 0; ; {
		run := plainLen(text[i:])
		dst = append(dst, text[i:i+run]...)
		if i += run; i >= len(text) {
			return dst
		}
		if c := text[i]; c != '\\' {
			if c < utf8.RuneSelf { // '"' or a control byte: not in a scanned string
				dst = append(dst, c)
				i++
				continue
			}
			r, n := utf8.DecodeRune(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		if i+1 >= len(text) {
			return append(dst, '\\')
		}
		switch c := text[i+1]; c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default:
			r, ok := hexEscape(text[i:])
			if !ok {
				dst = append(dst, '\\')
				i++
				continue
			}
			i += 6
			if utf16.IsSurrogate(r) {
				low, _ := hexEscape(text[i:])
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		i += 2
	}
}

// hexEscape reads the \uXXXX at the start of text.
func hexEscape(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range text[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// AppendText appends the UTF-8 text of string i to dst, as AppendUnescaped
// does, and only copies where the string is plain.
func (x *Index) AppendText(dst []byte, i int) []byte {
	if x.Nodes[i].Flags&(Escaped|NotUTF8) == 0 {
		return append(dst, x.Text(i)...)
	}
	return AppendUnescaped(dst, x.Text(i))
}

// AppendEscaped appends b to dst as the content of a JSON string: the quotes
// around it are the caller's. Any bytes will do, JSON above all: the original
// of a record is embedded in an event this way. Bytes that are not UTF-8 become
// U+FFFD, everything else comes back from AppendUnescaped as it was. It is safe
// for concurrent use, and dst must not overlap b.
func AppendEscaped(dst, b []byte) []byte {
	if len(b) <= shortText && plainLen(b) == len(b) {
		return append(dst, b...)
	}
	// JSON holds a quote about every ten bytes, so runs are too short for one
	// append each: eight bytes are stored whether or not all of them are wanted,
	// and the length then moves over those that are.
	dst = slices.Grow(dst, len(b)+len(b)/4+16)
	out := dst[:cap(dst)]
	n := len(dst)
	i := 0
	for i+8 <= len(b) {
		if n+16 > len(out) {
			out = growAll(out, n, len(b)-i)
		}
		w := binary.LittleEndian.Uint64(b[i:])
		binary.LittleEndian.PutUint64(out[n:], w)
		mask := special(w)
		if mask == 0 {
			i += 8
			n += 8
			continue
		}
		run := bits.TrailingZeros64(mask) >> 3
		i += run
		n += run
		switch c := b[i]; {
		case c == '"':
			out[n], out[n+1] = '\\', '"'
			n += 2
			i++
			// In JSON another string follows more often than not.
			if i+1 < len(b) && b[i+1] == '"' && (b[i] == ':' || b[i] == ',') {
				out[n], out[n+1], out[n+2] = b[i], '\\', '"'
				n += 3
				i += 2
			}
		case c == '\\':
			out[n], out[n+1] = '\\', '\\'
			n += 2
			i++
		case c < 0x20:
			n += copy(out[n:], controlEscape(c))
			i++
		default: // a rune at once: text in other scripts is a long run of them
			r, size := utf8.DecodeRune(b[i:])
			n += utf8.EncodeRune(out[n:], r)
			i += size
		}
	}
	dst = out[:n]
	for i < len(b) {
		switch c := b[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
			i++
		case c < 0x20:
			dst = append(dst, controlEscape(c)...)
			i++
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, size := utf8.DecodeRune(b[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return dst
}

// shortText is the length up to which a text is looked at before it is copied: most
// short ones need no escapes.
const shortText = 128

// AppendEscapedValue appends value i as the content of a JSON string, as
// AppendEscaped does with its bytes. It knows where the quotes are, so the runs
// between them are copied without a look.
func (x *Index) AppendEscapedValue(dst []byte, i int) []byte {
	value := x.Value(i)
	if x.Flags&Spaced != 0 && (bytes.IndexByte(value, '\n') >= 0 || bytes.IndexByte(value, '\r') >= 0 || bytes.IndexByte(value, '\t') >= 0) {
		return AppendEscaped(dst, value) // between tokens; in strings they are escaped already
	}
	src := x.Src[:x.Nodes[i].End]
	last := int(x.Nodes[i].Start) // what is before it is done
	nodes := x.Nodes[i:x.Nodes[i].Next]
	dst = slices.Grow(dst, len(value)+room(len(nodes)))
	out, n := dst[:cap(dst)], len(dst)
	for c := range nodes {
		node := &nodes[c]
		if c > 0 && node.KeyStart > 0 {
			start, end := int(node.KeyStart), int(node.KeyEnd)
			if node.Flags&(KeyEscaped|KeyNotUTF8) == 0 {
				n = putRun(out, openString(out, n, src, last, start), src, start, end)
				if node.Kind == String && node.Flags&(Escaped|NotUTF8) == 0 && int(node.Start) == end+2 {
					binary.LittleEndian.PutUint64(out[n:], colonBetween)
					start, end = int(node.Start)+1, int(node.End)-1
					n = putRun(out, n+len(`\":\"`), src, start, end)
					n = closeString(out, n)
					last = end + 1
					continue
				}
				n = closeString(out, n)
			} else {
				out, n = escapeAny(out, n, src, last, end, len(nodes)-c)
			}
			last = end + 1
		}
		if node.Kind == String {
			start, end := int(node.Start)+1, int(node.End)-1
			if node.Flags&(Escaped|NotUTF8) == 0 {
				n = putRun(out, openString(out, n, src, last, start), src, start, end)
				n = closeString(out, n)
			} else {
				out, n = escapeAny(out, n, src, last, end, len(nodes)-c)
			}
			last = end + 1
		}
	}
	return append(out[:n], src[last:]...)
}

// escapeAny puts src[last:end+1], which ends with a quote, and makes room for the
// nodes that are left.
func escapeAny(out []byte, n int, src []byte, last, end, left int) ([]byte, int) {
	out = AppendEscaped(out[:n], src[last:end+1])
	n = len(out)
	out = slices.Grow(out, len(src)-end+room(left))
	return out[:cap(out)], n
}

// room is what the escaped quotes of nodes take beside their bytes, and the bytes
// that putRun stores without wanting them.
func room(nodes int) int { return 4*nodes + shortRun }

// shortRun is the length up to which runs are copied without a call: shortRun bytes
// are stored, whether or not all of them are wanted.
const shortRun = 32

// putRun puts src[from:to] to out[n:] and returns the new n.
func putRun(out []byte, n int, src []byte, from, to int) int {
	if to-from <= shortRun && from+shortRun <= len(src) {
		run := *(*[shortRun]byte)(src[from:])
		*(*[shortRun]byte)(out[n:]) = run
		return n + to - from
	}
	return n + copy(out[n:], src[from:to])
}

// openString puts src[last:start], which ends with a quote. Mostly that is a comma or
// an opening brace and the quote.
func openString(out []byte, n int, src []byte, last, start int) int {
	if start-last == 2 {
		binary.LittleEndian.PutUint32(out[n:], uint32(src[last])|'\\'<<8|'"'<<16)
		return n + 3
	}
	return closeString(out, n+copy(out[n:], src[last:start-1]))
}

// closeString puts an escaped quote.
func closeString(out []byte, n int) int {
	binary.LittleEndian.PutUint16(out[n:], '\\'|'"'<<8)
	return n + 2
}

// colonBetween is the bytes of \":\", escaped quotes around a colon.
const colonBetween = '\\' | '"'<<8 | ':'<<16 | '\\'<<24 | '"'<<32

// growAll returns out, of which n bytes are used, with room for more, its
// length being its capacity.
func growAll(out []byte, n, more int) []byte {
	out = slices.Grow(out[:n], more+more/4+16)
	return out[:cap(out)]
}

func controlEscape(c byte) string {
	return controlEscapes[int(c)*6 : int(c)*6+controlEscapeLen(c)]
}

// controlEscapes holds the escape of every control byte in a slot of six.
const controlEscapes = `\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b    \t    \n    \u000b\f    \r    \u000e\u000f` +
	`\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f`

func controlEscapeLen(c byte) int {
	if controlEscapes[int(c)*6+1] == 'u' {
		return 6
	}
	return 2
}

// AppendCompact appends node n as the function does, at the price of a copy
// where there is nothing to take out and nothing to mend.
func (x *Index) AppendCompact(dst []byte, n int) []byte {
	if x.Flags&(Spaced|NotUTF8|KeyNotUTF8) == 0 {
		return append(dst, x.Value(n)...)
	}
	return AppendCompact(dst, x.Value(n))
}

// AppendCompact appends a JSON value to dst without the white space between its
// tokens, so that it always fits one line, and with bytes that are not UTF-8
// replaced by U+FFFD. Numbers, escapes, member order and repeated members stay
// as they are. The value must be valid but for its UTF-8, as what Index.Value
// returns is; of anything else it is only said that it does not panic. It is
// safe for concurrent use, and dst must not overlap value.
func AppendCompact(dst, value []byte) []byte {
	dst = slices.Grow(dst, len(value))
	start := 0 // of the run that is not yet appended
	for i := 0; i < len(value); {
		switch value[i] {
		case ' ', '\n', '\r', '\t':
			dst = append(dst, value[start:i]...)
			i = skipSpace(value, i+1)
			start = i
		case '"':
			open := i
			i++
			nonASCII := false
		content:
			for i += plainLen(value[i:]); i < len(value); i += plainLen(value[i:]) {
				switch c := value[i]; {
				case c == '"':
					i++
					break content
				case c == '\\':
					i = min(i+2, len(value))
				default:
					nonASCII = nonASCII || c >= utf8.RuneSelf
					i++
				}
			}
			if nonASCII && !utf8.Valid(value[open:i]) {
				dst = append(dst, value[start:open]...)
				dst = appendValidUTF8(dst, value[open:i])
				start = i
			}
		default:
			i++
		}
	}
	return append(dst, value[start:]...)
}

func appendValidUTF8(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		run := plainLen(b[i:])
		if run == 0 {
			r, n := utf8.DecodeRune(b[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		dst = append(dst, b[i:i+run]...)
		i += run
	}
	return dst
}

// plainLen returns how many bytes at the start of b stand for themselves in a
// JSON string: no quote, backslash or control byte, and nothing over 0x7f.
func plainLen(b []byte) int {
	i := 0
	for i+8 <= len(b) {
		if mask := special(binary.LittleEndian.Uint64(b[i:])); mask != 0 {
			return i + bits.TrailingZeros64(mask)>>3
		}
		i += 8
	}
	for i < len(b) && b[i] >= 0x20 && b[i] < utf8.RuneSelf && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// special looks at eight bytes at once. The lowest bit set in the answer is the
// top bit of the first byte that is '"', '\\', under 0x20 or over 0x7f; the bits
// above that one may be wrong, for a borrow runs upwards. A flip of one bit puts the
// quote next to the control bytes, so that one subtraction finds both.
func special(w uint64) uint64 {
	quote := w ^ lsb*('"'^0x20)
	slash := w ^ lsb*'\\'
	return ((quote - lsb*0x21) | (slash - lsb) | w) & msb
}
