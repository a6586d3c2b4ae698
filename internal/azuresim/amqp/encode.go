package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// The Go types a value may have, for Append and as results of Decode, are nil,
// bool, the sized integers, float32, float64, string, []byte, time.Time
// (timestamp, milliseconds), and those declared here.
type (
	// Symbol is a string from a constrained domain, such as an error condition.
	Symbol string
	// UUID is the 16 bytes of a uuid in network order.
	UUID [16]byte
	// Char is a Unicode scalar value (the AMQP type char).
	Char rune
	// Described is a value annotated with a descriptor.
	Described struct{ Descriptor, Value any }
	// List is a heterogeneous sequence.
	List []any
	// Map keeps its pairs in the order in which they were on the wire.
	Map []Pair
	// Pair is one entry of a Map.
	Pair struct{ Key, Value any }
	// Array holds the elements of a decoded array of any element type.
	Array []any
	// Strings is encoded as an array of string; Decode returns an Array.
	Strings []string
	// Symbols is encoded as an array of symbol; Decode returns an Array.
	Symbols []Symbol
)

// Get returns the value whose key is the string or symbol name.
func (m Map) Get(name string) (any, bool) {
	for _, p := range m {
		if Text(p.Key) == name {
			return p.Value, true
		}
	}
	return nil, false
}

// Text returns the text of a string or a symbol, and "" for any other value.
func Text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case Symbol:
		return string(v)
	}
	return ""
}

// Append appends the encoding of v, choosing the shortest form the type has.
// It panics if v has a type that AMQP does not know: callers pass only values
// that they built themselves or that Decode returned.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, codeNull)
	case bool:
		return AppendBool(b, v)
	case uint8:
		return append(b, codeUbyte, v)
	case uint16:
		return binary.BigEndian.AppendUint16(append(b, codeUshort), v)
	case uint32:
		return AppendUint(b, v)
	case uint64:
		return AppendUlong(b, v)
	case int8:
		return append(b, codeByte, byte(v))
	case int16:
		return binary.BigEndian.AppendUint16(append(b, codeShort), uint16(v))
	case int32:
		if v >= -128 && v < 128 {
			return append(b, codeSmallInt, byte(v))
		}
		return binary.BigEndian.AppendUint32(append(b, codeInt), uint32(v))
	case int64:
		return AppendLong(b, v)
	case float32:
		return binary.BigEndian.AppendUint32(append(b, codeFloat), math.Float32bits(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, codeDouble), math.Float64bits(v))
	case Char:
		return binary.BigEndian.AppendUint32(append(b, codeChar), uint32(v))
	case time.Time:
		return AppendTimestamp(b, v.UnixMilli())
	case UUID:
		return append(append(b, codeUUID), v[:]...)
	case []byte:
		return append(AppendBinaryHeader(b, len(v)), v...)
	case string:
		return AppendString(b, v)
	case Symbol:
		return AppendSymbol(b, v)
	case Described:
		return Append(Append(append(b, codeDescribed), v.Descriptor), v.Value)
	case List:
		return appendList(b, v)
	case Map:
		b, at := beginCompound(b, codeMap32)
		for _, p := range v {
			b = Append(Append(b, p.Key), p.Value)
		}
		return endCompound(b, at, 2*len(v))
	case Strings:
		return appendArray(b, codeString32, v)
	case Symbols:
		return appendArray(b, codeSymbol32, v)
	case Array:
		return appendAnyArray(b, v)
	}
	panic(fmt.Sprintf("amqp: encode %T: not an AMQP type", v))
}

// Encodable reports whether Append accepts v, looking into lists, maps and
// arrays. An Array is encodable only if all its elements have one type.
func Encodable(v any) bool {
	switch v := v.(type) {
	case nil, bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float32, float64,
		Char, time.Time, UUID, []byte, string, Symbol, Strings, Symbols:
		return true
	case Described:
		return Encodable(v.Descriptor) && Encodable(v.Value)
	case List:
		for _, e := range v {
			if !Encodable(e) {
				return false
			}
		}
		return true
	case Map:
		for _, p := range v {
			if !Encodable(p.Key) || !Encodable(p.Value) {
				return false
			}
		}
		return true
	case Array:
		_, ok := arrayCode(v)
		return ok
	}
	return false
}

// AppendBool appends a boolean in its one-byte form.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, codeTrue)
	}
	return append(b, codeFalse)
}

