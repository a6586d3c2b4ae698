package kql

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// rows is a table as it is computed.
type rows struct {
	scope
	each func(yield func(Row) bool)
	// ordered says that they come in the order of ingestion_time().
	ordered bool
	// within is set while only filters stand between these rows and a table, so
	// that a filter by ingestion_time() can be answered by the table.
	within *bounds
}

// bounds of ingestion_time(), from <= t < to.
type bounds struct{ from, to int64 }

// Result is a table that is computed while it is read.
type Result struct {
	Columns []Column
	// Rows yields until yield returns false. It may be called once.
	Rows func(yield func(Row) bool)
}

// Run resolves a query against a database. The error is an *Error.
func (q *Query) Run(db Database, now time.Time) (result *Result, err error) {
	b := &binder{lex: q.lex, db: db, now: now, values: map[string]bound{}, tables: map[string]*pipe{}}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			result, err = nil, e
		}
	}()
	for _, l := range q.lets {
		if c, ok := l.value.(*column); ok { // a name alone: a value or a table
			if _, known := b.values[c.name]; !known {
				b.tables[l.name] = &pipe{source: source{at: c.offset(), name: c.name}}
				continue
			}
		}
		if l.table != nil {
			b.tables[l.name] = l.table
			continue
		}
		v := b.bind(l.value, &scope{})
		if !v.fixed {
			b.fail(l.at, "SEM0100", "let %s: the value must be a scalar", l.name)
		}
		b.values[l.name] = v
	}
	out := b.pipe(q.main)
	return &Result{Columns: out.columns, Rows: out.each}, nil
}

func (b *binder) pipe(p *pipe) *rows {
	if b.depth++; b.depth > maxNested {
		b.fail(p.source.at, "SEM0001", "The query is nested too deep")
	}
	defer func() { b.depth-- }()
	r := b.source(&p.source)
	for i := range p.steps {
		r = b.step(r, &p.steps[i])
	}
	return r
}

func (b *binder) source(s *source) *rows {
	switch {
	case s.inner != nil:
		return b.pipe(s.inner)
	case s.union != nil:
		return b.union(s.union)
	case s.print != nil:
		r := &rows{}
		cells := [][]byte{}
		for i, a := range s.print {
			v := b.bind(a.value, &r.scope)
			name := a.name
			if name == "" {
				name = fmt.Sprintf("print_%d", i)
			}
			r.columns = append(r.columns, Column{name, v.kind})
			cells = append(cells, v.eval(&Row{}).write())
		}
		r.each = func(yield func(Row) bool) { yield(Row{Cells: cells}) }
		return r
	}
	if p, ok := b.tables[s.name]; ok {
		return b.pipe(p)
	}
	t, ok := b.db.Table(s.name)
	if !ok {
		b.fail(s.at, "SEM0100", "'%s' operator: Failed to resolve table or column expression named '%s'", "where", s.name)
	}
	within := &bounds{math.MinInt64, math.MaxInt64}
	return &rows{
		scope: scope{columns: t.Columns()}, ordered: true, within: within,
		each: func(yield func(Row) bool) { t.Rows(within.from, within.to, yield) },
	}
}

func (b *binder) step(r *rows, s *step) *rows {
	switch s.op {
	case "where":
		test := b.bind(s.value, &r.scope)
		b.wantBool(s.value, test)
		if r.within != nil {
			b.narrow(r, s.value)
		}
		return r.with(func(yield func(Row) bool) {
			r.each(func(row Row) bool { return !test.eval(&row).plain().truth() || yield(row) })
		})
	case "extend":
		return b.extend(r, s)
	case "project":
		return b.project(r, s, false)
	case "distinct":
		return b.project(r, s, true)
	case "project-away", "project-keep":
		return b.projectAway(r, s)
	case "take":
		n := b.bind(s.value, &r.scope).eval(&Row{}).i
		return r.with(func(yield func(Row) bool) {
			left := n
			if left <= 0 {
				return
			}
			r.each(func(row Row) bool { left--; return yield(row) && left > 0 })
		}).settled()
	case "sort", "top":
		return b.sort(r, s)
	case "count":
		return &rows{scope: scope{columns: []Column{{"Count", typeLong}}}, each: func(yield func(Row) bool) {
			n := int64(0)
			r.each(func(Row) bool { n++; return true })
			yield(Row{Cells: [][]byte{longOf(n).write()}})
		}}
	case "summarize":
		return b.summarize(r, s)
	case "union":
		rest := b.union(s.union)
		return unite([]*rows{r, rest})
	}
	b.fail(s.at, "SEM0001", "operator %s is not known", s.op)
	return nil
}

