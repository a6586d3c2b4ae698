package splunkhec

import (
	"net/url"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// Config is the settings of one sink.
type Config struct {
	URL         string              `yaml:"url" required:"true" example:"https://splunk.example.com:8088" doc:"The collector, without a path."`
	Token       config.Secret       `yaml:"token" required:"true" example:"${file:/run/secrets/splunk}" doc:"The token of the collector."`
	Endpoint    string              `yaml:"endpoint" enum:"event|raw" doc:"event: every event with its time, log type and id. raw: lines, of which Splunk makes events by the rules of sourcetype."`
	Index       string              `yaml:"index" example:"azure" doc:"The index. Empty: that of the token."`
	Sourcetype  string              `yaml:"sourcetype" doc:"The source type."`
	Sourcetypes map[string]string   `yaml:"sourcetypes" example:"{azure_activity: \"azure:monitor:activity\"}" doc:"Other source types by log type; endpoint event only."`
	Source      string              `yaml:"source" doc:"The source. Empty: the name of Lazuli's source, at endpoint event."`
	Host        string              `yaml:"host" doc:"The host. Empty: as Splunk sets it."`
	Ack         bool                `yaml:"ack" doc:"Wait until the indexer has the events on its disk. The token must have indexer acknowledgement turned on, and a load balancer must lead all requests of a client to one indexer."`
	AckPoll     config.Duration     `yaml:"ack_poll" min:"10ms" max:"1m" doc:"How often the indexer is asked."`
	Compression string              `yaml:"compression" enum:"gzip|none" doc:"How requests are compressed."`
	Connection  httpsink.Connection `yaml:"connection" doc:"How the collector is reached and trusted."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{Endpoint: "event", Sourcetype: "azure:lazuli", AckPoll: config.Duration(500 * time.Millisecond), Compression: "gzip"}
}

// DeliveryDefaults implements config.DeliveryDefaulter: a little less than the
// 1 MB that Splunk Cloud takes at a time, and time for the indexer to write.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Batch = config.Batch{Events: 2000, Bytes: 896 << 10, Wait: config.Duration(time.Second)}
	d.Timeout = config.Duration(3 * time.Minute)
}

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Path != "" && u.Path != "/") {
		r.Add("url", "is not the URL of a collector", "write https://host:8088, without a path")
	}
	if c.Endpoint == "raw" && len(c.Sourcetypes) > 0 {
		r.Add("sourcetypes", "has no effect at endpoint raw", "remove it, or set endpoint: event")
	}
}
