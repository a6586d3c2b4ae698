package decode

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// Work on damage is bounded: reading ahead without getting on is counted in
// d.wasted, and when that exceeds maxWaste times the payload, no more repairs are
// tried and no record may be longer than its line. Real damage stays below, even
// where every record has some.
const (
	maxWaste  = 8
	freeWaste = 64 << 10
	perReject = 32 // for the work around the reading
	// lookAhead is how far past the place where the next record seems to start the
	// end of a damaged one is looked for: that place may be an object inside it.
	lookAhead = 64 << 10
)

func (d *Decoder) exhausted() bool { return d.wasted > maxWaste*len(d.text)+freeWaste }

// window returns the text that a value at i may take up.
func (d *Decoder) window(i int) []byte {
	end := len(d.text)
	if d.exhausted() {
		end = d.endOfLine(i)
	}
	if most := d.limit(d.options.MaxRecord, defaultMaxRecord); end-i > most {
		end = i + most
	}
	return d.text[i:end]
}

// endOfLine returns where the line that i is in ends. It keeps the answer, for
// there may be many values on a line; so i must not be less than the last time.
func (d *Decoder) endOfLine(i int) int {
	if i >= d.lineEnd {
		d.lineEnd = len(d.text)
		if n := bytes.IndexByte(d.text[i:], '\n'); n >= 0 {
			d.lineEnd = i + n
		}
	}
	return d.lineEnd
}

// damaged reads the object at d.pos, which failed to scan with that error, in
// one of these ways: as a wrapper with damage in one of its records; as a record
// that can be mended; as one whose tail is missing, up to where the next one
// starts; or else as bad, up to there.
func (d *Decoder) damaged(syntax *jsonscan.SyntaxError) {
	d.wasted += syntax.Offset
	start := d.pos
	if d.exhausted() {
		d.reject(d.endOfLine(start), ClassNotJSON, describe(syntax)+"; there is too much damage in this payload to try repairs")
		return
	}
	if d.atTop() && bytes.Contains(d.text[start:start+syntax.Offset], []byte(`"records"`)) {
		if array, _ := d.members(skipSpace(d.text, start+1)); array >= 0 {
			d.openWrapper(array)
			return
		}
	}
	window := d.window(start)
	class, reason := ClassNotJSON, ""
	reached := 0 // where it cannot be mended
	switch {
	case syntax.TooDeep:
		class = ClassTooDeep
	case syntax.Incomplete && start+len(window) < len(d.text):
		class = ClassTooLarge
		reason = "it is larger than the limit of " + strconv.Itoa(len(window)) + " bytes for a record"
	default:
		var ok bool
		if reached, ok = d.mended(window, false); ok {
			return
		}
	}
	end := d.nextStart(start, syntax.Offset)
	limit := len(d.text)
	if class == ClassNotJSON { // else its brackets may well be sound
		limit = end + lookAhead
	}
	if balanced := d.balanced(start, limit); balanced > 0 {
		end = balanced
	} else if class == ClassNotJSON {
		if piece := bytes.TrimRight(d.text[start:end], "\r\n"); reached >= len(piece) {
			if _, ok := d.mended(piece, true); ok {
				return
			}
		}
		if syntax.Incomplete {
			class = ClassCut
		}
	}
	if reason == "" {
		reason = describe(syntax)
	}
	d.wasted += perReject
	d.reject(start+len(bytes.TrimRight(d.text[start:end], " \t\r\n,")), class, reason)
}

// mended hands on the object at the start of piece if it can be mended. It
// returns how far it has read.
func (d *Decoder) mended(piece []byte, cut bool) (reached int, ok bool) {
	n, ok := d.mend.object(piece, cut)
	if ok {
		_, err := d.index.Scan(d.mend.out)
		ok = err == nil
	}
	if !ok {
		d.wasted += n
		return n, false
	}
	d.emit(d.pos+n, d.mend.done)
	return n, true
}

// nextStart returns where, after a record at start that is damaged offset bytes
// on, the next one seems to start, or the end of the text. It looks on the same
// line for an object with the same first member, as records of one type have;
// then for a line that starts like a record and is not indented further than this
// one; and failing both, for any sound object between commas after the damage.
func (d *Decoder) nextStart(start, offset int) int {
	line := d.endOfLine(start)
	if name := firstName(d.text[start:line]); len(name) > 0 {
		for i := start + len(name); ; i++ {
			n := bytes.Index(d.text[i:line], name)
			if n < 0 {
				break
			}
			if i += n; afterRecord(d.text, i) {
				d.wasted += i - start
				return i
			}
		}
	}
	indent := column(d.text, start)
	for line < len(d.text) && !d.startsLine(line+1, indent) {
		line++
		if n := bytes.IndexByte(d.text[line:], '\n'); n >= 0 {
			line += n
		} else {
			line = len(d.text)
		}
	}
	d.wasted += line - start
	if line < len(d.text) {
		return line + 1
	}
	// A missing quote shows one string later: that may have swallowed the start.
	sound := d.text[start : start+offset]
	for range 2 {
		sound = sound[:max(bytes.LastIndexByte(sound, '"'), 0)]
	}
	for i := start + max(len(sound), 1); !d.exhausted(); i++ {
		n := bytes.IndexByte(d.text[i:], '{')
		if n < 0 {
			break
		}
		d.wasted += n
		if i += n; !afterRecord(d.text, i) {
			continue
		}
		n, err := d.index.Scan(d.window(i))
		if err == nil {
			return i
		}
		d.wasted += n
	}
	return len(d.text)
}

