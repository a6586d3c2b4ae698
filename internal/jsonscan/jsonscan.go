package jsonscan

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Kind is the type of a value.
type Kind uint8

// The kinds of JSON values.
const (
	Null Kind = iota
	False
	True
	Number
	String
	Object
	Array
)

// Flags mark what a reader of a string has to take care of. Those of a member's
// name are one bit to the left of those of a string.
type Flags uint8

const (
	// Escaped marks a string that holds a backslash.
	Escaped Flags = 1 << iota
	// KeyEscaped marks a member whose name holds a backslash.
	KeyEscaped
	// NotUTF8 marks a string that is not valid UTF-8.
	NotUTF8
	// KeyNotUTF8 marks a member whose name is not valid UTF-8.
	KeyNotUTF8
	// Spaced marks an index of a document with white space between its tokens; it
	// is set in Index.Flags only.
	Spaced
)

// MaxDepth is how deep values may be nested.
const MaxDepth = 512

// Node is one value of an indexed document.
type Node struct {
	Start, End       uint32 // the value's bytes; a string's include its quotes
	KeyStart, KeyEnd uint32 // the member's name without quotes; equal in arrays and at the root
	Next             uint32 // the node after this value and all that is in it
	Kind             Kind
	Flags            Flags
}

// Index is a document and its nodes, in the order of their first bytes: the
// first child of node i is i+1 (if Nodes[i].Next > i+1), the sibling after it
// Nodes[i+1].Next, up to Nodes[i].Next. The zero value is ready for Scan, which
// may be called again and again; it is not safe for concurrent use.
type Index struct {
	Src   []byte
	Nodes []Node
	Flags Flags // those of all nodes together
}

// SyntaxError says what is wrong with a document, and where. Its text is only
// put together when it is asked for: damaged input can be all errors.
type SyntaxError struct {
	Offset int // byte offset in the scanned document
	// Incomplete is set where the document ended before the value did, so that
	// more bytes could make it valid.
	Incomplete bool
	// TooDeep is set where values are nested deeper than MaxDepth.
	TooDeep bool

	found byte   // the unexpected byte, unless one of the above is set
	where string // the place in the grammar
}

// Reason says what was found, without the offset.
func (e *SyntaxError) Reason() string {
	switch {
	case e.TooDeep:
		return "nested deeper than " + strconv.Itoa(MaxDepth)
	case e.Incomplete:
		return "the document ends " + e.where
	case e.found < 0x20 || e.found >= 0x7f:
		return fmt.Sprintf("unexpected byte 0x%02x %s", e.found, e.where)
	}
	return "unexpected " + strconv.QuoteRune(rune(e.found)) + " " + e.where
}

func (e *SyntaxError) Error() string { return e.Reason() + " at byte " + strconv.Itoa(e.Offset) }

// Value returns the bytes of node i; a string's include its quotes.
func (x *Index) Value(i int) []byte { n := &x.Nodes[i]; return x.Src[n.Start:n.End] }

// Key returns the name of member i without quotes, still escaped.
func (x *Index) Key(i int) []byte { n := &x.Nodes[i]; return x.Src[n.KeyStart:n.KeyEnd] }

// Text returns the bytes between the quotes of string i, still escaped.
func (x *Index) Text(i int) []byte { n := &x.Nodes[i]; return x.Src[n.Start+1 : n.End-1] }

// Children calls yield with each child of node i until it returns false.
func (x *Index) Children(i int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		end := int(x.Nodes[i].Next)
		for c := i + 1; c < end; c = int(x.Nodes[c].Next) {
			if !yield(c) {
				return
			}
		}
	}
}

// Member returns the last member of object i with that name (unescaped names
// only), or -1.
func (x *Index) Member(i int, name string) int {
	found := -1
	if x.Nodes[i].Kind != Object {
		return found
	}
	end := int(x.Nodes[i].Next)
	for c := i + 1; c < end; c = int(x.Nodes[c].Next) {
		if string(x.Key(c)) == name {
			found = c
		}
	}
	return found
}

// Scan indexes the first value of src, after white space, and returns how many
// bytes it took. On an error, a *SyntaxError, the index holds nothing.
// src must not change while the index is used; what is over 4 GiB of it is not
// looked at.
func (x *Index) Scan(src []byte) (int, error) {
	if uint64(len(src)) > math.MaxUint32 {
		src = src[:math.MaxUint32]
	}
	x.Src = src
	x.Nodes, x.Flags = x.Nodes[:0], 0
	n, err := x.scan(src)
	if err != nil {
		x.Nodes = x.Nodes[:0]
	}
	return n, err
}

