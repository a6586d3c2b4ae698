package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Catalog is what a document may name.
type Catalog struct {
	Sources, Sinks Kinds
	// Where and Redact report what is wrong with a route's condition, and with
	// what it redacts; nil checks nothing.
	Where  func(condition string) error
	Redact func(*Redact) error
}

// Bounds that keep the YAML parser's time and stack small. A document of a
// thousand sources is about 200 KiB.
const (
	maxDocument = 1 << 20
	maxNesting  = 1000
)

// Load reads the document src. The name is that of its file: messages show it,
// and relative paths start at its folder. Load does not touch the network, nor
// the disk other than through env.
//
// The error is an *Errors with every mistake of the document. It never holds a
// secret, nor what a reference stands for.
func Load(name string, src []byte, catalog Catalog, env Environment) (*Config, error) {
	d := &decoder{file: name, env: env, catalog: catalog, places: map[string]place{}, broken: map[string]bool{}}
	cfg := defaultConfig()
	if root, ok := d.parse(src); ok {
		d.bindStruct(root, "", reflect.ValueOf(cfg).Elem())
		d.checkTenants(cfg)
		d.checkRoutes(cfg)
		d.checkFolders(cfg)
	}
	if len(d.mistakes) > 0 {
		return nil, &Errors{d.finish(d.mistakes)}
	}
	cfg.Warnings = d.finish(d.warnings)
	d.resolvePaths(reflect.ValueOf(cfg))
	return cfg, nil
}

func (d *decoder) finish(ms []Mistake) []Mistake {
	clean := d.secrets.replacer()
	for i := range ms {
		ms[i].Rule, ms[i].Fix = clean.Replace(ms[i].Rule), clean.Replace(ms[i].Fix)
	}
	sortMistakes(ms)
	return ms
}

var quotedText = regexp.MustCompile(`"[^"]*"`)

// parse returns the root of the document, or reports why there is none.
func (d *decoder) parse(src []byte) (root ast.Node, ok bool) {
	at := func(line, column int, rule, fix string) {
		d.mistakes = append(d.mistakes, Mistake{d.file, max(1, line), max(1, column), Problem{Rule: rule, Fix: fix}})
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	switch {
	case len(src) > maxDocument:
		at(1, 1, fmt.Sprintf("the document has %d bytes; it may have %d", len(src), maxDocument), "split it into several instances")
		return nil, false
	case !utf8.Valid(src):
		line := 1 + bytes.Count(src[:firstInvalid(src)], []byte("\n"))
		at(line, 1, "the line is not UTF-8", "save the file as UTF-8")
		return nil, false
	case nesting(src) > maxNesting:
		at(1, 1, "the document is nested too deep", "remove brackets")
		return nil, false
	}
	defer func() {
		// The parser is not ours; a document must not be able to end the
		// process.
		if r := recover(); r != nil {
			root, ok = nil, false
			at(1, 1, "the YAML parser gave up on the document", "simplify it; see examples/")
		}
	}()
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, column, rule := 1, 1, "is not YAML"
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			// The message may quote the document, and that may be a secret.
			rule = "is not YAML: " + quotedText.ReplaceAllString(syntax.GetMessage(), "…")
			if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
				line, column = tk.Position.Line, tk.Position.Column
			}
		}
		at(line, column, rule, yamlFix(src, line))
		return nil, false
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.NullType && doc.Body.Type() != ast.CommentType {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		at(1, 1, "the document is empty", "add sources and sinks; lazuli config example writes a document to start from")
		return nil, false
	case 1:
		return bodies[0], true
	}
	second := placeOf(bodies[1], place{1, 1})
	at(second.line, second.column, "a second document begins here", "keep one document; remove the line ---")
	return nil, false
}

func firstInvalid(src []byte) int {
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(src)
}

// nesting bounds how deep the parser will go: by brackets, and by the dashes
// that a line may begin with.
func nesting(src []byte) int {
	deepest, depth := 0, 0
	for line := range bytes.Lines(src) {
		dashes := 0
		for rest := bytes.TrimLeft(line, " "); bytes.HasPrefix(rest, []byte("- ")); rest = bytes.TrimLeft(rest[2:], " ") {
			dashes++
		}
		deepest = max(deepest, dashes)
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
				deepest = max(deepest, depth)
			case ']', '}':
				depth = max(0, depth-1)
			}
		}
	}
	return deepest
}

var flowReference = regexp.MustCompile(`[{,\[][^"'#]*\$\{`)

// yamlFix names the most likely cause of a syntax error.
func yamlFix(src []byte, line int) string {
	lines := bytes.Split(src, []byte("\n"))
	if line >= 1 && line <= len(lines) {
		switch text := lines[line-1]; {
		case flowReference.Match(text):
			return `put the reference in quotes: "${env:NAME}"`
		case bytes.Contains(text, []byte("\t")):
			return "indent with spaces, not with tabs"
		}
	}
	return "check indentation, quotes and brackets here and in the line above"
}

