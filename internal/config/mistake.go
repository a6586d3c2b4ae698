package config

import (
	"fmt"
	"regexp"
	"sort"
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
	sort.SliceStable(ms, func(i, j int) bool {
		if ms[i].Line != ms[j].Line {
			return ms[i].Line < ms[j].Line
		}
		return ms[i].Column < ms[j].Column
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

// clean returns the problem without any hidden text. The longest texts go
// first, so that no rest of one stays when another is part of it.
func (r *redactor) clean(p Problem) Problem {
	sort.SliceStable(r.hidden, func(i, j int) bool { return len(r.hidden[i].text) > len(r.hidden[j].text) })
	for _, h := range r.hidden {
		p.Rule, p.Fix = h.replace(p.Rule), h.replace(p.Fix)
	}
	return p
}

func (h hiddenText) replace(message string) string {
	quoted := strconv.Quote(h.text)
	message = strings.ReplaceAll(message, quoted, h.shown)
	if len(h.text) < shortText {
		return message
	}
	message = strings.ReplaceAll(message, quoted[1:len(quoted)-1], h.shown)
	return strings.ReplaceAll(message, h.text, h.shown)
}