// AppendUint appends a uint.
func AppendUint(b []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(b, codeUint0)
	case v < 256:
		return append(b, codeSmallUint, byte(v))
	}
	return binary.BigEndian.AppendUint32(append(b, codeUint), v)
}

// AppendUlong appends a ulong.
func AppendUlong(b []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(b, codeUlong0)
	case v < 256:
		return append(b, codeSmallUlong, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, codeUlong), v)
}

// AppendLong appends a long.
func AppendLong(b []byte, v int64) []byte {
	if v >= -128 && v < 128 {
		return append(b, codeSmallLong, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, codeLong), uint64(v))
}

// AppendTimestamp appends a timestamp of that many milliseconds since 1970 UTC.
func AppendTimestamp(b []byte, unixMilli int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, codeTimestamp), uint64(unixMilli))
}

// AppendString appends a string.
func AppendString(b []byte, s string) []byte {
	return append(appendSize(b, codeString8, codeString32, len(s)), s...)
}

// AppendSymbol appends a symbol.
func AppendSymbol(b []byte, s Symbol) []byte {
	return append(appendSize(b, codeSymbol8, codeSymbol32, len(s)), s...)
}

// AppendBinaryHeader appends what precedes size bytes of binary, so that the
// bytes themselves need not be copied.
func AppendBinaryHeader(b []byte, size int) []byte {
	return appendSize(b, codeBinary8, codeBinary32, size)
}

func appendSize(b []byte, code8, code32 byte, size int) []byte {
	if size < 256 {
		return append(b, code8, byte(size))
	}
	return binary.BigEndian.AppendUint32(append(b, code32), uint32(size))
}

// beginCompound appends the head of a list, map or array with four-byte sizes;
// endCompound fills them in.
func beginCompound(b []byte, code byte) (_ []byte, at int) {
	return append(b, code, 0, 0, 0, 0, 0, 0, 0, 0), len(b) + 1
}

func endCompound(b []byte, at, count int) []byte {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	binary.BigEndian.PutUint32(b[at+4:], uint32(count))
	return b
}

func appendList(b []byte, l List) []byte {
	if len(l) == 0 {
		return append(b, codeList0)
	}
	b, at := beginCompound(b, codeList32)
	for _, e := range l {
		b = Append(b, e)
	}
	return endCompound(b, at, len(l))
}

func appendArray[S ~string](b []byte, code byte, elements []S) []byte {
	b, at := beginCompound(b, codeArray32)
	b = append(b, code)
	for _, e := range elements {
		b = binary.BigEndian.AppendUint32(b, uint32(len(e)))
		b = append(b, e...)
	}
	return endCompound(b, at, len(elements))
}

// arrayCode returns the constructor that fits every element of a decoded array.
func arrayCode(a Array) (byte, bool) {
	var code byte
	for i, e := range a {
		var c byte
		switch e.(type) {
		case bool:
			c = codeBool
		case uint8:
			c = codeUbyte
		case uint16:
			c = codeUshort
		case uint32:
			c = codeUint
		case uint64:
			c = codeUlong
		case int8:
			c = codeByte
		case int16:
			c = codeShort
		case int32:
			c = codeInt
		case int64:
			c = codeLong
		case float32:
			c = codeFloat
		case float64:
			c = codeDouble
		case Char:
			c = codeChar
		case time.Time:
			c = codeTimestamp
		case UUID:
			c = codeUUID
		case []byte:
			c = codeBinary32
		case string:
			c = codeString32
		case Symbol:
			c = codeSymbol32
		default:
			return 0, false
		}
		if i > 0 && c != code {
			return 0, false
		}
		code = c
	}
	if len(a) == 0 {
		code = codeNull
	}
	return code, true
}

func appendAnyArray(b []byte, a Array) []byte {
	code, ok := arrayCode(a)
	if !ok {
		panic("amqp: encode array: elements of several or of unsupported types")
	}
	b, at := beginCompound(b, codeArray32)
	b = append(b, code)
	for _, e := range a {
		switch e := e.(type) {
		case bool:
			if e {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		case uint32:
			b = binary.BigEndian.AppendUint32(b, e)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, e)
		case int32:
			b = binary.BigEndian.AppendUint32(b, uint32(e))
		case int64:
			b = binary.BigEndian.AppendUint64(b, uint64(e))
		case []byte:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(e))), e...)
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(e))), e...)
		case Symbol:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(e))), e...)
		default:
			// These types have one form only: constructor, then the bytes.
			one := Append(nil, e)
			b = append(b, one[1:]...)
		}
	}
	return endCompound(b, at, len(a))
}
