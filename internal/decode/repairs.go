package decode

import "strings"

// Repair is a set of malformations that were mended.
type Repair uint8

// What is mended. All of these were seen in what Azure sends, or in what
// collectors in between make of it.
const (
	// SingleQuotes: strings in single quotes, as the logs of Function Apps in
	// storage hold them.
	SingleQuotes Repair = 1 << iota
	// UnquotedName: member names without quotes.
	UnquotedName
	// TrailingComma: a comma before a closing bracket.
	TrailingComma
	// RawControl: line feeds, tabs, NUL and the like as they are in a string.
	RawControl
	// InvalidEscape: a backslash before what needs none; it is taken literally.
	InvalidEscape
	// CutTail: the record ends in the middle. What was open has been closed, and
	// an unfinished number, word or name dropped: the last string may be shorter
	// than it was.
	CutTail
	// InvalidUTF8: bytes that are not UTF-8 in strings. They are still there; who
	// writes them replaces them.
	InvalidUTF8
	// StringEncoded: the record was inside a JSON string.
	StringEncoded
)

// String returns the names of the repairs in r, separated by commas, or "".
func (r Repair) String() string {
	var names []string
	for i, name := range [...]string{
		"single_quotes", "unquoted_name", "trailing_comma", "raw_control",
		"invalid_escape", "cut_tail", "invalid_utf8", "string_encoded",
	} {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}
