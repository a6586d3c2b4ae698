package eventhub

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is one event hub as the user describes it.
type Config struct {
	Tenant           string          `yaml:"tenant" doc:"Tenant whose credential reads the hub; with namespace and hub, instead of connection_string." example:"contoso"`
	Namespace        string          `yaml:"namespace" doc:"Host name of the Event Hubs namespace." example:"sec.servicebus.windows.net"`
	Hub              string          `yaml:"hub" doc:"Name of the event hub; empty if the connection string has an EntityPath." example:"insights-logs"`
	ConnectionString config.Secret   `yaml:"connection_string" doc:"Connection string of a policy with the Listen claim, instead of tenant and namespace." example:"${env:EVENT_HUB}"`
	ConsumerGroup    string          `yaml:"consumer_group" doc:"Consumer group; give Lazuli one of its own." example:"lazuli"`
	Start            string          `yaml:"start" doc:"Where to begin where there is no checkpoint yet: earliest, latest, or an RFC 3339 time." example:"2026-01-31T00:00:00Z"`
	Protocol         string          `yaml:"protocol" doc:"amqp works with every tier and passes by port 443; kafka takes a fraction of the processor time, keeps positions in the consumer group, and needs port 9093 and the Standard tier." enum:"amqp|kafka"`
	KafkaSession     config.Duration `yaml:"kafka_session" min:"6s" max:"5m" doc:"Of Kafka: an instance not heard of for this long loses its partitions to the others; also how long a start after a crash may have to wait."`
	Transport        string          `yaml:"transport" doc:"Of AMQP: amqp is TCP port 5671; websockets is port 443 and can pass an HTTP proxy." enum:"amqp|websockets"`
	Proxy            string          `yaml:"proxy" doc:"HTTP proxy for transport websockets; empty means the tenant's, else the environment's HTTPS_PROXY and NO_PROXY." example:"http://proxy.contoso.com:3128"`
	Prefetch         int             `yaml:"prefetch" doc:"Most messages asked for ahead, per partition (1 to 5000)."`
	PrefetchBytes    config.Size     `yaml:"prefetch_bytes" doc:"Memory for messages asked for ahead, over all partitions of this source; fewer are asked for when messages are large."`
	Batch            Batch           `yaml:"batch" doc:"Most that is handed to the pipeline at once; nothing waits for a batch to fill."`
	Watchdog         config.Duration `yaml:"watchdog" doc:"A partition that stands still this long while the hub grows gets a new link, then a new connection; 0s turns it off."`
	CAFile           config.Path     `yaml:"ca_file" doc:"PEM file of certificate authorities trusted beside the system's; empty means the tenant's." example:"/etc/lazuli/ca.pem"`
	Endpoint         string          `yaml:"endpoint" doc:"Address to connect to instead of the namespace's own, e.g. of a private gateway." example:"10.0.0.5:5671"`
}

// Batch bounds what one Emit carries.
type Batch struct {
	Events int         `yaml:"events" doc:"Most messages in a batch (1 to 5000)."`
	Bytes  config.Size `yaml:"bytes" doc:"Most bytes in a batch; a larger message goes alone."`
}

// The SDK refuses more credit than this: it is go-amqp's session window.
const maxPrefetch = 5000

// DefaultConfig returns the defaults; README.md has the measurements behind
// the numbers.
func DefaultConfig() Config {
	return Config{
		ConsumerGroup: azeventhubs.DefaultConsumerGroup,
		Start:         "earliest",
		Protocol:      "amqp",
		KafkaSession:  config.Duration(30 * time.Second),
		Transport:     "amqp",
		Prefetch:      500,
		PrefetchBytes: 8 << 20,
		Batch:         Batch{Events: 500, Bytes: 1 << 20},
		Watchdog:      config.Duration(2 * time.Minute),
	}
}

// Target names what is read: what identifies checkpoints of the SDK's format.
type Target struct {
	FullyQualifiedNamespace string // with the port, if the connection string is an emulator's
	Hub                     string
	ConsumerGroup           string
}

// Target returns what the configuration points at. It returns an error where
// Validate reports a problem.
func (c *Config) Target() (Target, error) {
	t := Target{FullyQualifiedNamespace: c.Namespace, Hub: c.Hub, ConsumerGroup: c.ConsumerGroup}
	if c.ConnectionString != "" {
		properties, err := azeventhubs.ParseConnectionString(c.ConnectionString.Reveal())
		if err != nil {
			return Target{}, fmt.Errorf("read connection_string: %w", err)
		}
		t.FullyQualifiedNamespace = properties.FullyQualifiedNamespace
		if t.Hub == "" && properties.EntityPath != nil {
			t.Hub = *properties.EntityPath
		}
	}
	if t.FullyQualifiedNamespace == "" || t.Hub == "" || t.ConsumerGroup == "" {
		return Target{}, fmt.Errorf("read target: namespace is %q, hub %q, consumer_group %q; none may be empty",
			t.FullyQualifiedNamespace, t.Hub, t.ConsumerGroup)
	}
	return t, nil
}

