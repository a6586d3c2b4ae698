package graph

import (
	"fmt"
	"slices"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is the feeds of one tenant as the user describes them.
type Config struct {
	Tenant       string          `yaml:"tenant" doc:"Tenant whose credential asks Microsoft Graph." required:"true" example:"contoso"`
	Feeds        []string        `yaml:"feeds" doc:"What to read; README.md says what permission each takes." required:"true" enum:"directory_audits|sign_ins|sign_ins_noninteractive|sign_ins_service_principal|sign_ins_managed_identity|provisioning|risk_detections|risky_users|service_principal_risk_detections|risky_service_principals|alerts|incidents" example:"[directory_audits, sign_ins]"`
	LookBack     config.Duration `yaml:"look_back" doc:"How far back a feed begins that has no checkpoint yet."`
	Delay        config.Duration `yaml:"delay" doc:"How old a time is when it is first read: Graph shows most of its objects within 2 minutes." min:"1s" max:"1h"`
	Overlap      config.Duration `yaml:"overlap" doc:"How old a time is when it is read for the last time; later arrivals are missed. Risk feeds add 8 hours." min:"1s" max:"2d"`
	Poll         config.Duration `yaml:"poll" doc:"How often each feed is asked for what is new." min:"1s" max:"1h"`
	Retention    config.Duration `yaml:"retention" doc:"How long the tenant keeps sign-ins, audits and provisioning: 30d, or 7d without a premium license." min:"1d" max:"31d"`
	ExpandAlerts bool            `yaml:"expand_alerts" doc:"Incidents come with their alerts in them; needs no other permission, but many more bytes."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		LookBack:  config.Duration(day),
		Delay:     config.Duration(2 * time.Minute),
		Overlap:   config.Duration(time.Hour),
		Poll:      config.Duration(time.Minute),
		Retention: config.Duration(30 * day),
	}
}

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	if c.Tenant == "" {
		r.Add("tenant", "is empty", "name one of the tenants of this file")
	}
	if len(c.Feeds) == 0 {
		r.Add("feeds", "is empty", "write e.g. [directory_audits, sign_ins]")
	}
	for i, name := range c.Feeds {
		path := fmt.Sprintf("feeds[%d]", i)
		switch {
		case feedNamed(name) == nil:
			r.Add(path, fmt.Sprintf("is %q, which is no feed", name), "write one of those that the schema lists, e.g. sign_ins")
		case slices.Contains(c.Feeds[:i], name):
			r.Add(path, fmt.Sprintf("is %q, which is listed already", name), "remove one of the two")
		}
	}
	if c.Overlap < c.Delay {
		r.Add("overlap", fmt.Sprintf("is %v; it must be at least delay, which is %v", c.Overlap, c.Delay), "leave both out for 1h and 2m")
	}
	if c.LookBack.Std() < 0 {
		r.Add("look_back", fmt.Sprintf("is %v; it must not be negative", c.LookBack), "leave it out for 1d")
	}
	if c.Poll.Std() < time.Second {
		r.Add("poll", fmt.Sprintf("is %v; it must be at least 1s", c.Poll), "leave it out for 1m")
	}
	if c.Retention.Std() <= c.Overlap.Std() {
		r.Add("retention", fmt.Sprintf("is %v; it must be more than overlap, which is %v", c.Retention, c.Overlap), "leave it out for 30d")
	}
}
