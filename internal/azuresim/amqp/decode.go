package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Constructors of the primitive types (AMQP 1.0 part 1, section 1.6).
const (
	codeDescribed  = 0x00
	codeNull       = 0x40
	codeTrue       = 0x41
	codeFalse      = 0x42
	codeUint0      = 0x43
	codeUlong0     = 0x44
	codeList0      = 0x45
	codeUbyte      = 0x50
	codeByte       = 0x51
	codeSmallUint  = 0x52
	codeSmallUlong = 0x53
	codeSmallInt   = 0x54
	codeSmallLong  = 0x55
	codeBool       = 0x56
	codeUshort     = 0x60
	codeShort      = 0x61
	codeUint       = 0x70
	codeInt        = 0x71
	codeFloat      = 0x72
	codeChar       = 0x73
	codeDecimal32  = 0x74
	codeUlong      = 0x80
	codeLong       = 0x81
	codeDouble     = 0x82
	codeTimestamp  = 0x83
	codeDecimal64  = 0x84
	codeDecimal128 = 0x94
	codeUUID       = 0x98
	codeBinary8    = 0xa0
	codeString8    = 0xa1
	codeSymbol8    = 0xa3
	codeBinary32   = 0xb0
	codeString32   = 0xb1
	codeSymbol32   = 0xb3
	codeList8      = 0xc0
	codeMap8       = 0xc1
	codeList32     = 0xd0
	codeMap32      = 0xd1
	codeArray8     = 0xe0
	codeArray32    = 0xf0
)

// maxDepth bounds the nesting of values, so that a frame cannot exhaust the stack.
const maxDepth = 32

// maxEmptyElements bounds an array whose elements take no bytes.
const maxEmptyElements = 1024

var (
	errShort = errors.New("amqp: the value ends after its buffer")
	errDepth = fmt.Errorf("amqp: values nested deeper than %d", maxDepth)
)

// Decode reads one value from the front of b and returns the bytes behind it.
// Binary values alias b; all others are copies. Append accepts every value that
// Decode returns.
func Decode(b []byte) (v any, rest []byte, err error) {
	return decode(b, 0)
}

func decode(b []byte, depth int) (any, []byte, error) {
	if len(b) == 0 {
		return nil, nil, errShort
	}
	if depth > maxDepth {
		return nil, nil, errDepth
	}
	if b[0] != codeDescribed {
		return decodeAs(b[0], b[1:], depth)
	}
	descriptor, rest, err := decode(b[1:], depth+1)
	if err != nil {
		return nil, nil, err
	}
	value, rest, err := decode(rest, depth+1)
	if err != nil {
		return nil, nil, err
	}
	return Described{descriptor, value}, rest, nil
}

// decodeAs reads the bytes that follow the constructor code.
func decodeAs(code byte, b []byte, depth int) (any, []byte, error) {
	switch code >> 4 {
	case 0x4:
		v, err := decodeEmpty(code)
		return v, b, err
	case 0x5, 0x6, 0x7, 0x8, 0x9:
		width := 1 << (code>>4 - 5)
		if len(b) < width {
			return nil, nil, errShort
		}
		v, err := decodeFixed(code, b[:width])
		return v, b[width:], err
	}
	data, rest, err := splitVariable(code, b)
	if err != nil {
		return nil, nil, err
	}
	var v any
	switch code {
	case codeBinary8, codeBinary32:
		v = data
	case codeString8, codeString32:
		v = string(data)
	case codeSymbol8, codeSymbol32:
		v = Symbol(data)
	case codeList8, codeList32:
		v, err = decodeList(code, data, depth)
	case codeMap8, codeMap32:
		v, err = decodeMap(code, data, depth)
	case codeArray8, codeArray32:
		v, err = decodeArray(code, data, depth)
	default:
		err = fmt.Errorf("amqp: 0x%02x is not the constructor of a type", code)
	}
	return v, rest, err
}

// splitVariable separates the bytes of a sized value from what follows it.
func splitVariable(code byte, b []byte) (data, rest []byte, err error) {
	var size int
	switch code >> 4 {
	case 0xa, 0xc, 0xe:
		if len(b) < 1 {
			return nil, nil, errShort
		}
		size, b = int(b[0]), b[1:]
	case 0xb, 0xd, 0xf:
		if len(b) < 4 {
			return nil, nil, errShort
		}
		size, b = int(binary.BigEndian.Uint32(b)), b[4:]
	default:
		return nil, nil, fmt.Errorf("amqp: 0x%02x is not the constructor of a type", code)
	}
	if size < 0 || size > len(b) {
		return nil, nil, errShort
	}
	return b[:size:size], b[size:], nil
}

