package loganalytics

import (
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/config"
)

func TestMistakesAreExplained(t *testing.T) {
	const workspace = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
	for _, tc := range []struct {
		name   string
		change func(c *Config)
		path   string
		rule   string
	}{
		{"good", func(*Config) {}, "", ""},
		{"name for an id", func(c *Config) { c.Workspaces[0] = "my-workspace" }, "workspaces[0]", "GUID"},
		{"twice", func(c *Config) { c.Workspaces = append(c.Workspaces, strings.ToUpper(workspace)) }, "workspaces[1]", "twice"},
		{"KQL for a table", func(c *Config) { c.Tables[0] = "SigninLogs | take 1" }, "tables[0]", "table's name"},
		{"table twice", func(c *Config) { c.BasicTables = []string{"signinlogs"} }, "basic_tables[0]", "twice"},
		{"nothing", func(c *Config) { c.Tables = nil }, "tables", "is empty"},
		{"no window", func(c *Config) { c.Queries = []Query{{Name: "q", Query: "T | take 1", Windowed: true}} }, "queries[0].query", "no {from} and no {to}"},
		{"half a window", func(c *Config) { c.Queries = []Query{{Name: "q", Query: "T | where a > {from}", Windowed: true}} }, "queries[0].query", "has no {to}"},
		{"a window too many", func(c *Config) { c.Queries = []Query{{Name: "q", Query: "T | where a > {from}"}} }, "queries[0].query", "windowed is false"},
		{"a size without windows", func(c *Config) { c.Queries = []Query{{Name: "q", Query: "T", Window: 1}} }, "queries[0].window", "windowed is false"},
		{"name of a query", func(c *Config) { c.Queries = []Query{{Name: "a b", Query: "T"}} }, "queries[0].name", "letters"},
		{"query like a table", func(c *Config) { c.Queries = []Query{{Name: "SigninLogs", Query: "T"}} }, "queries[0].name", "twice"},
		{"windows", func(c *Config) { c.Window.First = c.Window.Max + 1 }, "window.first", "window.max"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := DefaultConfig()
			c.Tenant, c.Workspaces, c.Tables = "contoso", []string{workspace}, []string{"SigninLogs"}
			tc.change(&c)
			var r config.Report
			c.Validate(&r)
			switch {
			case tc.path == "" && len(r.Problems) > 0:
				t.Errorf("problems %+v; want none", r.Problems)
			case tc.path != "" && (len(r.Problems) != 1 || r.Problems[0].Path != tc.path || !strings.Contains(r.Problems[0].Rule, tc.rule) || r.Problems[0].Fix == ""):
				t.Errorf("problems %+v; want one at %s about %q", r.Problems, tc.path, tc.rule)
			}
		})
	}
}
