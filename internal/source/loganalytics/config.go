package loganalytics

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is what is read of one tenant's workspaces, as the user describes it.
type Config struct {
	Tenant      string          `yaml:"tenant" required:"true" doc:"Tenant whose credential asks the workspaces." example:"contoso"`
	Workspaces  []string        `yaml:"workspaces" required:"true" doc:"Workspace ids (GUIDs, as the workspace's overview shows them); each is read on its own." example:"[0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d]"`
	Tables      []string        `yaml:"tables" doc:"Tables to read whole." example:"[SigninLogs, AuditLogs, SecurityAlert]"`
	BasicTables []string        `yaml:"basic_tables" doc:"Tables of the plans Basic and Auxiliary; Azure bills each query of one by the data it scans." example:"[ContainerLogV2]"`
	Queries     []Query         `yaml:"queries" doc:"KQL queries whose rows are read."`
	LookBack    config.Duration `yaml:"look_back" max:"730d" doc:"How far back a table or query begins that has no checkpoint yet."`
	Poll        config.Duration `yaml:"poll" min:"1s" max:"1d" doc:"How often a table that is up to date is asked for new rows."`
	Delay       config.Duration `yaml:"delay" max:"1d" doc:"How old rows are when they are read: time for Azure to make them visible."`
	Overlap     config.Duration `yaml:"overlap" max:"7d" doc:"Rows that become visible up to this much later still are found: every range is read a second time at this age beyond delay; 0s reads once."`
	Window      Window          `yaml:"window" doc:"How much time one query covers; it adapts to the rows."`
	Timeout     config.Duration `yaml:"timeout" min:"10s" max:"10m" doc:"How long Azure may work on one query."`
	Limits      Limits          `yaml:"limits" doc:"What Azure allows; lower them where others query with the same application."`
}

// Query is one KQL query.
type Query struct {
	Name     string          `yaml:"name" required:"true" doc:"Name of the query; its checkpoint goes by it." example:"failed_sign_ins"`
	Query    string          `yaml:"query" required:"true" doc:"KQL with {from} and {to}, which become the window's bounds as datetime(...), or with windowed: false." example:"\"SigninLogs | where ingestion_time() >= {from} and ingestion_time() < {to} | where ResultType != '0'\""`
	Table    string          `yaml:"table" doc:"Table that the rows are of, for the normalizer, where they do not say it in a column Type." example:"SigninLogs"`
	Windowed bool            `yaml:"windowed" doc:"false runs the query as it is, every so often, and takes all of its rows each time."`
	Window   config.Duration `yaml:"window" max:"30d" doc:"For queries that aggregate: exactly this much time in each window, aligned to it; 0s adapts windows to the rows."`
	Poll     config.Duration `yaml:"poll" max:"30d" doc:"How often it runs; 0s means the source's poll."`
}

// SetDefaults implements the configuration's defaults for elements of lists.
func (q *Query) SetDefaults() { q.Windowed = true }

// Window bounds the time that a query covers.
type Window struct {
	First config.Duration `yaml:"first" min:"1s" max:"30d" doc:"Size of the first window."`
	Max   config.Duration `yaml:"max" min:"1s" max:"30d" doc:"Largest window."`
}

// Limits are those of the query API.
type Limits struct {
	Requests        int         `yaml:"requests" min:"1" max:"200" doc:"Queries in 30 s, for each workspace."`
	Concurrent      int         `yaml:"concurrent" min:"1" max:"5" doc:"Queries at the same time, for each workspace."`
	BasicConcurrent int         `yaml:"basic_concurrent" min:"1" max:"2" doc:"Queries of Basic and Auxiliary tables at the same time, for each workspace."`
	Rows            int         `yaml:"rows" min:"10" max:"500000" doc:"Rows at which an answer counts as truncated."`
	Bytes           config.Size `yaml:"bytes" min:"64KB" max:"64MB" doc:"Size that an answer may have; windows aim at half of it."`
}

