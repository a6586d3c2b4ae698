package storage

import "bytes"

// framer finds the records in a part of a blob. What it has found depends
// neither on how the blob is cut into parts nor on what it holds later: it looks
// forward only, and all it has to know about what came before is inside. There
// are two exceptions: the pieces of a record that is too large, and an object
// that is whole at the end of NDJSON but does not end its line.
type framer struct {
	format format
	max    int    // a record of more bytes is too large
	inside inside // what the part at hand begins with
}

// cut calls record for each whole record of text, in order, and returns how
// many bytes are done with: what follows is to be read again when there is more
// of it. Final says that there will not be more. What is too large is handed on
// in pieces as they come.
//
// Every byte of text that is not white space or framing is in one record, or
// behind what cut returns.
func (f *framer) cut(text []byte, final bool, record func(start, end int, tooLarge bool)) (taken int) {
	if f.inside.on {
		end := f.resume(text)
		if end < 0 {
			end = len(text)
			f.inside.on = !final
		}
		if end > 0 {
			record(0, end, true)
		}
		taken = end
		if f.inside.on {
			return taken
		}
	}
	emit := func(start, end int) {
		record(start, end, end-start > f.max)
	}
	switch f.format {
	case formatJSON:
		return f.cutJSON(text, taken, final, emit, record)
	case formatCSV:
		return f.cutRows(text, taken, final, emit, record)
	default:
		return f.cutLines(text, taken, final, emit, record)
	}
}

// resume finds the end of the record that text begins inside of, or -1.
func (f *framer) resume(text []byte) int {
	end := -1
	switch {
	case f.format == formatJSON && f.inside.depth > 0:
		end = f.inside.match(text)
	case f.format == formatCSV:
		end = f.inside.row(text)
	default: // a line
		end = bytes.IndexByte(text, '\n')
	}
	if end >= 0 {
		f.inside = inside{}
	}
	return end
}

// tooLarge hands on the beginning of a record that is over the limit.
func (f *framer) tooLarge(text []byte, start int, state inside, record func(int, int, bool)) int {
	record(start, len(text), true)
	f.inside = state
	f.inside.on = true
	return len(text)
}

// cutLines is for formats in which a line is a record.
func (f *framer) cutLines(text []byte, taken int, final bool, emit func(int, int), record func(int, int, bool)) int {
	for pos := taken; ; {
		n := bytes.IndexByte(text[pos:], '\n')
		if n >= 0 {
			start, end := f.trim(text, pos, pos+n)
			if start < end {
				emit(start, end)
			}
			pos += n + 1
			taken = pos
			continue
		}
		start, end := f.trim(text, pos, len(text))
		switch {
		case start == end:
		case final:
			emit(start, end)
			taken = len(text)
		case f.format == formatNDJSON && text[start] == '{':
			// Who writes the line feed in front of a record, or no line feed
			// behind the last one, has written it whole nevertheless.
			var s inside
			if n := s.match(text[start:]); n >= 0 {
				if onlySpace(text[start+n:]) {
					emit(start, start+n)
					return start + n
				}
				s = inside{}
			}
			if len(text)-start > f.max {
				return f.tooLarge(text, start, s, record)
			}
		case len(text)-start > f.max:
			return f.tooLarge(text, start, inside{}, record)
		}
		return taken
	}
}

// cutRows is for CSV: a row ends at a line feed that is not in quotes.
func (f *framer) cutRows(text []byte, taken int, final bool, emit func(int, int), record func(int, int, bool)) int {
	for pos := taken; ; {
		var s inside
		n := s.row(text[pos:])
		if n >= 0 {
			start, end := f.trim(text, pos, pos+n)
			if start < end {
				emit(start, end)
			}
			pos += n + 1
			taken = pos
			continue
		}
		start, end := f.trim(text, pos, len(text))
		switch {
		case start == end:
		case final:
			emit(start, end)
			taken = len(text)
		case len(text)-start > f.max:
			return f.tooLarge(text, start, s, record)
		}
		return taken
	}
}