// with returns the same columns from other rows.
func (r *rows) with(each func(func(Row) bool)) *rows {
	n := *r
	n.each = each
	return &n
}

// settled ends the time in which filters can be answered by the table.
func (r *rows) settled() *rows {
	r.within = nil
	return r
}

// narrow finds bounds of ingestion_time() in a filter.
func (b *binder) narrow(r *rows, e expression) {
	x, ok := e.(*binary)
	if !ok {
		return
	}
	if x.op == "and" {
		b.narrow(r, x.a)
		b.narrow(r, x.b)
		return
	}
	c, ok := x.a.(*call)
	if !ok || c.name != "ingestion_time" || !slices.Contains(symbols(), x.op) {
		return
	}
	v := b.bind(x.b, &r.scope)
	if !v.fixed || v.kind != typeDatetime {
		return
	}
	at := v.eval(&Row{}).i
	w := r.within
	switch x.op {
	case ">=":
		w.from = max(w.from, at)
	case ">":
		w.from = max(w.from, at+1)
	case "<":
		w.to = min(w.to, at)
	case "<=":
		w.to = min(w.to, at+1)
	case "==":
		w.from, w.to = max(w.from, at), min(w.to, at+1)
	}
}

func (b *binder) extend(r *rows, s *step) *rows {
	out := &rows{scope: scope{columns: slices.Clone(r.columns), taken: map[int]bool{}}, ordered: r.ordered}
	for i := range r.taken {
		out.taken[i] = true
	}
	type target struct {
		index int
		from  bound
	}
	var targets []target
	for i, a := range s.columns {
		v := b.bind(a.value, &r.scope)
		name := b.nameOf(a, i)
		at := out.index(name)
		if at < 0 {
			at = len(out.columns)
			out.columns = append(out.columns, Column{})
		}
		out.columns[at] = Column{name, v.kind}
		out.taken[at] = v.taken
		targets = append(targets, target{at, v})
	}
	width := len(out.columns)
	out.each = func(yield func(Row) bool) {
		r.each(func(row Row) bool {
			cells := make([][]byte, width)
			copy(cells, row.Cells)
			for _, t := range targets {
				cells[t.index] = t.from.cell(&row)
			}
			return yield(Row{cells, row.Ingested})
		})
	}
	return out
}

// nameOf is the column's name where none is given: the source's, or ColumnN.
func (b *binder) nameOf(a assigned, i int) string {
	switch v := a.value.(type) {
	case *column:
		if a.name == "" {
			return v.name
		}
	case *member:
		if a.name == "" && v.nth == nil {
			return v.name
		}
	}
	if a.name != "" {
		return a.name
	}
	return fmt.Sprintf("Column%d", i+1)
}

