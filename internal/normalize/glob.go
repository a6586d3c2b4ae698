package normalize

import (
	"bytes"
	"strings"
)

// glob is a text in lower case with stars, each of which stands for any
// characters or none: the parts between the stars.
type glob []string

// newGlob returns nil for a text without a star.
func newGlob(s string) glob {
	if !strings.Contains(s, "*") {
		return nil
	}
	return strings.Split(strings.ToLower(s), "*")
}

func (g glob) match(text []byte) bool {
	first, last := g[0], g[len(g)-1]
	if len(text) < len(first)+len(last) || string(text[:len(first)]) != first || string(text[len(text)-len(last):]) != last {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range g[1 : len(g)-1] {
		i := bytes.Index(text, []byte(part))
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}
