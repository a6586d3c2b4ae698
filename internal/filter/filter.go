package filter

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// Error is a mistake in an expression.
type Error struct {
	Column  int // from 1, in characters
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Message) }

// Program is a compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	text    string
	program *vm.Program
	fields  []field
	event   bool
}

// field is a path into one of the two documents.
type field struct {
	document int
	path     []step
}

const (
	recordDocument = iota
	eventDocument
)

// step leads from a value into it: to a member, or, if name is "", to an element.
type step struct {
	name    string
	element int
}

// Event is what an expression is about.
type Event struct {
	ID, LogType, Source, Tenant, TenantID string

	Record Document // the record as Azure wrote it, JSON in its strings expanded
	Event  Document // the normalized event; read only if NeedsEvent
}

// Document is an indexed JSON value.
type Document struct {
	Index *jsonscan.Index
	Node  int
}

// scope is what the names in an expression stand for.
type scope struct {
	ID       string         `expr:"id"`
	LogType  string         `expr:"log_type"`
	Source   string         `expr:"source"`
	Tenant   string         `expr:"tenant"`
	TenantID string         `expr:"tenant_id"`
	Record   map[string]any `expr:"record"` // replaced by calls of Field when compiled
	Event    map[string]any `expr:"event"`

	Field func(args ...any) any `expr:"__field"`
}

// MaxLength bounds an expression, in bytes.
const MaxLength = 16 << 10

// Compile compiles an expression. The error is an *Error.
func Compile(text string) (*Program, error) {
	if len(text) > MaxLength {
		return nil, &Error{1, fmt.Sprintf("the expression has %d bytes; it may have %d", len(text), MaxLength)}
	}
	options := []expr.Option{expr.Env(scope{}), expr.DisableAllBuiltins(), expr.MaxNodes(2000)}
	for _, name := range []string{"all", "any", "none", "one", "count", "len"} {
		options = append(options, expr.EnableBuiltin(name))
	}
	for _, f := range functions() {
		options = append(options, expr.Function(f.name, f.call, f.signature))
	}
	// The first time for its mistakes: the forgiving functions take anything.
	plain, err := expr.Compile(text, options...)
	if err != nil {
		return nil, mistake(err)
	}
	if t := plain.Node().Type(); !unknown(plain.Node()) && t.Kind() != reflect.Bool {
		return nil, &Error{1, fmt.Sprintf("the expression gives %v, it must give true or false", t)}
	}
	c := &compiler{program: &Program{text: text}}
	program, err := expr.Compile(text, append(options, expr.Patch(c))...)
	if c.err != nil {
		return nil, c.err
	}
	if err != nil {
		return nil, mistake(err)
	}
	c.program.program = program
	return c.program, nil
}

// mistake says an error of the library's in our words.
func mistake(err error) *Error {
	var at *file.Error
	if !errors.As(err, &at) {
		return &Error{1, err.Error()}
	}
	message, _, _ := strings.Cut(at.Message, "\n")
	if message == "unexpected token EOF" {
		message = "the expression ends too early"
	}
	return &Error{at.Column + 1, message}
}

// NeedsEvent tells whether the expression reads the normalized event.
func (p *Program) NeedsEvent() bool { return p.event }

// String returns the expression's text.
func (p *Program) String() string { return p.text }

// Evaluator is the scratch memory of one goroutine for one Program.
type Evaluator struct {
	program *Program
	machine vm.VM
	scope   scope
	current *Event
}

// Evaluator returns new scratch memory.
func (p *Program) Evaluator() *Evaluator {
	e := &Evaluator{program: p}
	e.scope.Field = func(args ...any) any {
		f := &p.fields[args[0].(int)]
		d := e.current.Record
		if f.document == eventDocument {
			d = e.current.Event
		}
		return d.at(f.path)
	}
	return e
}

// Match evaluates the expression. An error, which arithmetic on what is no
// number can cause, says that there is no answer.
func (e *Evaluator) Match(in *Event) (bool, error) {
	e.current = in
	s := &e.scope
	s.ID, s.LogType, s.Source, s.Tenant, s.TenantID = in.ID, in.LogType, in.Source, in.Tenant, in.TenantID
	out, err := e.machine.Run(e.program.program, s)
	e.current = nil
	if err != nil {
		return false, mistake(err)
	}
	return equal(out, true), nil
}

// compiler rewrites an expression while it is compiled: fields become calls of
// Field, and operators on values whose type only the record decides become calls
// of the forgiving functions.
type compiler struct {
	program *Program
	err     *Error
}

// loose are the operators and the functions that stand in for them.
var loose = map[string]string{
	"==": "__eq", "!=": "__ne", "<": "__lt", "<=": "__le", ">": "__gt", ">=": "__ge", "in": "__in",
	"contains": "__contains", "startsWith": "__starts", "endsWith": "__ends", "matches": "__matches",
}

