package storage

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"unicode/utf8"
)

// appendText appends {"message": line}. A line that is not UTF-8 also gets
// "message_base64" with its bytes as they are.
func appendText(dst, line []byte) []byte {
	dst = append(dst, `{"message":`...)
	dst = appendString(dst, line)
	dst = appendBase64(dst, line)
	return append(dst, '}')
}

// appendRow appends {"message": row, "columns": {name: value}}: the row as it
// stands, and its fields under the header's names. A field without a name is
// called by its number, from 1.
func appendRow(dst []byte, header []string, row []byte) []byte {
	dst = append(dst, `{"message":`...)
	dst = appendString(dst, row)
	dst = appendBase64(dst, row)
	fields, ok := parseRow(row)
	if !ok {
		return append(dst, '}')
	}
	dst = append(dst, `,"columns":{`...)
	for i, field := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		if i < len(header) && header[i] != "" {
			dst = appendString(dst, []byte(header[i]))
		} else {
			dst = append(dst, '"')
			dst = appendInt(dst, i+1)
			dst = append(dst, '"')
		}
		dst = append(dst, ':')
		dst = appendString(dst, []byte(field))
	}
	return append(dst, "}}"...)
}

// parseRow returns the fields of one row of CSV.
func parseRow(row []byte) ([]string, bool) {
	r := csv.NewReader(bytes.NewReader(row))
	r.LazyQuotes = true
	r.FieldsPerRecord = -1
	fields, err := r.Read()
	return fields, err == nil
}

func appendBase64(dst, text []byte) []byte {
	if utf8.Valid(text) {
		return dst
	}
	dst = append(dst, `,"message_base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, text)
	return append(dst, '"')
}

func appendInt(dst []byte, n int) []byte {
	if n >= 10 {
		dst = appendInt(dst, n/10)
	}
	return append(dst, byte('0'+n%10))
}

// appendString appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, text[plain:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, "\ufffd"...)
		}
		i += size
		plain = i
	}
	dst = append(dst, text[plain:]...)
	return append(dst, '"')
}
