package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

var (
	optionName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

	// secretOption matches options that must be of type Secret.
	secretOption = regexp.MustCompile(`(secret|password|passphrase|token|connection_string|_key|_sas)$`)
)

// Check reports what is wrong with the settings structs of a catalog: options
// without a sentence, names that collide, bounds that are none, defaults that
// break their own rule, secrets that are not a Secret. It is for the test of
// the component table, since nothing a user writes can cause it.
func (c Catalog) Check() error {
	var all []error
	for _, d := range describeCatalog(c) {
		if d.kinds == nil {
			all = append(all, checkOption(d, d.name)...)
		}
		for _, k := range d.kinds {
			path := d.name + "." + k.kind
			if !optionName.MatchString(k.kind) {
				all = append(all, fmt.Errorf("%s: the kind must be lower_snake", path))
			}
			own := append(slices.Clone(k.options), k.delivery...)
			seen := map[string]bool{"type": true}
			for _, o := range own {
				if seen[o.name] {
					all = append(all, fmt.Errorf("%s.%s: the name is taken", path, o.name))
				}
				seen[o.name] = true
				all = append(all, checkOption(o, path+"."+o.name)...)
			}
		}
	}
	return errors.Join(all...)
}

func checkOption(d description, path string) (all []error) {
	complain := func(format string, args ...any) {
		all = append(all, fmt.Errorf(path+": "+format, args...))
	}
	if !optionName.MatchString(d.name) {
		complain("the name must be lower_snake")
	}
	if !strings.HasSuffix(d.doc, ".") {
		complain("the doc tag must be a sentence, it is %q", d.doc)
	}
	if d.shape == shapeText && secretOption.MatchString(d.name) {
		complain("it is named like a secret and must be a Secret")
	}
	for _, limit := range []string{d.min, d.max} {
		if limit != "" && !isBound(d.typ, limit) {
			complain("%q is no bound of %s", limit, d.typ)
		}
	}
	if d.fallback != "" && d.isScalar() && d.elem == nil && d.shape != shapeSecret {
		text := defaultJSON(&d)
		if d.enum != nil && !slices.Contains(d.enum, fmt.Sprint(text)) {
			complain("the default %v is not in the enum", text)
		}
		for limit, sign := range map[string]float64{d.min: -1, d.max: 1} {
			if limit == "" || !isBound(d.typ, limit) || !isBound(d.typ, fmt.Sprint(text)) {
				continue
			}
			if (bound(d.typ, fmt.Sprint(text))-bound(d.typ, limit))*sign > 0 {
				complain("the default %v is out of its bounds", text)
			}
		}
	}
	inner := d.options
	if d.elem != nil {
		inner = d.elem.options
	}
	for _, o := range inner {
		all = append(all, checkOption(o, path+"."+o.name)...)
	}
	return all
}

func isBound(t reflect.Type, text string) (ok bool) {
	defer func() { ok = recover() == nil }()
	bound(t, text)
	return
}
