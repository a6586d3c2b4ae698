package graph

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// words are an error in the words of the service.
type words string

func (w words) Error() string { return string(w) }

func says(format string, args ...any) error { return words(fmt.Sprintf(format, args...)) }

// condition decides about an object.
type condition func(*object) bool

// parseFilter reads a $filter of a resource. An error is what Graph would say.
func parseFilter(r *resource, text string) (condition, error) {
	p := &filterParser{resource: r, text: text}
	c, err := p.any()
	if err != nil {
		return nil, err
	}
	if p.skip(); p.at < len(p.text) {
		return nil, says("Syntax error at position %d in '%s'.", p.at, text)
	}
	return c, nil
}

type filterParser struct {
	resource *resource
	text     string
	at       int
}

func (p *filterParser) skip() {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
}

func (p *filterParser) fail(format string, args ...any) error {
	return says("Invalid filter clause: "+format, args...)
}

// word takes a name, an operator or a literal without quotes.
func (p *filterParser) word() string {
	p.skip()
	from := p.at
	for p.at < len(p.text) && !strings.ContainsRune(" (),'", rune(p.text[p.at])) {
		p.at++
	}
	return p.text[from:p.at]
}

func (p *filterParser) take(symbol string) bool {
	p.skip()
	if strings.HasPrefix(p.text[p.at:], symbol) {
		p.at += len(symbol)
		return true
	}
	return false
}

// keyword takes a word if it is the next one.
func (p *filterParser) keyword(word string) bool {
	before := p.at
	if p.word() == word {
		return true
	}
	p.at = before
	return false
}

func (p *filterParser) any() (condition, error) {
	left, err := p.all()
	for err == nil && p.keyword("or") {
		var right condition
		first := left
		right, err = p.all()
		left = func(o *object) bool { return first(o) || right(o) }
	}
	return left, err
}

func (p *filterParser) all() (condition, error) {
	left, err := p.one()
	for err == nil && p.keyword("and") {
		var right condition
		first := left
		right, err = p.one()
		left = func(o *object) bool { return first(o) && right(o) }
	}
	return left, err
}

func (p *filterParser) one() (condition, error) {
	if p.take("(") {
		c, err := p.any()
		if err == nil && !p.take(")") {
			err = p.fail("')' expected at position %d.", p.at)
		}
		return c, err
	}
	name := p.word()
	switch {
	case strings.EqualFold(name, "startswith"), strings.EqualFold(name, "contains"):
		return p.call(strings.ToLower(name))
	case strings.HasSuffix(name, "/any"):
		return p.anyOf(strings.TrimSuffix(name, "/any"))
	case name == "":
		return nil, p.fail("a condition was expected at position %d.", p.at)
	}
	return p.comparison(name)
}

// literal takes a value: a string, or what stands without quotes. Enumerations
// may carry their type: microsoft.graph.riskState'atRisk'.
func (p *filterParser) literal() (value string, quoted bool, err error) {
	word := p.word()
	if p.at >= len(p.text) || p.text[p.at] != '\'' {
		if word == "" {
			err = p.fail("a value was expected at position %d.", p.at)
		}
		return word, false, err
	}
	var b strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		if p.text[p.at] != '\'' {
			b.WriteByte(p.text[p.at])
			continue
		}
		if p.at++; p.at < len(p.text) && p.text[p.at] == '\'' {
			b.WriteByte('\'')
			continue
		}
		return b.String(), true, nil
	}
	return "", true, p.fail("there is an unterminated string literal at position %d.", p.at)
}

func (p *filterParser) allowed(member, operator string) error {
	allowed, known := p.resource.filters[member]
	if p.resource.timeIndex(member) >= 0 {
		allowed, known = p.resource.operators, true
	}
	if !known {
		return p.fail("Could not find a property named '%s' on type '%s'.", member, p.resource.kind)
	}
	if !slices.Contains(allowed, operator) {
		return p.fail("The operator '%s' is not supported for '%s'.", operator, member)
	}
	return nil
}

func (p *filterParser) call(function string) (condition, error) {
	if !p.take("(") {
		return nil, p.fail("'(' expected at position %d.", p.at)
	}
	member := p.word()
	if !p.take(",") {
		return nil, p.fail("',' expected at position %d.", p.at)
	}
	value, quoted, err := p.literal()
	switch {
	case err != nil:
		return nil, err
	case !quoted || !p.take(")"):
		return nil, p.fail("No function signature for the function with name '%s' matches the specified arguments.", function)
	}
	if err := p.allowed(member, function); err != nil {
		return nil, err
	}
	value = strings.ToLower(value)
	return func(o *object) bool {
		text, ok := o.member(member).(string)
		text = strings.ToLower(text)
		if function == "contains" {
			return ok && strings.Contains(text, value)
		}
		return ok && strings.HasPrefix(text, value)
	}, nil
}

// anyOf reads the rest of "member/any(t: t eq 'value')".
func (p *filterParser) anyOf(member string) (condition, error) {
	if !p.take("(") {
		return nil, p.fail("'(' expected at position %d.", p.at)
	}
	variable, found := strings.CutSuffix(p.word(), ":")
	if !found && !p.take(":") {
		return nil, p.fail("':' expected at position %d.", p.at)
	}
	if name := p.word(); name != variable {
		return nil, p.fail("Could not find a property named '%s' on type 'Edm.String'.", name)
	}
	if operator := p.word(); operator != "eq" {
		return nil, p.fail("The operator '%s' is not supported for '%s'.", operator, member)
	}
	value, quoted, err := p.literal()
	switch {
	case err != nil:
		return nil, err
	case !quoted || !p.take(")"):
		return nil, p.fail("')' expected at position %d.", p.at)
	}
	if err := p.allowed(member, "any"); err != nil {
		return nil, err
	}
	return func(o *object) bool {
		list, _ := o.member(member).([]any)
		return slices.Contains(list, any(value))
	}, nil
}

func (p *filterParser) comparison(member string) (condition, error) {
	operator := p.word()
	value, quoted, err := p.literal()
	if err != nil {
		return nil, err
	}
	if err := p.allowed(member, operator); err != nil {
		return nil, err
	}
	if i := p.resource.timeIndex(member); i >= 0 {
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil || quoted {
			return nil, p.fail("A binary operator with incompatible types was detected. Found operand types 'Edm.DateTimeOffset' and 'Edm.String' for operator kind '%s'.", operator)
		}
		// Azure's clock counts in steps of 100 ns.
		limit := ticks(at)
		return func(o *object) bool {
			switch at := o.times[i]; operator {
			case "eq":
				return at == limit
			case "ge":
				return at >= limit
			case "gt":
				return at > limit
			case "le":
				return at <= limit
			default:
				return at < limit
			}
		}, nil
	}
	return func(o *object) bool { return equals(o.member(member), value, quoted) }, nil
}

func equals(have any, want string, quoted bool) bool {
	switch have := have.(type) {
	case string:
		return quoted && strings.EqualFold(have, want)
	case bool:
		return !quoted && strconv.FormatBool(have) == want
	case json.Number:
		return !quoted && have.String() == want
	default:
		return !quoted && want == "null"
	}
}
