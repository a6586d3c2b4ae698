package normalize

import (
	"fmt"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// The tables are read into this small tree instead of Go structures, so that
// every error can name its line and an unknown key is one.

type yamlKind uint8

const (
	yamlNull yamlKind = iota
	yamlString
	yamlNumber
	yamlBool
	yamlList
	yamlMap
)

func (k yamlKind) String() string {
	return [...]string{"nothing", "a text", "a number", "true or false", "a list", "a map"}[k]
}

type yamlValue struct {
	line    int
	kind    yamlKind
	text    string // of a scalar, as written
	items   []yamlValue
	members []yamlMember
}

type yamlMember struct {
	line  int
	key   string
	value yamlValue
}

const maxYAMLDepth = 16 // the language nests four levels

// MappingError says what is wrong with a mapping file.
type MappingError struct {
	File string
	Line int
	Rule string // what was found, the rule it breaks and what to write instead
}

func (e *MappingError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Rule) }

func readYAML(file string, data []byte) (root yamlValue, err error) {
	// The parser has panicked on malformed input before; a mistake in a mapping
	// file must be an error like any other.
	defer func() {
		if p := recover(); p != nil {
			err = &MappingError{File: file, Line: 1, Rule: fmt.Sprintf("not YAML: %v", p)}
		}
	}()
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		return root, &MappingError{File: file, Line: lineInBrackets(err.Error()), Rule: "not YAML: " + firstLine(err.Error())}
	}
	switch {
	case len(f.Docs) == 0 || f.Docs[0].Body == nil:
		return root, nil
	case len(f.Docs) > 1:
		return root, &MappingError{File: file, Line: 1, Rule: "holds more than one YAML document; write one"}
	}
	return convertYAML(file, f.Docs[0].Body, 0)
}

func convertYAML(file string, n ast.Node, depth int) (v yamlValue, err error) {
	if n == nil {
		return v, nil
	}
	if token := n.GetToken(); token != nil && token.Position != nil {
		v.line = token.Position.Line
	}
	if depth > maxYAMLDepth {
		return v, &MappingError{File: file, Line: v.line, Rule: fmt.Sprintf("nested deeper than %d", maxYAMLDepth)}
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		v.kind, v.text = yamlString, n.Value
	case *ast.LiteralNode:
		v.kind, v.text = yamlString, n.Value.Value
	case *ast.IntegerNode:
		v.kind, v.text = yamlNumber, fmt.Sprint(n.Value)
	case *ast.FloatNode:
		v.kind, v.text = yamlNumber, strconv.FormatFloat(n.Value, 'g', -1, 64)
	case *ast.BoolNode:
		v.kind, v.text = yamlBool, strconv.FormatBool(n.Value)
	case *ast.SequenceNode:
		v.kind = yamlList
		for _, item := range n.Values {
			w, err := convertYAML(file, item, depth+1)
			if err != nil {
				return v, err
			}
			v.items = append(v.items, w)
		}
	case *ast.MappingNode:
		v.kind = yamlMap
		err = v.addMembers(file, n.Values, depth)
	case *ast.MappingValueNode:
		v.kind = yamlMap
		err = v.addMembers(file, []*ast.MappingValueNode{n}, depth)
	default:
		err = &MappingError{File: file, Line: v.line, Rule: fmt.Sprintf("%s is not supported here; write it out", n.Type())}
	}
	return v, err
}

func (v *yamlValue) addMembers(file string, nodes []*ast.MappingValueNode, depth int) error {
	for _, m := range nodes {
		key, err := convertYAML(file, m.Key, depth+1)
		if err != nil {
			return err
		}
		if key.kind > yamlBool {
			return &MappingError{File: file, Line: key.line, Rule: "a key must be a single text"}
		}
		if key.kind == yamlNull {
			key.text = "null"
		}
		for _, other := range v.members {
			if other.key == key.text {
				return &MappingError{File: file, Line: key.line, Rule: fmt.Sprintf("the key %q stands twice, first in line %d; remove one", key.text, other.line)}
			}
		}
		value, err := convertYAML(file, m.Value, depth+1)
		if err != nil {
			return err
		}
		if value.line == 0 {
			value.line = key.line
		}
		v.members = append(v.members, yamlMember{line: key.line, key: key.text, value: value})
	}
	return nil
}

// lineInBrackets reads the 3 of "[3:14] unexpected key name", the form of the
// parser's messages.
func lineInBrackets(s string) int {
	if len(s) == 0 || s[0] != '[' {
		return 1
	}
	line := 0
	for _, c := range s[1:] {
		if c < '0' || c > '9' {
			break
		}
		line = line*10 + int(c-'0')
	}
	return max(line, 1)
}

func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' {
			return s[:i]
		}
	}
	return s
}