// scan is one loop, and the run over the plain bytes of a string stands in it
// twice, because this is where the time goes: each call or piece of state that was
// taken out of it cost 5 to 20 % (see BenchmarkScan).
func (x *Index) scan(src []byte) (int, error) {
	nodes := x.Nodes
	// The node and the closing bracket of the innermost open container. While a
	// container is open, its node's Next holds the one around it.
	open, closer := none, byte(0)
	depth := 0
	var all Flags
	i := skipSpace(src, 0)
	for {
		// In an object, a member's name starts at i.
		var keyStart, keyEnd int
		var flags Flags
		if closer == '}' {
			if i >= len(src) {
				return i, incomplete(i, "where a member name should be")
			}
			if src[i] != '"' {
				return i, unexpected(src, i, "where a member name should be")
			}
			keyStart = i + 1
			keyEnd = keyStart
			for keyEnd+16 <= len(src) {
				b := src[keyEnd : keyEnd+16]
				if mask := special(binary.LittleEndian.Uint64(b)); mask != 0 {
					keyEnd += bits.TrailingZeros64(mask) >> 3
					break
				}
				if mask := special(binary.LittleEndian.Uint64(b[8:])); mask != 0 {
					keyEnd += 8 + bits.TrailingZeros64(mask)>>3
					break
				}
				keyEnd += 16
			}
			if keyEnd >= len(src) || src[keyEnd] != '"' {
				end, f, err := scanString(src, i)
				if err != nil {
					return end, err
				}
				flags = f << keyShift
				keyEnd = end - 1
			}
			i = keyEnd + 1
			if i+1 < len(src) && src[i] == ':' && src[i+1] > ' ' { // mostly
				i++
			} else {
				if i < len(src) && src[i] != ':' {
					i = skipSpace(src, i)
					all |= Spaced
				}
				if i >= len(src) {
					return i, incomplete(i, "after a member name")
				}
				if src[i] != ':' {
					return i, unexpected(src, i, "where a colon should be")
				}
				if i++; i < len(src) && src[i] <= ' ' {
					i = skipSpace(src, i)
					all |= Spaced
				}
			}
		}
		// A value starts at i.
		if i >= len(src) {
			return i, incomplete(i, "where a value should be")
		}
		start := i
		var kind Kind
		switch c := src[i]; c {
		case '"':
			kind = String
			i++
			for i+16 <= len(src) {
				b := src[i : i+16]
				if mask := special(binary.LittleEndian.Uint64(b)); mask != 0 {
					i += bits.TrailingZeros64(mask) >> 3
					break
				}
				if mask := special(binary.LittleEndian.Uint64(b[8:])); mask != 0 {
					i += 8 + bits.TrailingZeros64(mask)>>3
					break
				}
				i += 16
			}
			if i < len(src) && src[i] == '"' {
				i++
				break
			}
			end, f, err := scanString(src, start)
			if err != nil {
				return end, err
			}
			flags |= f
			i = end
		case '{', '[':
			if depth == MaxDepth {
				return i, &SyntaxError{Offset: i, TooDeep: true}
			}
			kind = Object
			if c == '[' {
				kind = Array
			}
			if len(nodes) == cap(nodes) {
				nodes = x.grow(nodes)
			}
			nodes = append(nodes, Node{
				Start: uint32(start), KeyStart: uint32(keyStart), KeyEnd: uint32(keyEnd),
				Next: open, Kind: kind, Flags: flags,
			})
			all |= flags
			open, closer = uint32(len(nodes)-1), c+2 // '}' is '{'+2 and ']' is '['+2
			depth++
			if i++; i < len(src) && src[i] <= ' ' {
				i = skipSpace(src, i)
				all |= Spaced
			}
			if i >= len(src) {
				return i, incomplete(i, insideContainer(kind))
			}
			if src[i] != closer {
				continue
			}
			kind = closed
		case 't', 'f', 'n':
			word := "true"
			kind = True
			if c == 'f' {
				word, kind = "false", False
			} else if c == 'n' {
				word, kind = "null", Null
			}
			if len(src)-i < len(word) || string(src[i:i+len(word)]) != word {
				return wrongWord(src, i, word)
			}
			i += len(word)
		default:
			kind = Number
			end, err := scanNumber(src, i)
			if err != nil {
				return end, err
			}
			i = end
		}
		if kind != closed {
			if len(nodes) == cap(nodes) {
				nodes = x.grow(nodes)
			}
			nodes = nodes[:len(nodes)+1]
			p := &nodes[len(nodes)-1]
			p.Start, p.End, p.KeyStart, p.KeyEnd = uint32(start), uint32(i), uint32(keyStart), uint32(keyEnd)
			p.Next, p.Kind, p.Flags = uint32(len(nodes)), kind, flags
			all |= flags
			if open != none && i+1 < len(src) && src[i] == ',' && src[i+1] > ' ' { // mostly
				i++
				continue
			}
		}
		// A value has ended at i, or an empty container is about to.
		for {
			if open == none {
				x.Nodes, x.Flags = nodes, all
				return i, nil
			}
			if i < len(src) && src[i] <= ' ' {
				i = skipSpace(src, i)
				all |= Spaced
			}
			if i >= len(src) {
				return i, incomplete(i, insideContainer(nodes[open].Kind))
			}
			c := src[i]
			if c == ',' {
				i++
				break
			}
			if c != closer {
				return i, unexpected(src, i, afterValue(nodes[open].Kind))
			}
			i++
			container := &nodes[open]
			open = container.Next
			container.End, container.Next = uint32(i), uint32(len(nodes))
			depth--
			if open != none {
				closer = '}'
				if nodes[open].Kind == Array {
					closer = ']'
				}
			}
		}
		if i < len(src) && src[i] <= ' ' {
			i = skipSpace(src, i)
			all |= Spaced
		}
	}
}

