package kql

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is a mistake in a query.
type Error struct {
	Code      string // "SYN0002", "SEM0100" ...
	Message   string
	Line, Pos int    // from 1 and 0; zero line: not known
	Token     string // what stands there
}

func (e *Error) Error() string { return e.Message }

// Syntax tells mistakes of form from those of meaning.
func (e *Error) Syntax() bool { return strings.HasPrefix(e.Code, "SYN") }

type kind int

const (
	end kind = iota
	name
	number   // 12, 1.5
	timespan // 1d, 30m, 10s, 5ms, 2tick
	text     // its value is unquoted
	datetime // datetime(...) with its raw argument
	dynamic  // dynamic(...) with its raw argument
	symbol
)

type token struct {
	kind kind
	text string
	at   int // byte offset
}

type lexer struct {
	src string
	at  int
}

func (l *lexer) position(at int) (line, pos int) {
	before := l.src[:min(at, len(l.src))]
	line = 1 + strings.Count(before, "\n")
	return line, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

func (l *lexer) fail(at int, token string) *Error {
	line, pos := l.position(at)
	if token == "" {
		return &Error{Code: "SYN0001", Message: fmt.Sprintf("Query could not be parsed at end of query on line [%d,%d]", line, pos), Line: line, Pos: pos}
	}
	return &Error{
		Code: "SYN0002", Message: fmt.Sprintf("Query could not be parsed at '%s' on line [%d,%d]", token, line, pos),
		Line: line, Pos: pos, Token: token,
	}
}

func isLetter(c byte) bool {
	return c == '_' || c == '$' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// tokens cuts the whole query.
func (l *lexer) tokens() ([]token, *Error) {
	var all []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		all = append(all, t)
		if t.kind == end {
			return all, nil
		}
		if len(all) > maxTokens {
			return nil, &Error{Code: "SYN0003", Message: "Query is too long"}
		}
	}
}

const (
	maxTokens = 20_000
	maxNested = 200
)

func (l *lexer) next() (token, *Error) {
	l.blank()
	begin := l.at
	if l.at >= len(l.src) {
		return token{end, "", begin}, nil
	}
	c := l.src[l.at]
	switch {
	case c == '"' || c == '\'':
		return l.quoted(begin, c, true)
	case (c == '@' || c == 'h' || c == 'H') && l.at+1 < len(l.src) && (l.src[l.at+1] == '"' || l.src[l.at+1] == '\''):
		l.at++
		return l.quoted(begin, l.src[l.at], c != '@')
	case isLetter(c):
		for l.at < len(l.src) && (isLetter(l.src[l.at]) || isDigit(l.src[l.at]) || l.src[l.at] == '-' && l.dashed(begin)) {
			l.at++
		}
		word := l.src[begin:l.at]
		if word == "datetime" || word == "dynamic" || word == "timespan" || word == "guid" {
			return l.raw(begin, word)
		}
		return token{name, word, begin}, nil
	case isDigit(c):
		return l.number(begin)
	}
	for _, two := range []string{"==", "!=", "=~", "!~", "<=", ">=", ".."} {
		if strings.HasPrefix(l.src[l.at:], two) {
			l.at += 2
			return token{symbol, two, begin}, nil
		}
	}
	if strings.IndexByte("|(),=<>+-*/%;[].:!{}~", c) < 0 {
		_, size := utf8.DecodeRuneInString(l.src[l.at:])
		return token{}, l.fail(begin, l.src[begin:begin+size])
	}
	l.at++
	return token{symbol, string(c), begin}, nil
}

// dashed tells the operators with a dash in their names from a difference.
func (l *lexer) dashed(begin int) bool {
	return strings.HasPrefix(l.src[begin:], "project-away") || strings.HasPrefix(l.src[begin:], "project-keep")
}

func (l *lexer) blank() {
	for l.at < len(l.src) {
		switch c := l.src[l.at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			l.at++
		case strings.HasPrefix(l.src[l.at:], "//"):
			line := strings.IndexByte(l.src[l.at:], '\n')
			if line < 0 {
				l.at = len(l.src)
				return
			}
			l.at += line
		default:
			return
		}
	}
}

func (l *lexer) quoted(begin int, quote byte, escapes bool) (token, *Error) {
	l.at++
	var b strings.Builder
	for l.at < len(l.src) {
		c := l.src[l.at]
		l.at++
		switch {
		case c == quote && !escapes && l.at < len(l.src) && l.src[l.at] == quote:
			b.WriteByte(quote)
			l.at++
		case c == quote:
			return token{text, b.String(), begin}, nil
		case c == '\n':
			return token{}, l.fail(begin, l.src[begin:min(begin+20, l.at-1)])
		case c == '\\' && escapes && l.at < len(l.src):
			e := l.src[l.at]
			l.at++
			switch e {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			default:
				b.WriteByte(e)
			}
		default:
			b.WriteByte(c)
		}
	}
	return token{}, l.fail(len(l.src), "")
}

// raw reads datetime(2026-01-31T00:00:00Z), whose argument is no expression;
// datetime("...") and dynamic([...]) too. Without parentheses it is a name.
func (l *lexer) raw(begin int, word string) (token, *Error) {
	l.blank()
	if l.at >= len(l.src) || l.src[l.at] != '(' {
		return token{name, word, begin}, nil
	}
	depth, quote := 0, byte(0)
	from := l.at + 1
	for ; l.at < len(l.src); l.at++ {
		switch c := l.src[l.at]; {
		case quote != 0:
			if c == '\\' {
				l.at++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				argument := strings.TrimSpace(l.src[from:l.at])
				l.at++
				switch word {
				case "dynamic":
					return token{dynamic, argument, begin}, nil
				case "datetime":
					return token{datetime, strings.Trim(argument, `"'`), begin}, nil
				case "guid":
					return token{text, strings.Trim(argument, `"'`), begin}, nil
				default:
					return token{timespan, strings.Trim(argument, `"'`), begin}, nil
				}
			}
		}
	}
	return token{}, l.fail(len(l.src), "")
}

func (l *lexer) number(begin int) (token, *Error) {
	for l.at < len(l.src) && isDigit(l.src[l.at]) {
		l.at++
	}
	if l.at+1 < len(l.src) && l.src[l.at] == '.' && isDigit(l.src[l.at+1]) {
		l.at++
		for l.at < len(l.src) && isDigit(l.src[l.at]) {
			l.at++
		}
	}
	digits := l.at
	for l.at < len(l.src) && isLetter(l.src[l.at]) {
		l.at++
	}
	switch unit := l.src[digits:l.at]; unit {
	case "":
		return token{number, l.src[begin:l.at], begin}, nil
	case "d", "h", "m", "s", "ms", "microsecond", "tick", "ticks", "min", "minute", "minutes", "hour", "hours", "day", "days", "second", "seconds", "sec":
		return token{timespan, l.src[begin:l.at], begin}, nil
	}
	return token{}, l.fail(begin, l.src[begin:l.at])
}
