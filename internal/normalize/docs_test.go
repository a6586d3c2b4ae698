package normalize

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/event"
)

// checkDocs holds a generated part of a page of docs against what it should be;
// -update rewrites it.
func checkDocs(t *testing.T, file, part, want string) {
	t.Helper()
	name := filepath.Join("..", "..", "docs", file)
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), "<!-- begin "+part+" -->\n")
	got, after, ok2 := strings.Cut(rest, "<!-- end "+part+" -->")
	if !ok || !ok2 {
		t.Fatalf("%s has no part %s", name, part)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		if !*update {
			t.Fatalf("%s differs from the tables (-page +tables; -update accepts it):\n%s", name, diff)
		}
		page = []byte(before + "<!-- begin " + part + " -->\n" + want + "<!-- end " + part + " -->" + after)
		if err := os.WriteFile(name, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLogTypesDocs holds docs/log-types.md against the tables.
func TestLogTypesDocs(t *testing.T) {
	files, err := builtinFiles(ECS)
	if err != nil {
		t.Fatal(err)
	}
	tableOf, rows, feeds := map[string]string{}, map[string][]string{}, map[string][]string{}
	raw := compile(t, Raw, DefaultOptions()).Worker()
	for _, f := range files {
		for _, name := range f.logTypes {
			tableOf[name] = f.name
		}
		for i := range f.forms {
			form := &f.forms[i]
			for _, name := range form.tables {
				logType := logTypeOfForm(t, raw, files, form, "log_analytics:"+name)
				rows[logType] = append(rows[logType], name)
			}
			for _, name := range form.feeds {
				logType := logTypeOfForm(t, raw, files, form, "graph:"+name)
				feeds[logType] = append(feeds[logType], name)
			}
		}
	}
	var b strings.Builder
	b.WriteString("| log type | known by | tables of Log Analytics | feeds of Graph | id | ECS table |\n|---|---|---|---|---|---|\n")
	for _, d := range files[0].define {
		table := tableOf[d.name]
		if table == "" {
			table = "ecs/generic.yaml"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | [%s](../internal/normalize/mappings/%s) |\n", d.name, knownBy(&d),
			codes(rows[d.name]), codes(feeds[d.name]), codes(d.id), strings.TrimPrefix(table, "ecs/"), table)
	}
	fmt.Fprintf(&b, "| any, by its category | the column `Category` | %s | | | |\n", codes(rows[UnknownLogType]))
	checkDocs(t, "log-types.md", "log types", b.String())
}

// logTypeOfForm asks the detector what a record of a form becomes.
func logTypeOfForm(t *testing.T, w *Worker, files []*fileSpec, form *formSpec, feed string) string {
	t.Helper()
	all := map[string]*formSpec{}
	for _, f := range files {
		for i := range f.forms {
			all[f.forms[i].name] = &f.forms[i]
		}
	}
	whole, err := form.inherit(all, 0)
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]string{}
	for to, from := range whole.members {
		for _, path := range from {
			switch _, constant := whole.set[to]; {
			case constant || strings.Contains(path, "."):
			case path == "CategoryValue":
				members[path] = `"Administrative"`
			case path == "Properties":
				members[path] = `{"AuditEventId":"x","IntuneAccountId":"x"}`
			default:
				members[path] = `"x"`
			}
		}
	}
	for _, path := range slices.Concat(whole.known, whole.has) {
		if members[path] == "" && path != "Category" {
			members[path] = `"x"`
		}
	}
	if whole.rest == "properties" {
		members["More"] = `"x"`
	}
	for path, values := range whole.where {
		members[path] = values[0]
		if !strings.HasPrefix(values[0], "[") {
			members[path] = `"` + values[0] + `"`
		}
	}
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", name, members[name])
	}
	_, r := append1(t, w, Input{Origin: &event.Origin{Namespace: "ns", Feed: feed}}, "{"+b.String()+"}")
	return r.LogType
}

func knownBy(d *logTypeSpec) string {
	var all []string
	if len(d.category) > 0 {
		all = append(all, "category "+codes(d.category))
	}
	if len(d.has) > 0 {
		all = append(all, "has "+codes(d.has))
	}
	if len(d.lacks) > 0 {
		all = append(all, "lacks "+codes(d.lacks))
	}
	for _, path := range slices.Sorted(maps.Keys(d.where)) {
		all = append(all, fmt.Sprintf("`%s` is %s", path, codes(d.where[path])))
	}
	return strings.Join(all, "; ")
}

func codes(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return "`" + strings.Join(texts, "`, `") + "`"
}

// TestECSDocs holds docs/ecs.md against the tables: every field of every table,
// where it comes from and when.
func TestECSDocs(t *testing.T) {
	files, err := builtinFiles(ECS)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range files {
		if f.schema != ECS || len(f.rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n", strings.TrimSuffix(strings.TrimPrefix(f.name, "ecs/"), ".yaml"))
		if len(f.logTypes) > 0 {
			fmt.Fprintf(&b, "Log types %s. ", codes(f.logTypes))
		}
		if len(f.include) > 0 {
			fmt.Fprintf(&b, "With the fields of %s.", codes(f.include))
		}
		b.WriteString("\n\n| field | from | how | when |\n|---|---|---|---|\n")
		for i := range f.rows {
			r := &f.rows[i]
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.to, cell(rowFrom(r)), cell(rowHow(r)), cell(rowWhen(r)))
		}
	}
	checkDocs(t, "ecs.md", "tables", b.String())
}

func rowFrom(r *rowSpec) string {
	switch {
	case r.value != nil:
		text, err := literal(*r.value)
		if err != nil {
			return ""
		}
		return "constant `" + string(text) + "`"
	case r.format != "":
		return "`" + r.format + "`"
	}
	return codes(r.from)
}

func rowHow(r *rowSpec) string {
	all := slices.Clone(r.as)
	if r.cases != nil {
		how := "map " + r.cases.text
		if r.cases.kind == yamlMap {
			var pairs []string
			for _, m := range r.cases.members {
				text, err := literal(m.value)
				if err != nil {
					continue
				}
				pairs = append(pairs, m.key+": "+strings.Trim(string(text), `"`))
			}
			how = "map " + strings.Join(pairs, ", ")
			if len(how) > 120 {
				how = fmt.Sprintf("map of %d values", len(pairs))
			}
		}
		all = append(all, how)
	}
	if r.only != "" {
		all = append(all, "only "+r.only)
	}
	return codes(all)
}

func rowWhen(r *rowSpec) string {
	var all []string
	for _, c := range r.conds {
		is := "is"
		if c.negate {
			is = "is not"
		}
		values := c.values
		if c.any {
			values, is = nil, strings.Replace(is, "is", "is there", 1)
			if c.negate {
				is = "is not there"
			}
		}
		all = append(all, strings.TrimSpace(fmt.Sprintf("`%s` %s %s", c.path, is, codes(values))))
	}
	return strings.Join(all, "; ")
}

// cell makes a text fit for a cell of a Markdown table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