// grow returns nodes with room for more, and keeps the room for later scans
// whether or not this one succeeds.
func (x *Index) grow(nodes []Node) []Node {
	nodes = slices.Grow(nodes, len(nodes)+64)
	x.Nodes = nodes[:0]
	return nodes
}

const (
	// none stands for the node of a container that is not there.
	none = ^uint32(0)
	// closed stands for the kind of a value that has its node already.
	closed = Array + 1
	// keyShift makes the flags of a string those of a member's name; see Flags.
	keyShift = 1
)

func wrongWord(src []byte, i int, word string) (int, error) {
	for k := range word {
		if i+k >= len(src) {
			return i + k, incomplete(i+k, "inside a word")
		}
		if src[i+k] != word[k] {
			return i + k, unexpected(src, i+k, "in a word")
		}
	}
	return i, nil
}

func skipSpace(src []byte, i int) int {
	for i < len(src) {
		switch src[i] {
		case ' ', '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

const (
	lsb = 0x0101010101010101
	msb = 0x8080808080808080
)

// scanString returns the offset after the closing quote of the string at start.
func scanString(src []byte, start int) (end int, flags Flags, err error) {
	i := start + 1
	nonASCII := false
	for {
		for i+8 <= len(src) {
			if mask := special(binary.LittleEndian.Uint64(src[i:])); mask != 0 {
				i += bits.TrailingZeros64(mask) >> 3
				break
			}
			i += 8
		}
		if i >= len(src) {
			return i, 0, incomplete(i, "inside a string")
		}
		switch c := src[i]; {
		case c == '"':
			if nonASCII && !utf8.Valid(src[start+1:i]) {
				flags |= NotUTF8
			}
			return i + 1, flags, nil
		case c == '\\':
			flags |= Escaped
			if i+1 >= len(src) {
				return i + 1, 0, incomplete(i+1, "inside a string")
			}
			switch src[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				for k := i + 2; k < i+6; k++ {
					if k >= len(src) {
						return k, 0, incomplete(k, "inside a string")
					}
					if !isHex(src[k]) {
						return k, 0, unexpected(src, k, `in a \u escape`)
					}
				}
				i += 6
			default:
				return i + 1, 0, unexpected(src, i+1, "after a backslash")
			}
		case c < 0x20:
			return i, 0, unexpected(src, i, "in a string")
		case c >= 0x80:
			nonASCII = true
			for i < len(src) && src[i] >= 0x80 {
				i++
			}
		default:
			i++
		}
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func scanNumber(src []byte, start int) (int, error) {
	i := start
	if src[i] == '-' {
		i++
	}
	digits := func(where string) error {
		if i >= len(src) {
			return incomplete(i, "inside a number")
		}
		if src[i] < '0' || src[i] > '9' {
			if i == start {
				return unexpected(src, i, "where a value should be")
			}
			return unexpected(src, i, where)
		}
		for i < len(src) && src[i] >= '0' && src[i] <= '9' {
			i++
		}
		return nil
	}
	if i < len(src) && src[i] == '0' {
		i++
	} else if err := digits("in a number"); err != nil {
		return i, err
	}
	if i < len(src) && src[i] == '.' {
		i++
		if err := digits("after a decimal point"); err != nil {
			return i, err
		}
	}
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		if err := digits("in an exponent"); err != nil {
			return i, err
		}
	}
	return i, nil
}

func incomplete(i int, where string) error {
	return &SyntaxError{Offset: i, Incomplete: true, where: where}
}

func unexpected(src []byte, i int, where string) error {
	return &SyntaxError{Offset: i, found: src[i], where: where}
}

func insideContainer(k Kind) string {
	if k == Array {
		return "inside an array"
	}
	return "inside an object"
}

func afterValue(k Kind) string {
	if k == Array {
		return "after a value in an array"
	}
	return "after a value in an object"
}
