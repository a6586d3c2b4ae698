package storage

import (
	"bytes"
	"strings"
)

// format is how records stand in a blob.
type format string

const (
	// formatNDJSON is one JSON value on each line.
	formatNDJSON format = "ndjson"
	// formatJSON is JSON objects, alone, in an array, or in {"records":[...]},
	// however they are spaced.
	formatJSON format = "json"
	formatText format = "text" // one record a line
	formatCSV  format = "csv"  // a header, then one record a row (RFC 4180)
)

func (f format) known() bool {
	return f == formatNDJSON || f == formatJSON || f == formatText || f == formatCSV
}

// enough is how much of a blob's beginning is looked at to find its format.
const enough = 256 << 10

// detect tells the format by the beginning of a blob, or "" if there is too
// little of it. The name only tells CSV from other text.
func detect(name string, head []byte, final bool) format {
	final = final || len(head) >= enough
	head = bytes.TrimPrefix(head, []byte(bom))
	head = bytes.TrimLeft(head, " \t\r\n")
	if len(head) == 0 {
		return ""
	}
	switch head[0] {
	case '{':
		return detectObject(head, final)
	case '[':
		rest := bytes.TrimLeft(head[1:], " \t\r\n")
		switch {
		case len(rest) == 0 && !final:
			return ""
		case len(rest) == 0 || rest[0] == '{' || rest[0] == '[' || rest[0] == ']':
			return formatJSON
		}
	case bom[0]:
		if len(head) < len(bom) && !final {
			return ""
		}
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	if strings.HasSuffix(name, ".csv") {
		return formatCSV
	}
	return formatText
}

func detectObject(head []byte, final bool) format {
	switch wrapperAt(head, 0) {
	case isWrapper:
		return formatJSON
	case maybeWrapper:
		if !final {
			return ""
		}
	}
	var s inside
	end := s.match(head)
	line := bytes.IndexByte(head, '\n')
	switch {
	case line >= 0 && (end < 0 || line < end):
		// The object goes on behind its first line: it is indented, or it is
		// damaged and the next one begins there.
		before := bytes.TrimRight(head[:line], " \t\r")
		after := bytes.TrimLeft(head[line:], " \t\r\n")
		if len(after) == 0 && !final {
			return ""
		}
		if len(after) > 0 && after[0] == '{' && !bytes.ContainsAny(before[len(before)-1:], ":,[") {
			return formatNDJSON
		}
		return formatJSON
	case end < 0 && !final:
		return ""
	}
	return formatNDJSON
}