func (b *binder) project(r *rows, s *step, distinct bool) *rows {
	out := &rows{scope: scope{taken: map[int]bool{}}, ordered: r.ordered && !distinct}
	var from []bound
	for i, a := range s.columns {
		if c, ok := a.value.(*column); ok && c.name == "*" {
			for at, c := range r.columns {
				out.columns = append(out.columns, c)
				from = append(from, bound{kind: c.Type, index: at})
			}
			continue
		}
		v := b.bind(a.value, &r.scope)
		kind := v.kind
		if v.index >= 0 {
			kind = r.columns[v.index].Type
		}
		name := b.nameOf(a, i)
		if out.index(name) >= 0 {
			b.fail(a.value.offset(), "SEM0001", "A column named '%s' stands there twice", name)
		}
		out.taken[len(out.columns)] = v.taken
		out.columns = append(out.columns, Column{name, kind})
		from = append(from, v)
	}
	out.each = func(yield func(Row) bool) {
		seen := map[string]bool{}
		r.each(func(row Row) bool {
			cells := make([][]byte, len(from))
			for i := range from {
				cells[i] = from[i].cell(&row)
			}
			if distinct {
				key := keyOf(cells)
				if seen[key] {
					return true
				}
				seen[key] = true
			}
			return yield(Row{cells, row.Ingested})
		})
	}
	return out
}

func keyOf(cells [][]byte) string {
	var key strings.Builder
	for _, c := range cells {
		key.Write(c)
		key.WriteByte(0)
	}
	return key.String()
}

func (b *binder) projectAway(r *rows, s *step) *rows {
	named := map[string]bool{}
	for _, a := range s.columns {
		c, ok := a.value.(*column)
		if !ok || r.index(c.name) < 0 {
			b.fail(a.value.offset(), "SEM0100", "%s: there is no such column", s.op)
		}
		named[c.name] = true
	}
	keep := step{at: s.at}
	for _, c := range r.columns {
		if named[c.Name] == (s.op == "project-keep") {
			keep.columns = append(keep.columns, assigned{value: &column{at(s.at), c.Name}})
		}
	}
	return b.project(r, &keep, false)
}

func (b *binder) sort(r *rows, s *step) *rows {
	var keys []bound
	for _, a := range s.by {
		keys = append(keys, b.bind(a.value, &r.scope))
	}
	limit := -1
	if s.op == "top" {
		limit = int(b.bind(s.value, &r.scope).eval(&Row{}).i)
	}
	if limit < 0 && len(keys) == 1 && keys[0].taken && !s.desc[0] && r.ordered {
		return r.with(r.each).settled() // it is so already
	}
	out := r.with(func(yield func(Row) bool) {
		type keyed struct {
			row  Row
			keys []value
		}
		var all []keyed
		r.each(func(row Row) bool {
			k := keyed{row, make([]value, len(keys))}
			for i := range keys {
				k.keys[i] = keys[i].eval(&row)
			}
			all = append(all, k)
			return true
		})
		sort.SliceStable(all, func(i, j int) bool {
			for n := range keys {
				order, ok := compare(all[i].keys[n], all[j].keys[n])
				if !ok { // nulls are the smallest
					order = truthNumber(all[j].keys[n].null) - truthNumber(all[i].keys[n].null)
				}
				if order != 0 {
					return order < 0 != s.desc[n]
				}
			}
			return false
		})
		for i := range all {
			if i == limit || !yield(all[i].row) {
				return
			}
		}
	}).settled()
	out.ordered = false
	return out
}

func (b *binder) union(pipes []*pipe) *rows {
	var all []*rows
	for _, p := range pipes {
		all = append(all, b.pipe(p))
	}
	return unite(all)
}

// unite puts tables one behind the other, with all of their columns.
func unite(all []*rows) *rows {
	out := &rows{}
	for _, r := range all {
		for _, c := range r.columns {
			if out.index(c.Name) < 0 {
				out.columns = append(out.columns, c)
			}
		}
	}
	out.each = func(yield func(Row) bool) {
		more := true
		for _, r := range all {
			to := make([]int, len(r.columns))
			for i, c := range r.columns {
				to[i] = out.index(c.Name)
			}
			if more {
				r.each(func(row Row) bool {
					cells := make([][]byte, len(out.columns))
					for i := range to {
						cells[to[i]] = row.cell(i)
					}
					more = yield(Row{cells, row.Ingested})
					return more
				})
			}
		}
	}
	return out
}
