package kql

// aggregate is one aggregate function over the rows of a group.
type aggregate struct {
	kind string
	args []bound
	// add takes a row in; done gives what it comes to.
	start func() accumulator
}

type accumulator interface {
	add(values []value)
	done() value
}

type (
	counter struct{ n int64 }
	total   struct {
		kind  string
		f     float64
		i     int64
		count int64
		mean  bool
	}
	extreme struct {
		kind string
		sign int
		best value
		any  bool
	}
	different struct{ seen map[string]bool }
	anyOf     struct {
		v   value
		any bool
	}
)

func (c *counter) add(v []value) {
	if len(v) == 0 || v[0].truth() {
		c.n++
	}
}
func (c *counter) done() value { return longOf(c.n) }

func (t *total) add(v []value) {
	p := v[0].plain()
	if p.null {
		return
	}
	t.count++
	t.i += p.i
	t.f += p.float()
}

func (t *total) done() value {
	switch {
	case t.mean && t.count == 0:
		return nullOf(typeReal)
	case t.mean:
		return realOf(t.f / float64(t.count))
	case t.kind == typeReal:
		return realOf(t.f)
	}
	return value{kind: t.kind, i: t.i}
}

func (e *extreme) add(v []value) {
	if v[0].null {
		return
	}
	if order, ok := compare(v[0], e.best); !e.any || ok && order*e.sign < 0 {
		e.best, e.any = v[0], true
	}
}

func (e *extreme) done() value {
	if !e.any {
		return nullOf(e.kind)
	}
	return e.best
}

func (d *different) add(v []value) { d.seen[v[0].text()] = true }
func (d *different) done() value   { return longOf(int64(len(d.seen))) }

func (a *anyOf) add(v []value) {
	if !a.any {
		a.v, a.any = v[0], true
	}
}
func (a *anyOf) done() value { return a.v }

func (b *binder) aggregate(e expression, s *scope) aggregate {
	c, ok := e.(*call)
	if !ok {
		b.fail(e.offset(), "SEM0001", "summarize: an aggregate such as count() is expected")
	}
	bind := func() []bound {
		if len(c.args) != 1 {
			b.fail(c.offset(), "SEM0219", "%s(): function expects 1 argument", c.name)
		}
		return []bound{b.bind(c.args[0], s)}
	}
	switch c.name {
	case "count":
		return aggregate{typeLong, nil, func() accumulator { return &counter{} }}
	case "countif":
		a := bind()
		b.wantBool(c.args[0], a[0])
		return aggregate{typeLong, a, func() accumulator { return &counter{} }}
	case "sum", "avg":
		a := bind()
		kind, mean := a[0].kind, c.name == "avg"
		if kind == typeDynamic || mean {
			kind = typeReal
		}
		return aggregate{kind, a, func() accumulator { return &total{kind: kind, mean: mean} }}
	case "min", "max":
		a, sign := bind(), 1
		if c.name == "max" {
			sign = -1
		}
		return aggregate{a[0].kind, a, func() accumulator { return &extreme{kind: a[0].kind, sign: sign} }}
	case "dcount":
		return aggregate{typeLong, bind(), func() accumulator { return &different{map[string]bool{}} }}
	case "any", "take_any":
		a := bind()
		return aggregate{a[0].kind, a, func() accumulator { return &anyOf{} }}
	}
	b.fail(c.offset(), "SEM0260", "Unknown aggregate: '%s'", c.name)
	return aggregate{}
}

func (b *binder) summarize(r *rows, s *step) *rows {
	out := &rows{}
	var keys []bound
	for i, a := range s.by {
		v := b.bind(a.value, &r.scope)
		name := a.name
		if c, ok := a.value.(*call); ok && name == "" && len(c.args) > 0 {
			if of, ok := c.args[0].(*column); ok {
				name = of.name // bin(TimeGenerated, 1h)
			}
		}
		if name == "" {
			name = b.nameOf(a, i)
		}
		out.columns = append(out.columns, Column{name, v.kind})
		keys = append(keys, v)
	}
	var aggregates []aggregate
	for _, a := range s.columns {
		g := b.aggregate(a.value, &r.scope)
		name := a.name
		if c, ok := a.value.(*call); ok && name == "" {
			name = c.name + "_"
			if len(c.args) > 0 {
				if of, ok := c.args[0].(*column); ok {
					name += of.name
				}
			}
		}
		out.columns = append(out.columns, Column{name, g.kind})
		aggregates = append(aggregates, g)
	}
	type group struct {
		cells [][]byte
		sums  []accumulator
	}
	out.each = func(yield func(Row) bool) {
		groups := map[string]*group{}
		var order []*group
		find := func(cells [][]byte) *group {
			key := keyOf(cells)
			g := groups[key]
			if g == nil {
				g = &group{cells: cells}
				for _, a := range aggregates {
					g.sums = append(g.sums, a.start())
				}
				groups[key] = g
				order = append(order, g)
			}
			return g
		}
		if len(keys) == 0 {
			find(nil) // there is always one group
		}
		r.each(func(row Row) bool {
			cells := make([][]byte, len(keys))
			for i := range keys {
				cells[i] = keys[i].cell(&row)
			}
			g := find(cells)
			for i, a := range aggregates {
				values := make([]value, len(a.args))
				for n := range a.args {
					values[n] = a.args[n].eval(&row)
				}
				g.sums[i].add(values)
			}
			return true
		})
		for _, g := range order {
			cells := g.cells
			for _, sum := range g.sums {
				cells = append(cells, sum.done().write())
			}
			if !yield(Row{Cells: cells}) {
				return
			}
		}
	}
	return out
}
