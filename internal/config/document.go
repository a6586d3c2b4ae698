package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Config is a whole document after Load: defaults filled in, references
// replaced, names checked. Sources and sinks that no route touches are left
// out. It is plain data and is not changed afterwards.
type Config struct {
	Tenants     map[string]Tenant `yaml:"tenants" doc:"The Entra tenants that sources and sinks sign in to, by a name of your choice."`
	Sources     []Source          `yaml:"sources" required:"true" doc:"Where logs are read, by a name of your choice. The name is part of the checkpoints: renaming a source makes it start anew."`
	Sinks       []Sink            `yaml:"sinks" required:"true" doc:"Where events are delivered, by a name of your choice."`
	Routes      []Route           `yaml:"routes" doc:"Which source goes to which sink, and in which schema. Without routes, every source goes to every sink as ECS."`
	Checkpoint  Checkpoint        `yaml:"checkpoint" doc:"Where the position of every source is kept."`
	DeadLetters DeadLetters       `yaml:"dead_letters" doc:"Where events are kept that a sink refuses for good."`
	Normalize   Normalize         `yaml:"normalize" doc:"How records become events."`
	Limits      Limits            `yaml:"limits" doc:"Bounds on what Lazuli uses."`
	Telemetry   Telemetry         `yaml:"telemetry" doc:"The HTTP endpoint with /metrics, /healthz and /readyz."`
	Shutdown    Shutdown          `yaml:"shutdown" doc:"What happens at SIGTERM."`
	Log         Log               `yaml:"log" doc:"Lazuli's own log, on stderr."`

	// Warnings are what is legal but probably not meant, ordered by line.
	Warnings []Mistake
}

// Source is one configured source.
type Source struct {
	Name     string
	Kind     string // e.g. "event_hub"
	Tenant   string // name in Config.Tenants, "" if the source needs none
	Settings Component
}

// Sink is one configured sink.
type Sink struct {
	Name     string
	Kind     string
	Tenant   string // name in Config.Tenants, "" if the sink needs none
	Delivery SinkDelivery
	Settings Component
}

// SinkDelivery is how the runner treats a sink. Its options stand beside the
// sink's own.
type SinkDelivery struct {
	Delivery    string   `yaml:"delivery" enum:"required|best_effort" doc:"required: a source's position moves on only when this sink has confirmed the events. best_effort: the position does not wait, and events may be lost when Lazuli or the sink stops."`
	Batch       Batch    `yaml:"batch" doc:"How many events are sent at a time."`
	Concurrency int      `yaml:"concurrency" min:"1" max:"256" doc:"How many batches are sent at the same time."`
	Timeout     Duration `yaml:"timeout" min:"1s" max:"1h" doc:"How long the destination may take to confirm a batch before it is sent again."`
	Retry       Retry    `yaml:"retry" doc:"How long to wait before a batch is sent again."`
	SpillAfter  Duration `yaml:"spill_after" doc:"After this time without success, what a required sink cannot deliver goes to the dead letters, so that the sources need not wait for it. 0s: never."`
}

// Batch says when a batch is full; the first limit reached sends it.
type Batch struct {
	Events int      `yaml:"events" min:"1" max:"100000" doc:"The most events in a batch."`
	Bytes  Size     `yaml:"bytes" min:"1KiB" max:"64MiB" doc:"The most bytes in a batch, before compression; an event that is larger goes alone."`
	Wait   Duration `yaml:"wait" max:"5m" doc:"How long an event may wait for others."`
}

// Retry bounds the pause between two tries, which doubles from Initial to Max.
type Retry struct {
	Initial Duration `yaml:"initial" min:"10ms" max:"10m" doc:"The first pause; it doubles with every try."`
	Max     Duration `yaml:"max" min:"10ms" max:"1h" doc:"The longest pause."`
}

// DefaultSinkDelivery returns the defaults of a kind that has none of its own.
func DefaultSinkDelivery() SinkDelivery {
	return SinkDelivery{
		Delivery:    "required",
		Batch:       Batch{Events: 1000, Bytes: 1 << 20, Wait: Duration(time.Second)},
		Concurrency: 4,
		Timeout:     Duration(30 * time.Second),
		Retry:       Retry{Initial: Duration(500 * time.Millisecond), Max: Duration(time.Minute)},
	}
}

// DeliveryDefaulter is a sink's Component whose kind needs other defaults, for
// instance one batch at a time.
type DeliveryDefaulter interface {
	// DeliveryDefaults changes the defaults in d.
	DeliveryDefaults(d *SinkDelivery)
}

// Required says whether checkpoints wait for the sink.
func (d *SinkDelivery) Required() bool { return d.Delivery != "best_effort" }

