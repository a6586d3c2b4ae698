package loganalytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source/window"
)

// ingestedColumn carries ingestion_time() of tables; it is taken out of the row.
const ingestedColumn = "lazuli_ingested"

// blockSize is what rows are written into, one after the other.
const blockSize = 256 << 10

// rowWriter makes objects of rows: the columns' names with the bytes of their
// values. Columns that hold nothing (null, or an empty text, which is what
// Log Analytics gives where a row has no value) are left out: every row has
// every column of its table, up to 500.
type rowWriter struct {
	table string // put into the member Type where the rows have none
	// unique says that equal rows are one, whenever they were taken in: they
	// hold an id of their own.
	unique bool
	at     time.Time // of rows that do not say when they were taken in
	yield  func(window.Row) error

	names    [][]byte // `"Name":` of each column
	ingested int      // the column with ingestion_time(), or -1
	kind     int      // the column Type, or -1
	tail     []byte   // `"Type":"Table"}`
	block    []byte
	rows     int
}

func (w *rowWriter) columns(_ string, columns []column) error {
	w.names, w.ingested, w.kind = w.names[:0], -1, -1
	for i, c := range columns {
		name, err := json.Marshal(c.Name)
		if err != nil {
			return err
		}
		w.names = append(w.names, append(name, ':'))
		switch c.Name {
		case ingestedColumn:
			w.ingested = i
		case "Type":
			w.kind = i
		}
	}
	w.tail = nil
	if w.table != "" {
		table, err := json.Marshal(w.table)
		if err != nil {
			return err
		}
		w.tail = append([]byte(`"Type":`), table...)
	}
	return nil
}

func (w *rowWriter) row(cells [][]byte) error {
	w.rows++
	size := len(w.tail) + 3
	for i, c := range cells {
		size += len(c) + len(w.names[i]) + 1
	}
	if cap(w.block)-len(w.block) < size {
		w.block = make([]byte, 0, max(blockSize, size))
	}
	begin := len(w.block)
	b := append(w.block, '{')
	for i, c := range cells {
		if i == w.ingested || empty(c) {
			continue
		}
		if len(b) > begin+1 {
			b = append(b, ',')
		}
		b = append(append(b, w.names[i]...), c...)
	}
	if w.tail != nil && (w.kind < 0 || empty(cells[w.kind])) {
		if len(b) > begin+1 {
			b = append(b, ',')
		}
		b = append(b, w.tail...)
	}
	b = append(b, '}')
	w.block = b
	body := b[begin:len(b):len(b)]

	at, known := w.at, []byte(nil)
	if w.ingested >= 0 {
		t, err := parseTime(cells[w.ingested])
		if err != nil {
			return err
		}
		at, known = t, cells[w.ingested]
	}
	if w.unique {
		known = nil
	}
	return w.yield(window.Row{ID: window.Identify(body, known), Payload: event.Payload{Body: body, Position: ticks(at), Enqueued: at}})
}

// empty tells whether a column holds nothing.
func empty(cell []byte) bool {
	return len(cell) == 2 && cell[0] == '"' || len(cell) == 4 && string(cell) == "null"
}

// ticks counts Azure's steps of 100 ns, in Unix time.
func ticks(t time.Time) int64 { return t.Unix()*1e7 + int64(t.Nanosecond()/100) }

func parseTime(cell []byte) (time.Time, error) {
	text := strings.Trim(string(cell), `"`)
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: the time of ingestion of a row is %.60q", errDamaged, cell)
	}
	return t, nil
}

// apiError is an error of the query API: of a refused request, or in an answer
// that is not complete.
type apiError struct {
	Code    string     `json:"code"`
	Message string     `json:"message"`
	Details []apiError `json:"details"`
	Inner   *apiError  `json:"innererror"`
	// Where a query is wrong.
	Line int `json:"line"`
	Pos  int `json:"pos"`
}

// Error is Azure's own text: every message once, the most exact last.
func (e *apiError) Error() string {
	var parts []string
	e.visit(func(e *apiError) bool {
		m := strings.TrimSpace(e.Message)
		if m != "" && (len(parts) == 0 || parts[len(parts)-1] != m) {
			parts = append(parts, m)
		}
		return true
	})
	text := strings.Join(parts, ": ")
	if code := e.innermost(); code != "" {
		text += " (" + code + ")"
	}
	if line, pos := e.position(); line > 0 {
		text += fmt.Sprintf(" at line %d, position %d of the query", line, pos)
	}
	return text
}

// visit calls f for the error and those inside, outermost first, until it
// returns false.
func (e *apiError) visit(f func(*apiError) bool) bool {
	if !f(e) {
		return false
	}
	for i := range e.Details {
		if !e.Details[i].visit(f) {
			return false
		}
	}
	return e.Inner == nil || e.Inner.visit(f)
}

func (e *apiError) innermost() (code string) {
	e.visit(func(e *apiError) bool {
		if e.Code != "" {
			code = e.Code
		}
		return true
	})
	return code
}

func (e *apiError) position() (line, pos int) {
	e.visit(func(e *apiError) bool {
		if e.Line > 0 {
			line, pos = e.Line, e.Pos
		}
		return true
	})
	return line, pos
}

// has tells whether a code or message inside holds one of the texts.
func (e *apiError) has(texts ...string) bool {
	return !e.visit(func(e *apiError) bool {
		for _, t := range texts {
			if strings.Contains(e.Code, t) || strings.Contains(e.Message, t) {
				return false
			}
		}
		return true
	})
}

var errNoError = errors.New("the refusal does not say why")
