package syslog

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is the settings of one sink.
type Config struct {
	Address    string            `yaml:"address" required:"true" example:"syslog.contoso.com:6514" doc:"The receiver, host:port. 6514 is the port for TLS."`
	TLS        bool              `yaml:"tls" doc:"Speak TLS and verify the receiver."`
	CAFile     config.Path       `yaml:"ca_file" example:"/etc/lazuli/ca.pem" doc:"PEM file of certificate authorities trusted beside the system's."`
	CertFile   config.Path       `yaml:"cert_file" example:"/etc/lazuli/client.pem" doc:"PEM file of the client's own certificate."`
	KeyFile    config.Path       `yaml:"key_file" example:"/etc/lazuli/client.key" doc:"PEM file of its private key."`
	Format     string            `yaml:"format" enum:"json|cef|leef" doc:"What the message holds. json: the event. cef: ArcSight Common Event Format 0. leef: QRadar Log Event Extended Format 2.0. The latter two take their fields from the event: route it as ecs."`
	Fields     map[string]string `yaml:"fields" example:"{cs1: user.email, cs1Label: $user email}" doc:"More fields of CEF or LEEF, and where their values stand in the event; a value that begins with $ is a text. An empty path removes a field of the built-in table."`
	Facility   string            `yaml:"facility" enum:"auth|authpriv|daemon|local0|local1|local2|local3|local4|local5|local6|local7|user" doc:"The facility of all messages."`
	Hostname   string            `yaml:"hostname" doc:"HOSTNAME of the messages; empty: that of this machine."`
	AppName    string            `yaml:"app_name" doc:"APP-NAME of the messages. MSGID is the log type."`
	MaxMessage config.Size       `yaml:"max_message" min:"480B" max:"64MiB" doc:"The largest message the receiver takes, in bytes; an event that makes a larger one goes to the dead letters. rsyslog and syslog-ng take 8 and 64 KiB unless told otherwise."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{TLS: true, Format: "json", Facility: "local0", AppName: "lazuli", MaxMessage: 64 << 10}
}

// DeliveryDefaults implements config.DeliveryDefaulter: one connection, which
// keeps the order.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) { d.Concurrency = 1 }

// facilities are numbered by RFC 5424, table 1.
func facilities() map[string]int {
	return map[string]int{
		"user": 1, "daemon": 3, "auth": 4, "authpriv": 10, "local0": 16, "local1": 17, "local2": 18, "local3": 19,
		"local4": 20, "local5": 21, "local6": 22, "local7": 23,
	}
}

// fieldName is what keys of CEF and LEEF are made of.
var fieldName = regexp.MustCompile(`^[A-Za-z0-9_.]{1,63}$`)

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	if _, _, err := net.SplitHostPort(c.Address); err != nil && c.Address != "" {
		r.Add("address", fmt.Sprintf("is %q; it must be host:port", c.Address), "write e.g. syslog.contoso.com:6514")
	}
	if !c.TLS && (c.CAFile != "" || c.CertFile != "" || c.KeyFile != "") {
		r.Add("tls", "is off, and certificates are given", "turn tls on, or remove them")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		r.Add("key_file", "must stand together with cert_file", "give both, or none")
	}
	if c.Format == "json" && len(c.Fields) > 0 {
		r.Add("fields", "has no effect with format json", "remove it, or write format: cef or leef")
	}
	for name, from := range c.Fields {
		if !fieldName.MatchString(name) {
			r.Add("fields."+name, "is no name of a field", "use letters, digits, '_' and '.'")
		}
		if strings.Contains(from, "..") || strings.HasPrefix(from, ".") || strings.HasSuffix(from, ".") {
			r.Add("fields."+name, fmt.Sprintf("is %q; a path has names with dots between them", from), "write e.g. user.email, or $ and a text")
		}
	}
	for _, v := range []struct {
		name, value string
		limit       int
	}{{"hostname", c.Hostname, 255}, {"app_name", c.AppName, 48}} { // RFC 5424, section 6
		if len(v.value) > v.limit || strings.ContainsFunc(v.value, notPrintable) {
			r.Add(v.name, fmt.Sprintf("is %q; it has at most %d printable ASCII characters and no blank", v.value, v.limit), "shorten it, or remove other characters")
		}
	}
	if c.AppName == "" {
		r.Add("app_name", "is empty", "write lazuli, or remove the option")
	}
}

func notPrintable(r rune) bool { return r < 33 || r > 126 }

// header is one of the names at the beginning of a message.
func header(s string, limit int) string {
	for i := range len(s) {
		if notPrintable(rune(s[i])) {
			s = strings.Map(func(r rune) rune {
				if notPrintable(r) {
					return '_'
				}
				return r
			}, s)
			break
		}
	}
	if s == "" {
		return "-" // NILVALUE
	}
	return s[:min(len(s), limit)]
}

func (c *Config) hostname() string {
	if c.Hostname != "" {
		return c.Hostname
	}
	name, err := os.Hostname()
	if err != nil {
		return "-"
	}
	return header(name, 255)
}

// sortedNames makes the order of fields the same every time.
func sortedNames(fields map[string]string) []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