// Validate implements Component.
func (d *SinkDelivery) Validate(r *Report) {
	if d.Retry.Max < d.Retry.Initial {
		r.Add("retry.max", fmt.Sprintf("is %v, less than retry.initial (%v)", d.Retry.Max, d.Retry.Initial), "make it at least retry.initial")
	}
	if d.SpillAfter > 0 && !d.Required() {
		r.Add("spill_after", "has no effect on a best_effort sink", "remove it, or make the delivery required")
	}
}

// Route sends sources to sinks. After Load, From and To hold names only, in
// the document's order, and "*" stands for nothing any more; Name is set.
type Route struct {
	From   []string `yaml:"from" required:"true" example:"[\"*\"]" doc:"Names of sources, or \"*\" for all."`
	Name   string   `yaml:"name" example:"quiet" doc:"Name of the route in metrics; routes[0] and so on if not given."`
	Where  string   `yaml:"where" example:"log_type != 'storage_read'" doc:"Condition on the event; all events if empty. docs/routing.md describes the language."`
	Drop   bool     `yaml:"drop" doc:"Events that match end here: no route below gets them. Instead of to."`
	Sample int      `yaml:"sample" min:"0" max:"1000000" doc:"Deliver one event in this many, chosen by its id, so that a repeat is treated alike. 0 delivers all."`
	Schema string   `yaml:"schema" enum:"ecs|ocsf|raw" doc:"ecs: Elastic Common Schema. ocsf: Open Cybersecurity Schema Framework 1.8.0. raw: the record as Azure wrote it, one per line."`
	Redact Redact   `yaml:"redact" doc:"What is private in the events of this route. event.original is left out where something is redacted."`
	To     []string `yaml:"to" example:"[\"*\"]" doc:"Names of sinks, or \"*\" for all. Required without drop."`
}

// Redact names fields of the event, in the route's schema.
type Redact struct {
	Remove []string `yaml:"remove" example:"[user.full_name]" doc:"Fields that are left out; a path through a list means all its elements."`
	Hash   []string `yaml:"hash" example:"[user.email, related.user]" doc:"Fields whose values are replaced by a keyed hash: equal values stay equal."`
	Key    Secret   `yaml:"key" example:"${file:/run/secrets/redact}" doc:"Key of the hash; required with hash."`
}

// Empty says that nothing is redacted.
func (r *Redact) Empty() bool { return len(r.Remove) == 0 && len(r.Hash) == 0 }

// Validate implements Component.
func (r *Route) Validate(report *Report) {
	switch {
	case r.Drop && len(r.To) > 0:
		report.Add("to", "is given together with drop", "remove one of the two")
	case r.Drop && (r.Sample > 1 || !r.Redact.Empty()):
		report.Add("drop", "is given together with sample or redact, which need events that go on", "remove drop, or the other option")
	case !r.Drop && len(r.To) == 0:
		report.Add("to", "required", "add to: [\"*\"], or drop: true")
	}
}

// SetDefaults sets the schema.
func (r *Route) SetDefaults() { r.Schema = "ecs" }

// Checkpoint is where positions are kept.
type Checkpoint struct {
	Type             string `yaml:"type" enum:"file|blob" doc:"file: a folder of this machine, for one instance. blob: an Azure storage container, for several instances that share the partitions or take turns."`
	Path             Path   `yaml:"path" doc:"The folder, for type file. Only one instance may use it at a time."`
	ConnectionString Secret `yaml:"connection_string" example:"${env:CHECKPOINT_STORAGE}" doc:"The storage account, for type blob; or account and tenant."`
	Account          string `yaml:"account" example:"https://contosolazuli.blob.core.windows.net" doc:"The storage account's blob endpoint, for type blob with an Entra credential; the role needed is Storage Blob Data Contributor on the container."`
	Tenant           string `yaml:"tenant" example:"contoso" doc:"The tenant whose credential opens the account."`
	Container        string `yaml:"container" example:"lazuli-checkpoints" doc:"The container, for type blob; it is created if it is absent and the credential may."`
}