func decodeEmpty(code byte) (any, error) {
	switch code {
	case codeNull:
		return nil, nil
	case codeTrue:
		return true, nil
	case codeFalse:
		return false, nil
	case codeUint0:
		return uint32(0), nil
	case codeUlong0:
		return uint64(0), nil
	case codeList0:
		return List{}, nil
	}
	return nil, fmt.Errorf("amqp: 0x%02x is not the constructor of a type", code)
}

func decodeFixed(code byte, b []byte) (any, error) {
	switch code {
	case codeUbyte:
		return b[0], nil
	case codeByte:
		return int8(b[0]), nil
	case codeSmallUint:
		return uint32(b[0]), nil
	case codeSmallUlong:
		return uint64(b[0]), nil
	case codeSmallInt:
		return int32(int8(b[0])), nil
	case codeSmallLong:
		return int64(int8(b[0])), nil
	case codeBool:
		return b[0] != 0, nil
	case codeUshort:
		return binary.BigEndian.Uint16(b), nil
	case codeShort:
		return int16(binary.BigEndian.Uint16(b)), nil
	case codeUint:
		return binary.BigEndian.Uint32(b), nil
	case codeInt:
		return int32(binary.BigEndian.Uint32(b)), nil
	case codeFloat:
		return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
	case codeChar:
		return Char(binary.BigEndian.Uint32(b)), nil
	case codeUlong:
		return binary.BigEndian.Uint64(b), nil
	case codeLong:
		return int64(binary.BigEndian.Uint64(b)), nil
	case codeDouble:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case codeTimestamp:
		return time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC(), nil
	case codeUUID:
		return UUID(b), nil
	case codeDecimal32, codeDecimal64, codeDecimal128:
		return nil, fmt.Errorf("amqp: decimal numbers (0x%02x) are not supported", code)
	}
	return nil, fmt.Errorf("amqp: 0x%02x is not the constructor of a type", code)
}

// splitCount reads the number of elements of a list, map or array.
func splitCount(code byte, b []byte) (count int, rest []byte, err error) {
	if code>>4 == 0xc || code>>4 == 0xe {
		if len(b) < 1 {
			return 0, nil, errShort
		}
		return int(b[0]), b[1:], nil
	}
	if len(b) < 4 {
		return 0, nil, errShort
	}
	return int(binary.BigEndian.Uint32(b)), b[4:], nil
}

func decodeList(code byte, b []byte, depth int) (any, error) {
	count, b, err := splitCount(code, b)
	if err != nil {
		return nil, err
	}
	if count < 0 || count > len(b) { // each element takes a byte at least
		return nil, errShort
	}
	list := make(List, count)
	for i := range list {
		if list[i], b, err = decode(b, depth+1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func decodeMap(code byte, b []byte, depth int) (any, error) {
	count, b, err := splitCount(code, b)
	if err != nil {
		return nil, err
	}
	if count < 0 || count > len(b) {
		return nil, errShort
	}
	if count%2 != 0 {
		return nil, fmt.Errorf("amqp: a map has %d elements: a key has no value", count)
	}
	pairs := make(Map, count/2)
	for i := range pairs {
		if pairs[i].Key, b, err = decode(b, depth+1); err != nil {
			return nil, err
		}
		if pairs[i].Value, b, err = decode(b, depth+1); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

func decodeArray(code byte, b []byte, depth int) (any, error) {
	count, b, err := splitCount(code, b)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, errShort
	}
	if depth >= maxDepth {
		return nil, errDepth
	}
	element, b := b[0], b[1:]
	limit := len(b)
	switch element {
	case codeTrue, codeFalse, codeUint0, codeUlong0:
		limit = maxEmptyElements
	case codeNull:
		limit = 0
	case codeDescribed, codeList0, codeList8, codeList32, codeMap8, codeMap32, codeArray8, codeArray32:
		return nil, fmt.Errorf("amqp: an array of constructor 0x%02x is not supported", element)
	}
	if count < 0 || count > limit {
		return nil, errShort
	}
	array := make(Array, count)
	for i := range array {
		if array[i], b, err = decodeAs(element, b, depth+1); err != nil {
			return nil, err
		}
	}
	return array, nil
}
