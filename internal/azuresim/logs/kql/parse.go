package kql

import (
	"slices"
	"strings"
)

// Query is a query that was parsed.
type Query struct {
	lex  *lexer
	lets []let
	main *pipe
}

// let names a value or a table.
type let struct {
	name  string
	at    int
	value expression // or
	table *pipe
}

// pipe is a table and what is done with it.
type pipe struct {
	source source
	steps  []step
}

// source is where rows come from: one of its fields.
type source struct {
	at    int
	name  string
	inner *pipe
	union []*pipe
	print []assigned
}

type step struct {
	at      int
	op      string
	columns []assigned // project, extend, summarize, distinct, project-away
	by      []assigned // summarize, sort, top
	desc    []bool     // sort, top: by column
	value   expression // where, take, top
	union   []*pipe
}

// assigned is an expression with the name of its column.
type assigned struct {
	name  string // "" if none is given
	value expression
}

type expression interface{ offset() int }

type at int

func (a at) offset() int { return int(a) }

type (
	literal struct {
		at
		value value
	}
	column struct {
		at
		name string
	}
	call struct {
		at
		name string
		args []expression
	}
	binary struct {
		at
		op   string
		a, b expression
	}
	unary struct {
		at
		op string
		a  expression
	}
	// among is in, between and their negations.
	among struct {
		at
		op   string
		a    expression
		list []expression
	}
	member struct {
		at
		of   expression
		name string     // .name or ["name"]
		nth  expression // [0]
	}
)

type parser struct {
	lex    *lexer
	tokens []token
	at     int
	nested int
}

// Parse reads a query. The error is an *Error.
func Parse(src string) (*Query, error) {
	l := &lexer{src: src}
	tokens, err := l.tokens()
	if err != nil {
		return nil, err
	}
	p := &parser{lex: l, tokens: tokens}
	q := &Query{lex: l}
	failed := p.run(func() {
		for p.is("let") {
			q.lets = append(q.lets, p.let())
		}
		q.main = p.pipe()
		p.take(";")
		if p.peek().kind != end {
			p.unexpected()
		}
	})
	if failed != nil {
		return nil, failed
	}
	return q, nil
}

// run catches the parser's way out.
func (p *parser) run(f func()) (failed *Error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			failed = e
		}
	}()
	f()
	return nil
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) advance() token {
	t := p.tokens[p.at]
	if t.kind != end {
		p.at++
	}
	return t
}

func (p *parser) unexpected() {
	t := p.peek()
	word := t.text
	if t.kind == text {
		word = "'" + word + "'"
	}
	if t.kind == end {
		word = ""
	} else if word == "" {
		word = "''"
	}
	panic(p.lex.fail(t.at, word))
}

func (p *parser) is(word string) bool {
	t := p.peek()
	return (t.kind == name || t.kind == symbol) && t.text == word
}

func (p *parser) take(word string) bool {
	if p.is(word) {
		p.at++
		return true
	}
	return false
}

func (p *parser) want(word string) {
	if !p.take(word) {
		p.unexpected()
	}
}

func (p *parser) deeper() func() {
	if p.nested++; p.nested > maxNested {
		panic(&Error{Code: "SYN0004", Message: "Query is nested too deep"})
	}
	return func() { p.nested-- }
}

// identifier reads a name, also ['any name'].
func (p *parser) identifier() string {
	t := p.peek()
	if t.kind == name {
		p.at++
		return t.text
	}
	if p.is("[") && p.tokens[p.at+1].kind == text {
		p.at++
		word := p.advance().text
		p.want("]")
		return word
	}
	p.unexpected()
	return ""
}

func (p *parser) let() let {
	p.want("let")
	l := let{at: p.peek().at, name: p.identifier()}
	p.want("=")
	// A table is told by its operators, or by its name, which is not resolved yet:
	// a name alone may be either.
	before := p.at
	if failed := p.run(func() {
		l.value = p.expression()
		if !p.is(";") {
			p.unexpected()
		}
	}); failed != nil {
		p.at, l.value, p.nested = before, nil, 0
		l.table = p.pipe()
	}
	p.want(";")
	return l
}

