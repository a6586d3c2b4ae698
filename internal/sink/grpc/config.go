package grpc

import (
	"fmt"
	"net"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is the settings of one sink.
type Config struct {
	Target     string                   `yaml:"target" doc:"Where the engine listens: unix:///path/of/socket, or host:port."`
	Service    string                   `yaml:"service" enum:"engine|integration" doc:"engine: plugins.Engine/Input, as on the engine's socket. integration: plugins.Integration/ProcessLog, as it is reached from elsewhere."`
	TLS        TLS                      `yaml:"tls" doc:"Trust for host:port. A Unix socket has no TLS."`
	Plaintext  bool                     `yaml:"plaintext" doc:"No TLS for host:port; on loopback only."`
	Metadata   map[string]config.Secret `yaml:"metadata" example:"{key: \"${env:ENGINE_KEY}\", id: \"7\", type: integration}" doc:"What is sent with every stream: the engine's key, in the names that it wants."`
	DataType   string                   `yaml:"data_type" doc:"The data type of the logs; engines choose their rules by it."`
	DataTypes  map[string]string        `yaml:"data_types" example:"{entra_signin: azure-signin}" doc:"Other data types by log type."`
	DataSource string                   `yaml:"data_source" doc:"The data source of the logs. Empty: the name of Lazuli's source."`
	TenantID   string                   `yaml:"tenant_id" doc:"The tenant id of the logs. Empty: the id of the Entra tenant, where it is known."`
	TenantIDs  map[string]string        `yaml:"tenant_ids" example:"{contoso: ce66672c-e36d-4761-a8c8-90058fee1a24}" doc:"Other tenant ids by the name of the tenant in this configuration."`
	Ack        string                   `yaml:"ack" enum:"each|cumulative|none" doc:"each: the engine acknowledges every log by its id, in any order. cumulative: an acknowledgement stands for all logs before it on the stream too. none: the engine never acknowledges; what it had not read when it stops is LOST."`
	Window     int                      `yaml:"window" min:"1" max:"100000" doc:"How many logs of a batch may be unacknowledged."`
	MaxMessage config.Size              `yaml:"max_message" min:"1KiB" max:"1GiB" doc:"The largest message that the engine takes; a larger event goes to the dead letters."`
}

// TLS is how the engine is trusted.
type TLS struct {
	CAFile     config.Path `yaml:"ca_file" example:"/etc/lazuli/engine-ca.pem" doc:"PEM file with certificate authorities to trust beside the system's."`
	CertFile   config.Path `yaml:"cert_file" doc:"PEM file with a client certificate."`
	KeyFile    config.Path `yaml:"key_file" doc:"PEM file with its key."`
	ServerName string      `yaml:"server_name" doc:"The name in the engine's certificate, if it is not that of the target."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{
		Target: "unix:///workdir/sockets/engine_server.sock", Service: "engine", DataType: "azure", Ack: "each",
		Window: 1000, MaxMessage: 4 << 20,
	}
}

// DeliveryDefaults implements config.DeliveryDefaulter: little delay, since an
// engine looks at events one by one.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Batch.Wait = config.Duration(200e6)
}

func (c *Config) unix() bool { return strings.HasPrefix(c.Target, "unix:") }

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	c.validateTarget(r)
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		r.Add("tls.cert_file", "needs key_file, and key_file needs cert_file", "give both or neither")
	}
	if c.DataType == "" {
		r.Add("data_type", "is empty", "leave it out for azure")
	}
	for name := range c.Metadata {
		if name == "" || strings.ToLower(name) != name || strings.ContainsAny(name, " \t:") || strings.HasPrefix(name, "grpc-") {
			r.Add("metadata."+name, "is no name for metadata", "write lower-case letters, digits and hyphens; grpc-... is gRPC's own")
		}
	}
}

func (c *Config) validateTarget(r *config.Report) {
	if c.unix() {
		path := strings.TrimPrefix(strings.TrimPrefix(c.Target, "unix:"), "//")
		if path == "" {
			r.Add("target", "names no socket", "write unix:///workdir/sockets/engine_server.sock")
		}
		if c.TLS != (TLS{}) {
			r.Add("tls", "has no effect on a Unix socket", "remove it")
		}
		return
	}
	host, port, err := net.SplitHostPort(c.Target)
	if err != nil || port == "" {
		r.Add("target", fmt.Sprintf("is %q; it must be unix:///path or host:port", c.Target), "write e.g. engine.example.com:50051")
		return
	}
	if ip := net.ParseIP(host); c.Plaintext && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		r.Add("plaintext", fmt.Sprintf("is true, and %q is not on this machine: keys and events could be read on the way", host), "remove it, and name the engine's certificate authority in tls.ca_file")
	}
	if c.Plaintext && c.TLS != (TLS{}) {
		r.Add("plaintext", "is given together with tls", "remove one of the two")
	}
}
