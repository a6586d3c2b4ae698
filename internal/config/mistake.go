package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mistake is a Problem with the place in the document where it stands.
type Mistake struct {
	File         string
	Line, Column int // both from 1; the value's, or where a missing key belongs
	Problem          // Path is from the root, e.g. "routes[0].from"
}

func (m Mistake) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", m.File, m.Line, m.Column)
	if m.Path != "" {
		b.WriteString(m.Path)
		b.WriteString(": ")
	}
	b.WriteString(m.Rule)
	if m.Fix != "" {
		b.WriteString("; fix: ")
		b.WriteString(m.Fix)
	}
	return lineBreaks.Replace(b.String())
}

// lineBreaks keeps a message that quotes a value with line breaks on one line.
var lineBreaks = strings.NewReplacer("\n", `\n`, "\r", `\r`)

// Errors is every mistake of a document, ordered by line.
type Errors struct {
	Mistakes []Mistake
}

// Error returns one line for each mistake.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

func sortMistakes(ms []Mistake) {
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
}

// redactor takes values that must not be shown out of messages. Components
// quote the values they refuse, and a value may come from a secret.
type redactor struct {
	hidden []hiddenText
}

type hiddenText struct {
	text, shown string
}

// shortText is the length below which a value is only hidden where it stands
// in quotes, since it may be part of any word.
const shortText = 8

// hide registers text, which messages show as shown.
func (r *redactor) hide(text, shown string) {
	if text != "" && text != shown {
		r.hidden = append(r.hidden, hiddenText{text, shown})
	}
}

// hideSecret registers a secret and, since components may quote a part of it,
// the values inside a connection string or a signed URL.
func (r *redactor) hideSecret(text string) {
	r.hide(text, redacted)
	for _, part := range strings.FieldsFunc(text, func(c rune) bool { return c == ';' || c == '&' || c == '?' }) {
		if name, value, ok := strings.Cut(part, "="); ok && secretName.MatchString(name) {
			r.hide(value, redacted)
		}
	}
}

// secretName matches names of what must not be shown, e.g. SharedAccessKey,
// AccountKey, SharedAccessSignature, sig, client_secret.
var secretName = regexp.MustCompile(`(?i)(key|sig|signature|secret|password|token)$`)

// replacer takes every hidden text out of a message in one pass; where one
// hidden text begins another, the longer goes.
func (r *redactor) replacer() *strings.Replacer {
	var pairs []hiddenText
	for _, h := range r.hidden {
		quoted := strconv.Quote(h.text)
		pairs = append(pairs, hiddenText{quoted, h.shown})
		if len(h.text) >= shortText {
			pairs = append(pairs, hiddenText{quoted[1 : len(quoted)-1], h.shown}, h)
		}
	}
	slices.SortStableFunc(pairs, func(a, b hiddenText) int { return len(b.text) - len(a.text) })
	flat := make([]string, 0, 2*len(pairs))
	for _, p := range pairs {
		flat = append(flat, p.text, p.shown)
	}
	return strings.NewReplacer(flat...)
}