func (p *parser) pipe() *pipe {
	defer p.deeper()()
	q := &pipe{source: p.source()}
	for p.take("|") {
		q.steps = append(q.steps, p.step())
	}
	return q
}

func (p *parser) source() source {
	s := source{at: p.peek().at}
	switch {
	case p.take("("):
		s.inner = p.pipe()
		p.want(")")
	case p.take("union"):
		s.union = p.unionOf()
	case p.take("print"):
		s.print = p.assignedList()
	default:
		s.name = p.identifier()
		if s.name == "table" && p.take("(") { // table("Name")
			if p.peek().kind != text {
				p.unexpected()
			}
			s.name = p.advance().text
			p.want(")")
		}
	}
	return s
}

func (p *parser) unionOf() (all []*pipe) {
	for p.is("kind") || p.is("isfuzzy") || p.is("withsource") {
		p.at++
		p.want("=")
		p.advance()
	}
	for {
		if p.take("(") {
			all = append(all, p.pipe())
			p.want(")")
		} else {
			all = append(all, &pipe{source: source{at: p.peek().at, name: p.identifier()}})
		}
		if !p.take(",") {
			return all
		}
	}
}

func (p *parser) step() step {
	s := step{at: p.peek().at}
	t := p.peek()
	if t.kind != name {
		p.unexpected()
	}
	s.op = t.text
	p.at++
	switch s.op {
	case "where", "filter":
		s.op, s.value = "where", p.expression()
	case "project", "extend", "distinct", "project-away", "project-keep":
		s.columns = p.assignedList()
	case "take", "limit":
		s.op, s.value = "take", p.expression()
	case "sort", "order":
		s.op = "sort"
		p.want("by")
		p.sorting(&s)
	case "top":
		s.value = p.expression()
		p.want("by")
		p.sorting(&s)
	case "summarize":
		if !p.is("by") {
			s.columns = p.assignedList()
		}
		if p.take("by") {
			s.by = p.assignedList()
		}
	case "count":
	case "union":
		s.union = p.unionOf()
	default:
		p.at--
		p.unexpected()
	}
	return s
}

func (p *parser) sorting(s *step) {
	for {
		s.by = append(s.by, assigned{value: p.expression()})
		switch {
		case p.take("asc"):
			s.desc = append(s.desc, false)
		default:
			p.take("desc")
			s.desc = append(s.desc, true)
		}
		if p.take("nulls") && !p.take("first") {
			p.want("last")
		}
		if !p.take(",") {
			return
		}
	}
}

func (p *parser) assignedList() (list []assigned) {
	for {
		var a assigned
		if (p.peek().kind == name || p.is("[")) && p.assignment() {
			a.name = p.identifier()
			p.want("=")
		}
		a.value = p.expression()
		list = append(list, a)
		if !p.take(",") {
			return list
		}
	}
}

// assignment tells whether a name and "=" follow.
func (p *parser) assignment() bool {
	after := p.at + 1
	if p.is("[") {
		after = p.at + 3
	}
	return after < len(p.tokens) && p.tokens[after].kind == symbol && p.tokens[after].text == "="
}

func (p *parser) expression() expression {
	defer p.deeper()()
	a := p.conjunction()
	for p.is("or") {
		t := p.advance()
		a = &binary{at(t.at), "or", a, p.conjunction()}
	}
	return a
}

func (p *parser) conjunction() expression {
	a := p.comparison()
	for p.is("and") {
		t := p.advance()
		a = &binary{at(t.at), "and", a, p.comparison()}
	}
	return a
}

// symbols are the comparisons that are not words.
func symbols() []string { return []string{"==", "!=", "=~", "!~", "<", "<=", ">", ">="} }

// comparisons by word; each but between has a negation with "!" in front.
const words = " has has_cs contains contains_cs startswith endswith "