// cutJSON is for objects however they stand. Taken moves over records only: the
// brackets that end a blob are not where they are for ever, since Azure puts new
// records of a flow log before them, azure:storage.flow-blobs.
func (f *framer) cutJSON(text []byte, taken int, final bool, emit func(int, int), record func(int, int, bool)) int {
	for pos := taken; pos < len(text); {
		switch c := text[pos]; {
		case isFraming(c):
			pos++
		case c == bom[0] && bytes.HasPrefix(text[pos:], []byte(bom)):
			pos += len(bom)
		case c == '{':
			w := wrapperAt(text, pos)
			if w == isWrapper {
				pos += bytes.IndexByte(text[pos:], '[') + 1
				continue
			}
			if w == maybeWrapper && !final {
				return taken
			}
			var s inside
			n := s.match(text[pos:])
			switch {
			case n >= 0:
				emit(pos, pos+n)
				pos += n
				taken = pos
				continue
			case final:
				_, end := f.trim(text, pos, len(text))
				emit(pos, end)
				return len(text)
			case len(text)-pos > f.max:
				return f.tooLarge(text, pos, s, record)
			}
			return taken
		default: // no object: to the end of the line, for whoever decodes it to say so
			n := bytes.IndexByte(text[pos:], '\n')
			switch {
			case n >= 0:
				_, end := f.trim(text, pos, pos+n)
				emit(pos, end)
				pos += n + 1
				taken = pos
				continue
			case final:
				_, end := f.trim(text, pos, len(text))
				emit(pos, end)
				return len(text)
			case len(text)-pos > f.max:
				return f.tooLarge(text, pos, inside{}, record)
			}
			return taken
		}
	}
	return taken
}

// rest tells whether what is behind taken is a record, or a part of one, and
// not only space and the brackets that end a blob.
func (f *framer) rest(text []byte) bool {
	for len(text) > 0 {
		switch c := text[0]; {
		case isSpace(c), f.format == formatJSON && isFraming(c):
			text = text[1:]
		case bytes.HasPrefix(text, []byte(bom)):
			text = text[len(bom):]
		case f.format == formatJSON && wrapperAt(text, 0) == isWrapper:
			text = text[bytes.IndexByte(text, '[')+1:]
		default:
			return true
		}
	}
	return false
}

// match reads a JSON value of brackets from where s stands and returns the
// offset behind it, or -1 if it goes on; then s stands at its end. It does not
// check the syntax.
func (s *inside) match(text []byte) int {
	for i := 0; i < len(text); i++ {
		if s.text {
			if s.escape {
				s.escape = false
				continue
			}
			switch text[i] {
			case '\\':
				s.escape = true
			case '"':
				s.text = false
			}
			continue
		}
		switch text[i] {
		case '"':
			s.text = true
		case '{', '[':
			s.depth++
		case '}', ']':
			if s.depth--; s.depth <= 0 {
				return i + 1
			}
		}
	}
	return -1
}

// row returns the offset of the line feed that ends a CSV row, or -1.
func (s *inside) row(text []byte) int {
	for i, c := range text {
		switch c {
		case '"': // two of them, an escaped quote, cancel each other out
			s.text = !s.text
		case '\n':
			if !s.text {
				return i
			}
		}
	}
	return -1
}

type wrapper int

const (
	noWrapper    wrapper = iota
	maybeWrapper         // the text ends too early to tell
	isWrapper
)

// wrapperAt tells whether the object at text[pos] has an array "records" as its
// first member: then what the array holds are the records.
func wrapperAt(text []byte, pos int) wrapper {
	for _, token := range []string{"{", `"records"`, ":", "["} {
		for pos < len(text) && isSpace(text[pos]) {
			pos++
		}
		rest := text[pos:]
		if len(rest) < len(token) {
			if bytes.HasPrefix([]byte(token), rest) {
				return maybeWrapper
			}
			return noWrapper
		}
		if string(rest[:len(token)]) != token {
			return noWrapper
		}
		pos += len(token)
	}
	return isWrapper
}

// bom is what some programs put before UTF-8.
const bom = "\xef\xbb\xbf"

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// isFraming is true of what stands between records of formatJSON.
func isFraming(c byte) bool { return isSpace(c) || c == ',' || c == '[' || c == ']' || c == '}' }

func onlySpace(text []byte) bool { return len(bytes.TrimLeft(text, " \t\r\n")) == 0 }

// trim returns text[start:end] without the space around it and the mark of
// UTF-8 before it. Of formatText and formatCSV only the carriage return belongs
// to the end of a line; other space is a part of it, unless there is nothing else.
func (f *framer) trim(text []byte, start, end int) (int, int) {
	if f.format == formatText || f.format == formatCSV {
		if end-start >= len(bom) && string(text[start:start+len(bom)]) == bom {
			start += len(bom)
		}
		if end > start && text[end-1] == '\r' {
			end--
		}
		if onlySpace(text[start:end]) {
			return end, end
		}
		return start, end
	}
	for start < end && isSpace(text[start]) {
		start++
	}
	if end-start >= len(bom) && string(text[start:start+len(bom)]) == bom {
		start += len(bom)
	}
	for start < end && isSpace(text[end-1]) {
		end--
	}
	return start, end
}
