package ocsf

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

// Type is the form of an attribute's value.
type Type uint8

// The types there are.
const (
	String Type = iota // any text; also of file paths
	Integer
	Long
	Float
	Boolean
	Timestamp // milliseconds since 1970
	Port
	UUID
	Subnet
	IP
	MAC
	Hostname
	URL
	Email
	Username
	FileName
	FileHash
	ProcessName
	ResourceUID
	EnumID    // the number of a value of an Enum
	JSON      // any value
	AnyObject // an object with any members
	ObjectOf  // the object that the attribute names
)

var typesByName = map[string]Type{
	"string": String, "file_path": String, "integer": Integer, "long": Long, "float": Float, "boolean": Boolean,
	"timestamp": Timestamp, "port": Port, "uuid": UUID, "subnet": Subnet, "ip": IP, "mac": MAC, "hostname": Hostname,
	"url_string": URL, "email": Email, "username": Username, "file_name": FileName, "file_hash": FileHash,
	"process_name": ProcessName, "resource_uid": ResourceUID, "enum": EnumID, "json": JSON, "object": AnyObject,
}

// IsText says whether values of the type are JSON strings.
func (t Type) IsText() bool { return t == String || t >= UUID && t <= ResourceUID }

// Schema is the classes and objects. It is immutable.
type Schema struct {
	Version string
	Classes map[string]*Class
	Objects map[string]*Object
}

// Class is a kind of event.
type Class struct {
	Object
	Caption      string // "API Activity"
	UID          int
	Category     int
	CategoryName string
	Profiles     []string // those it can be extended by
}

// Object is a set of attributes and what must be there of them.
type Object struct {
	Name       string // "api_activity", "network_endpoint"
	Attributes map[string]*Attribute
	AnyOf      []string // at least one of these
	OneOf      []string // exactly one of these
}

// Attribute is a member of an object.
type Attribute struct {
	Name     string
	Type     Type
	Object   *Object // of ObjectOf
	Enum     *Enum   // of EnumID
	List     bool
	Required bool
	Profile  string // the profile it belongs to, "" if to none
	// Observable is the kind of observable its values are listed as, "" if
	// they are not.
	Observable string
}

// Enum is the values of an attribute. The first is 0 as a rule, and 99 means
// one that the schema does not know.
type Enum struct{ Captions map[int]string }

// Other is the id of a value that an enum does not have.
const Other = 99

// ID returns the id of a caption, compared without case.
func (e *Enum) ID(caption string) (id int, ok bool) {
	for id, c := range e.Captions {
		if strings.EqualFold(c, caption) {
			return id, true
		}
	}
	return 0, false
}

// List returns the captions in the order of their ids.
func (e *Enum) List() string {
	var ids []int
	for id := range e.Captions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	captions := make([]string, len(ids))
	for i, id := range ids {
		captions[i] = e.Captions[id]
	}
	return strings.Join(captions, ", ")
}

// Sibling returns the name of the attribute that holds the caption of an
// attribute with an id: status of status_id, activity_name of activity_id.
func Sibling(name string) string {
	if name == "activity_id" {
		return "activity_name"
	}
	return strings.TrimSuffix(name, "_id")
}

//go:embed schema.yaml
var source []byte

// Load returns the schema. It fails only if schema.yaml is wrong, which a test
// would have shown.
var Load = sync.OnceValues(func() (*Schema, error) { return parse(source) })

type objectSource struct {
	UID        int               `yaml:"uid"`
	Name       string            `yaml:"name"`
	Category   int               `yaml:"category"`
	Profiles   []string          `yaml:"profiles"`
	AnyOf      []string          `yaml:"any_of"`
	OneOf      []string          `yaml:"one_of"`
	Attributes map[string]string `yaml:"attributes"`
}

type schemaSource struct {
	Version    string                    `yaml:"version"`
	Types      map[string]string         `yaml:"types"`
	Categories map[int]string            `yaml:"categories"`
	Enums      map[string]map[int]string `yaml:"enums"`
	Base       map[string]string         `yaml:"base"`
	Classes    map[string]objectSource   `yaml:"classes"`
	Objects    map[string]objectSource   `yaml:"objects"`
}

func parse(data []byte) (*Schema, error) {
	var src schemaSource
	if err := yaml.UnmarshalWithOptions(data, &src, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read the OCSF schema: %w", err)
	}
	s := &Schema{Version: src.Version, Classes: map[string]*Class{}, Objects: map[string]*Object{}}
	for name, o := range src.Objects {
		s.Objects[name] = &Object{Name: name, Attributes: map[string]*Attribute{}, AnyOf: o.AnyOf, OneOf: o.OneOf}
	}
	for name, o := range src.Objects {
		if err := s.fill(&src, s.Objects[name], name, o.Attributes); err != nil {
			return nil, err
		}
	}
	for name, o := range src.Classes {
		c := &Class{
			Object:  Object{Name: name, Attributes: map[string]*Attribute{}, AnyOf: o.AnyOf, OneOf: o.OneOf},
			Caption: o.Name, UID: o.UID, Category: o.Category, CategoryName: src.Categories[o.Category], Profiles: o.Profiles,
		}
		if err := s.fill(&src, &c.Object, "base", src.Base); err != nil {
			return nil, err
		}
		if err := s.fill(&src, &c.Object, name, o.Attributes); err != nil {
			return nil, err
		}
		s.Classes[name] = c
	}
	return s, nil
}

// fill adds attributes to an object; owner is where their enums are looked for.
func (s *Schema) fill(src *schemaSource, o *Object, owner string, attributes map[string]string) error {
	for name, spec := range attributes {
		words := strings.Fields(spec)
		if len(words) == 0 {
			return fmt.Errorf("read the OCSF schema: attribute %s.%s has no type", o.Name, name)
		}
		a := &Attribute{Name: name}
		for _, w := range words[:len(words)-1] {
			switch w {
			case "required":
				a.Required = true
			case "list":
				a.List = true
			default:
				a.Profile = w
			}
		}
		typeName := words[len(words)-1]
		if t, ok := typesByName[typeName]; ok {
			a.Type, a.Observable = t, src.Types[typeName]
		} else if object := s.Objects[typeName]; object != nil {
			a.Type, a.Object = ObjectOf, object
		} else {
			return fmt.Errorf("read the OCSF schema: attribute %s.%s: there is no type or object %q", o.Name, name, typeName)
		}
		if a.Type == EnumID {
			captions, ok := src.Enums[owner+"."+name]
			if !ok {
				captions, ok = src.Enums[name]
			}
			if !ok {
				return fmt.Errorf("read the OCSF schema: attribute %s.%s: there is no enum %[1]s.%[2]s or %[2]s", owner, name)
			}
			a.Enum = &Enum{Captions: captions}
		}
		o.Attributes[name] = a
	}
	return nil
}