// bindSources fills the sources, in the document's order.
func (d *decoder) bindSources(node ast.Node, path string, out *[]Source) {
	entries, ok := d.entries(node, path)
	if ok && len(entries) == 0 {
		d.report(path, "has no source", "add one")
	}
	for _, e := range entries {
		at := join(path, printableKey(e.key))
		d.checkName(e.key, at)
		s := Source{Name: e.key}
		s.Kind, s.Settings = d.bindKind(e.value, at, "source", d.catalog.Sources, nil)
		s.Tenant = tenantOf(s.Settings)
		*out = append(*out, s)
	}
}

// bindSinks fills the sinks, in the document's order.
func (d *decoder) bindSinks(node ast.Node, path string, out *[]Sink) {
	entries, ok := d.entries(node, path)
	if ok && len(entries) == 0 {
		d.report(path, "has no sink", "add one")
	}
	for _, e := range entries {
		at := join(path, printableKey(e.key))
		d.checkName(e.key, at)
		s := Sink{Name: e.key}
		s.Kind, s.Settings = d.bindKind(e.value, at, "sink", d.catalog.Sinks, &s.Delivery)
		s.Tenant = tenantOf(s.Settings)
		*out = append(*out, s)
	}
}

// bindKind fills the settings of the kind that the table's type names, and
// beside them delivery, if it is not nil.
func (d *decoder) bindKind(node ast.Node, path, role string, kinds Kinds, delivery *SinkDelivery) (string, Component) {
	if rule := unsupported(node); rule != "" {
		d.report(path, rule, "write the options themselves")
		return "", nil
	}
	entries, ok := d.entries(node, path)
	if !ok {
		return "", nil
	}
	names := slices.Sorted(maps.Keys(kinds))
	at := slices.IndexFunc(entries, func(e entry) bool { return e.key == "type" })
	if at < 0 {
		d.report(join(path, "type"), "required", "write type: "+oneOf(names))
		return "", nil
	}
	var kind string
	d.bind(entries[at].value, join(path, "type"), option{
		field{name: "type", required: true, enum: names, typ: reflect.TypeFor[string]()}, reflect.ValueOf(&kind).Elem(),
	})
	build, known := kinds[kind]
	if !known {
		if len(kinds) == 0 {
			d.report(join(path, "type"), "this program has no kind of "+role, "use another build")
		}
		return "", nil // else the enum has reported it
	}
	settings := build()
	opts := options(reflect.ValueOf(settings).Elem())
	if delivery != nil {
		*delivery = deliveryDefaults(settings)
		opts = append(opts, options(reflect.ValueOf(delivery).Elem())...)
	}
	rest := slices.Delete(slices.Clone(entries), at, at+1)
	d.bindOptions(rest, path, opts)
	d.validate(settings, path)
	if delivery != nil {
		d.validate(delivery, path)
	}
	return kind, settings
}

func deliveryDefaults(settings Component) SinkDelivery {
	delivery := DefaultSinkDelivery()
	if own, ok := settings.(DeliveryDefaulter); ok {
		own.DeliveryDefaults(&delivery)
	}
	return delivery
}

// tenantOf returns the value of the option "tenant", which every kind that
// signs in to Entra has.
func tenantOf(settings Component) string {
	if settings == nil {
		return ""
	}
	for _, o := range options(reflect.ValueOf(settings).Elem()) {
		if o.name == "tenant" && shapeOf(o.typ) == shapeText {
			return o.value.String()
		}
	}
	return ""
}

func (d *decoder) checkTenants(cfg *Config) {
	names := slices.Sorted(maps.Keys(cfg.Tenants))
	used := map[string]bool{}
	check := func(path, tenant string) {
		if tenant == "" {
			return
		}
		used[tenant] = true
		if _, found := cfg.Tenants[tenant]; !found {
			d.report(path, fmt.Sprintf("is %q; there is no tenant of that name", tenant), suggest(tenant, names, "add it under tenants"))
		}
	}
	for _, s := range cfg.Sources {
		check(join("sources", printableKey(s.Name))+".tenant", s.Tenant)
	}
	for _, s := range cfg.Sinks {
		check(join("sinks", printableKey(s.Name))+".tenant", s.Tenant)
	}
	check("checkpoint.tenant", cfg.Checkpoint.Tenant)
	for _, name := range names {
		if !used[name] {
			d.warn(join("tenants", printableKey(name)), "no source and no sink uses this tenant", "remove it, or name it in a source")
		}
	}
}

