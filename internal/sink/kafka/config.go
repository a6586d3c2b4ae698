package kafka

import (
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is the settings of one sink.
type Config struct {
	Brokers     []string    `yaml:"brokers" required:"true" example:"[\"kafka.contoso.com:9093\"]" doc:"Brokers to begin with, host:port."`
	Topic       string      `yaml:"topic" required:"true" example:"azure-{log_type}" doc:"The topic. {log_type}, {schema}, {tenant} and {source} stand for the event's own."`
	Key         string      `yaml:"key" enum:"id|partition|none" doc:"The record's key. id: the event's, so that a compacted topic drops repeats. partition: where the event came from, which keeps its order. none: no key."`
	Tenant      string      `yaml:"tenant" example:"contoso" doc:"The tenant whose credential signs in, for sasl.mechanism entra."`
	SASL        SASL        `yaml:"sasl" doc:"How to sign in."`
	TLS         bool        `yaml:"tls" doc:"Speak TLS and verify the brokers."`
	CAFile      config.Path `yaml:"ca_file" example:"/etc/lazuli/ca.pem" doc:"PEM file of certificate authorities trusted beside the system's."`
	CertFile    config.Path `yaml:"cert_file" example:"/etc/lazuli/client.pem" doc:"PEM file of the client's own certificate."`
	KeyFile     config.Path `yaml:"key_file" example:"/etc/lazuli/client.key" doc:"PEM file of its private key."`
	Compression string      `yaml:"compression" enum:"zstd|lz4|snappy|gzip|none" doc:"How batches are compressed. Event Hubs takes gzip and none only."`
	MaxMessage  config.Size `yaml:"max_message" min:"16KiB" max:"64MiB" doc:"The largest record the brokers take, and the largest batch; a larger event goes to the dead letters."`
}

// SASL is how to sign in.
type SASL struct {
	Mechanism string        `yaml:"mechanism" enum:"none|plain|scram-sha-256|scram-sha-512|entra" doc:"entra: OAUTHBEARER with a token of the tenant, for Event Hubs."`
	Username  string        `yaml:"username" example:"$ConnectionString" doc:"User; $ConnectionString for Event Hubs with plain."`
	Password  config.Secret `yaml:"password" example:"${env:KAFKA_PASSWORD}" doc:"Password, or the connection string."`
}

// DefaultConfig returns the defaults. max_message is a broker's own default
// (message.max.bytes of Apache Kafka), which is also what Event Hubs takes.
func DefaultConfig() *Config {
	return &Config{Key: "id", TLS: true, Compression: "zstd", MaxMessage: 1_000_000, SASL: SASL{Mechanism: "none"}}
}

// DeliveryDefaults implements config.DeliveryDefaulter: the producer makes its
// own batches for each partition out of what it gets at a time.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Batch = config.Batch{Events: 5000, Bytes: 4 << 20, Wait: d.Batch.Wait}
}

var topicForm = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	for i, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			r.Add(fmt.Sprintf("brokers[%d]", i), fmt.Sprintf("is %q; it must be host:port", b), "write e.g. kafka.contoso.com:9093")
		}
	}
	if c.Topic != "" {
		if _, err := parseTopic(c.Topic); err != nil {
			r.Add("topic", err.Error(), "write letters, digits, '.', '_', '-', and {log_type}, {schema}, {tenant} or {source}")
		}
	}
	s := &c.SASL
	switch s.Mechanism {
	case "none":
		if s.Username != "" || s.Password != "" {
			r.Add("sasl.mechanism", "is none, and a user or password is given", "choose plain or scram-sha-512, or remove them")
		}
	case "entra":
		if c.Tenant == "" {
			r.Add("tenant", "required for sasl.mechanism entra", "name the tenant whose credential signs in")
		}
	default:
		if s.Username == "" || s.Password == "" {
			r.Add("sasl.username", fmt.Sprintf("required with password for %s", s.Mechanism), "add username and password")
		}
		if s.Mechanism == "plain" && !c.TLS {
			r.Add("tls", "is off, and plain would send the password in the clear", "turn tls on, or use a scram mechanism")
		}
	}
	if c.Tenant != "" && s.Mechanism != "entra" {
		r.Add("tenant", "has no effect", "remove it, or write sasl.mechanism: entra")
	}
	if !c.TLS && (c.CAFile != "" || c.CertFile != "" || c.KeyFile != "") {
		r.Add("tls", "is off, and certificates are given", "turn tls on, or remove them")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		r.Add("key_file", "must stand together with cert_file", "give both, or none")
	}
}

// topic is a name with places for what differs between events.
type topic []piece

type piece struct {
	text  string
	field string // "" for text
}

func parseTopic(s string) (topic, error) {
	var t topic
	sample := ""
	for rest := s; rest != ""; {
		text, after, open := strings.Cut(rest, "{")
		if text != "" {
			t = append(t, piece{text: text})
			sample += text
		}
		if !open {
			break
		}
		field, tail, closed := strings.Cut(after, "}")
		switch {
		case !closed:
			return nil, fmt.Errorf("is %q; a brace is not closed", s)
		case field != "log_type" && field != "schema" && field != "tenant" && field != "source":
			return nil, fmt.Errorf("is %q; there is no {%s}", s, field)
		}
		t = append(t, piece{field: field})
		sample += "x"
		rest = tail
	}
	if !topicForm.MatchString(sample) || sample == "." || sample == ".." {
		return nil, fmt.Errorf("is %q; a topic has 1 to 249 letters, digits, '.', '_' and '-'", s)
	}
	return t, nil
}
