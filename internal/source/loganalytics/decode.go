package loganalytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// column is one column of an answer.
type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// rowsOf takes what an answer holds. columns is called before the rows of each
// table; the cells of a row, as JSON, are valid until the call returns.
type rowsOf interface {
	columns(table string, columns []column) error
	row(cells [][]byte) error
}

// errDamaged says that an answer is not what the API answers: cut on the way,
// or of something in between.
var errDamaged = errors.New("the answer is damaged")

const (
	readSize = 64 << 10
	// maxValue bounds the memory for one row, and for what is skipped whole: a
	// row cannot be longer than the answer, which is limited to about 100 MB.
	maxValue  = 128 << 20
	maxDepth  = 512
	maxHeader = 1 << 20 // of names, columns and errors
)

// decoder reads one answer of the query API as a stream:
//
//	{"tables":[{"name":"PrimaryResult","columns":[{"name":"A","type":"long"}],"rows":[[1],[2]]}],"error":{...}}
//
// It holds one row at a time. Other members are skipped, in any order, but a
// table's columns have to come before its rows.
type decoder struct {
	in   io.Reader
	buf  []byte
	mark int // what follows is kept
	pos  int // next byte
	end  int // of what was read
	ends error

	spans []span
	cells [][]byte
	bytes int64 // read so far
}

// span is a value in the buffer, from mark on.
type span struct{ start, end int }

func newDecoder(in io.Reader) *decoder { return &decoder{in: in, buf: make([]byte, readSize)} }

// answer reads to the end. It returns the error that the answer itself reports,
// if it does; err is nil only if the answer is whole.
func (d *decoder) answer(out rowsOf) (reported *apiError, err error) {
	if err := d.object(func(name string) error {
		switch name {
		case "tables":
			return d.array(func() error { return d.table(out) })
		case "error":
			text, err := d.value(maxHeader)
			if err != nil || string(text) == "null" {
				return err
			}
			reported = &apiError{}
			if err := json.Unmarshal(text, reported); err != nil {
				return fmt.Errorf("%w: its error is %.200q", errDamaged, text)
			}
			return nil
		default:
			_, err := d.value(maxValue)
			return err
		}
	}); err != nil {
		return reported, err
	}
	if c, err := d.next(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = fmt.Errorf("%w: %q follows its end", errDamaged, c)
		}
		return reported, err
	}
	return reported, nil
}

func (d *decoder) table(out rowsOf) error {
	var (
		table   string
		columns []column
		known   bool
	)
	return d.object(func(name string) error {
		switch name {
		case "name":
			text, err := d.value(maxHeader)
			if err != nil {
				return err
			}
			return d.unmarshal(text, &table)
		case "columns":
			text, err := d.value(maxHeader)
			if err != nil {
				return err
			}
			if err := d.unmarshal(text, &columns); err != nil {
				return err
			}
			known = true
			return out.columns(table, columns)
		case "rows":
			if !known {
				return fmt.Errorf("%w: rows come before their columns", errDamaged)
			}
			return d.array(func() error { return d.row(len(columns), out) })
		default:
			_, err := d.value(maxValue)
			return err
		}
	})
}

func (d *decoder) unmarshal(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: %.200q: %w", errDamaged, text, err)
	}
	return nil
}

// row reads one row and finds its cells in the same pass.
func (d *decoder) row(columns int, out rowsOf) error {
	if _, err := d.next(); err != nil {
		return d.cut(err)
	}
	d.mark, d.spans = d.pos, d.spans[:0]
	err := d.elements('[', ']', func() error {
		if _, err := d.next(); err != nil {
			return d.cut(err)
		}
		start := d.pos - d.mark
		if err := d.skip(0, maxValue); err != nil {
			return err
		}
		d.spans = append(d.spans, span{start, d.pos - d.mark})
		return nil
	})
	if err != nil {
		return err
	}
	if len(d.spans) != columns {
		return fmt.Errorf("%w: a row has %d values for %d columns", errDamaged, len(d.spans), columns)
	}
	d.cells = d.cells[:0]
	for _, s := range d.spans {
		d.cells = append(d.cells, d.buf[d.mark+s.start:d.mark+s.end])
	}
	err = out.row(d.cells)
	d.mark = d.pos
	return err
}

// object reads an object and calls member at the value of each of its members.
func (d *decoder) object(member func(name string) error) error {
	return d.elements('{', '}', func() error {
		text, err := d.value(maxHeader)
		if err != nil {
			return err
		}
		var name string
		if err := d.unmarshal(text, &name); err != nil {
			return err
		}
		if c, err := d.next(); err != nil || c != ':' {
			return d.unexpected(c, err, "':'")
		}
		d.pos++
		return member(name)
	})
}

func (d *decoder) array(element func() error) error { return d.elements('[', ']', element) }