// checkRoutes replaces "*" by names, fills in the route that stands for none,
// reports names that do not exist, and leaves out what no route touches.
func (d *decoder) checkRoutes(cfg *Config) {
	sources, sinks := make([]string, len(cfg.Sources)), make([]string, len(cfg.Sinks))
	for i, s := range cfg.Sources {
		sources[i] = s.Name
	}
	for i, s := range cfg.Sinks {
		sinks[i] = s.Name
	}
	if len(cfg.Routes) == 0 {
		if _, given := d.places["routes"]; given && !d.broken["routes"] {
			d.report("routes", "is an empty list", "remove it to send every source to every sink, or add a route")
		}
		route := Route{From: []string{"*"}, To: []string{"*"}}
		route.SetDefaults()
		cfg.Routes = []Route{route}
	}
	type way struct{ source, schema, sink string }
	ways := map[way]int{}
	from, to := map[string]bool{}, map[string]bool{}
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		at := fmt.Sprintf("routes[%d]", i)
		d.checkRoute(r, at)
		r.From = d.routeNames(r.From, sources, at+".from", "source")
		r.To = d.routeNames(r.To, sinks, at+".to", "sink")
		if r.Drop {
			continue
		}
		selective := r.Where != "" || r.Sample > 1 || !r.Redact.Empty()
		twice := ""
		for _, source := range r.From {
			from[source] = true
			for _, sink := range r.To {
				to[sink] = true
				if selective {
					continue
				}
				w := way{source, r.Schema, sink}
				if before, found := ways[w]; found && twice == "" {
					twice = fmt.Sprintf("%s reaches %s as %s by routes[%d] already; once is enough, it is not delivered twice", source, sink, r.Schema, before)
				}
				ways[w] = i
			}
		}
		if twice != "" {
			d.warn(at, twice, "take one of the two out")
		}
	}
	if len(from) == 0 && len(sources) > 0 && !d.broken["routes"] {
		if !slices.ContainsFunc(cfg.Routes, func(r Route) bool { return !r.Drop }) {
			d.report("routes", "none leads to a sink", "add a route with to")
			return
		}
	}
	for _, name := range sources {
		if !from[name] {
			d.warn(join("sources", printableKey(name)), "no route begins here: the source is not read", "add a route, or remove the source")
		}
	}
	for _, name := range sinks {
		if !to[name] {
			d.warn(join("sinks", printableKey(name)), "no route leads here: the sink is not used", "add a route, or remove the sink")
		}
	}
	// Were a source without a route read, its checkpoints would pass records
	// that no sink has.
	cfg.Sources = slices.DeleteFunc(cfg.Sources, func(s Source) bool { return !from[s.Name] })
	cfg.Sinks = slices.DeleteFunc(cfg.Sinks, func(s Sink) bool { return !to[s.Name] })
}

// checkRoute names a route and checks what only the program can read.
func (d *decoder) checkRoute(r *Route, at string) {
	if r.Name == "" {
		r.Name = at
	}
	if r.Where != "" && d.catalog.Where != nil && !d.broken[at+".where"] {
		if err := d.catalog.Where(r.Where); err != nil {
			d.report(at+".where", fmt.Sprintf("is no condition: %v", err), `write e.g. log_type != 'storage_read'; docs/routing.md lists names and operators`)
		}
	}
	if !r.Redact.Empty() && d.catalog.Redact != nil {
		if err := d.catalog.Redact(&r.Redact); err != nil {
			d.report(at+".redact", err.Error(), "name fields as the events have them, e.g. user.email; give hash a key")
		}
	}
}

// routeNames returns the names that a list of a route stands for, each once
// and in the order of all.
func (d *decoder) routeNames(given, all []string, path, role string) []string {
	chosen := map[string]bool{}
	for i, name := range given {
		switch at := fmt.Sprintf("%s[%d]", path, i); {
		case name == "*":
			for _, n := range all {
				chosen[n] = true
			}
		case slices.Contains(all, name):
			chosen[name] = true
		case !d.broken[at]:
			d.report(at, fmt.Sprintf("is %q; there is no %s of that name", name, role), suggest(name, all, `write "*" for all, or `+strings.Join(all, ", ")))
		}
	}
	var out []string
	for _, n := range all {
		if chosen[n] {
			out = append(out, n)
		}
	}
	return out
}

// checkFolders keeps the two folders that only one user may have apart.
func (d *decoder) checkFolders(cfg *Config) {
	if cfg.Checkpoint.Type == "file" && filepath.Clean(string(cfg.Checkpoint.Path)) == filepath.Clean(string(cfg.DeadLetters.Path)) {
		d.report("dead_letters.path", "is the folder of the checkpoints", "give the dead letters a folder of their own")
	}
}

// resolvePaths makes every Path in v, a pointer, relative to the folder of the
// document rather than to that of the process.
func (d *decoder) resolvePaths(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			d.resolvePaths(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			d.resolvePaths(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				d.resolvePaths(v.Field(i))
			}
		}
	case reflect.String:
		if v.Type() == pathType && v.String() != "" {
			v.SetString(d.inFolder(v.String()))
		}
	}
}

// SetDefaults makes DefaultTenant the value that a tenant starts from.
func (t *Tenant) SetDefaults() { *t = DefaultTenant() }
