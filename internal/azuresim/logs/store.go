package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/logs/kql"
)

// table is a table of the workspace.
type table struct {
	mu      sync.Mutex
	columns []kql.Column   // guarded by mu; only grows
	index   map[string]int // guarded by mu
	rows    []stored       // by ingested; guarded by mu; copied before it is changed but at its end
	bytes   int64          // guarded by mu
}

type stored struct {
	kql.Row
	visible int64
	size    int64
}

// Object is a row as an object: names of columns and their values, in order.
type object []member

type member struct {
	name  string
	value json.RawMessage
}

func newTable() *table { return &table{index: map[string]int{}} }

// standardTable is one that every workspace has, also while it is empty.
func standardTable() *table {
	t := newTable()
	for _, c := range []kql.Column{{Name: "TenantId", Type: "string"}, {Name: "TimeGenerated", Type: "datetime"}, {Name: "Type", Type: "string"}} {
		t.index[c.Name] = len(t.columns)
		t.columns = append(t.columns, c)
	}
	return t
}

// put adds a row that was taken in at ingested and is visible from visible on.
// keep is how many bytes the table holds; zero: all.
func (t *table) put(o object, ingested, visible time.Time, keep int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	cells := make([][]byte, len(t.columns), len(t.columns)+4)
	size := int64(0)
	for _, m := range o {
		if len(m.value) == 0 || string(m.value) == "null" {
			continue
		}
		i, known := t.index[m.name]
		if !known {
			i = len(t.columns)
			t.columns = append(t.columns, kql.Column{Name: m.name, Type: typeOf(m.name, m.value)})
			t.index[m.name] = i
			cells = append(cells, nil)
		}
		cells[i] = cellOf(t.columns[i].Type, m.value)
		size += int64(len(cells[i])) + 24
	}
	row := stored{kql.Row{Cells: cells, Ingested: kql.Ticks(ingested)}, kql.Ticks(visible), size}
	at := len(t.rows)
	if at > 0 && t.rows[at-1].Ingested > row.Ingested {
		at = sort.Search(at, func(i int) bool { return t.rows[i].Ingested > row.Ingested })
		t.rows = slices.Insert(slices.Clone(t.rows), at, row)
	} else {
		t.rows = append(t.rows, row)
	}
	t.bytes += size
	for keep > 0 && t.bytes > keep && len(t.rows) > 1 {
		t.bytes -= t.rows[0].size
		t.rows = t.rows[1:]
	}
}

// snapshot is the table as it is visible at one moment.
type snapshot struct {
	columns []kql.Column
	rows    []stored
	now     int64
}

func (t *table) at(now time.Time) *snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &snapshot{slices.Clone(t.columns), t.rows, kql.Ticks(now)}
}

// Columns implements kql.Table.
func (s *snapshot) Columns() []kql.Column { return s.columns }

// Rows implements kql.Table.
func (s *snapshot) Rows(from, to int64, yield func(kql.Row) bool) {
	first := sort.Search(len(s.rows), func(i int) bool { return s.rows[i].Ingested >= from })
	for i := first; i < len(s.rows) && s.rows[i].Ingested < to; i++ {
		if s.rows[i].visible <= s.now && !yield(s.rows[i].Row) {
			return
		}
	}
}

// typeOf gives a column its type by its name, or by its first value.
func typeOf(name string, v json.RawMessage) string {
	switch {
	case name == "TimeGenerated" || strings.HasSuffix(name, "DateTime") || name == "EventSubmissionTimestamp":
		return "datetime"
	case name == "DurationMs" || strings.HasSuffix(name, "Milliseconds"):
		return "long"
	case name == "Level" || name == "ResultType" || name == "ResultSignature":
		return "string"
	case strings.HasSuffix(name, "_d") && v[0] != '"' && v[0] != '{' && v[0] != '[':
		return "real"
	}
	switch v[0] {
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	case '{', '[':
		return "dynamic"
	}
	if _, err := strconv.ParseInt(string(v), 10, 64); err == nil {
		return "long"
	}
	return "real"
}

// cellOf writes a value as a column of that type holds it.
func cellOf(kind string, v json.RawMessage) []byte {
	text := string(v)
	if v[0] == '"' {
		if json.Unmarshal(v, &text) != nil {
			return nil
		}
	}
	switch kind {
	case "string":
		if v[0] == '"' {
			return slices.Clone(v)
		}
		return quote(text)
	case "dynamic":
		if v[0] == '"' {
			return slices.Clone(v) // a dynamic text is given as it is
		}
		return quote(compact(v))
	case "datetime":
		for _, layout := range []string{time.RFC3339Nano, "1/2/2006 3:04:05 PM", "01/02/2006 15:04:05", "2006-01-02T15:04:05.999999999"} {
			if t, err := time.Parse(layout, text); err == nil {
				return quote(t.UTC().Format("2006-01-02T15:04:05.9999999Z"))
			}
		}
		return nil
	case "long":
		if _, err := strconv.ParseInt(text, 10, 64); err == nil {
			return []byte(text)
		}
		return nil
	case "bool":
		if text = strings.ToLower(text); text == "true" || text == "false" {
			return []byte(text)
		}
		return nil
	default:
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return []byte(text)
		}
		return nil
	}
}

func compact(v json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return string(v)
	}
	return b.String()
}

func quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// parseObject reads an object with its members in their order.
func parseObject(data []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("a row must be an object, not %.60q (%w)", data, err)
	}
	var o object
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: fmt.Sprint(t)}
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		o = append(o, m)
	}
	return o, nil
}

// get returns a member's value, or nil.
func (o object) get(name string) json.RawMessage {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// text returns a member that is a text.
func (o object) text(name string) string {
	var s string
	_ = json.Unmarshal(o.get(name), &s) // "" if it is none
	return s
}

// inner returns a member that is an object.
func (o object) inner(name string) object {
	in, _ := parseObject(o.get(name)) // empty if it is none
	return in
}
