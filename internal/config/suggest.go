package config

import (
	"fmt"
	"strings"
)

// suggest returns a fix for a word that is none of the words allowed: the
// nearest of them if one is near enough to be meant, else otherwise.
func suggest(word string, allowed []string, otherwise string) string {
	word = strings.ToLower(word)
	best, distance := "", 2+min(len(word)/5, 2) // one letter wrong in a short word, three in a long one
	for _, a := range allowed {
		n := editDistance(word, a)
		if len(word) > 2 && len(a) > 2 && (strings.HasPrefix(word, a) || strings.HasPrefix(a, word)) {
			n = min(n, 1)
		}
		if n < distance {
			best, distance = a, n
		}
	}
	if best == "" {
		return otherwise
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// oneOf returns "a", "a or b", "a, b or c".
func oneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// editDistance counts the letters to insert, remove or change to make b of a.
// Words that differ more than a typing mistake are not measured exactly.
func editDistance(a, b string) int {
	const far = 99
	if len(a) > 64 || len(a)-len(b) > 3 || len(b)-len(a) > 3 {
		return far
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
