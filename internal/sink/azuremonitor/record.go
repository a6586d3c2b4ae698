package azuremonitor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// timeForm is RFC 3339 in UTC with the 100 nanoseconds that a datetime of Azure's
// can hold.
const timeForm = "2006-01-02T15:04:05.9999999Z"

const timeColumn = "TimeGenerated"

// column is one column of a row and where its value stands.
type column struct {
	name    string
	special string   // "" or one of specials
	path    []string // of members, from the document
}

func specials() []string {
	return []string{"$document", "$text", "$id", "$log_type", "$schema", "$source", "$tenant", "$tenant_id"}
}

func compileColumn(name, from string) (column, error) {
	if strings.HasPrefix(from, "$") {
		if !slices.Contains(specials(), from) {
			return column{}, fmt.Errorf("is %q, which does not exist", from)
		}
		return column{name: name, special: from}, nil
	}
	path := strings.Split(from, ".")
	if slices.Contains(path, "") {
		return column{}, fmt.Errorf("is %q, not a path", from)
	}
	return column{name: name, path: path}, nil
}

func compileColumns(from map[string]string) ([]column, error) {
	var out []column
	for _, name := range slices.Sorted(maps.Keys(from)) {
		c, err := compileColumn(name, from[name])
		if err != nil {
			return nil, fmt.Errorf("columns.%s %w", name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// record is one row as it is sent: head, then tail, which is a part of the
// event's own bytes.
type record struct {
	index      int // of the event in its batch
	at         time.Time
	head, tail []byte
}

func (r *record) size() int { return len(r.head) + len(r.tail) }

// former makes records of events. It is the scratch memory of one delivery: what
// it returned is valid until reset.
type former struct {
	columns  []column
	maxField int
	truncate bool
	now      func() time.Time

	index jsonscan.Index
	arena []byte
	text  []byte
	cut   int    // texts cut since reset
	over  int    // objects and arrays over the limit since reset, which Azure cuts
	last  string // the column of the last of them
}

func (f *former) reset() {
	f.arena = f.arena[:0]
	f.cut, f.over, f.last = 0, 0, ""
}

// form returns the record of an event, or why Azure cannot take it.
func (f *former) form(i int, e *event.Event) (record, error) {
	r := record{index: i, at: e.Time.UTC()}
	if e.Time.IsZero() {
		r.at = f.now().UTC()
	}
	start := len(f.arena)
	var err error
	switch {
	case len(f.columns) > 0:
		err = f.row(&r, e)
	case len(e.Data) > f.maxField || mayHaveTime(e.Data) || len(e.Data) < 2 || e.Data[0] != '{':
		err = f.document(&r, e)
	default:
		f.open(r.at)
		r.tail = e.Data[1:]
		if e.Data[1] != '}' {
			f.arena = append(f.arena, ',')
		}
	}
	// The arena may move while it grows; the part of a record that is in the old
	// one stays as it was.
	r.head = f.arena[start:len(f.arena):len(f.arena)]
	return r, err
}

// mayHaveTime tells whether a member of a document may be called TimeGenerated.
// It looks for the G, of which there are a third as many as of the T.
func mayHaveTime(doc []byte) bool {
	const name, rare = timeColumn + `"`, len("Time")
	for i := rare; i < len(doc); i++ {
		n := bytes.IndexByte(doc[i:], name[rare])
		if n < 0 {
			return false
		}
		if i += n; bytes.HasPrefix(doc[i-rare:], []byte(name)) {
			return true
		}
	}
	return false
}

// open begins a row with its time.
func (f *former) open(at time.Time) {
	f.arena = append(f.arena, `{"`+timeColumn+`":"`...)
	f.arena = at.AppendFormat(f.arena, timeForm)
	f.arena = append(f.arena, '"')
}

// document copies the document member by member: one of them is over the limit,
// or it has a TimeGenerated of its own, which stays if it is a time.
func (f *former) document(r *record, e *event.Event) error {
	if _, err := f.index.Scan(e.Data); err != nil || f.index.Nodes[0].Kind != jsonscan.Object {
		f.open(r.at)
		f.arena = append(f.arena, `,"RawData":`...)
		if err := f.quoted("RawData", e.Data); err != nil {
			return err
		}
		f.arena = append(f.arena, '}')
		return nil
	}
	if own := f.index.Member(0, timeColumn); own >= 0 && f.index.Nodes[own].Kind == jsonscan.String {
		if at, err := time.Parse(time.RFC3339, string(f.index.Text(own))); err == nil {
			r.at = at.UTC()
		}
	}
	f.open(r.at)
	for i := range f.index.Children(0) {
		if string(f.index.Key(i)) == timeColumn {
			continue
		}
		f.arena = append(f.arena, ',', '"')
		f.arena = append(f.arena, f.index.Key(i)...)
		f.arena = append(f.arena, '"', ':')
		if err := f.value(string(f.index.Key(i)), i); err != nil {
			return err
		}
	}
	f.arena = append(f.arena, '}')
	return nil
}

// row makes a row of columns.
func (f *former) row(r *record, e *event.Event) error {
	_, err := f.index.Scan(e.Data)
	isDocument := err == nil
	f.open(r.at)
	for i := range f.columns {
		c := &f.columns[i]
		node := -1
		if isDocument && (c.special == "" || c.special == "$document") {
			if node = f.find(c.path); node < 0 {
				continue
			}
		} else if c.special == "" || c.special == "$document" {
			continue
		}
		f.arena = append(f.arena, `,"`...)
		f.arena = append(f.arena, c.name...) // validated: needs no escaping
		f.arena = append(f.arena, `":`...)
		var err error
		if node >= 0 {
			err = f.value(c.name, node)
		} else {
			err = f.quoted(c.name, special(c.special, e))
		}
		if err != nil {
			return err
		}
	}
	f.arena = append(f.arena, '}')
	return nil
}

func special(name string, e *event.Event) []byte {
	origin := e.Origin
	if origin == nil {
		origin = &event.Origin{}
	}
	switch name {
	case "$text":
		return e.Data
	case "$id":
		return []byte(e.ID)
	case "$log_type":
		return []byte(e.LogType)
	case "$schema":
		return []byte(e.Schema)
	case "$source":
		return []byte(origin.Source)
	case "$tenant":
		return []byte(origin.Tenant)
	default:
		return []byte(origin.TenantID)
	}
}

// find returns the node at a path, or -1.
func (f *former) find(path []string) int {
	node := 0
	for _, name := range path {
		if f.index.Nodes[node].Kind != jsonscan.Object {
			return -1
		}
		if node = f.index.Member(node, name); node < 0 {
			return -1
		}
	}
	return node
}

// value appends a value as it stands, or cut to what a column holds.
func (f *former) value(name string, node int) error {
	value := f.index.Value(node)
	if len(value) <= f.maxField {
		f.arena = append(f.arena, value...)
		return nil
	}
	if f.index.Nodes[node].Kind == jsonscan.String {
		f.text = jsonscan.AppendUnescaped(f.text[:0], f.index.Text(node))
		if len(f.text) <= f.maxField {
			f.arena = append(f.arena, value...)
			return nil
		}
		return f.quoted(name, f.text)
	}
	if !f.truncate {
		return fmt.Errorf("the value of column %q has %d bytes, more than max_field (%d)", name, len(value), f.maxField)
	}
	f.over++
	f.last = strings.Clone(name)
	f.arena = append(f.arena, value...)
	return nil
}

// quoted appends a text, cut to what a column holds.
func (f *former) quoted(name string, text []byte) error {
	if len(text) > f.maxField {
		if !f.truncate {
			return fmt.Errorf("the text of column %q has %d bytes, more than max_field (%d)", name, len(text), f.maxField)
		}
		f.cut++
		f.last = strings.Clone(name)
		end := f.maxField
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	f.arena = append(f.arena, '"')
	f.arena = jsonscan.AppendEscaped(f.arena, text)
	f.arena = append(f.arena, '"')
	return nil
}

// errorCode reads the code of an error of Azure's; "" if there is none.
func errorCode(body []byte) string {
	var answer struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	return answer.Error.Code
}