func (p *parser) comparison() expression {
	a := p.sum()
	t := p.peek()
	op, negated := t.text, false
	if t.kind == symbol && op == "!" && p.tokens[p.at+1].kind == name && p.tokens[p.at+1].at == t.at+1 {
		op, negated = p.tokens[p.at+1].text, true
	}
	skip := func() {
		p.at++
		if negated {
			p.at++
		}
	}
	var out expression
	switch {
	case t.kind == symbol && !negated && slices.Contains(symbols(), op):
		p.at++
		return &binary{at(t.at), op, a, p.sum()}
	case t.kind != name && !negated:
		return a
	case strings.Contains(words, " "+op+" "):
		skip()
		out = &binary{at(t.at), op, a, p.sum()}
	case op == "in":
		skip()
		if p.take("~") {
			op = "in~"
		}
		p.want("(")
		list := []expression{}
		for !p.is(")") {
			list = append(list, p.expression())
			if !p.take(",") {
				break
			}
		}
		p.want(")")
		out = &among{at(t.at), op, a, list}
	case op == "between":
		skip()
		p.want("(")
		low := p.sum()
		p.want("..")
		high := p.sum()
		p.want(")")
		out = &among{at(t.at), op, a, []expression{low, high}}
	case op == "has_any":
		skip()
		p.want("(")
		list := []expression{}
		for !p.is(")") {
			list = append(list, p.expression())
			if !p.take(",") {
				break
			}
		}
		p.want(")")
		out = &among{at(t.at), op, a, list}
	default:
		if negated {
			p.unexpected()
		}
		return a
	}
	if negated {
		return &unary{at(t.at), "not", out}
	}
	return out
}

func (p *parser) sum() expression {
	a := p.product()
	for p.is("+") || p.is("-") {
		t := p.advance()
		a = &binary{at(t.at), t.text, a, p.product()}
	}
	return a
}

func (p *parser) product() expression {
	a := p.primary()
	for p.is("*") || p.is("/") || p.is("%") {
		t := p.advance()
		a = &binary{at(t.at), t.text, a, p.primary()}
	}
	return a
}

func (p *parser) primary() expression {
	defer p.deeper()()
	t := p.peek()
	var e expression
	switch {
	case t.kind == symbol && t.text == "-":
		p.at++
		return &unary{at(t.at), "-", p.primary()}
	case t.kind == symbol && t.text == "(":
		p.at++
		e = p.expression()
		p.want(")")
	case t.kind == symbol && t.text == "*" && p.tokens[p.at+1].kind == symbol && p.tokens[p.at+1].text == ")":
		p.at++ // count(*)
		return &column{at(t.at), "*"}
	case t.kind == name && p.tokens[p.at+1].kind == symbol && p.tokens[p.at+1].text == "(":
		p.at += 2
		c := &call{at: at(t.at), name: t.text}
		for !p.is(")") {
			c.args = append(c.args, p.expression())
			if !p.take(",") {
				break
			}
		}
		p.want(")")
		e = c
	case t.kind == name && (t.text == "true" || t.text == "false"):
		p.at++
		return &literal{at(t.at), boolOf(t.text == "true")}
	case t.kind == name && t.text == "by": // never a column here
		p.unexpected()
	case t.kind == name, t.kind == symbol && t.text == "[":
		e = &column{at(t.at), p.identifier()}
	case t.kind == end, t.kind == symbol:
		p.unexpected()
	default:
		p.at++
		v, ok := literalOf(t)
		if !ok {
			p.at--
			p.unexpected()
		}
		e = &literal{at(t.at), v}
	}
	for {
		t := p.peek()
		switch {
		case p.take("."):
			e = &member{at: at(t.at), of: e, name: p.identifier()}
		case p.take("["):
			if p.peek().kind == text {
				e = &member{at: at(t.at), of: e, name: p.advance().text}
			} else {
				e = &member{at: at(t.at), of: e, nth: p.expression()}
			}
			p.want("]")
		default:
			return e
		}
	}
}