var (
	// https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsofteventhub
	namespaceForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{4,48}[A-Za-z0-9](\.[A-Za-z0-9-]+)+$`)
	hubForm       = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?$`)
	groupForm     = regexp.MustCompile(`^(\$Default|[A-Za-z0-9]([A-Za-z0-9._-]{0,48}[A-Za-z0-9])?)$`)
)

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	c.validateTarget(r)
	if _, err := parseStart(c.Start); err != nil {
		r.Add("start", err.Error(), "write earliest, latest, or a time such as 2026-01-31T00:00:00Z")
	}
	switch {
	case c.Protocol == "kafka" && c.Transport != "amqp":
		r.Add("transport", "is given, but the protocol is kafka, which has one way only", "remove transport, or write protocol: amqp")
	case c.Protocol != "amqp" && c.Protocol != "kafka":
		r.Add("protocol", fmt.Sprintf("is %q; it must be amqp or kafka", c.Protocol), "write amqp or kafka")
	}
	switch c.Transport {
	case "websockets":
	case "amqp":
		if c.Proxy != "" {
			r.Add("proxy", "is given, but transport is amqp, which cannot pass an HTTP proxy", "write transport: websockets")
		}
	default:
		r.Add("transport", fmt.Sprintf("is %q; it must be amqp or websockets", c.Transport), "write amqp, or websockets where only port 443 is open")
	}
	if c.Proxy != "" {
		if u, err := url.Parse(c.Proxy); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			r.Add("proxy", "is not an http or https URL with a host", "write http://host:port")
		}
	}
	if c.Prefetch < 1 || c.Prefetch > maxPrefetch {
		r.Add("prefetch", fmt.Sprintf("is %d; it must be 1 to %d", c.Prefetch, maxPrefetch), "leave it out for the default of 500")
	}
	if c.PrefetchBytes < 1<<20 {
		r.Add("prefetch_bytes", fmt.Sprintf("is %v; it must be at least 1MiB, the size of the largest message", c.PrefetchBytes), "leave it out for the default of 16MiB")
	}
	if c.Batch.Events < 1 || c.Batch.Events > maxPrefetch {
		r.Add("batch.events", fmt.Sprintf("is %d; it must be 1 to %d", c.Batch.Events, maxPrefetch), "leave it out for the default of 500")
	}
	if c.Batch.Bytes < 1 {
		r.Add("batch.bytes", fmt.Sprintf("is %v; it must be more than 0", c.Batch.Bytes), "leave it out for the default of 1MiB")
	}
	if w := c.Watchdog.Std(); w != 0 && w < 10*time.Second {
		r.Add("watchdog", fmt.Sprintf("is %v; it must be at least 10s, or 0s for none", w), "leave it out for the default of 2m")
	}
	if c.Endpoint != "" {
		if _, _, err := net.SplitHostPort(c.Endpoint); err != nil {
			r.Add("endpoint", fmt.Sprintf("is %q; it must be host:port", c.Endpoint), "write e.g. 10.0.0.5:5671")
		}
		if c.Proxy != "" {
			r.Add("endpoint", "is given together with proxy, which decides itself where to connect", "remove one of the two")
		}
	}
}

func (c *Config) validateTarget(r *config.Report) {
	hub := c.Hub
	switch {
	case c.ConnectionString != "":
		if c.Tenant != "" {
			r.Add("tenant", "is given together with connection_string", "remove one of the two")
		}
		if c.Namespace != "" {
			r.Add("namespace", "is given together with connection_string, which names the namespace itself", "remove namespace")
		}
		properties, err := azeventhubs.ParseConnectionString(c.ConnectionString.Reveal())
		if err != nil {
			r.Add("connection_string", "cannot be read: "+err.Error(), "copy the whole string: Endpoint=sb://...;SharedAccessKeyName=...;SharedAccessKey=...")
			break
		}
		switch entity := properties.EntityPath; {
		case entity == nil:
		case hub == "":
			hub = *entity
		case !strings.EqualFold(hub, *entity):
			r.Add("hub", fmt.Sprintf("is %q, but the connection string's EntityPath is %q", hub, *entity), "remove hub, or use the connection string of that hub or of the namespace")
		}
	case c.Tenant == "":
		r.Add("connection_string", "is empty, and so is tenant; one of the two says how to sign in", "write connection_string: ${env:NAME}, or tenant and namespace")
	case c.Namespace == "":
		r.Add("namespace", "is empty", "write the host name, e.g. sec.servicebus.windows.net")
	case !namespaceForm.MatchString(c.Namespace):
		r.Add("namespace", fmt.Sprintf("is %q; it must be the namespace's full host name, without scheme or port", c.Namespace), "write e.g. sec.servicebus.windows.net")
	}
	switch {
	case hub == "" && c.ConnectionString != "":
		r.Add("hub", "is empty, and the connection string has no EntityPath", "write the event hub's name")
	case hub == "":
		r.Add("hub", "is empty", "write the event hub's name")
	case !hubForm.MatchString(hub):
		r.Add("hub", fmt.Sprintf("is %q; it must be letters, digits, '.', '-' and '_', at most 256", hub), "write the event hub's name alone")
	}
	if !groupForm.MatchString(c.ConsumerGroup) {
		r.Add("consumer_group", fmt.Sprintf("is %q; it must be letters, digits, '.', '-' and '_', at most 50, or $Default", c.ConsumerGroup), "write the consumer group's name alone")
	}
}

// start is where a partition without a checkpoint begins.
type start struct {
	latest bool
	since  time.Time // zero means earliest, unless latest
}

func parseStart(s string) (start, error) {
	switch s {
	case "earliest":
		return start{}, nil
	case "latest":
		return start{latest: true}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.IsZero() {
		return start{}, fmt.Errorf("is %q; it must be earliest, latest or an RFC 3339 time", s)
	}
	return start{since: t}, nil
}