// elements reads what stands between brackets, with commas between.
func (d *decoder) elements(open, closing byte, element func() error) error {
	if c, err := d.next(); err != nil || c != open {
		return d.unexpected(c, err, string(open))
	}
	d.pos++
	for first := true; ; first = false {
		c, err := d.next()
		switch {
		case err != nil:
			return d.cut(err)
		case c == closing:
			d.pos++
			return nil
		case first:
		case c == ',':
			d.pos++
		default:
			return d.unexpected(c, nil, "','")
		}
		if err := element(); err != nil {
			return err
		}
	}
}

// value reads one value of at most limit bytes. It is valid until the next read.
func (d *decoder) value(limit int) ([]byte, error) {
	if _, err := d.next(); err != nil {
		return nil, d.cut(err)
	}
	d.mark = d.pos
	if err := d.skip(0, limit); err != nil {
		return nil, err
	}
	text := d.buf[d.mark:d.pos]
	d.mark = d.pos
	return text, nil
}

// skip reads past one value, which stays in the buffer from mark on.
func (d *decoder) skip(depth, limit int) error {
	c, err := d.next()
	if err != nil {
		return d.cut(err)
	}
	if d.pos-d.mark > limit || depth > maxDepth {
		return fmt.Errorf("%w: a value is larger or deeper than any that the API gives (%d bytes, %d levels)", errDamaged, limit, maxDepth)
	}
	switch c {
	case '"':
		return d.text(limit)
	case '[':
		return d.elements('[', ']', func() error { return d.skip(depth+1, limit) })
	case '{':
		return d.elements('{', '}', func() error {
			if c, err := d.next(); err != nil || c != '"' {
				return d.unexpected(c, err, "a name")
			}
			if err := d.text(limit); err != nil {
				return err
			}
			if c, err := d.next(); err != nil || c != ':' {
				return d.unexpected(c, err, "':'")
			}
			d.pos++
			return d.skip(depth+1, limit)
		})
	default:
		return d.literal(c)
	}
}

// text reads past a string; it does not check its escapes.
func (d *decoder) text(limit int) error {
	d.pos++
	for {
		buf := d.buf[:d.end]
		for d.pos < len(buf) && buf[d.pos] != '"' && buf[d.pos] != '\\' {
			d.pos++
		}
		if d.pos < len(buf) && buf[d.pos] == '"' {
			d.pos++
			return nil
		}
		if d.pos < len(buf) {
			// A backslash takes the meaning of what follows it.
			d.pos++
			if d.pos == d.end {
				if err := d.more(); err != nil {
					return d.cut(err)
				}
			}
			d.pos++
			continue
		}
		if d.pos-d.mark > limit {
			return fmt.Errorf("%w: a text is longer than %d bytes", errDamaged, limit)
		}
		if err := d.more(); err != nil {
			return d.cut(err)
		}
	}
}

// literal reads past a number, true, false or null.
func (d *decoder) literal(first byte) error {
	begin := d.pos - d.mark
	for {
		for d.pos < d.end {
			switch c := d.buf[d.pos]; {
			case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '+', c == '.':
				d.pos++
				continue
			}
			text := d.buf[d.mark+begin : d.pos]
			if !json.Valid(text) {
				return d.unexpected(first, nil, "a value")
			}
			return nil
		}
		if d.pos-d.mark-begin > 1<<10 {
			return d.unexpected(first, nil, "a value")
		}
		if err := d.more(); err != nil {
			return d.cut(err)
		}
	}
}

// next skips white space and returns the byte that follows, without taking it.
func (d *decoder) next() (byte, error) {
	for {
		for d.pos < d.end {
			c := d.buf[d.pos]
			if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				return c, nil
			}
			d.pos++
		}
		if err := d.more(); err != nil {
			return 0, err
		}
	}
}

// more reads on, keeping what stands behind mark.
func (d *decoder) more() error {
	if d.ends != nil {
		return d.ends
	}
	if d.mark > 0 {
		copy(d.buf, d.buf[d.mark:d.end])
		d.pos, d.end, d.mark = d.pos-d.mark, d.end-d.mark, 0
	}
	if d.end == len(d.buf) {
		if len(d.buf) >= maxValue {
			return fmt.Errorf("%w: a row has more than %d bytes", errDamaged, maxValue)
		}
		d.buf = append(d.buf, make([]byte, len(d.buf))...)
	}
	for {
		n, err := d.in.Read(d.buf[d.end:])
		d.end += n
		d.bytes += int64(n)
		if err != nil {
			d.ends = err
		}
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// cut says that the answer ended too early.
func (d *decoder) cut(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ends after %d bytes, in the middle", errDamaged, d.bytes)
	}
	return err
}

func (d *decoder) unexpected(c byte, err error, want string) error {
	if err != nil {
		return d.cut(err)
	}
	return fmt.Errorf("%w: %q where %s should be, after %d bytes at most", errDamaged, c, want, d.bytes)
}
