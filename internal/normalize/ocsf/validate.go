package ocsf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Validate says what is wrong with an event; nil if nothing is. It decodes the
// event as a whole, for tests: it is not made to be fast.
func (s *Schema) Validate(event []byte) []error {
	d := json.NewDecoder(bytes.NewReader(event))
	d.UseNumber()
	var e map[string]any
	if err := d.Decode(&e); err != nil {
		return []error{err}
	}
	if _, err := d.Token(); err != io.EOF {
		return []error{fmt.Errorf("something follows the event")}
	}
	v := validator{}
	uid, _ := number(e["class_uid"])
	for _, c := range s.Classes {
		if int64(c.UID) == uid && e["class_uid"] != nil {
			v.class(c, e)
			return v.errs
		}
	}
	return []error{fmt.Errorf("class_uid: there is no class %v", e["class_uid"])}
}

type validator struct {
	errs     []error
	profiles []string
}

func (v *validator) fail(path, format string, a ...any) {
	v.errs = append(v.errs, fmt.Errorf("%s: "+format, append([]any{path}, a...)...))
}

func (v *validator) class(c *Class, e map[string]any) {
	if n, ok := number(e["category_uid"]); !ok || n != int64(c.Category) {
		v.fail("category_uid", "is %v, but class %s is of category %d", e["category_uid"], c.Name, c.Category)
	}
	activity, _ := number(e["activity_id"])
	if n, ok := number(e["type_uid"]); !ok || n != int64(c.UID)*100+activity {
		v.fail("type_uid", "is %v, should be %d", e["type_uid"], int64(c.UID)*100+activity)
	}
	metadata, _ := e["metadata"].(map[string]any)
	profiles, _ := metadata["profiles"].([]any)
	for _, p := range profiles {
		name, _ := p.(string)
		if v.profiles = append(v.profiles, name); !slices.Contains(c.Profiles, name) {
			v.fail("metadata.profiles", "%v is no profile of class %s", p, c.Name)
		}
	}
	v.object(&c.Object, e, "")
}

func (v *validator) object(o *Object, members map[string]any, path string) {
	prefix := path
	if prefix != "" {
		prefix += "."
	}
	for name, value := range members {
		a := o.Attributes[name]
		switch {
		case a == nil:
			v.fail(prefix+name, "is no attribute of %s", o.Name)
		case a.Profile != "" && !slices.Contains(v.profiles, a.Profile):
			v.fail(prefix+name, "belongs to profile %s, which metadata.profiles does not name", a.Profile)
		case a.List:
			list, ok := value.([]any)
			if !ok {
				v.fail(prefix+name, "is no list: %v", value)
			}
			for i, item := range list {
				v.value(a, item, fmt.Sprintf("%s%s[%d]", prefix, name, i))
			}
		default:
			v.value(a, value, prefix+name)
		}
	}
	has := func(name string) bool { _, ok := members[name]; return ok }
	for name, a := range o.Attributes {
		if a.Required && !has(name) {
			v.fail(prefix+name, "is required")
		}
		// An id of a value and its caption belong together.
		if a.Type == EnumID && has(name) {
			id, _ := number(members[name])
			caption := members[Sibling(name)]
			if _, text := caption.(string); !text || id != Other && caption != a.Enum.Captions[int(id)] {
				v.fail(prefix+name, "is %d, but %s is %v", id, Sibling(name), caption)
			}
		}
	}
	if len(o.AnyOf) > 0 && !slices.ContainsFunc(o.AnyOf, has) {
		v.fail(path, "needs one of %s", strings.Join(o.AnyOf, ", "))
	}
	if len(o.OneOf) > 0 {
		n := 0
		for _, name := range o.OneOf {
			if has(name) {
				n++
			}
		}
		if n != 1 {
			v.fail(path, "needs exactly one of %s, has %d", strings.Join(o.OneOf, ", "), n)
		}
	}
}

var (
	macForm      = regexp.MustCompile(`^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$`)
	uuidForm     = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	emailForm    = regexp.MustCompile("^[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]+@[a-zA-Z0-9-]+(\\.[a-zA-Z0-9-]+)+$")
	hostnameForm = regexp.MustCompile(`^[a-zA-Z0-9_*]([a-zA-Z0-9_-]*)(\.[a-zA-Z0-9_-]+)*\.?$`)
)

func (v *validator) value(a *Attribute, value any, path string) {
	if a.Type == JSON && value != nil {
		return
	}
	if a.Type >= AnyObject {
		members, ok := value.(map[string]any)
		if !ok {
			v.fail(path, "is no object: %v", value)
		} else if a.Object != nil {
			v.object(a.Object, members, path)
		}
		return
	}
	ok := false
	switch a.Type {
	case Boolean:
		_, ok = value.(bool)
	case Float:
		n, is := value.(json.Number)
		f, err := n.Float64()
		ok = is && err == nil && !math.IsInf(f, 0)
	case Integer, Port, EnumID, Long, Timestamp:
		var n int64
		n, ok = number(value)
		switch a.Type {
		case Integer:
			ok = ok && n >= math.MinInt32 && n <= math.MaxInt32
		case Port:
			ok = ok && n >= 0 && n <= math.MaxUint16
		case EnumID:
			_, known := a.Enum.Captions[int(n)]
			ok = ok && known
		}
	default:
		var text string
		if text, ok = value.(string); ok {
			ok = isText(a.Type, text)
		}
	}
	if !ok {
		v.fail(path, "is not of its type: %v", value)
	}
}

func isText(t Type, text string) bool {
	switch t {
	case IP:
		ip, err := netip.ParseAddr(text)
		return err == nil && ip.Zone() == "" && len(text) <= 40
	case Subnet:
		_, err := netip.ParsePrefix(text)
		return err == nil
	case MAC:
		return macForm.MatchString(text)
	case UUID:
		return uuidForm.MatchString(text)
	case Email:
		return emailForm.MatchString(text)
	case Hostname:
		return len(text) <= 255 && hostnameForm.MatchString(text)
	case URL:
		_, err := url.Parse(text)
		return err == nil
	}
	return true
}

func number(value any) (int64, bool) {
	n, _ := value.(json.Number)
	i, err := strconv.ParseInt(string(n), 10, 64)
	return i, err == nil
}
