package ocsf

import (
	"strings"
	"testing"
)

func load(t *testing.T) *Schema {
	t.Helper()
	s, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchema holds what all readers of the table rely on.
func TestSchema(t *testing.T) {
	s := load(t)
	check := func(owner string, o *Object) {
		for name, a := range o.Attributes {
			if a.Type != EnumID {
				continue
			}
			if a.Enum.Captions[Other] == "" {
				t.Errorf("%s.%s: no value %d for others", owner, name, Other)
			}
			if sibling := o.Attributes[Sibling(name)]; sibling == nil || sibling.Type != String {
				t.Errorf("%s.%s: no text attribute %s beside it", owner, name, Sibling(name))
			}
		}
		for _, name := range append(append([]string{}, o.AnyOf...), o.OneOf...) {
			if o.Attributes[name] == nil {
				t.Errorf("%s: needs one of %s, which it does not have", owner, name)
			}
		}
	}
	uids := map[int]string{}
	for name, c := range s.Classes {
		check(name, &c.Object)
		if other := uids[c.UID]; other != "" {
			t.Errorf("%s and %s are both class %d", name, other, c.UID)
		}
		uids[c.UID] = name
		if c.UID/1000 != c.Category || c.CategoryName == "" {
			t.Errorf("%s: class %d, category %d %q", name, c.UID, c.Category, c.CategoryName)
		}
		for _, a := range c.Attributes {
			if p := a.Profile; p != "" && !strings.Contains(strings.Join(c.Profiles, " "), p) {
				t.Errorf("%s.%s: profile %s is none of the class", name, a.Name, p)
			}
		}
	}
	for name, o := range s.Objects {
		check(name, o)
	}
}
