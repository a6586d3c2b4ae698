package otlp

import (
	"fmt"
	"net"
	"net/url"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// Config is the settings of one sink.
type Config struct {
	Endpoint    string                   `yaml:"endpoint" required:"true" example:"https://otel.contoso.com:4317" doc:"The receiver. Of gRPC a URL without a path, of HTTP the whole URL, which ends in /v1/logs as a rule. http:// is without TLS, for loopback only."`
	Protocol    string                   `yaml:"protocol" enum:"grpc|http" doc:"grpc: OTLP/gRPC, port 4317 as a rule. http: OTLP/HTTP in protobuf, port 4318."`
	Headers     map[string]config.Secret `yaml:"headers" example:"{authorization: \"Bearer ${env:OTEL_TOKEN}\"}" doc:"Headers, or metadata of gRPC, e.g. with a token."`
	Compression string                   `yaml:"compression" enum:"gzip|none" doc:"How requests are compressed."`
	Body        string                   `yaml:"body" enum:"text|map" doc:"text: the body of a log is the event as a text. map: its members as the data model's own values."`
	Resource    map[string]string        `yaml:"resource" example:"{deployment.environment.name: prod}" doc:"More attributes of the resource."`
	Connection  httpsink.Connection      `yaml:"connection" doc:"How the receiver is reached and trusted."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config { return &Config{Protocol: "grpc", Compression: "gzip", Body: "text"} }

// DeliveryDefaults implements config.DeliveryDefaulter: a gRPC receiver takes
// 4 MiB unless it is told otherwise.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Batch = config.Batch{Events: 1000, Bytes: 2 << 20, Wait: d.Batch.Wait}
}

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case c.Endpoint == "":
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		r.Add("endpoint", fmt.Sprintf("is %q; it must be an http or https URL", c.Endpoint), "write e.g. https://otel.contoso.com:4317")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		r.Add("endpoint", "is without TLS and not on this machine", "write https://")
	case c.Protocol == "grpc" && u.Path != "" && u.Path != "/":
		r.Add("endpoint", fmt.Sprintf("has the path %q; gRPC has none", u.Path), "remove it, or write protocol: http")
	case c.Protocol == "grpc" && u.Port() == "":
		r.Add("endpoint", "has no port", "add it, 4317 as a rule")
	case c.Protocol == "http" && (u.Path == "" || u.Path == "/"):
		r.Add("endpoint", "has no path", "add it, /v1/logs as a rule")
	}
	httpsink.CheckHeaders(r, c.Headers)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
