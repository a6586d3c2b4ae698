// Package redact takes what is private out of events before they leave: members
// are removed, or their values replaced by a keyed hash, under which equal
// values can still be found and counted.
//
// It works on the bytes of an indexed document and copies what it does not
// touch. Everything at a path is meant: a path that leads through a list leads
// through each of its elements, one that ends at an object or list covers all
// values in it.
package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// Rules say what is private. Paths are of members, separated by dots; a name
// that has dots itself stands in single quotes: claims.'http://x.y/upn'.
type Rules struct {
	Remove []string
	Hash   []string
	Key    string // of the hash; required with Hash
}

// HashPrefix marks a hashed value.
const HashPrefix = "hmac:"

// hashBytes is how much of HMAC-SHA256 is kept: 128 bits make an accidental
// meeting of two values impossible in practice.
const hashBytes = 16

// Program is a set of compiled rules. It is immutable and safe for concurrent use.
type Program struct {
	root *node
	key  []byte
}

// node is a step of the paths; the same member may be named by several.
type node struct {
	members map[string]*node
	action  action
}

type action uint8

const (
	keep action = iota
	hashed
	removed
)

// Compile compiles rules. The error names the path and what is wrong with it.
func Compile(r Rules) (*Program, error) {
	if len(r.Hash) > 0 && r.Key == "" {
		return nil, errors.New("hash needs a key: without one, who knows an address can find its hash")
	}
	p := &Program{root: &node{}, key: []byte(r.Key)}
	for _, paths := range []struct {
		list []string
		do   action
	}{{r.Hash, hashed}, {r.Remove, removed}} {
		for _, path := range paths.list {
			names, err := Path(path)
			if err != nil {
				return nil, err
			}
			at := p.root
			for _, name := range names {
				if at.members == nil {
					at.members = map[string]*node{}
				}
				if at.members[name] == nil {
					at.members[name] = &node{}
				}
				at = at.members[name]
			}
			at.action = max(at.action, paths.do)
		}
	}
	return p, nil
}

// Path splits a path into names.
func Path(path string) (names []string, err error) {
	for rest := path; ; {
		var name string
		if quoted, ok := strings.CutPrefix(rest, "'"); ok {
			name, rest, ok = strings.Cut(quoted, "'")
			if !ok {
				return nil, fmt.Errorf("path %q: a quote is not closed", path)
			}
			if rest != "" && rest[0] != '.' {
				return nil, fmt.Errorf("path %q: after a quoted name a dot must stand, or the end", path)
			}
		} else {
			end := strings.IndexByte(rest, '.')
			if end < 0 {
				end = len(rest)
			}
			name, rest = rest[:end], rest[end:]
		}
		if name == "" {
			return nil, fmt.Errorf("path %q: a name is empty", path)
		}
		if strings.ContainsAny(name, "[]*") && !strings.Contains(path, "'") {
			return nil, fmt.Errorf("path %q: lists need no brackets, a path leads through all their elements", path)
		}
		names = append(names, name)
		if rest == "" {
			return names, nil
		}
		rest = rest[1:]
	}
}

// Worker is the scratch memory of one goroutine for one Program.
type Worker struct {
	p    *Program
	mac  hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// Worker returns new scratch memory.
func (p *Program) Worker() *Worker { return &Worker{p: p, mac: hmac.New(sha256.New, p.key)} }

// Append appends the document in x, as far as it is not private, to dst.
func (w *Worker) Append(dst []byte, x *jsonscan.Index) []byte {
	if len(x.Nodes) == 0 {
		return dst
	}
	return w.append(dst, x, 0, w.p.root, keep)
}

// append appends value n. at is the step of the paths that leads here, or nil;
// do is what a path further up says.
func (w *Worker) append(dst []byte, x *jsonscan.Index, n int, at *node, do action) []byte {
	if at == nil && do == keep {
		return append(dst, x.Value(n)...)
	}
	switch x.Nodes[n].Kind {
	case jsonscan.Object:
		dst = append(dst, '{')
		first := true
		for c := range x.Children(n) {
			next, act := w.step(x, c, at, do)
			if act == removed {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(append(append(dst, '"'), x.Key(c)...), '"', ':')
			dst = w.append(dst, x, c, next, act)
		}
		return append(dst, '}')
	case jsonscan.Array:
		dst = append(dst, '[')
		first := true
		for c := range x.Children(n) {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = w.append(dst, x, c, at, do)
		}
		return append(dst, ']')
	case jsonscan.Null:
		return append(dst, "null"...)
	}
	if do != hashed {
		return append(dst, x.Value(n)...)
	}
	return w.appendHash(dst, x, n)
}

// step returns where member c leads, and what is to be done with it.
func (w *Worker) step(x *jsonscan.Index, c int, at *node, do action) (*node, action) {
	if at == nil || at.members == nil {
		return nil, do
	}
	key := x.Key(c)
	if x.Nodes[c].Flags&(jsonscan.KeyEscaped|jsonscan.KeyNotUTF8) != 0 {
		w.text = jsonscan.AppendUnescaped(w.text[:0], key)
		key = w.text
	}
	next := at.members[string(key)]
	if next == nil {
		return nil, do
	}
	return next, max(do, next.action)
}

// appendHash appends the hash of a value, text by its content, so that it does
// not depend on how it is escaped.
func (w *Worker) appendHash(dst []byte, x *jsonscan.Index, n int) []byte {
	w.text = w.text[:0]
	if x.Nodes[n].Kind == jsonscan.String {
		w.text = x.AppendText(w.text, n)
	} else {
		w.text = append(w.text, x.Value(n)...)
	}
	w.mac.Reset()
	w.mac.Write(w.text)
	sum := w.mac.Sum(w.sum[:0])
	dst = append(append(dst, '"'), HashPrefix...)
	dst = hex.AppendEncode(dst, sum[:hashBytes])
	return append(dst, '"')
}
