package normalize

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// treerule.go compiles rows that pass whole objects on.

func compileTree(spec treeSpec) (*treeRule, error) {
	root := &treeRule{}
	if spec.names != "" {
		n, ok := namings[spec.names]
		if !ok {
			return nil, fmt.Errorf("names: unknown naming %q; the known ones are %s", spec.names, known(namings))
		}
		root.naming = n
	}
	// Shorter paths first, so that a naming reaches what lies below it.
	for _, path := range sortedPaths(spec.namesBelow) {
		n, ok := namings[spec.namesBelow[path]]
		if !ok {
			return nil, fmt.Errorf("names_below: unknown naming %q; the known ones are %s", spec.namesBelow[path], known(namings))
		}
		m, err := root.at(path)
		if err != nil {
			return nil, err
		}
		m.below(root.namingAt(path)).naming = n
	}
	for _, path := range sortedPaths(spec.shape) {
		s, ok := shapes[spec.shape[path]]
		if !ok {
			return nil, fmt.Errorf("shape: unknown shape %q; the known ones are %s", spec.shape[path], known(shapes))
		}
		m, err := root.at(path)
		if err != nil {
			return nil, err
		}
		m.below(root.namingAt(path)).shape = s
	}
	for _, path := range sortedPaths(spec.rename) {
		m, err := root.at(path)
		if err != nil {
			return nil, err
		}
		m.key = memberKey(spec.rename[path])
	}
	for _, path := range spec.omit {
		m, err := root.at(path)
		if err != nil {
			return nil, err
		}
		m.omit = true
	}
	root.setSalt(uint32(len(plainTrees)))
	return root, nil
}

func (t *treeRule) setSalt(salt uint32) {
	t.salt = salt
	for i := range t.members {
		if r := t.members[i].rule; r != nil {
			r.setSalt(salt*31 + uint32(i) + 1)
		}
	}
}

// at returns the member a path leads to, making what is missing on the way.
func (t *treeRule) at(path string) (*treeMember, error) {
	segments, err := parsePath(path)
	if err != nil {
		return nil, fmt.Errorf("path %q: a tree's paths name members below it: %w", path, err)
	}
	if len(segments) == 0 {
		return nil, fmt.Errorf("path %q: a tree's paths name members below it", path)
	}
	for i, s := range segments {
		if s.index != noIndex {
			return nil, fmt.Errorf("path %q: a tree's paths lead through lists without brackets", path)
		}
		m := t.member(s.name)
		if i == len(segments)-1 {
			return m, nil
		}
		t = m.below(t.naming)
	}
	panic("unreachable: the loop returns at the last segment")
}

func (t *treeRule) member(name string) *treeMember {
	i := t.names.find([]byte(name))
	if i < 0 {
		i = int32(len(t.members))
		t.names.add(name, i)
		t.members = append(t.members, treeMember{})
	}
	return &t.members[i]
}

func (m *treeMember) below(n naming) *treeRule {
	if m.rule == nil {
		m.rule = &treeRule{naming: n}
	}
	return m.rule
}

// namingAt returns the naming that holds for the object around a path.
func (t *treeRule) namingAt(path string) naming {
	segments, _ := parsePath(path)
	for _, s := range segments {
		i := t.names.find([]byte(s.name))
		if i < 0 || t.members[i].rule == nil {
			break
		}
		t = t.members[i].rule
	}
	return t.naming
}

func sortedPaths(m map[string]string) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
}