// Visit implements ast.Visitor; children are visited before their parents.
func (c *compiler) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		switch {
		case strings.HasPrefix(n.Value, "__"): // what Visit puts there is not visited
			c.fail(n, "unknown name "+n.Value)
		case n.Value == "record" || n.Value == "event":
			c.field(node, n.Value, nil)
		}
	case *ast.MemberNode:
		c.member(node, n)
	case *ast.ChainNode: // a?.b: every step is forgiving anyway
		if _, ok := c.path(n.Node); ok {
			*node = n.Node
		}
	case *ast.BinaryNode:
		c.binary(node, n)
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			n.Node = c.truth(n.Node)
		}
	case *ast.ConditionalNode:
		n.Cond = c.truth(n.Cond)
	case *ast.BuiltinNode:
		if len(n.Arguments) > 0 && n.Name != "len" && unknown(n.Arguments[0]) {
			n.Arguments[0] = c.call(n.Arguments[0], "__list", n.Arguments[0])
		}
		if len(n.Arguments) > 0 && n.Name == "len" && unknown(n.Arguments[0]) {
			ast.Patch(node, c.call(n, "__len", n.Arguments[0]))
		}
	case *ast.PredicateNode:
		n.Node = c.truth(n.Node)
	}
}

func (c *compiler) member(node *ast.Node, n *ast.MemberNode) {
	document, path, ok := c.documentPath(n.Node)
	if !ok {
		return
	}
	var next step
	switch p := n.Property.(type) {
	case *ast.StringNode:
		next.name = p.Value
	case *ast.IntegerNode:
		next.element = p.Value
	default:
		c.fail(n.Property, "the name of a field must be written out, it cannot be computed")
		return
	}
	if next.name == "" && next.element < 0 {
		c.fail(n.Property, "elements are counted from 0")
		return
	}
	name := "record"
	if document == eventDocument {
		name = "event"
	}
	c.field(node, name, append(append([]step(nil), path...), next))
}

// field replaces node by a call that returns the value at path.
func (c *compiler) field(node *ast.Node, document string, path []step) {
	f := field{document: recordDocument, path: path}
	if document == "event" {
		f.document = eventDocument
		c.program.event = true
	}
	c.program.fields = append(c.program.fields, f)
	ast.Patch(node, c.call(*node, "__field", &ast.IntegerNode{Value: len(c.program.fields) - 1}))
	(*node).SetType(anyType)
}

// documentPath returns the path of a node that field has put there.
func (c *compiler) documentPath(n ast.Node) (document int, path []step, ok bool) {
	if chain, is := n.(*ast.ChainNode); is {
		n = chain.Node
	}
	f, ok := c.path(n)
	if !ok {
		return 0, nil, false
	}
	return f.document, f.path, true
}

func (c *compiler) path(n ast.Node) (field, bool) {
	call, ok := n.(*ast.CallNode)
	if !ok {
		return field{}, false
	}
	callee, ok := call.Callee.(*ast.IdentifierNode)
	if !ok || callee.Value != "__field" {
		return field{}, false
	}
	slot, ok := call.Arguments[0].(*ast.IntegerNode)
	if !ok || slot.Value >= len(c.program.fields) {
		return field{}, false
	}
	return c.program.fields[slot.Value], true
}

func (c *compiler) binary(node *ast.Node, n *ast.BinaryNode) {
	switch n.Operator {
	case "and", "&&", "or", "||":
		n.Left, n.Right = c.truth(n.Left), c.truth(n.Right)
		return
	case "matches":
		c.matches(node, n)
		return
	}
	if name, ok := loose[n.Operator]; ok && (unknown(n.Left) || unknown(n.Right)) {
		ast.Patch(node, c.call(n, name, n.Left, n.Right))
		(*node).SetType(boolType)
	}
}

// matches compiles the pattern, which must be a constant: one that a record
// holds would let the record decide what it costs.
func (c *compiler) matches(node *ast.Node, n *ast.BinaryNode) {
	pattern, ok := n.Right.(*ast.StringNode)
	if !ok {
		c.fail(n.Right, "the pattern of matches must be written out as text")
		return
	}
	compiled, err := regexp.Compile(pattern.Value)
	if err != nil {
		c.fail(n.Right, fmt.Sprintf("the pattern is no regular expression: %v", err))
		return
	}
	ast.Patch(node, c.call(n, loose["matches"], n.Left, &ast.ConstantNode{Value: compiled}))
	(*node).SetType(boolType)
}

// truth makes a bool of a value of which only the record decides what it is.
func (c *compiler) truth(n ast.Node) ast.Node {
	if !unknown(n) {
		return n
	}
	call := c.call(n, "__true", n)
	call.SetType(boolType)
	return call
}

func (c *compiler) call(at ast.Node, name string, arguments ...ast.Node) ast.Node {
	callee := &ast.IdentifierNode{Value: name}
	callee.SetLocation(at.Location())
	n := &ast.CallNode{Callee: callee, Arguments: arguments}
	n.SetLocation(at.Location())
	return n
}

func (c *compiler) fail(at ast.Node, message string) {
	if c.err == nil {
		c.err = &Error{at.Location().From + 1, message}
	}
}