// Validate implements Component.
func (c *Checkpoint) Validate(r *Report) {
	if c.Type == "file" {
		if c.Path == "" {
			r.Add("path", "is empty", "name a folder, or leave the option out")
		}
		for _, o := range []struct {
			name string
			set  bool
		}{
			{"connection_string", c.ConnectionString != ""},
			{"account", c.Account != ""},
			{"tenant", c.Tenant != ""},
			{"container", c.Container != ""},
		} {
			if o.set {
				r.Add(o.name, "belongs to type blob, and the type is file", "remove it, or set type: blob")
			}
		}
		return
	}
	switch {
	case c.ConnectionString == "" && c.Account == "":
		r.Add("account", "required for type blob, unless connection_string is given",
			"add connection_string: ${env:CHECKPOINT_STORAGE}, or account and tenant")
	case c.ConnectionString != "" && (c.Account != "" || c.Tenant != ""):
		r.Add("connection_string", "is given together with account or tenant", "keep the connection string, or account and tenant")
	case c.Account != "" && c.Tenant == "":
		r.Add("tenant", "required beside account", "name the tenant whose credential opens the account")
	}
	switch {
	case c.Account == "":
	case !isHTTPURL(c.Account):
		r.Add("account", fmt.Sprintf("is %q, not a URL", c.Account), "write the blob endpoint, e.g. https://contosolazuli.blob.core.windows.net")
	case strings.HasSuffix(c.Account, "/") || strings.Contains(c.Account, "?"):
		r.Add("account", fmt.Sprintf("is %q; it must end with the host", c.Account), "remove what follows the host")
	}
	switch {
	case c.Container == "":
		r.Add("container", "required for type blob", "name a container, e.g. container: lazuli-checkpoints")
	case len(c.Container) < 3 || len(c.Container) > 63 || !containerName.MatchString(c.Container):
		// Microsoft Learn, "Naming and referencing containers, blobs, and metadata".
		r.Add("container", fmt.Sprintf("is %q; a container's name has 3 to 63 lower-case letters, digits and single hyphens", c.Container),
			"choose another name, e.g. lazuli-checkpoints")
	}
}

var containerName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func isHTTPURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// DeadLetters is where refused events are kept.
type DeadLetters struct {
	Path Path `yaml:"path" doc:"The folder."`
}

// Validate implements Component.
func (d *DeadLetters) Validate(r *Report) {
	if d.Path == "" {
		r.Add("path", "is empty: refused events would have no place to go", "name a folder, or leave the option out")
	}
}

// Normalize is how records become events.
type Normalize struct {
	KeepOriginal bool   `yaml:"keep_original" doc:"Keep every record byte for byte in event.original. It is about half of the volume; without it, what the mapping leaves out is lost."`
	Mappings     []Path `yaml:"mappings" example:"[door-logs.yaml]" doc:"Your own mapping files: they define log types, and add to or replace what the built-in tables map. internal/normalize/README.md describes the language."`
	Geo          Geo    `yaml:"geo" doc:"Databases in MaxMind's format (GeoLite2, GeoIP2, DB-IP) that say where addresses are: source.geo and source.as of ECS, src_endpoint.location and autonomous_system of OCSF, and the like. The files are yours; they are read when Lazuli starts."`
}

// Geo names databases of addresses.
type Geo struct {
	City Path `yaml:"city" example:"GeoLite2-City.mmdb" doc:"Cities or countries of addresses."`
	ASN  Path `yaml:"asn" example:"GeoLite2-ASN.mmdb" doc:"Autonomous systems of addresses."`
}

// Limits bounds what Lazuli uses.
type Limits struct {
	InFlight Size `yaml:"in_flight" min:"1MiB" max:"64GiB" doc:"The most bytes read and not yet confirmed; the sources wait when it is reached. Memory is a small multiple of it."`
}

// Telemetry is the endpoint for metrics and health.
type Telemetry struct {
	Listen string `yaml:"listen" doc:"Host and port; port 0 takes a free one. An empty text turns the endpoint off."`
}

// Validate implements Component.
func (t *Telemetry) Validate(r *Report) {
	if t.Listen == "" {
		return
	}
	_, port, err := net.SplitHostPort(t.Listen)
	if n, convErr := strconv.Atoi(port); err != nil || convErr != nil || n < 0 || n > 65535 {
		r.Add("listen", fmt.Sprintf("is %q, not host:port", t.Listen), "write e.g. 127.0.0.1:9464")
	}
}

// Shutdown is what happens at SIGTERM.
type Shutdown struct {
	Grace Duration `yaml:"grace" max:"1h" doc:"How long sinks may confirm what is in flight after the sources have stopped. What is unconfirmed then is read again at the next start."`
}

// Log is Lazuli's own log.
type Log struct {
	Level  string `yaml:"level" enum:"debug|info|warn|error" doc:"The least severe level that is written."`
	Format string `yaml:"format" enum:"auto|text|json" doc:"auto: text on a terminal, JSON otherwise."`
}

func defaultConfig() *Config {
	return &Config{
		Checkpoint:  Checkpoint{Type: "file", Path: "lazuli-data/checkpoints"},
		DeadLetters: DeadLetters{Path: "lazuli-data/dead-letters"},
		Normalize:   Normalize{KeepOriginal: true},
		Limits:      Limits{InFlight: 32 << 20},
		Telemetry:   Telemetry{Listen: "127.0.0.1:9464"},
		Shutdown:    Shutdown{Grace: Duration(30 * time.Second)},
		Log:         Log{Level: "info", Format: "auto"},
	}
}