// azure:logs.query-limits
const (
	azureRows  = 500_000
	azureBytes = 64_000_000
)

// DefaultConfig returns the defaults; README.md has the reasons.
func DefaultConfig() Config {
	return Config{
		LookBack: config.Duration(24 * time.Hour), Poll: config.Duration(time.Minute),
		Delay: config.Duration(2 * time.Minute), Overlap: config.Duration(10 * time.Minute),
		Window:  Window{First: config.Duration(10 * time.Minute), Max: config.Duration(24 * time.Hour)},
		Timeout: config.Duration(3 * time.Minute),
		Limits:  Limits{Requests: 180, Concurrent: 4, BasicConcurrent: 2, Rows: azureRows, Bytes: azureBytes},
	}
}

var (
	guidForm  = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	tableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
)

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	once := func(path, value string, seen map[string]bool) {
		if key := strings.ToLower(value); seen[key] {
			r.Add(path, fmt.Sprintf("is %q, which stands there twice", value), "remove one of the two")
		} else {
			seen[key] = true
		}
	}
	seen := map[string]bool{}
	for i, w := range c.Workspaces {
		path := fmt.Sprintf("workspaces[%d]", i)
		if !guidForm.MatchString(w) {
			r.Add(path, fmt.Sprintf("is %q; it must be the workspace's id, a GUID", w), "copy the Workspace ID of the workspace's overview in the portal, or customerId of az monitor log-analytics workspace show")
		}
		once(path, w, seen)
	}
	seen = map[string]bool{}
	for _, list := range []struct {
		option string
		tables []string
	}{{"tables", c.Tables}, {"basic_tables", c.BasicTables}} {
		for i, t := range list.tables {
			path := fmt.Sprintf("%s[%d]", list.option, i)
			if !tableForm.MatchString(t) {
				r.Add(path, fmt.Sprintf("is %q; it must be a table's name: letters, digits and '_'", t), "for anything else write a query in queries")
			}
			once(path, t, seen)
		}
	}
	if len(c.Tables)+len(c.BasicTables)+len(c.Queries) == 0 {
		r.Add("tables", "is empty, and so are basic_tables and queries", "write e.g. tables: [SigninLogs]")
	}
	for i := range c.Queries {
		path := fmt.Sprintf("queries[%d].", i)
		c.Queries[i].validate(path, r)
		once(path+"name", c.Queries[i].Name, seen)
	}
	if c.Window.First > c.Window.Max {
		r.Add("window.first", fmt.Sprintf("is %v, more than window.max, %v", c.Window.First, c.Window.Max), "lower it, or raise window.max")
	}
}

func (q *Query) validate(path string, r *config.Report) {
	if !nameForm.MatchString(q.Name) {
		r.Add(path+"name", fmt.Sprintf("is %q; it must be letters, digits, '_', '.' and '-', at most 64", q.Name), "write e.g. failed_sign_ins")
	}
	if q.Table != "" && !tableForm.MatchString(q.Table) {
		r.Add(path+"table", fmt.Sprintf("is %q; it must be a table's name", q.Table), "write e.g. SigninLogs")
	}
	from, to := strings.Contains(q.Query, placeFrom), strings.Contains(q.Query, placeTo)
	switch {
	case q.Windowed && (!from || !to):
		missing := slices.DeleteFunc([]string{placeFrom, placeTo}, func(p string) bool { return strings.Contains(q.Query, p) })
		r.Add(path+"query", fmt.Sprintf("has no %s, so that it cannot be read window by window", strings.Join(missing, " and no ")),
			"filter where the rows come from: | where ingestion_time() >= {from} and ingestion_time() < {to}; or write windowed: false to run it as it is")
	case !q.Windowed && (from || to):
		r.Add(path+"query", "has {from} or {to}, but windowed is false", "remove windowed: false")
	case !q.Windowed && q.Window != 0:
		r.Add(path+"window", "is given, but windowed is false", "remove one of the two")
	}
}
