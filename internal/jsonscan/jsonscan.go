package jsonscan

import (
	"encoding/binary"
	"fmt"
	"math/bits"
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

// Flags mark what a reader of a string has to take care of.
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

	stack []uint32
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
// src must not change while the index is used; it must be under 4 GiB.
func (x *Index) Scan(src []byte) (int, error) {
	x.Src = src
	x.Nodes, x.Flags = x.Nodes[:0], 0
	n, err := x.scan(src)
	if err != nil {
		x.Nodes = x.Nodes[:0]
	}
	return n, err
}

func (x *Index) scan(src []byte) (int, error) {
	stack := x.stack[:0]
	defer func() { x.stack = stack }()
	i := skipSpace(src, 0)
	var keyStart, keyEnd int
	var flags Flags
	for {
		// A value starts at i.
		if i >= len(src) {
			return i, incomplete(i, "where a value should be")
		}
		node := Node{Start: uint32(i), KeyStart: uint32(keyStart), KeyEnd: uint32(keyEnd), Flags: flags}
		x.Flags |= flags
		flags, keyStart, keyEnd = 0, 0, 0
		switch c := src[i]; c {
		case '{', '[':
			if len(stack) == MaxDepth {
				return i, &SyntaxError{Offset: i, TooDeep: true}
			}
			node.Kind = Object
			if c == '[' {
				node.Kind = Array
			}
			stack = append(stack, uint32(len(x.Nodes)))
			x.Nodes = append(x.Nodes, node)
			i = skipSpace(src, i+1)
			if i >= len(src) {
				return i, incomplete(i, insideContainer(node.Kind))
			}
			if src[i] == c+2 { // '}' is '{'+2 and ']' is '['+2
				break // closed below
			}
			if c == '[' {
				continue
			}
			var err error
			if i, keyStart, keyEnd, flags, err = scanKey(src, i); err != nil {
				return i, err
			}
			continue
		case '"':
			end, f, err := scanString(src, i)
			if err != nil {
				return end, err
			}
			node.Kind, node.Flags = String, node.Flags|f
			x.Flags |= f
			i = end
			node.End, node.Next = uint32(i), uint32(len(x.Nodes)+1)
			x.Nodes = append(x.Nodes, node)
		case 't', 'f', 'n':
			word := "true"
			node.Kind = True
			if c == 'f' {
				word, node.Kind = "false", False
			} else if c == 'n' {
				word, node.Kind = "null", Null
			}
			if len(src)-i < len(word) || string(src[i:i+len(word)]) != word {
				for k := range word {
					if i+k >= len(src) {
						return i + k, incomplete(i+k, "inside a word")
					}
					if src[i+k] != word[k] {
						return i + k, unexpected(src, i+k, "in a word")
					}
				}
			}
			i += len(word)
			node.End, node.Next = uint32(i), uint32(len(x.Nodes)+1)
			x.Nodes = append(x.Nodes, node)
		default:
			end, err := scanNumber(src, i)
			if err != nil {
				return end, err
			}
			node.Kind = Number
			i = end
			node.End, node.Next = uint32(i), uint32(len(x.Nodes)+1)
			x.Nodes = append(x.Nodes, node)
		}
		// A value has ended at i, or a container is about to close there.
		for {
			if len(stack) == 0 {
				return i, nil
			}
			i = skipSpace(src, i)
			top := &x.Nodes[stack[len(stack)-1]]
			if i >= len(src) {
				return i, incomplete(i, insideContainer(top.Kind))
			}
			c := src[i]
			if c == ',' && stack[len(stack)-1]+1 < uint32(len(x.Nodes)) {
				i = skipSpace(src, i+1)
				if top.Kind == Object {
					var err error
					if i, keyStart, keyEnd, flags, err = scanKey(src, i); err != nil {
						return i, err
					}
				}
				break
			}
			if (c == '}' && top.Kind == Object) || (c == ']' && top.Kind == Array) {
				i++
				top.End, top.Next = uint32(i), uint32(len(x.Nodes))
				stack = stack[:len(stack)-1]
				continue
			}
			return i, unexpected(src, i, afterValue(top.Kind))
		}
	}
}

// scanKey reads a member's name and the colon, and returns where its value starts.
func scanKey(src []byte, i int) (next, start, end int, flags Flags, err error) {
	if i >= len(src) {
		return i, 0, 0, 0, incomplete(i, "where a member name should be")
	}
	if src[i] != '"' {
		return i, 0, 0, 0, unexpected(src, i, "where a member name should be")
	}
	after, f, err := scanString(src, i)
	if err != nil {
		return after, 0, 0, 0, err
	}
	if f&Escaped != 0 {
		flags |= KeyEscaped
	}
	if f&NotUTF8 != 0 {
		flags |= KeyNotUTF8
	}
	start, end = i+1, after-1
	i = after
	if i < len(src) && src[i] == ':' {
		i++
	} else {
		if i = skipSpace(src, i); i >= len(src) {
			return i, 0, 0, 0, incomplete(i, "after a member name")
		}
		if src[i] != ':' {
			return i, 0, 0, 0, unexpected(src, i, "where a colon should be")
		}
		i++
	}
	return skipSpace(src, i), start, end, flags, nil
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

// scanString returns the offset after the closing quote of the string at i.
// It looks at eight bytes at a time: a byte that is '"', '\\', under 0x20 or
// over 0x7f sets the top bit of its place in the mask.
func scanString(src []byte, start int) (end int, flags Flags, err error) {
	i := start + 1
	nonASCII := false
	for {
		for i+8 <= len(src) {
			w := binary.LittleEndian.Uint64(src[i:])
			quote := w ^ (lsb * '"')
			slash := w ^ (lsb * '\\')
			mask := ((quote - lsb) &^ quote) | ((slash - lsb) &^ slash) | ((w - lsb*0x20) &^ w) | w
			if mask &= msb; mask != 0 {
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