// startsLine says whether the line at i starts like a record, or an array of
// them, and is not indented further than indent.
func (d *Decoder) startsLine(i, indent int) bool {
	line := bytes.TrimPrefix(d.text[i:], []byte(bom))
	n := skipSpace(line[:min(len(line), indent)], 0)
	if n < len(line) && line[n] == '[' {
		n = skipSpace(line[:min(len(line), n+maxColumn)], n+1)
	}
	return n < len(line) && line[n] == '{'
}

// maxColumn is how far an indentation is followed.
const maxColumn = 256

// column returns how far i is from the start of its line, at most maxColumn.
func column(text []byte, i int) int {
	n := 0
	for n < maxColumn && i-n > 0 && text[i-n-1] != '\n' {
		n++
	}
	return n
}

// firstName returns the brace and the quoted first name of an object, as it
// stands in piece, or nil.
func firstName(piece []byte) []byte {
	i := skipSpace(piece, 1)
	if i >= len(piece) || piece[i] != '"' && piece[i] != '\'' {
		return nil
	}
	const longName = 128
	n := bytes.IndexByte(piece[i+1:min(len(piece), i+longName)], piece[i])
	if n < 1 {
		return nil
	}
	return piece[:i+n+2]
}

// afterRecord says whether what stands before i can be the end of a record or
// the comma after it: an object after a colon is a member's value.
func afterRecord(text []byte, i int) bool {
	i--
	for i > 0 && isSpace(text[i]) {
		i--
	}
	return i >= 0 && (text[i] == ',' || text[i] == '}' || text[i] == ']')
}

// balanced returns where the brace at start is closed, counting brackets outside
// of strings, or 0 if that cannot be trusted: because a string has no end on its
// line or is not followed by what follows a string, so that a quote is missing
// or too many; because a line starts like a record; or because what comes after
// is not what follows a record. It looks no further than limit.
func (d *Decoder) balanced(start, limit int) int {
	text := d.text[:min(len(d.text), limit)]
	indent := column(text, start)
	depth := 0
	i := start
	defer func() { d.wasted += i - start }()
	for ; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth > 0 {
				continue
			}
			after := skipSpace(d.text, i+1)
			if after < len(d.text) && !oneOf(",]}{", d.text[after]) && bytes.IndexByte(d.text[i+1:after], '\n') < 0 {
				return 0
			}
			return i + 1
		case '\n':
			if d.startsLine(i+1, indent) {
				return 0
			}
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\n' {
					return 0
				}
				if text[i] == '\\' {
					i++
				}
			}
			if after := skipSpace(text, i+1); after < len(text) && !oneOf(":,]}", text[after]) {
				return 0
			}
		}
	}
	return 0
}

func oneOf(set string, c byte) bool { return strings.IndexByte(set, c) >= 0 }

// garbage reads what is no record at d.pos: a scalar if that stands alone; else
// all up to the end of the line or to the next brace, but not before from. Commas,
// space and brackets that were not opened in it are left to the framing.
func (d *Decoder) garbage(from int) {
	if c := d.text[d.pos]; oneOf(`"-0123456789tfn`, c) {
		n, err := d.index.Scan(d.window(d.pos))
		if err == nil && d.standsAlone(d.pos+n) {
			d.reject(d.pos+n, ClassNotObject, "it is JSON, but not an object, so it cannot be a record")
			return
		}
		d.wasted += n
	}
	end := d.endOfLine(from)
	if n := bytes.IndexByte(d.text[from:end], '{'); n >= 0 {
		end = from + n
	}
	run := d.text[d.pos:end]
	arrays := bytes.Count(run, []byte("[")) - bytes.Count(run, []byte("]"))
	objects := bytes.Count(run, []byte("{")) - bytes.Count(run, []byte("}"))
trim:
	for len(run) > 1 {
		switch c := run[len(run)-1]; {
		case isSpace(c) || c == ',':
		case c == ']' && arrays < 0:
			arrays++
		case c == '}' && objects < 0:
			objects++
		default:
			break trim
		}
		run = run[:len(run)-1]
	}
	d.reject(d.pos+len(run), ClassNotJSON, "it is not JSON, so it cannot be a record")
}

// standsAlone says whether a value that ends at i is followed by framing.
func (d *Decoder) standsAlone(i int) bool {
	end := skipSpace(d.text, i)
	return end == len(d.text) || d.text[end] == ',' || d.text[end] == ']' || bytes.IndexByte(d.text[i:end], '\n') >= 0
}
