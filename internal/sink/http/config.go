package http

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// Config is the settings of one sink.
type Config struct {
	URL         string                   `yaml:"url" required:"true" example:"https://logs.example.com/ingest" doc:"Where events are sent."`
	Method      string                   `yaml:"method" enum:"POST|PUT" doc:"The method."`
	Format      string                   `yaml:"format" enum:"ndjson|array" doc:"ndjson: one event a line. array: a JSON array of events."`
	Headers     map[string]config.Secret `yaml:"headers" example:"{X-Batch: \"{batch}\"}" doc:"Headers to send. {batch} stands for a key that is the same when the same events are sent again, {count} for their number, {time} for the time in RFC 3339."`
	BearerToken config.Secret            `yaml:"bearer_token" example:"${env:LOGS_TOKEN}" doc:"A token for Authorization: Bearer."`
	Username    string                   `yaml:"username" doc:"User, with password, for Authorization: Basic."`
	Password    config.Secret            `yaml:"password" example:"${env:LOGS_PASSWORD}" doc:"Password of the user."`
	HMAC        HMAC                     `yaml:"hmac" doc:"Sign every request."`
	Rejected    []int                    `yaml:"rejected" doc:"Statuses that mean that the endpoint does not want an event. A request answered so is halved until the events that it does not want stand alone; these go to the dead letters."`
	MaxEvent    config.Size              `yaml:"max_event" example:"250KiB" doc:"The largest event that the endpoint takes; a larger one goes to the dead letters without being sent. For endpoints that drop what is too large without a word. 0: any."`
	Compression string                   `yaml:"compression" enum:"none|gzip|zstd" doc:"How requests are compressed."`
	Connection  httpsink.Connection      `yaml:"connection" doc:"How the endpoint is reached and trusted."`
}

// HMAC signs requests.
type HMAC struct {
	Secret    config.Secret `yaml:"secret" example:"${env:LOGS_SECRET}" doc:"The shared secret. Empty: requests are not signed."`
	Header    string        `yaml:"header" doc:"The header that holds the signature of the body as it is sent, in hexadecimal."`
	Prefix    string        `yaml:"prefix" doc:"What stands before the signature."`
	Algorithm string        `yaml:"algorithm" enum:"sha256|sha512" doc:"The hash."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{
		Method: http.MethodPost, Format: "ndjson", Compression: "none", Rejected: []int{400, 413, 415, 422},
		HMAC: HMAC{Header: "X-Signature-256", Prefix: "sha256=", Algorithm: "sha256"},
	}
}

// DeliveryDefaults implements config.DeliveryDefaulter.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Batch = config.Batch{Events: 1000, Bytes: 1 << 20, Wait: config.Duration(time.Second)}
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil) {
		r.Add("url", "is not a URL, or holds a password", "write https://host/path, and bearer_token or username and password beside it")
	}
	if c.BearerToken != "" && c.Username != "" {
		r.Add("bearer_token", "is given together with username", "keep one of the two")
	}
	if (c.Username == "") != (c.Password == "") {
		r.Add("username", "needs password, and password needs username", "give both or neither")
	}
	httpsink.CheckHeaders(r, c.Headers)
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		for _, p := range placeholder.FindAllString(c.Headers[name].Reveal(), -1) {
			if p != "{batch}" && p != "{count}" && p != "{time}" {
				r.Add("headers."+name, "holds "+p+", which stands for nothing", "write {batch}, {count} or {time}")
			}
		}
	}
	if c.HMAC.Secret != "" && !httpsink.IsHeaderName(c.HMAC.Header) {
		r.Add("hmac.header", "is no name of a header", "leave it out for X-Signature-256")
	}
	for i, status := range c.Rejected {
		if status < 400 || status > 499 || status == 401 || status == 403 || status == 429 {
			r.Add(fmt.Sprintf("rejected[%d]", i), fmt.Sprintf("is %d; it must be 400 to 499, and not 401, 403 or 429, which are not about an event", status), "remove it")
		}
	}
}
