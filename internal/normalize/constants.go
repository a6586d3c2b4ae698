package normalize

import (
	"fmt"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// constants.go makes JSON of what tables write out: constants and maps of them.

// literalsOf returns the JSON of a constant: one value, or for a list its elements.
func literalsOf(v yamlValue, list bool) ([][]byte, error) {
	if !list {
		b, err := literal(v)
		return [][]byte{b}, err
	}
	if v.kind != yamlList {
		v = yamlValue{kind: yamlList, items: []yamlValue{v}}
	}
	var out [][]byte
	for _, item := range v.items {
		b, err := literal(item)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func literal(v yamlValue) ([]byte, error) {
	switch v.kind {
	case yamlString:
		return appendString(nil, v.text), nil
	case yamlNumber:
		var x jsonscan.Index
		if n, err := x.Scan([]byte(v.text)); err != nil || n != len(v.text) {
			return nil, fmt.Errorf("%s is not a number of JSON", v.text)
		}
		return []byte(v.text), nil
	case yamlBool:
		return []byte(v.text), nil
	case yamlList:
		out := []byte{'['}
		for i, item := range v.items {
			if i > 0 {
				out = append(out, ',')
			}
			b, err := literal(item)
			if err != nil {
				return nil, err
			}
			out = append(out, b...)
		}
		return append(out, ']'), nil
	}
	return nil, fmt.Errorf("a constant must be a text, a number, true, false or a list of them, is %s", v.kind)
}

func casesOf(v yamlValue, list bool) (*caseTable, error) {
	if v.kind != yamlMap {
		return nil, fmt.Errorf("map must be a map of old to new values, is %s", v.kind)
	}
	t := &caseTable{other: -1}
	for _, m := range v.members {
		literals, err := literalsOf(m.value, list)
		if err != nil {
			return nil, err
		}
		if m.key == "*" {
			t.other = len(t.literals)
		} else if g := newGlob(m.key); g != nil {
			t.globs = append(t.globs, caseGlob{g, int32(len(t.literals))})
		} else {
			t.names.add(strings.ToLower(m.key), int32(len(t.literals)))
		}
		t.literals = append(t.literals, literals)
	}
	return t, nil
}
