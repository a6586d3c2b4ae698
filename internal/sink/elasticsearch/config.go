package elasticsearch

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// Config is the settings of one sink.
type Config struct {
	URLs            []string                 `yaml:"urls" required:"true" example:"[https://elastic.example.com:9200]" doc:"The nodes. One is used until it fails, then the next."`
	APIKey          config.Secret            `yaml:"api_key" example:"${env:ELASTIC_API_KEY}" doc:"API key in its encoded form (Elasticsearch)."`
	Username        string                   `yaml:"username" doc:"User, with password, in place of an API key."`
	Password        config.Secret            `yaml:"password" example:"${env:ELASTIC_PASSWORD}" doc:"Password of the user."`
	Index           string                   `yaml:"index" doc:"The data stream or index of an event. {dataset}, {log_type}, {schema}, {source}, {tenant} and {namespace} stand for the event's own; {dataset} is event.dataset of ECS, or azure.{log_type} where there is none. In a data stream named logs-dataset-namespace, documents of ECS have the fields data_stream, which Elastic's rules and dashboards look at."`
	Namespace       string                   `yaml:"namespace" doc:"What {namespace} stands for."`
	Pipeline        string                   `yaml:"pipeline" example:"geoip" doc:"The ingest pipeline. _none keeps one that belongs to the index, as those of Elastic's integrations do, from mapping events a second time; empty leaves it to the index."`
	InstallTemplate bool                     `yaml:"install_template" doc:"Make the names of index data streams, by an index template named lazuli, which is installed at the first delivery. Needs the privilege manage_index_templates."`
	Headers         map[string]config.Secret `yaml:"headers" example:"{X-Scope: azure}" doc:"More headers of every request, for a proxy before the cluster, or a server that takes bulk requests as Elasticsearch does."`
	Compression     string                   `yaml:"compression" enum:"gzip|none" doc:"How requests are compressed."`
	Connection      httpsink.Connection      `yaml:"connection" doc:"How the nodes are reached and trusted."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{Index: "logs-{dataset}-{namespace}", Namespace: "default", Pipeline: "_none", Compression: "gzip"}
}

// DeliveryDefaults implements config.DeliveryDefaulter: Elastic's own advice is a
// few MiB for a bulk request.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Batch = config.Batch{Events: 5000, Bytes: 4 << 20, Wait: config.Duration(time.Second)}
	d.Timeout = config.Duration(2 * time.Minute)
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	for i, text := range c.URLs {
		if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			r.Add(fmt.Sprintf("urls[%d]", i), "is not a URL of a node, or holds a password", "write https://host:9200, and api_key or username and password beside it")
		}
	}
	if c.APIKey != "" && c.Username != "" {
		r.Add("api_key", "is given together with username", "keep one of the two")
	}
	if (c.Username == "") != (c.Password == "") {
		r.Add("username", "needs password, and password needs username", "give both or neither")
	}
	httpsink.CheckHeaders(r, c.Headers)
	for _, name := range placeholder.FindAllString(c.Index, -1) {
		switch name {
		case "{dataset}", "{log_type}", "{schema}", "{source}", "{tenant}", "{namespace}":
		default:
			r.Add("index", "holds "+name+", which stands for nothing", "write {dataset}, {log_type}, {schema}, {source}, {tenant} or {namespace}")
		}
	}
	plain := placeholder.ReplaceAllString(c.Index, "x")
	if c.Index == "" || plain != cleanName(plain) || strings.HasPrefix(plain, "-") || strings.HasPrefix(plain, "_") || strings.HasPrefix(plain, ".") {
		r.Add("index", fmt.Sprintf("is %q; names are in lower case, do not begin with -, _ or ., and hold none of \\ / * ? \" < > | , # : and blanks", c.Index), "write e.g. logs-{dataset}-default")
	}
	if c.Namespace != strings.ReplaceAll(cleanName(c.Namespace), "-", "_") {
		r.Add("namespace", fmt.Sprintf("is %q; it must be a part of a data stream's name, without hyphens", c.Namespace), "write e.g. default")
	}
}

// cleanName makes any text a part of an index name.
func cleanName(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("\\/*?\"<>|,#: \t\n", r) || r < ' ' {
			return '_'
		}
		return r
	}, strings.ToLower(s))
}
