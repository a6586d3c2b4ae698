package azuremonitor

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is the settings of one sink.
type Config struct {
	Tenant      string            `yaml:"tenant" required:"true" example:"contoso" doc:"The tenant whose credential is used. It is that of the workspace."`
	Endpoint    string            `yaml:"endpoint" example:"https://contoso-x1y2.westeurope-1.ingest.monitor.azure.com" doc:"The logs ingestion endpoint, of the data collection rule (kind Direct) or of a data collection endpoint."`
	Rule        string            `yaml:"rule" example:"dcr-00000000000000000000000000000000" doc:"The immutable id of the data collection rule (not its name)."`
	Stream      string            `yaml:"stream" example:"Custom-Security_CL" doc:"The stream that the rule declares."`
	URL         string            `yaml:"url" doc:"In place of endpoint, rule and stream: all three in one URL, as vendors hand it out (https://.../dataCollectionRules/dcr-.../streams/Custom-..._CL?api-version=2023-01-01)."`
	Auxiliary   bool              `yaml:"auxiliary" doc:"The table has the plan Auxiliary: the times of a call may be 30 minutes apart at the most. It is noticed at the first refusal too."`
	Columns     map[string]string `yaml:"columns" example:"{User: user.name, Document: $document}" doc:"The columns of a row and where their values stand in the event: a dotted path, or $document, $text (the document as a text), $id, $log_type, $schema, $source, $tenant, $tenant_id. Without it, a row is the event's document. TimeGenerated is added to both."`
	LargeFields string            `yaml:"large_fields" enum:"truncate|reject" doc:"What becomes of a text that is longer than max_field. truncate: it is cut, and counted. reject: its event goes to the dead letters."`
	MaxField    config.Size       `yaml:"max_field" min:"1KiB" max:"1MiB" doc:"How long the value of a column may be. Azure cuts longer ones without a word."`
	Compression string            `yaml:"compression" enum:"gzip|none" doc:"How calls are compressed."`
	Limits      Limits            `yaml:"limits" doc:"What may be sent to the rule, by all sinks that lead to it. The defaults are just under the limits of a rule, which Microsoft raises on request."`
}

// Limits bounds what a rule gets.
type Limits struct {
	BytesPerMinute    config.Size `yaml:"bytes_per_minute" min:"1MiB" max:"1TiB" doc:"Bytes a minute, before compression."`
	RequestsPerMinute int         `yaml:"requests_per_minute" min:"1" max:"10000000" doc:"Calls a minute."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{
		LargeFields: "truncate", MaxField: 64 << 10, Compression: "gzip",
		Limits: Limits{BytesPerMinute: 1800 << 20, RequestsPerMinute: 11_500},
	}
}

// DeliveryDefaults implements config.DeliveryDefaulter: a batch that fills one
// call, with room for what is added to each record.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Batch = config.Batch{Events: 5000, Bytes: 928 << 10, Wait: config.Duration(2 * time.Second)}
	d.Timeout = config.Duration(2 * time.Minute)
}

// Target is where a configuration points.
type Target struct {
	Endpoint, Rule, Stream string
}

func (t Target) url() string {
	return t.Endpoint + "/dataCollectionRules/" + url.PathEscape(t.Rule) + "/streams/" + url.PathEscape(t.Stream) + "?api-version=" + apiVersion
}

// Target returns where the configuration points. It returns an error where
// Validate reports a problem.
func (c *Config) Target() (Target, error) {
	if c.URL == "" {
		return Target{strings.TrimSuffix(c.Endpoint, "/"), c.Rule, c.Stream}, nil
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" {
		return Target{}, fmt.Errorf("read url: it is not a URL")
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) != 4 || !strings.EqualFold(parts[0], "dataCollectionRules") || !strings.EqualFold(parts[2], "streams") {
		return Target{}, fmt.Errorf("read url: its path is %q; it must be /dataCollectionRules/<rule>/streams/<stream>", u.Path)
	}
	return Target{u.Scheme + "://" + u.Host, parts[1], parts[3]}, nil
}

var (
	ruleForm = regexp.MustCompile(`^dcr-[0-9a-f]{32}$`)
	// Stream declarations of a rule begin with Custom-, those of Azure's own tables
	// with Microsoft-.
	streamForm = regexp.MustCompile(`^(Custom|Microsoft)-[A-Za-z0-9_-]+$`)
	// See learn.microsoft.com/azure/azure-monitor/logs/create-custom-table.
	columnForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,44}$`)
)

func reservedColumns() []string {
	return []string{"_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"}
}

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	where := "endpoint"
	switch {
	case c.URL != "" && (c.Endpoint != "" || c.Rule != "" || c.Stream != ""):
		r.Add("url", "is given together with endpoint, rule or stream", "keep the url, or the three others")
		return
	case c.URL != "":
		where = "url"
	default:
		for _, o := range []struct{ name, value, example string }{
			{"endpoint", c.Endpoint, "https://...ingest.monitor.azure.com, from the rule's or the endpoint's page in the portal"},
			{"rule", c.Rule, "the immutable id, dcr-..., from the JSON view of the data collection rule"},
			{"stream", c.Stream, "e.g. Custom-Security_CL, from the rule's stream declarations"},
		} {
			if o.value == "" {
				r.Add(o.name, "is empty, and so is url", "write "+o.example)
			}
		}
		if c.Endpoint == "" || c.Rule == "" || c.Stream == "" {
			return
		}
	}
	t, err := c.Target()
	if err != nil {
		r.Add(where, err.Error(), "copy it whole")
		return
	}
	u, err := url.Parse(t.Endpoint)
	switch {
	case err != nil || u.Host == "":
		r.Add(where, "is not a URL", "write https://<host>")
	case u.Scheme != "https":
		r.Add(where, fmt.Sprintf("begins with %s://; tokens are sent over https only", u.Scheme), "write https://")
	case u.Path != "":
		r.Add(where, fmt.Sprintf("has the path %q", u.Path), "end it with the host, or give the whole as url")
	}
	if !ruleForm.MatchString(t.Rule) {
		if c.URL == "" {
			where = "rule"
		}
		r.Add(where, fmt.Sprintf("names the rule %q; an immutable id is dcr- and 32 hexadecimal digits", t.Rule), "copy immutableId from the JSON view of the rule")
	}
	if !streamForm.MatchString(t.Stream) {
		if c.URL == "" {
			where = "stream"
		}
		r.Add(where, fmt.Sprintf("names the stream %q; it must begin with Custom- or Microsoft-", t.Stream), "write the stream of the rule, not the table")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Columns)) {
		c.validateColumn(r, name)
	}
}

func (c *Config) validateColumn(r *config.Report, name string) {
	at := "columns." + name
	switch {
	case name == "TimeGenerated":
		r.Add(at, "is set by Lazuli to the time of the event", "remove it")
	case slices.Contains(reservedColumns(), name):
		r.Add(at, "is a name that Azure keeps for itself", "choose another name")
	case !columnForm.MatchString(name):
		r.Add(at, "is no column name: they begin with a letter, and have up to 45 letters, digits and underscores", "choose another name")
	}
	if _, err := compileColumn(name, c.Columns[name]); err != nil {
		r.Add(at, err.Error(), "write a dotted path such as user.name, or one of "+strings.Join(specials(), ", "))
	}
}
